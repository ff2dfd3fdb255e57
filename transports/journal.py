"""The journal: what an operator's logs are told of connections. The standard library's logging, with names that stay.

Logger `transports.connections`, and the fields of a record beside its message:

    event                 level    fields
    connection.opened     INFO     connection, transport, who, address, position, why, tried
    connection.closed     INFO     connection, transport, who, address, position, reason, seconds, items, bytes, commands
    poll.closed           DEBUG    the same: a poller comes back every few moments, and would be most of what is told
    connection.refused    INFO     code, code_name, reason, address, path, left_out

INFO, since that somebody comes, goes or may not is no fault of the server. What is one is told on other loggers below
`transports`, as WARNING or ERROR; that `authenticate` or `authorize` failed has `left_out` as well. Nothing is told of tokens,
cookies, tickets and queries, and nothing for each event.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Hashable
from typing import Any, Final, Protocol

from .errors import Refusal
from .figures import Figures

CONNECTIONS: Final = "transports.connections"
LINES: Final = 20  # about refusals with one code,
PERIOD: Final = 10.0  # in so many seconds: a flood must not fill a disk. How many were left out is told with the next
_TEXT: Final = 200  # characters of anything that clients had a say in

_log = logging.getLogger(CONNECTIONS)
_failures = logging.getLogger("transports")
# What a record has anyway; everything else came in `extra`.
_USUAL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class Told(Protocol):
    """What is told of a connection. See `accounts.Account`."""

    name: str
    transport: str
    who: Hashable
    address: str
    opened: float
    closed: float | None
    reason: str
    commands: int
    once: bool
    saw: tuple[str, str]

    @property
    def position(self) -> str:
        """Where it reads, or read last."""

    def sent(self) -> tuple[int, int]:
        """How many items, and bytes, have gone to it."""


class Refusals:
    """Which refusals are told: so many with each code in a while."""

    def __init__(self) -> None:
        self._period = 0.0  # when the one that lasts began
        self._told: dict[str, int] = {}
        self._left_out: dict[str, int] = {}

    def left_out(self, name: str, now: float) -> int | None:
        """How many were left out since the last that was told, None if this one is to be left out, too.

        Args:
            name: of the code.
            now: seconds on any clock that does not go back.
        """
        if now - self._period >= PERIOD:
            self._period = now
            self._told.clear()
        if self._told.get(name, 0) >= LINES:
            self._left_out[name] = self._left_out.get(name, 0) + 1
            return None
        self._told[name] = self._told.get(name, 0) + 1
        return self._left_out.pop(name, 0)


class Journal:
    """Tells of connections, and counts them.

    Args:
        figures: where.
    """

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._refusals = Refusals()

    def opened(self, account: Told) -> None:
        """Somebody was let in."""
        self._figures.opened[account.transport] += 1
        if not account.once and _log.isEnabledFor(logging.INFO):
            why, tried = account.saw
            fields = {**_fields(account), "why": printable(why), "tried": printable(tried)}
            _log.info("%(connection)s opened over %(transport)s from %(address)s", fields, extra=fields)

    def closed(self, account: Told) -> None:
        """It has gone."""
        self._figures.closed[account.transport, account.reason] += 1
        level = logging.DEBUG if account.once else logging.INFO
        if _log.isEnabledFor(level):
            items, size = account.sent()
            fields = _fields(account) | {
                "event": "poll.closed" if account.once else "connection.closed",
                "reason": account.reason,
            }
            fields |= {"seconds": round((account.closed or 0.0) - account.opened, 3), "items": items, "bytes": size}
            fields["commands"] = account.commands
            words = "%(connection)s closed over %(transport)s: %(reason)s, after %(seconds)s s, %(items)s items, %(bytes)s bytes"
            _log.log(level, words, fields, extra=fields)

    def refused(self, refusal: Refusal, address: str, path: str) -> None:
        """Somebody was not let in, or got no answer.

        Args:
            refusal: why.
            address: of the client.
            path: below the mount; never the query.
        """
        name = refusal.name
        self._figures.refused[name] += 1
        if not _log.isEnabledFor(logging.INFO):
            return
        if (left_out := self._refusals.left_out(name, time.monotonic())) is None:
            self._figures.left_out[name] += 1
            return
        fields: dict[str, Any] = {"event": "connection.refused", "code": int(refusal.code), "code_name": name}
        fields |= {"reason": printable(refusal.reason), "address": printable(address), "path": printable(path)}
        fields["left_out"] = left_out
        _log.info("%(address)s was refused %(path)s: %(code)s %(code_name)s, %(reason)s", fields, extra=fields)

    def failed(self, what: str, error: BaseException) -> None:
        """What the application was asked has failed, as often as somebody comes: so it is told as often as a refusal.

        Args:
            what: in words that stay.
            error: with its traceback.
        """
        if (left_out := self._refusals.left_out(what, time.monotonic())) is not None:
            _failures.error(what, exc_info=error, extra={"left_out": left_out})


def _fields(account: Told) -> dict[str, Any]:
    return {
        "event": "connection.opened",
        "connection": account.name,
        "transport": account.transport,
        "who": None if account.who is None else printable(account.who),
        "address": printable(account.address),
        "position": account.position,
    }


def printable(said: object) -> str:
    """What somebody may have made up, in one line and not too long: a log must not be written by its readers."""
    text = str(said)[:_TEXT]
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class JsonLines(logging.Formatter):
    """A line of JSON for each record: `at` (seconds since 1970), `level`, `logger`, `message`, `process`, and all that came in
    `extra`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        line: dict[str, Any] = {
            "at": round(record.created, 3),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        line |= {name: value for name, value in vars(record).items() if name not in _USUAL}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, default=str, ensure_ascii=False)


class Text(logging.Formatter):
    """A line of text for each record, and what came in `extra` behind it: `name=value`, in one line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - so it is called
        """See logging."""
        known = super().formatMessage(record)
        extra = [f"{name}={value}" for name, value in vars(record).items() if name not in _USUAL and value not in (None, "")]
        return " ".join([known, *extra])
