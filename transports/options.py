"""Options: everything that can be set about a hub and its endpoints, each with its unit, its default and the reason for it.

In Quart's configuration they are called `LIVE_BEAT`, `LIVE_CHANNELS`, …; to `Live` and `Hub` they are keyword arguments.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from .errors import ConfigError

PREFIX: Final = "LIVE_"

_IDLE_LEAST: Final = 5.0
_FAREWELL: Final = 5.0  # seconds for a client to take the last bytes

_Seconds = Annotated[float, Meta(gt=0, le=86_400)]  # a day is for ever here
_Age = Annotated[float, Meta(gt=0, le=366 * 86_400)]  # what is kept in a file may wait for who comes back next year
_Pattern = Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.:\-]{0,127})?\*?\Z", min_length=1)]
_Origin = Annotated[str, Meta(pattern=r"^(\*|[A-Za-z][A-Za-z0-9+.\-]*://[^/?#@*\s]+)\Z")]
_Host = Annotated[str, Meta(pattern=r"^([a-z0-9._\-]+|\[[0-9a-f:.]+\])\Z")]
_Count = Annotated[int, Meta(ge=1)]
_Pause = Annotated[float, Meta(ge=0, le=3600)]
_Token = Annotated[str, Meta(pattern=r"^(|[!-~]{16,})\Z")]
_Window = Annotated[float, Meta(ge=0, le=10)]
_Rate = Annotated[float, Meta(ge=0.01, le=1e9)]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What can be set; see the comments in the source for units and reasons."""

    channels: tuple[
        _Pattern, ...
    ] = ()  # names, or beginnings that end in `*`; nothing may be read or published that is not named
    broker: str = "memory://"  # where offsets come from
    mount: Annotated[str, Meta(pattern=r"^/[^?#\s]*[^/?#\s]\Z")] = "/live"
    origins: tuple[_Origin, ...] = ()  # foreign origins that may connect, such as "https://shop.example"; "*" for all
    hosts: tuple[_Host, ...] = ()  # names by which this server is asked for, without ports; any, if there are none
    beat: _Seconds = 15.0  # seconds of silence before a beat; many proxies cut idle streams at 30 or 60
    poll_wait: _Seconds = 25.0  # seconds a poll waits unless it says otherwise; below the usual cut at 30
    poll_wait_max: _Seconds = 60.0  # seconds a poll may ask for
    history_count: _Count = 1000  # events kept per channel
    history_age: _Age = 300.0  # seconds an event is kept: a lift, a tunnel, a laptop lid
    history_bytes: _Count = 4 << 20  # of JSON kept per channel, or one event if that is larger: 1,000 events of 4 KB
    history_total: _Count = 100_000  # events kept in Redis, over all channels: some 30 MB there, read in seconds at a start
    message_bytes: Annotated[int, Meta(ge=1, le=4 << 20)] = (
        65_536  # of a frame or a request body that comes up, and of the JSON of one event's data
    )
    coalesce: _Window = 0.0  # seconds in which events are collected for one write; the first after a pause never waits
    batch_bytes: _Count = 65_536  # that go down in one write; also about what a reader who stands still costs
    recheck: _Seconds = 4.0  # seconds until `authorize` is asked again about who reads: a right that is gone ends within 5
    secret: str = ""  # what tickets are signed with, the same in all processes; made up where there is but one
    deflate: bool = False  # compress WebSocket messages for clients that offer it: bytes for CPU, and not beside secrets
    encodings: tuple[Literal["gzip", "zstd"], ...] = ()  # codings of polls and SSE for clients that take them, best first
    channels_max: _Count = 10_000  # channels that ever hold events; an open pattern must not fill the memory
    channels_per_reader: _Count = 100  # names and patterns that one reader may ask for
    matches_per_reader: _Count = 1000  # channels that its patterns may match: a read costs a look at each of them
    key_window: _Seconds = 120.0  # seconds in which a publish with the same key is the same publish
    key_count: _Count = 100_000  # keys remembered at the most
    presence_lease: _Seconds = 45.0  # seconds that a lease lasts at the most: renewed every 15, it survives two that get lost
    presence_delay: _Pause = 5.0  # seconds behind the last lease that is given up, in which who comes back never left: a reload
    presence_members: _Count = 10_000  # members of one channel
    presence_bytes: Annotated[int, Meta(ge=4, le=16_384)] = 1024  # of what a member says of itself; it travels with each renewal
    slow_readers: Literal["skip", "close"] = "skip"  # who falls behind what is kept is told `lost`, or is sent away with 4430
    trusted_hops: Annotated[int, Meta(ge=0, le=16)] = 0  # proxies in front, each of which says where it was asked from
    trusted_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"  # where they say it; the other is a client's word
    connections_per_process: _Count = 50_000  # readers; docs/explanation/memory.md says what idle ones take
    connections_per_address: _Count = 200  # readers: an office behind one address, but not one machine that wants all there are
    connections_per_who: _Count = 100  # readers: somebody's devices and their tabs, some of them half open
    commands_per_connection: _Rate = 100.0  # that come up in a second: ten times what a hand or a cursor does
    commands_per_who: _Rate = 200.0  # a second, over all that somebody has open
    commands_per_address: _Rate = 1000.0  # a second: some ten percent of what one core executes
    bytes_per_connection: _Count = 1 << 20  # that come up in a second
    bytes_per_who: _Count = 2 << 20  # a second
    bytes_per_address: _Count = 8 << 20  # a second: a tenth of what one core parses
    burst_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0  # whose commands and bytes may come at once after a pause
    observer_token: _Token = ""  # who shows it may see `status` and `metrics`; 16 characters at least; empty: nobody has one
    send_timeout: _Seconds = 20.0  # seconds until a reader that takes nothing is given up (4430); all is over within 30
    body_timeout: _Seconds = 10.0  # seconds for a request body to arrive (4408)
    handshake_timeout: _Seconds = 10.0  # seconds for TLS: two round trips, from anywhere
    first_command_timeout: _Seconds = 10.0  # seconds for a WebSocket that follows no channel to say something (4408)
    reconnects: _Count = 200  # readers a second that a process sends away: who takes them in has others to serve
    stays: Annotated[float, Meta(ge=0, le=3600)] = (
        25.0  # seconds at the most that a stopping process serves on while its readers go to others; killers come after 30
    )
    drain: _Seconds = 3.0  # seconds that a stopping server gives its readers to take their last `bye`

    def __repr__(self) -> str:  # in logs and tracebacks, where what is secret does not belong
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown |= {name: "…" for name in ("observer_token", "secret") if shown[name]}
        return f"Options({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


