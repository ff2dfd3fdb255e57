"""A throw-away certificate authority, for networks that end TLS. Its key lives in memory and ends with the process."""

from __future__ import annotations

import ssl
from pathlib import Path

from ..errors import MissingExtraError

try:
    import trustme
except ImportError as error:  # the message is the line that installs it
    raise MissingExtraError("networks", "trustme") from error


class Authority:
    """One that nobody trusts, until somebody is given its certificate."""

    def __init__(self, *names: str) -> None:
        self._authority = trustme.CA()
        self._certificate = self._authority.issue_cert(*names)

    def server(self, *, http2: bool = False) -> ssl.SSLContext:
        """For a listener: HTTP/1.1 over TLS and, if asked for, HTTP/2."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
        self._certificate.configure_cert(context)
        return context

    def save(self, path: Path) -> Path:
        """Write its certificate, for clients that shall trust it."""
        self._authority.cert_pem.write_to_path(str(path))
        return path
