"""Mends: the lines that let a stream pass, for the servers that people put in front of theirs. They are data.

In the lines `{mount}` is the path of the mount, `{pattern}` the same as a regular expression, `{host}` and `{port}` are of
its URL, and BACKEND is for whoever pastes them to fill in: the `address:port` at which everywire listens. A line takes the
place of one that is there already and begins alike.

What is pasted must open nothing but the way to the mount: no line lifts a check that somebody else has made, such as for a
password. Where that is what is in the way (`blocked`), only its owner can tell whether it should be; but for a Squid, whose
usual rules forbid ports and not people.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec


class Mend(msgspec.Struct, frozen=True):
    """Lines for one place of one server's configuration."""

    server: str
    where: str
    lines: list[str]
    why: list[str]  # the faults that they are for


class _Lines(NamedTuple):
    server: str
    faults: str  # separated by spaces
    where: str
    lines: str


_PATIENCE: Final = 75  # seconds: above the longest poll (60), and five times the usual beat

_CADDY_PROXY: Final = """reverse_proxy {mount}/* BACKEND {
    flush_interval -1
    transport http {
        read_timeout 0
        response_header_timeout %ds
    }
}"""

_NGINX_LOCATION: Final = "the location that has the proxy_pass"
_NGINX_HEADERS: Final = f"{_NGINX_LOCATION}; copy to it each proxy_set_header from outside of it: they are void there now"
_VARNISH: Final = "the VCL, behind your own checks in vcl_recv"
_SQUID: Final = "squid.conf, in place of the two http_access lines that begin alike"