UNBOUNDED: Final[Mapping[str, int]] = {
    f"{what}_per_{whose}": 10**9
    for whose in ("connection", "who", "address", "process")
    for what in ("connections", "commands", "bytes")
    if f"{what}_per_{whose}" in Options.__struct_fields__
}
"""Settings for loads that come from one machine, which no client in the wild may make."""


def frame_bytes(options: Options) -> int:
    """Bytes of a message that is not even read: we refuse it with 4413 long before, and this bounds the memory."""
    return 4 * options.message_bytes


def unacknowledged_seconds(options: Options) -> float:
    """Seconds for the system to hear of the other side, once it has sent something: longer than we are patient, who say why."""
    return options.send_timeout + _FAREWELL


def idle_seconds(options: Options) -> float:
    """Seconds that a connection may be silent between two requests: a poller thinks between two polls."""
    return max(options.beat, _IDLE_LEAST)


def options_from(settings: Mapping[str, Any], *, prefix: str = "") -> Options:
    """Options out of keyword arguments, or out of a configuration in which they begin with `prefix`.

    Raises:
        ConfigError: a name is unknown (with the nearest that exists), or a value does not fit.
    """
    known = {prefix + (field.upper() if prefix else field): field for field in Options.__struct_fields__}
    given = {name: value for name, value in settings.items() if name.startswith(prefix)}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(known))}"
            raise ConfigError(f"there is no setting {name}{hint}")
    try:
        return msgspec.convert({known[name]: value for name, value in given.items()}, Options)
    except msgspec.ValidationError as error:
        field = str(error).rpartition("$.")[2].partition("`")[0].partition("[")[0]
        raise ConfigError(f"{next((n for n, f in known.items() if f == field), 'setting')}: {error}") from error


def settings_from(texts: Iterable[str]) -> dict[str, Any]:
    """Settings out of texts like `trusted_hops=1` and `origins=https://a.example,https://b.example`.

    Raises:
        ConfigError: one is none, its name is unknown, or its value does not fit.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{text!r} is not NAME=VALUE, such as trusted_hops=1")
        found[name] = value
    read = options_from({name: _read(name, value) for name, value in found.items()})
    return {name: getattr(read, name) for name in found}


def _read(name: str, text: str) -> Any:
    """`text` as a value of the type that the setting `name` has by default."""
    default = next((each.default for each in msgspec.structs.fields(Options) if each.name == name), text)
    if isinstance(default, tuple):
        return [each for each in text.split(",") if each]
    try:
        return text if isinstance(default, str) else msgspec.convert(text, type(default), strict=False)
    except msgspec.ValidationError:
        return text  # which is told with the name of the setting
