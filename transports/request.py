"""Request: what can be asked for, the same whichever edge it came in at."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from . import position
from .errors import Code, Refusal
from .items import VERSION
from .subscriptions import Policy, policies_of, read_lag

TOKEN_SUBPROTOCOL: Final = "everywire.token."  # noqa: S105 - what a token is shown behind, where no header can be set
_SPOKEN: Final = str(VERSION)
_SHORT = 256  # characters of channels that are kept as they were read


class Identity(NamedTuple):
    """Who somebody is found to be, and how long that holds.

    `who` is what `authorize` is asked about: anything hashable, a name or a number most often; None is nobody in particular.
    `expires`: seconds since 1970.
    """

    who: Hashable = None
    expires: float | None = None


NOBODY: Final = Identity()


class Request:
    """What can be asked for.

    Where something is said twice, the first of two parameters and the last of two headers counts.

    Args:
        method: `GET`, `POST`, …
        path: below the mount, without slashes around it.
        query: what is behind the question mark, still encoded.
        headers: names in lower case.
        peer: the address at the other end of the connection; empty for a Unix socket.
    """

    __slots__ = ("address", "found", "headers", "method", "path", "query")

    def __init__(self, method: str, path: str, query: str, headers: Mapping[str, str], peer: str = "") -> None:
        self.method, self.path, self.headers = method, path, headers
        self.query = parameters(query)
        self.address = peer  # of the client, as far as it is known
        self.found: Identity | Refusal = NOBODY  # who asks, once that has been found out; or why that cannot be had

    @property
    def identity(self) -> Identity:
        """Who asks, as it was found out. Raises: Refusal, if it was not."""
        if isinstance(self.found, Refusal):
            raise self.found
        return self.found

    @property
    def who(self) -> Hashable:
        """Who asks, as `authorize` knows it. Raises: Refusal, if that was not found out."""
        return self.identity.who

    @property
    def token(self) -> str | None:
        """What was shown as `Authorization: Bearer …` (RFC 6750 2.1) or, where no header can be set, as a subprotocol of a
        WebSocket; None if there is none, or it is garbage.
        """
        scheme, _, shown = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and shown.strip():
            return shown.strip()
        for offered in self.headers.get("sec-websocket-protocol", "").split(","):
            if (text := offered.strip()).startswith(TOKEN_SUBPROTOCOL):
                text = text.removeprefix(TOKEN_SUBPROTOCOL)
                with suppress(ValueError, binascii.Error):  # a UnicodeDecodeError is a ValueError
                    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode() or None
        return None

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies (RFC 6265 4.2); none of them, if they are garbage."""
        try:
            return {name: morsel.value for name, morsel in SimpleCookie(self.headers.get("cookie", "")).items()}
        except CookieError:
            return {}

    def channels(self) -> tuple[str, ...]:
        """The names in `channels=a,b`."""
        return _names(self.query.get("channels", ""))

    def policies(self) -> dict[str, Policy]:
        """How much of which is wanted: `latest=a,b` and `lag=c:100`. Raises: Refusal 4400, garbage."""
        query = self.query
        if "latest" not in query and "lag" not in query:
            return {}
        return policies_of(_names(query.get("latest", "")), read_lag(query.get("lag", "")))

    def since(self, header: bool = False) -> position.Position | None:
        """Where to read on from; `header` says that `Last-Event-ID` goes before. Raises: Refusal 4400, garbage."""
        text = (header and self.headers.get("last-event-id")) or self.query.get("since")
        return position.parse(text) if text else None

    def check_version(self) -> None:
        """Raises: Refusal 4426."""
        if (asked := self.query.get("v", _SPOKEN)) != _SPOKEN:
            raise Refusal(Code.VERSION, f"this server speaks version {VERSION}, not {asked[:20]}")

    def foreign_origin(self, allowed: Sequence[str]) -> str | None:
        """The origin of the page that asks, if it is another than ours and allowed; None for our own and for no page.

        Raises:
            Refusal: 4403, it is not allowed.
        """
        origin = self.headers.get("origin")
        # No page can forge `Sec-Fetch-Site`, and a proxy that rewrites `Host` leaves it alone.
        if origin is None or self.headers.get("sec-fetch-site") == "same-origin":
            return None
        host = self.headers.get("host", "").lower()
        if host and origin.lower() in (f"http://{host}", f"https://{host}"):
            return None
        if origin in allowed or "*" in allowed:
            return origin
        raise Refusal(Code.FORBIDDEN, f"pages from {origin[:80]} may not connect: it is not in the setting origins")


def parameters(query: str) -> dict[str, str]:
    """The parameters of a query; of two with the same name, the first."""
    if "%" not in query and "+" not in query:
        with suppress(ValueError):  # a part without "="
            return dict([part.split("=", 1) for part in reversed(query.split("&"))])  # the same, several times as fast
    return dict(reversed(parse_qsl(query, keep_blank_values=True)))


def _names(text: str) -> tuple[str, ...]:
    return _usual(text) if len(text) <= _SHORT else _split(text)


def _split(text: str) -> tuple[str, ...]:
    return tuple([name for name in text.split(",") if name])


_usual = lru_cache(1024)(_split)  # most readers read what others read; what is longer must not fill the memory
