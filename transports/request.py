"""Request: what can be asked for, the same whichever edge it came in at."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from http.cookies import SimpleCookie
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from . import position
from .addresses import Hops, client_address
from .errors import Code, Refusal
from .items import VERSION
from .subscriptions import Policy, policies_of, read_lag

TOKEN_SUBPROTOCOL: Final = "everywire.token."  # noqa: S105 - what a token is shown behind, where no header can be set
ONCE: Final = frozenset(
    {
        "authorization",
        "content-length",
        "content-type",
        "host",
        "origin",
        "sec-fetch-dest",
        "sec-fetch-mode",
        "sec-fetch-site",
        "sec-websocket-key",
        "sec-websocket-version",
        "transfer-encoding",
    }
)
"""Headers of which two would say two things of one request, so that who reads the other one is fooled."""

_LISTS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "expect",
        "forwarded",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "upgrade",
        "via",
        "x-forwarded-for",
    }
)  # headers of which two are one longer list (RFC 9110 5.3)
_JOINTS: Final = {**dict.fromkeys(_LISTS, ", "), "cookie": "; "}  # HTTP/2 may have one for each cookie (RFC 9113 8.2.3)
LINE_BYTES: Final = 8192  # of a request line; RFC 9112 3 wants 8,000 at least
HEAD_BYTES: Final = 16_384  # of a request line and all headers: cookies of 4 KB, and a token
_SPOKEN: Final = str(VERSION)
_JSON: Final = "application/json"
_unquoted = SimpleCookie().value_decode
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,20})?", re.ASCII)
_DIGITS = 10
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

    Where something is said twice, the first of two parameters counts, and of two headers what `fields` makes of them.

    Args:
        method: `GET`, `POST`, …
        path: below the mount, without slashes around it.
        query: what is behind the question mark, still encoded.
        headers: names in lower case.
        peer: the address at the other end of the connection; empty for a Unix socket.
        believe: what the proxies in front say; None: there are none.
        secure: it came over TLS as far as here.
    """

    __slots__ = ("_believe", "_peer", "found", "headers", "method", "path", "query", "secure")

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        peer: str = "",
        believe: Hops | None = None,
        *,
        secure: bool = False,
    ) -> None:
        self.method, self.path, self.headers, self.secure = method, path, headers, secure
        self.query = parameters(query)
        self._peer, self._believe = peer, believe
        self.found: Identity | Refusal = NOBODY  # who asks, once that has been found out; or why that cannot be had

    @property
    def address(self) -> str:
        """Of the client, as far as it is known: never by a word of its own."""
        return self._peer if self._believe is None else client_address(self._peer, self.headers, self._believe)

    @property
    def forwarded(self) -> bool:
        """Whether it says that it came through proxies, of which nobody has told us."""
        return self._believe is None and ("x-forwarded-for" in self.headers or "forwarded" in self.headers)

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
        """The cookies (RFC 6265 4.2). Garbage is passed over: what some script has set must not sign anybody out. Of two with the
        same name the first counts, as the one with the longer path does (5.4).
        """
        found: dict[str, str] = {}
        for part in self.headers.get("cookie", "").split(";"):
            name, equals, value = part.strip().partition("=")
            if equals and name:
                found.setdefault(name.strip(), _unquoted(value.strip())[0])
        return found

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

    @property
    def spoken(self) -> bool:
        """Whether it is of a version that is spoken here."""
        return self.query.get("v", _SPOKEN) == _SPOKEN

    def check_version(self) -> None:
        """Raises: Refusal 4426."""
        if not self.spoken:
            raise Refusal(Code.VERSION, f"this server speaks version {VERSION}, not {self.query['v'][:20]}")

    def check_json(self) -> None:
        """What changes something has to be said in JSON, which no page of another origin can send before its browser has asked
        whether it may (WHATWG Fetch 2.2.2): a form cannot.

        Raises:
            Refusal: 4400, with the status 415.
        """
        kind = self.headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != _JSON:
            said = f"not {kind[:60]!r}" if kind else "and this says no Content-Type"
            raise Refusal(Code.BAD_COMMAND, f"commands come as Content-Type: {_JSON}, {said}", status=415)

    def forget_user(self) -> None:
        """Forget what a browser adds by itself, whoever's page asks: cookies, and a password that it keeps (RFC 7617). A token is
        shown by the page.
        """
        by_itself = {"cookie"}
        if not self.headers.get("authorization", "").lower().startswith("bearer "):
            by_itself.add("authorization")
        self.headers = {name: value for name, value in self.headers.items() if name not in by_itself}


def fields(lines: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Header lines as one thing each: lists are joined, and of others that come twice the last counts.

    Args:
        lines: names in lower case.

    Raises:
        ValueError: two of what is said once; the message has the name.
    """
    said: dict[str, str] = {}
    for name, value in lines:
        if name in said:
            if name in ONCE:
                raise ValueError(name)
            if name in _JOINTS:
                value = f"{said[name]}{_JOINTS[name]}{value}"
        said[name] = value
    return said


def parameters(query: str) -> dict[str, str]:
    """The parameters of a query; of two with the same name, the first."""
    if "%" not in query and "+" not in query:
        with suppress(ValueError):  # a part without "="
            return dict([part.split("=", 1) for part in reversed(query.split("&"))])  # the same, several times as fast
    return dict(reversed(parse_qsl(query, keep_blank_values=True)))


def parse_seconds(name: str, text: str | None, default: float, most: float) -> float:
    """The seconds that a parameter asks for, such as `wait`, but no more than `most`.

    Raises:
        Refusal: 4400, when it is not a number, or below 0.
    """
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise Refusal(Code.BAD_COMMAND, f"{name}={text[:20]} is not a number of seconds")
    return min(float(text), most)


def parse_count(text: str | None, default: int, most: int, what: str) -> int:
    """How many are to be listed, as `limit` says, but no more than `most`; `what`: members, connections.

    Raises:
        Refusal: 4400, when it is no number.
    """
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < _DIGITS):
        raise Refusal(Code.BAD_COMMAND, f"limit={text[:20]}: a number of {what}, {most} at the most")
    return min(int(text), most)


def _names(text: str) -> tuple[str, ...]:
    return _usual(text) if len(text) <= _SHORT else _split(text)


def _split(text: str) -> tuple[str, ...]:
    return tuple([name for name in text.split(",") if name])


_usual = lru_cache(1024)(_split)  # most readers read what others read; what is longer must not fill the memory
