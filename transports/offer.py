"""Offer: what a server tells of itself at `negotiate`, and the other short answers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .items import VERSION
from .options import Options
from .transport import Transport


class Wire(msgspec.Struct, frozen=True):
    """A transport that is offered. `many`: one connection carries many batches; `path` is below the mount."""

    name: str
    path: str
    many: bool


class Bounds(msgspec.Struct, frozen=True):
    """How much may be asked for, as far as a client which knows of it can keep to it: bytes, channels, connections, seconds, and
    commands and bytes a second, as the settings of the same names have them.
    """

    message_bytes: int
    channels_per_reader: int
    poll_wait: float
    poll_wait_max: float
    presence_lease: float
    presence_bytes: int
    connections_per_who: int
    commands_per_connection: float
    bytes_per_connection: int
    burst_seconds: float
    first_command_timeout: float


class Offer(msgspec.Struct, frozen=True):
    """What a server tells of itself. `transports` are best first, `commands` and `ticket` are paths below the mount, `beat` is in
    seconds, `subprotocols` are those of a WebSocket and `encodings` the content codings of SSE and polls.
    """

    versions: list[int]
    transports: list[Wire]
    commands: str
    ticket: str
    beat: float
    subprotocols: list[str]
    encodings: tuple[str, ...]
    limits: Bounds


class Ticket(msgspec.Struct, frozen=True):
    """What identifies a client that can set no headers, once. `expires`: in seconds since 1970."""

    ticket: str
    expires: float


class Ready(msgspec.Struct, frozen=True):
    """New readers may be sent here."""

    ready: bool = True


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    alive: bool = True


def offer(options: Options, transports: Sequence[Transport]) -> Offer:
    """What a server with these settings offers."""
    spoken = [each.content_type for ws in transports if ws.commands_up for each in (ws, *ws.also)]
    wires = [Wire(each.name, each.path, each.many) for each in transports]
    limits = Bounds(**{name: getattr(options, name) for name in Bounds.__struct_fields__})
    return Offer([VERSION], wires, "commands", "ticket", options.beat, spoken, options.encodings, limits)
