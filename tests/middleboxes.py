"""Middleboxes: the real programs of Debian's packages between a client and a server, each with the configuration that
people deploy or meet.

    async with BOXES["nginx"].running("http://127.0.0.1:8000") as way:
        async with connect(f"{way.url}/live", ["a"], ca=way.ca) as stream: ...

Configurations are written as they would stand on a server. What has to be different here (ports, paths) is replaced in
them when they are run, in a directory and on ports of their own, as root or as anybody.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

import pytest
import trustme

from tests.documents import ROOT
from tests.ports import free_port
from tests.ways import Way

DEPLOY = ROOT / "docs" / "how-to" / "deploy"
_START = 30.0  # seconds until it accepts connections: Varnish compiles its configuration
_STOP = 3.0  # seconds to end by itself: Squid needs two, Apache waits for its streams
_ROOT = os.geteuid() == 0
_USERS = "reader:$apr1$everywir$a9B/DcJMJRskCT9hSeccl1\n"  # as `htpasswd` writes it; the password is `secret`

Place: TypeAlias = Mapping[str, str]
"""Where a box is run: `dir`, `port`, `tls` (the port for HTTPS), and `root`, a comment sign where we are somebody else."""


class Program(NamedTuple):
    """How to run one in the foreground."""

    package: str  # Debian's
    command: str  # what follows the name; the configuration is `config` in the directory
    frame: str = "%(config)s"  # what Debian's own files would say around the configuration


@dataclass(frozen=True)
class Middlebox:
    """A program with a configuration."""

    name: str
    program: str
    config: str | Path
    story: str  # what real thing it stands for
    wins: str  # the transport that a client ends on
    proxy: bool = False  # a forward proxy
    user: str = ""  # `user:password`, to be let through
    tls: bool = False  # HTTPS at the edge, with HTTP/2
    connections: int = 768  # of nginx; Debian's, of which each reader takes two
    site: str = ""  # the box at the other end of the way, if there is one

    def __str__(self) -> str:
        return self.name

    @asynccontextmanager
    async def running(self, upstream: str, *others: str) -> AsyncIterator[Way]:
        """Run it in front of `upstream`, an `http://127.0.0.1:port`, and of others like it; gives the way through it.

        Skips the test where the program is not installed; in CI that is a failure.
        """
        executable = find(self.program)
        async with self._site(upstream) as (site, authority):
            with self._installed(site, *others) as place:
                async with _process(executable, PROGRAMS[self.program].command, place) as process:
                    await _accepts(process, place["dir"], int(place["tls"] if self.tls else place["port"]))
                    yield self._way(site, authority, place)

    @asynccontextmanager
    async def _site(self, upstream: str) -> AsyncIterator[tuple[str, str | None]]:
        """What it is in front of: `upstream`, or the box at the other end of the way; and the authority to trust there."""
        if not self.site:
            yield upstream, None
            return
        async with BOXES[self.site].running(upstream) as way:
            yield way.url, way.ca

    @contextmanager
    def _installed(self, *upstreams: str) -> Iterator[Place]:
        """A directory with all that the program needs."""
        with tempfile.TemporaryDirectory(prefix=f"everywire-{self.name}-") as name:
            directory = Path(name)
            directory.chmod(0o777)  # some programs give up root for a user of their own
            place = {"dir": name, "port": str(free_port()), "tls": str(free_port()), "root": "" if _ROOT else "#"}
            place["connections"] = str(self.connections)
            certificates(directory)
            (directory / "users").write_text(_USERS)
            (directory / "config").write_text(self._text(upstreams, place))
            yield place

    def _way(self, upstream: str, authority: str | None, place: Place) -> Way:
        if self.proxy:
            return Way(upstream, f"http://{self.user}{'@' if self.user else ''}127.0.0.1:{place['port']}", authority)
        if self.tls:
            return Way(f"https://127.0.0.1:{place['tls']}", ca=f"{place['dir']}/authority.pem")
        return Way(f"http://127.0.0.1:{place['port']}")

    def _text(self, upstreams: Sequence[str], place: Place) -> str:
        """The configuration as it is run."""
        upstream, *others = upstreams
        text = self.config.read_text() if isinstance(self.config, Path) else self.config
        for there, here in _replacements(str(urlsplit(upstream).port), place).items():
            text = text.replace(there, here)
        for number, other in enumerate(others, 8001):
            text = text.replace(f"127.0.0.1:{number}", f"127.0.0.1:{urlsplit(other).port}")
        return PROGRAMS[self.program].frame % {"config": text, **place}


def _replacements(upstream: str, place: Place) -> dict[str, str]:
    """What stands in the configurations of a server, and what is said here instead."""
    directory, plain, tls = place["dir"], f"127.0.0.1:{place['port']}", f"127.0.0.1:{place['tls']}"
    return {
        "127.0.0.1:8000": f"127.0.0.1:{upstream}",
        '.port = "8000"': f'.port = "{upstream}"',
        "listen 80;": f"listen {plain};",
        "listen 443 ssl": f"listen {tls} ssl",
        "bind :80": f"bind {plain}",
        "bind :443": f"bind {tls}",
        "<VirtualHost *:80>": f"<VirtualHost {plain}>",
        "\n:80 {": f"\n:{place['port']} {{\n\tbind 127.0.0.1",  # Caddy
        "\nlive.example {": f"\nhttps://{tls}, https://live.example:{place['tls']} {{\n\tbind 127.0.0.1\n"
        f"\ttls {directory}/certificate.pem {directory}/key.pem",
        "/etc/squid/users": f"{directory}/users",
        "SSL_ports port 443": f"SSL_ports port {upstream}",
        "SSL_ports port 8000": f"SSL_ports port {upstream}",
        "/etc/ssl/certs/live.example.pem": f"{directory}/certificate.pem",
        "/etc/ssl/private/live.example.key": f"{directory}/key.pem",
        "/etc/haproxy/live.example.pem": f"{directory}/both.pem",
    }


def find(program: str) -> str:
    """The path of a program. Skips the test, or fails it in CI, if there is none."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        package = PROGRAMS[program].package
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there is no {program}; Debian has it in {package}")
    return path


