"""The numbered codes, one space for every transport, and the exceptions that carry them.

A code is at once a WebSocket close code (RFC 6455 section 7.4.2 leaves 4000-4999 to applications), the `code` of a
`bye` item, the `code` in the body of an HTTP error and the `code` of a failed reply. Its range says what to do
next: **44xx, the client must change something; 45xx, come back.**
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec


class Code(enum.IntEnum):
    """Every reason to refuse or to end something."""

    status: int  # the HTTP status that says the same
    retry: float | None  # seconds until it makes sense to come back unchanged; None: it does not
    meaning: str

    def __new__(cls, value: int, status: int, retry: float | None, meaning: str) -> Code:  # noqa: D102
        member = int.__new__(cls, value)
        member._value_ = value
        member.status, member.retry, member.meaning = status, retry, meaning
        return member

    CLOSED = 1000, 200, None, "finished, nothing is wrong"
    GOING_AWAY = 1001, 503, 1.0, "the peer goes away"
    BAD_COMMAND = 4400, 400, None, "not understood: malformed command, frame, parameter or position"
    UNAUTHORIZED = 4401, 401, None, "who are you?"
    FORBIDDEN = 4403, 403, None, "not allowed for you, or from this origin"
    UNKNOWN_CHANNEL = 4404, 404, None, "no such channel, or not a channel name"
    SILENT = 4408, 408, 1.0, "nothing was heard for too long"
    REPLACED = 4409, 409, None, "another connection took this one's place"
    TOO_LARGE = 4413, 413, None, "over the size limit"
    VERSION = 4426, 400, None, "this protocol version is not spoken here"
    RATE_LIMITED = 4429, 429, 5.0, "too many"
    TOO_SLOW = 4430, 408, 1.0, "the reader does not keep up"
    INTERNAL = 4500, 500, 1.0, "our fault"
    DRAINING = 4503, 503, 1.0, "this server is stopping"
    BROKER_DOWN = 4504, 503, 2.0, "the log cannot be written at present"
    REBALANCE = 4505, 503, 0.5, "please connect again, to another worker"


class EverywireError(Exception):
    """Base of everything that this package raises on purpose."""


class ConfigError(EverywireError):
    """A setting is unknown, of the wrong type or out of range; the message names it and says what would do."""


class MissingExtraError(EverywireError, ImportError):
    """A part was used whose libraries are not installed; the message is the line that installs them."""

    def __init__(self, extra: str, library: str) -> None:
        line = f"pip install 'everywire[{extra}]'  (in a checkout: pip install -e '.[{extra}]')"
        super().__init__(f"{library} is not installed. Install it with:  {line}")


class Refusal(EverywireError):  # noqa: N818 - it is an answer, and the word of the protocol
    """The server says no, with a code.

    Raised inside the server where something is refused, and by the client when it was told so.

    Args:
        code: why.
        reason: in words for people, with what would do.
        retry: seconds until it makes sense to come back, where they are not those of the code.
        status: of HTTP, where it is not that of the code.
    """

    def __init__(self, code: Code, reason: str = "", *, retry: float | None = None, status: int | None = None) -> None:
        self.code = code
        self.status = status or code.status
        self.reason = reason or code.meaning
        self.retry = code.retry if retry is None else retry
        super().__init__(f"{int(code)} {self.name}: {self.reason}")

    @property
    def name(self) -> str:
        """The code's name as it travels: `unknown_channel`."""
        return self.code.name.lower()


class NotEverywireError(EverywireError):
    """What came down the wire is not ours: a captive portal, a login page, a broken proxy."""


class ConnectionFailedError(EverywireError):
    """No transport could be opened, or the one that was open broke; the message names each attempt and its end."""


class QueueFullError(EverywireError):
    """As many publishes as may be under way are under way already. Try again when some of them are through."""


class EventsLostError(EverywireError):
    """Events are gone for good, and nobody was there to be told (`on_lost`). Fetch a snapshot, then go on iterating.

    `lost` is the item that says what is gone.
    """

    def __init__(self, lost: Any) -> None:
        super().__init__(f"{lost.channel}: everything after {lost.after} through {lost.through} is gone ({lost.reason})")
        self.lost = lost


class ErrorBody(msgspec.Struct):
    """The JSON body of every HTTP error: `{"code":4404,"name":"unknown_channel","reason":"…","retry":null}`."""

    code: int
    name: str
    reason: str = ""
    retry: float | None = None

    @classmethod
    def of(cls, refusal: Refusal) -> ErrorBody:
        """The body that tells of `refusal`."""
        return cls(int(refusal.code), refusal.name, refusal.reason, refusal.retry)

    def refusal(self) -> Refusal:
        """The way back: the exception that this body tells of. Codes of a later version keep their meaning by range."""
        return refusal_from(self.code, self.reason, self.retry)


def refusal_from(code: int, reason: str, retry: float | None) -> Refusal:
    """Rebuild a refusal that travelled; an unknown 44xx reads as `bad_command`, anything else unknown as `internal`."""
    known = {int(each): each for each in Code}.get(code, Code.BAD_COMMAND if 4400 <= code < 4500 else Code.INTERNAL)
    refusal = Refusal(known, reason)
    refusal.retry = retry  # None is an answer here: do not come back unchanged
    return refusal
