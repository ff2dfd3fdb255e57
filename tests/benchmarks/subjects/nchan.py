"""Nchan, a module of nginx: one worker process, which a poster in C publishes to over HTTP on one kept connection.

    python -m tests.benchmarks.subjects.nchan REFERENCE CORE

REFERENCE is the compiled `reference.c`, which posts on the core CORE: a publisher outside is not the server's work.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from .publisher import poll_body

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

_CONFIGURATION = """\
load_module {module};
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid {directory}/pid;
error_log stderr error;
events {{ worker_connections 20000; multi_accept on; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    client_body_buffer_size 128k; client_max_body_size 1m;
    nchan_shared_memory_size 512M;
    nchan_message_buffer_length 10000;
    nchan_message_timeout 5m;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /publish {{ nchan_publisher http; nchan_channel_id bench; }}
        location = /publish-poll {{ nchan_publisher http; nchan_channel_id poll; nchan_message_timeout 0; }}
        location = /ws {{ nchan_subscriber websocket; nchan_channel_id bench; nchan_subscriber_first_message newest; }}
        location = /sse {{ nchan_subscriber eventsource; nchan_channel_id bench; nchan_subscriber_first_message newest; }}
        location = /poll {{ nchan_subscriber longpoll; nchan_channel_id poll; nchan_subscriber_first_message oldest; }}
        location = /wait {{ nchan_subscriber longpoll; nchan_channel_id wait; nchan_subscriber_first_message newest; }}
    }}
}}
"""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _post_one(port: int) -> None:
    """Keep the event that polls are answered with; nginx may need a moment until it listens."""
    until = time.monotonic() + 10.0
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        try:
            connection.request("POST", "/publish-poll", poll_body(), {"Content-Type": "application/json"})
            connection.getresponse().read()
        except ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
        finally:
            connection.close()


def main(reference: str, core: str) -> None:
    """Serve until standard input ends."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        raise SystemExit("there is no nginx")
    with tempfile.TemporaryDirectory() as directory:
        port = _free_port()
        configuration = Path(directory, "nginx.conf")
        configuration.write_text(_CONFIGURATION.format(module=MODULE, directory=directory, port=port))
        server = subprocess.Popen([nginx, "-e", "stderr", "-p", directory, "-c", str(configuration)], stdin=subprocess.DEVNULL)
        try:
            _post_one(port)
            poster = subprocess.Popen(
                ["taskset", "-c", core, reference, "--post", "127.0.0.1", str(port), "/publish"], stdout=subprocess.PIPE
            )
            assert poster.stdout is not None
            poster.stdout.readline()
            print(msgspec.json.encode({"listening": port, "server": server.pid}).decode(), flush=True)
            for line in poster.stdout:
                sys.stdout.write(line.decode())
                sys.stdout.flush()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(10)


if __name__ == "__main__":
    main(*sys.argv[1:])
