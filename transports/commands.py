"""Commands: what a client sends up, parsed and executed the same way on every transport."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Annotated, Any, NamedTuple, Protocol, TypeAlias

import msgspec
from msgspec import Meta

from . import position as positions
from .errors import Code, Refusal
from .figures import OK, Figures
from .items import Encoded, Reply, encode
from .subscriptions import Policy, Subscription, policies_of

_Ref = Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]


class Publish(msgspec.Struct, tag_field="do", tag="publish"):
    """Append an event to a channel. With a `key`, the same key for the same channel publishes once."""

    channel: str
    data: Any
    ref: _Ref | None = None
    key: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    about: Annotated[str, Meta(min_length=1, max_length=128)] | None = None


class Subscribe(msgspec.Struct, tag_field="do", tag="subscribe"):
    """Read these channels and patterns too, from where the connection stands; `since` may be given while no channel is followed.
    Those in `latest` and `lag` are wanted only so far.
    """

    channels: Annotated[list[str], Meta(min_length=1)]
    ref: _Ref | None = None
    since: str | None = None
    latest: list[str] = []
    lag: dict[str, int] = {}


class Unsubscribe(msgspec.Struct, tag_field="do", tag="unsubscribe"):
    """Read these channels no longer."""

    channels: Annotated[list[str], Meta(min_length=1)]
    ref: _Ref | None = None


class Present(msgspec.Struct, tag_field="do", tag="present"):
    """Take a lease on being present in a channel, renew it or, for 0 seconds, give it up."""

    channel: str
    name: Annotated[str, Meta(min_length=1, max_length=128)] | None = msgspec.field(default=None, name="as")
    ref: _Ref | None = None
    lease: Annotated[str, Meta(max_length=64)] = ""
    data: Any = None
    seconds: Annotated[float, Meta(ge=0)] | None = msgspec.field(default=None, name="for")


class Auth(msgspec.Struct, tag_field="do", tag="auth"):
    """Show something newer than what the connection was opened with, and go on reading with it."""

    token: Annotated[str, Meta(min_length=1, max_length=8192)]
    ref: _Ref | None = None


class Ping(msgspec.Struct, tag_field="do", tag="ping"):
    """Prove that both ways work."""

    ref: _Ref | None = None


class Malformed(msgspec.Struct):
    """A command that could not be understood; executing it gives the reply that says why."""

    ref: int | None
    reason: str


Command: TypeAlias = Publish | Subscribe | Unsubscribe | Present | Auth | Ping | Malformed


class _Numbered(msgspec.Struct):
    ref: _Ref | None = None


_decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Publish | Subscribe | Unsubscribe | Present | Auth | Ping)
_raws_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_raw_decoder = msgspec.json.Decoder(msgspec.Raw)
_ref_decoder = msgspec.json.Decoder(_Numbered)


class _Feed(Protocol):
    """What commands need of a feed."""

    asked: Subscription

    @property
    def position(self) -> str: ...


class _Options(Protocol):
    """What commands need of the options."""

    @property
    def message_bytes(self) -> int: ...


class _Presence(Protocol):
    """What commands need of who is there."""

    async def present(
        self, channel: str, name: str, *, lease: str = "", data: Any = None, seconds: float | None = None
    ) -> float: ...


class _Limits(Protocol):
    """What commands need of the limits."""

    def refuse(self, limit: str, code: Code, reason: str) -> Refusal: ...


class _Hub(Protocol):
    """What commands need of a hub."""

    figures: Figures

    @property
    def limits(self) -> _Limits: ...

    @property
    def options(self) -> _Options: ...

    @property
    def presence(self) -> _Presence: ...

    async def publish(self, channel: str, data: Any, *, key: str | None = None, about: str | None = None) -> str: ...

    def check(self, channel: str) -> None: ...

    def may(self, who: Hashable, action: str, channel: str) -> bool: ...

    def follow(self, feed: Any, channels: list[str], policies: Mapping[str, Policy]) -> None: ...

    def move(self, feed: Any, since: positions.Position) -> None: ...


class Speaker(Protocol):
    """Who sends commands."""

    @property
    def who(self) -> Hashable:
        """As `authorize` knows it. Raises: Refusal 1001, it has gone."""

    def own(self) -> _Feed:
        """What it reads on this connection. Raises: Refusal, nothing whose channels could change, or not any more."""

    def allow(self, commands: int, size: int) -> tuple[int, Refusal | None]:
        """How many of so many commands, which came in a message of `size` bytes, may be executed, and why not the rest.

        Raises: Refusal 4429, it was told to wait and has not, once too often; 1001, it has gone.
        """

    async def renew(self, token: str) -> float | None:
        """Show `token` from now on, and be who it says. Until when it holds, in seconds since 1970; None: for ever.

        Raises:
            Refusal: 4401 it says nobody, 4403 he may not read what this connection reads: then it stays as it was. 4400, each
                request shows its own on this transport.
        """


class Heard(NamedTuple):
    """What one message from a client came to."""

    replies: list[Encoded]
    pinged: bool  # who pings goes on doing so, and is silent when it stops


async def hear(message: bytes | str, hub: _Hub, speaker: Speaker, heard: Callable[[bytes], bytes] | None = None) -> Heard:
    """Execute the commands of a WebSocket message or of the body of a POST, in order. Those that are more than may come in a
    time are refused, from the first of them on: who sends them again keeps their order.

    Args:
        message: as it came.
        hub: where to do it.
        speaker: who says it.
        heard: makes JSON of it, where it is not; see `Transport.heard`.

    Raises:
        Refusal: 4413 too large, 4400 not JSON or anything but objects, 4429 too much, without waiting, for too long.
    """
    size = _checked_size(message, hub)
    try:
        if heard is not None and isinstance(message, bytes):
            message = heard(message)
            _checked_size(message, hub)  # the limit is of JSON, whichever is spoken
        commands = parse(message)
    except Refusal:
        speaker.allow(1, size)  # what is not understood has been said all the same
        raise
    allowed, why = speaker.allow(len(commands), size)
    replies = []
    for number, command in enumerate(commands):
        reply = await execute(command, hub, speaker) if why is None or number < allowed else _refused(command, why)
        hub.figures.commands[type(command).__name__.lower(), reply.name or OK] += 1
        replies.append(encode(reply))
    return Heard(replies, any(isinstance(command, Ping) for command in commands))


def _checked_size(message: bytes | str, hub: _Hub) -> int:
    """The bytes of a message. Raises: Refusal 4413."""
    size = len(message) if isinstance(message, bytes) or message.isascii() else len(message.encode())
    if size > (limit := hub.options.message_bytes):
        raise hub.limits.refuse("message_bytes", Code.TOO_LARGE, f"a message of more than {limit} bytes")
    return size


def parse(body: bytes | str) -> list[Command]:
    """The commands of a WebSocket frame or of the body of a POST: one object, or an array of them.

    Raises:
        Refusal: 4400, when it is not JSON or holds anything but objects. A single bad command among others is
            `Malformed` instead.
    """
    try:
        text = body if isinstance(body, str) else body.decode()
        raws = _raws_decoder.decode(text) if text.lstrip(" \t\r\n").startswith("[") else [_raw_decoder.decode(text)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(Code.BAD_COMMAND, f"not JSON: {error}") from error
    if not all(bytes(raw).lstrip(b" \t\r\n").startswith(b"{") for raw in raws):
        raise Refusal(Code.BAD_COMMAND, "a command is a JSON object, or an array of them")
    return [_parse_one(raw) for raw in raws]


def _parse_one(raw: msgspec.Raw) -> Command:
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        return Malformed(_ref_of(raw), str(error))


def _ref_of(raw: msgspec.Raw) -> int | None:
    try:
        return _ref_decoder.decode(raw).ref
    except (msgspec.DecodeError, RecursionError):
        return None


async def execute(command: Command, hub: _Hub, speaker: Speaker) -> Reply:
    """Do what `command` says and answer it; a refusal is an answer too.

    Args:
        command: as `parse` gives it.
        hub: where to do it.
        speaker: who says it.
    """
    try:
        if isinstance(command, Auth):
            return Reply(command.ref, ok=True, expires=await speaker.renew(command.token))
        if isinstance(command, Present):
            lease, seconds = command.lease, command.seconds
            _check_may(hub, speaker.who, "present", command.channel)
            as_whom = _name(speaker.who, command.name)
            lasts = await hub.presence.present(command.channel, as_whom, lease=lease, data=command.data, seconds=seconds)
            return Reply(command.ref, ok=True, lasts=lasts)
        return Reply(command.ref, ok=True, id=await _do(command, hub, speaker))
    except Refusal as refusal:
        return _refused(command, refusal)


def _refused(command: Command, why: Refusal) -> Reply:
    return Reply(command.ref, False, None, int(why.code), why.name, why.reason, why.retry)


def _name(who: Hashable, wanted: str | None) -> str:
    """As whom `who` is present. Who is known is there under the name that is known, whatever the client says: nobody can be there
    in the name of somebody else. Raises: Refusal 4400, nobody said.
    """
    if who is not None:
        return str(who)
    if wanted is None:
        raise Refusal(Code.BAD_COMMAND, "present as whom? Say as=NAME: who asks is not known here")
    return wanted


def _check_may(hub: _Hub, who: Hashable, action: str, channel: str) -> None:
    """Raises: Refusal 4404 no such channel, 4403 not for `who`."""
    hub.check(channel)
    if not hub.may(who, action, channel):
        raise Refusal(Code.FORBIDDEN, f"{channel} is not for you: {action}")


async def _do(command: Publish | Subscribe | Unsubscribe | Ping | Malformed, hub: _Hub, speaker: Speaker) -> str | None:
    match command:
        case Publish(channel, data, _, key, about):
            _check_may(hub, speaker.who, "publish", channel)
            return await hub.publish(channel, data, key=key, about=about)
        case Ping():
            return None
        case Malformed(_, reason):
            raise Refusal(Code.BAD_COMMAND, reason)
        case Subscribe():
            return _subscribe(hub, speaker.own(), command)
        case Unsubscribe(channels):
            own = speaker.own()
            gone = frozenset(channels)  # a frame may name thousands
            left = [name for name in own.asked.names if name not in gone]
            hub.follow(own, left, {name: policy for name, policy in own.asked.policies if name in left})
            return own.position


def _subscribe(hub: _Hub, feed: _Feed, command: Subscribe) -> str:
    start = None if command.since is None else positions.parse(command.since)
    if start is not None and feed.asked.names:
        raise Refusal(Code.BAD_COMMAND, "since goes with the first channels only; connect again to read on from elsewhere")
    said = frozenset(command.channels)
    policies = {name: policy for name, policy in feed.asked.policies if name not in said}
    wanted = policies_of(command.latest, command.lag)
    if foreign := set(wanted) - said:
        raise Refusal(Code.BAD_COMMAND, f"a policy for {min(foreign)[:40]!r}, which is not one of the channels")
    hub.follow(feed, [*feed.asked.names, *command.channels], policies | wanted)
    if start is not None:
        hub.move(feed, start)
    return feed.position
