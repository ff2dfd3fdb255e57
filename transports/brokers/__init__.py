"""Brokers: where offsets come from, and how events reach every worker process.

A broker never knows the hub: it hands over to a `Follower`. `memory://` serves one process, `sqlite:///` those of one
machine, `redis://` many.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from ..errors import Code, ConfigError, Refusal
from ..options import Options
from ..position import Position

_LETTERS = string.ascii_lowercase + string.digits


class Record(NamedTuple):
    """One event as a broker keeps it: `data` is JSON, encoded once and never again."""

    offset: int
    channel: str
    at: float  # seconds since 1970
    data: bytes
    about: str | None = None  # which of the channel's things it tells of


class Follower(Protocol):
    """Who takes what a broker has. Called on the event loop, in the order of offsets: once it was told of one, of whichever
    channel, it takes no record at it or before it any more. Never waits.
    """

    def begin(self, epoch: str, gone: int = 0) -> None:
        """From here on, records are of `epoch`, and nothing through the offset `gone` will be handed over, of any channel.

        The first call of all. Later, with the same epoch, it tells of a hole: the broker let go of records that were not
        handed over yet; with another, that it lost what it had.
        """

    def forget(self, channel: str, through: int) -> None:
        """Of `channel`, nothing through the offset `through` will be handed over, or is kept any more."""

    def take(self, records: Sequence[Record]) -> None:
        """Events, in offset order, behind all that came before."""


class Broker(Protocol):
    """What a hub needs of a broker."""

    shared: bool
    """Whether others may publish too, so that what was published may not have been handed over here yet."""

    async def tail(self, follower: Follower) -> None:
        """Begin to hand over every event; called once in a life, by `Hub.open`.

        What is kept from before has been handed over when this returns. From then on the broker comes back by itself from
        whatever happens to it.

        Raises:
            Refusal: 4504, when it cannot be reached.
        """

    async def publish(self, channel: str, data: bytes, key: str | None, about: str | None = None) -> int:
        """Append one event and return its offset; called by `Hub.publish`.

        The same `key` for the same channel within the window appends nothing and returns the first offset.

        Raises:
            Refusal: 4504, when it is not known to be kept.
        """

    async def head(self) -> Position:
        """The highest offset there is at this moment, and its epoch.

        Raises:
            Refusal: 4504, when it cannot be known.
        """

    async def close(self) -> None:
        """Stop handing over; called once in a life, by `Hub.close`."""


def check_text(*texts: str | None) -> None:
    """Raises: Refusal 4400, one of them cannot be written down in UTF-8."""
    for text in texts:
        if text and not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise Refusal(Code.BAD_COMMAND, "half a character cannot be written down") from error


def new_epoch() -> str:
    """A name for another life of a log, which none before it had."""
    return "".join(secrets.choice(_LETTERS) for _ in range(6))


def broker_from(options: Options) -> Broker:
    """The broker that `options.broker`, a URL, names.

    Raises:
        ConfigError: its scheme is unknown, or it makes no sense.
        MissingExtraError: what it needs is not installed.
    """
    scheme = urlsplit(options.broker).scheme
    if scheme == "memory":
        from .memory import MemoryBroker

        return MemoryBroker(key_window=options.key_window, key_count=options.key_count)
    if scheme == "sqlite":
        from .sqlite import SqliteBroker

        return SqliteBroker.from_options(options)
    if scheme in ("redis", "rediss", "unix"):
        from .redis import RedisBroker

        return RedisBroker(
            options.broker,
            history_total=options.history_total,
            history_age=options.history_age,
            key_window=options.key_window,
            key_count=options.key_count,
        )
    raise ConfigError(f"there is no broker for {scheme}://; there are memory://, sqlite:///, redis://, rediss:// and unix://")