def certificates(directory: Path) -> None:
    """Make a throw-away authority, and a certificate for this machine."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1", "live.example")
    authority.cert_pem.write_to_path(directory / "authority.pem")
    made.private_key_pem.write_to_path(directory / "key.pem")
    for name, pem in (("certificate.pem", made.cert_chain_pems[0]), ("both.pem", made.private_key_and_cert_chain_pem)):
        pem.write_to_path(directory / name)


@asynccontextmanager
async def _process(executable: str, arguments: str, place: Place) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process in the foreground, in a group of its own; what it says goes to `output.log`. It is gone at the end."""
    directory = Path(place["dir"])
    environment = {**os.environ, "HOME": place["dir"], "XDG_DATA_HOME": place["dir"], "XDG_CONFIG_HOME": place["dir"]}
    with (directory / "output.log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            executable,
            *[argument % place for argument in arguments.split()],
            cwd=directory,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Ask it to end, and end what is left of its group."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(_STOP):
            await process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _accepts(process: asyncio.subprocess.Process, directory: str, port: int) -> None:
    """Wait until it accepts connections. Raises: AssertionError, it does not, with what it said."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_START):
            while process.returncode is None:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return
                await asyncio.sleep(0.01)  # a refused connection is answered at once: leave the machine to the program
    raise AssertionError(f"{process.returncode=}, nothing listens on {port}:\n{_said(directory)}")


def _said(directory: str) -> str:
    return "\n".join(log.read_text(errors="replace")[-3000:] for log in sorted(Path(directory).glob("*.log")))


# --------------------------------------------------------------------------------------------------------------- programs

PROGRAMS = {
    "nginx": Program(
        package="nginx",
        command="-e stderr -p %(dir)s -c %(dir)s/config",
        frame="""%(root)suser root;
daemon off;
worker_processes 1;
pid %(dir)s/pid;
error_log stderr;
events { worker_connections %(connections)s; }
http {
    access_log off;
    client_body_temp_path %(dir)s/body;
    proxy_temp_path %(dir)s/proxy;
    fastcgi_temp_path %(dir)s/fastcgi;
    uwsgi_temp_path %(dir)s/uwsgi;
    scgi_temp_path %(dir)s/scgi;
    sendfile on;
    tcp_nopush on;
    gzip on;
%(config)s
}
""",
    ),
    "haproxy": Program(
        package="haproxy",
        command="-db -f %(dir)s/config",
        frame="""global
    maxconn 200
defaults
    mode http
    timeout connect 5000
    timeout client 50000
    timeout server 50000
%(config)s
""",
    ),
    "apache2": Program(
        package="apache2",
        command="-D FOREGROUND -d %(dir)s -f %(dir)s/config",
        frame="""ServerRoot %(dir)s
ServerName 127.0.0.1
Listen 127.0.0.1:%(port)s
PidFile %(dir)s/pid
DefaultRuntimeDir %(dir)s
ErrorLog %(dir)s/error.log
Mutex file:%(dir)s default
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule reqtimeout_module /usr/lib/apache2/modules/mod_reqtimeout.so
LoadModule filter_module /usr/lib/apache2/modules/mod_filter.so
LoadModule deflate_module /usr/lib/apache2/modules/mod_deflate.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
Timeout 300
KeepAliveTimeout 5
RequestReadTimeout header=20-40,minrate=500 body=10,minrate=500
AddOutputFilterByType DEFLATE text/html text/plain text/xml text/css text/javascript
AddOutputFilterByType DEFLATE application/javascript application/xml
%(config)s
""",
    ),
    "varnishd": Program(
        package="varnish",
        command="-F -j none -a 127.0.0.1:%(port)s -f %(dir)s/config -n %(dir)s/work -s malloc,20m",
    ),
    "caddy": Program(
        package="caddy",
        command="run --config %(dir)s/config --adapter caddyfile",
        frame="""{
	admin off
	auto_https disable_redirects
	skip_install_trust
}
%(config)s
""",
    ),
    "squid": Program(
        package="squid",
        command="-N -n everywire%(port)s -f %(dir)s/config",  # the name is that of its shared memory
        frame="""pid_filename none
access_log none
cache_log %(dir)s/cache.log
pinger_enable off
shutdown_lifetime 0 seconds
acl SSL_ports port 443
acl Safe_ports port 80
acl Safe_ports port 443
acl Safe_ports port 1025-65535
http_access deny !Safe_ports
http_access deny CONNECT !SSL_ports
http_access allow localhost manager
http_access deny manager
%(config)s
http_access allow localhost
http_access deny all
http_port 127.0.0.1:%(port)s
coredump_dir %(dir)s
""",
    ),
}

# ------------------------------------------------------------------------------------------------------------------ boxes


_ALL = (
    Middlebox(
        name="nginx-default",
        program="nginx",
        config="server { listen 80; location / { proxy_pass http://127.0.0.1:8000; } }",
        story="nginx as its beginner's guide has it: HTTP/1.0 to the server, and no upgrade",
        wins="sse",
    ),
    Middlebox(
        name="nginx",
        program="nginx",
        config=DEPLOY / "nginx.conf",
        story="nginx as we recommend it",
        wins="websocket",
    ),
    Middlebox(
        name="nginx-h2",
        program="nginx",
        config=DEPLOY / "nginx.conf",
        story="the same, over HTTPS: HTTP/2 for all but WebSocket, which nginx knows over HTTP/1.1 only",
        wins="websocket",
        tls=True,
    ),
    Middlebox(
        name="nginx-gzip",
        program="nginx",
        config="gzip_proxied any; gzip_types *; gzip_min_length 0;\n"
        "server { listen 80; location / { proxy_pass http://127.0.0.1:8000; } }",
        story="nginx that compresses all there is, no matter what `no-transform` says",
        wins="sse",
    ),
    Middlebox(
        name="nginx-buffering",
        program="nginx",
        config="server { listen 80; location / { proxy_pass http://127.0.0.1:8000; proxy_ignore_headers X-Accel-Buffering; } }",
        story="nginx that holds back what streams, though it is asked not to",
        wins="longpoll",
    ),
    Middlebox(
        name="nginx-short",
        program="nginx",
        config="server { listen 80; location / { proxy_pass http://127.0.0.1:8000; proxy_read_timeout 5s;"
        " proxy_http_version 1.1; proxy_set_header Host $http_host;"
        ' proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; } }',
        story="nginx that cuts what is silent for 5 s",
        wins="websocket",
    ),
    Middlebox(
        name="haproxy",
        program="haproxy",
        config=DEPLOY / "haproxy.cfg",
        story="HAProxy as we recommend it",
        wins="websocket",
    ),
    Middlebox(
        name="haproxy-h2",
        program="haproxy",
        config=DEPLOY / "haproxy.cfg",
        story="the same, over HTTPS: HTTP/2 for everything, browsers' WebSockets too",
        wins="websocket",
        tls=True,
    ),
    Middlebox(
        name="haproxy-short",
        program="haproxy",
        config="listen live\n bind :80\n timeout client 5s\n timeout server 5s\n timeout tunnel 5s\n server s 127.0.0.1:8000",
        story="HAProxy that cuts what is silent for 5 s",
        wins="websocket",
    ),
    Middlebox(
        name="haproxy-no-upgrade",
        program="haproxy",
        config="listen live\n bind :80\n http-request del-header Upgrade\n server s 127.0.0.1:8000",
        story="a gateway that lets no upgrade through",
        wins="sse",
    ),
    Middlebox(
        name="apache-default",
        program="apache2",
        config="<VirtualHost *:80>\nProxyPass / http://127.0.0.1:8000/\n</VirtualHost>",
        story="Apache with one line of mod_proxy: no upgrade",
        wins="sse",
    ),
    Middlebox(
        name="apache",
        program="apache2",
        config=DEPLOY / "apache.conf",
        story="Apache as we recommend it",
        wins="websocket",
    ),
    Middlebox(
        name="varnish-default",
        program="varnishd",
        config='vcl 4.1;\nbackend default { .host = "127.0.0.1"; .port = "8000"; }',
        story="Varnish with the address of its server and nothing else",
        wins="sse",
    ),
    Middlebox(
        name="varnish",
        program="varnishd",
        config=DEPLOY / "varnish.vcl",
        story="Varnish as we recommend it",
        wins="websocket",
    ),
    Middlebox(
        name="caddy",
        program="caddy",
        config="\n:80 {\n\treverse_proxy 127.0.0.1:8000\n}",
        story="Caddy without HTTPS",
        wins="websocket",
    ),
    Middlebox(
        name="caddy-h2",
        program="caddy",
        config=DEPLOY / "Caddyfile",
        story="Caddy as everybody runs it: HTTPS and HTTP/2",
        wins="websocket",
        tls=True,
    ),
    Middlebox(
        name="squid",
        program="squid",
        config="",
        story="an office's Squid with Debian's rules: CONNECT to port 443 only, and no upgrade",
        wins="sse",
        proxy=True,
    ),
    Middlebox(
        name="squid-auth",
        program="squid",
        config="auth_param basic program /usr/lib/squid/basic_ncsa_auth /etc/squid/users\n"
        "acl known proxy_auth REQUIRED\nhttp_access deny !known",
        story="an office's Squid that wants to know who comes",
        wins="sse",
        proxy=True,
        user="reader:secret",
    ),
    Middlebox(
        name="squid-https",
        program="squid",
        config="acl SSL_ports port 443",
        story="the same two, on the way to a site with HTTPS: nothing that is inside CONNECT can be held back",
        wins="websocket",
        proxy=True,
        site="nginx-h2",
    ),
    Middlebox(
        name="squid-tuned",
        program="squid",
        config=DEPLOY / "squid.conf",
        story="an office's Squid that allows what we ask for",
        wins="websocket",
        proxy=True,
    ),
)
BOXES = {box.name: box for box in _ALL}
"""All of them, by name."""

_SEVERAL = (
    Middlebox(
        name="nginx-several",
        program="nginx",
        config=DEPLOY / "nginx-several.conf",
        story="nginx in front of three servers, in turns",
        wins="websocket",
        connections=8192,
    ),
    Middlebox(
        name="haproxy-several",
        program="haproxy",
        config=DEPLOY / "haproxy-several.cfg",
        story="HAProxy in front of three servers, which it asks for their health",
        wins="websocket",
    ),
    Middlebox(
        name="caddy-several",
        program="caddy",
        config=DEPLOY / "Caddyfile-several",
        story="Caddy in front of three servers, which it asks for their health",
        wins="websocket",
        tls=True,
    ),
)
SEVERAL = {box.name: box for box in _SEVERAL}
"""Those in front of three servers that share a broker."""