_TABLE: Final = (
    _Lines(
        "nginx",
        "upgrade",
        "http { }, outside of server { }",
        """map $http_upgrade $everywire_connection {
    default upgrade;
    "" "";
}""",
    ),
    _Lines(
        "nginx",
        "upgrade",
        _NGINX_HEADERS,
        """proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $everywire_connection;
proxy_set_header Host $http_host;""",
    ),
    _Lines("nginx", "host", _NGINX_HEADERS, "proxy_set_header Host $http_host;"),
    _Lines("nginx", "buffering", _NGINX_LOCATION, "proxy_buffering off;\ngzip off;"),
    _Lines("nginx", "compression compressed", _NGINX_LOCATION, "gzip off;"),
    _Lines(
        "nginx",
        "idle life",
        _NGINX_LOCATION,
        f"proxy_read_timeout {_PATIENCE}s;\nproxy_send_timeout {_PATIENCE}s;\nsend_timeout {_PATIENCE}s;",
    ),
    _Lines(
        "HAProxy",
        "upgrade",
        "each http-request line that deletes or sets Upgrade or Connection, at its end",
        "unless { path {mount}/ws }",
    ),
    _Lines(
        "HAProxy",
        "host",
        "each http-request line that deletes or sets Host, at its end",
        "unless { path_beg {mount}/ }",
    ),
    _Lines("HAProxy", "buffering", "the backend", "option http-no-delay"),
    _Lines("HAProxy", "compression compressed", "where compression is", "compression type text/html text/css text/javascript"),
    _Lines("HAProxy", "idle life", "the frontend", f"timeout client {_PATIENCE}s"),
    _Lines("HAProxy", "idle life", "the backend", f"timeout server {_PATIENCE}s\ntimeout tunnel 1h"),
    _Lines(
        "Apache",
        "upgrade buffering idle life",
        "the VirtualHost, before other ProxyPass lines",
        f"ProxyPass {{mount}}/ http://BACKEND{{mount}}/ upgrade=websocket flushpackets=on timeout={_PATIENCE}",
    ),
    _Lines("Apache", "idle life", "the VirtualHost", f"Timeout {_PATIENCE}"),
    _Lines(
        "Apache", "buffering compression compressed", "the VirtualHost", 'SetEnvIf Request_URI "^{pattern}/" no-gzip no-brotli'
    ),
    _Lines("Apache", "host", "the VirtualHost", "ProxyPreserveHost On"),
    _Lines(
        "Varnish",
        "upgrade",
        _VARNISH,
        """sub vcl_recv {
    if (req.url ~ "^{pattern}/ws(\\?|$)" && req.http.Upgrade ~ "(?i)^websocket$") {
        return (pipe);
    }
}
sub vcl_pipe {
    if (req.http.Upgrade) {
        set bereq.http.Upgrade = req.http.Upgrade;
        set bereq.http.Connection = req.http.Connection;
    }
}""",
    ),
    _Lines(
        "Varnish",
        "buffering compression compressed",
        _VARNISH,
        """sub vcl_recv {
    if (req.url ~ "^{pattern}/" && !req.http.Upgrade) {
        return (pass);
    }
}
sub vcl_backend_response {
    if (bereq.url ~ "^{pattern}/") {
        set beresp.do_stream = true;
        set beresp.do_gzip = false;
        set beresp.uncacheable = true;
        return (deliver);
    }
}""",
    ),
    _Lines(
        "Varnish",
        "idle/sse idle/longpoll life/sse life/longpoll",
        _VARNISH,
        f"""sub vcl_backend_fetch {{
    set bereq.first_byte_timeout = {_PATIENCE}s;
    set bereq.between_bytes_timeout = {_PATIENCE}s;
}}""",
    ),
    _Lines(
        "Varnish",
        "idle/websocket life/websocket",
        "the arguments of varnishd",
        f"-p pipe_timeout={_PATIENCE} -p send_timeout={_PATIENCE}",
    ),
    _Lines("Caddy", "upgrade buffering idle life", "the site", _CADDY_PROXY % _PATIENCE),
    _Lines("Caddy", "life", "the global options", "servers {\n    timeouts {\n        read_body 0\n        write 0\n    }\n}"),
    _Lines(
        "Caddy",
        "buffering compression compressed",
        "the site, in place of the encode line",
        "@everywire_not not path {mount}/*\nencode @everywire_not gzip",
    ),
    _Lines(
        "Squid",
        "upgrade blocked",
        _SQUID,
        """acl everywire_host dstdomain -n {host}
acl everywire_port port {port}
acl everywire all-of everywire_host everywire_port
http_access deny !Safe_ports !everywire
http_access deny CONNECT !SSL_ports !everywire""",
    ),
    _Lines("Squid", "upgrade", _SQUID, "http_upgrade_request_protocols websocket allow everywire"),
    _Lines("Squid", "idle life", "squid.conf", "read_timeout 15 minutes\nclient_lifetime 1 day"),
    _Lines(
        "client",
        "proxy_auth",
        "the environment of the client",
        "export HTTP_PROXY=http://USER:PASSWORD@PROXY:PORT\nexport HTTPS_PROXY=$HTTP_PROXY",
    ),
    _Lines("client", "certificate", "the client", 'connect(url, channels, ca="the-authority-of-this-network.pem")'),
)

REVERSE: Final = ("nginx", "HAProxy", "Apache", "Varnish", "Caddy")
"""Servers that stand before a server; they are offered all where it is not known which."""


def mends(faults: Collection[str], servers: Iterable[str], url: str) -> list[Mend]:
    """What mends `faults` in the configurations of `servers`. The same place is named once."""
    places: dict[tuple[str, str], Mend] = {}
    wanted = list(dict.fromkeys(servers))
    for each in sorted(_TABLE, key=lambda row: wanted.index(row.server) if row.server in wanted else 0):
        why = [fault for fault in each.faults.split() if fault in faults]
        if not why or each.server not in wanted:
            continue
        mend = places.setdefault((each.server, each.where), Mend(each.server, each.where, [], []))
        lines = _filled(each.lines, url)
        block = any(line.endswith("{") for line in lines)  # whose lines belong together, however often they occur
        mend.lines.extend(line for line in lines if block or line not in mend.lines)
        mend.why.extend(fault for fault in why if fault not in mend.why)
    return list(places.values())


def _filled(lines: str, url: str) -> list[str]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    mount = parts.path.rstrip("/")
    values = {"{mount}": mount, "{pattern}": re.escape(mount), "{host}": parts.hostname or "", "{port}": str(port)}
    for name, value in values.items():
        lines = lines.replace(name, value)
    return lines.splitlines()
