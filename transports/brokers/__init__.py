"""Brokers: where offsets come from, and how events reach every worker process.

A broker is three calls and never knows the hub. `memory://` serves one process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..options import Options


class Record(NamedTuple):
    """One event as a broker keeps it: `data` is JSON, encoded once and never again."""

    offset: int
    channel: str
    at: float  # seconds since 1970
    data: bytes


Deliver: TypeAlias = Callable[[Record], None]


class Broker(Protocol):
    """What a hub needs of a broker."""

    async def tail(self, deliver: Deliver) -> str:
        """Begin to hand over every event, in offset order; called once, by `Hub.open`.

        What is kept from before has been handed over when this returns. Returns the epoch.
        Raises: Refusal 4504, when the broker cannot be reached.
        """

    async def publish(self, channel: str, data: bytes, key: str | None) -> int:
        """Append one event and return its offset; called by `Hub.publish`.

        The same `key` for the same channel within the window appends nothing and returns the first offset.
        Raises: Refusal 4504, when it is not known to be kept.
        """

    async def close(self) -> None:
        """Stop handing over; called once, by `Hub.close`."""


def broker_from(options: Options) -> Broker:
    """The broker that `options.broker`, a URL, names.

    Raises:
        ConfigError: its scheme is unknown.
    """
    scheme = urlsplit(options.broker).scheme
    if scheme == "memory":
        from .memory import MemoryBroker

        return MemoryBroker(key_window=options.key_window, key_count=options.key_count)
    raise ConfigError(f"there is no broker for {options.broker!r}; there is memory://")
