"""Examination: which probes are made, and which of them beside one another. The whole takes little longer than the longest."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from .. import sse
from ..errors import ConfigError
from ..facts import BEAT
from ..ladder import LADDER
from ..transport import Transport
from ..wires import mount_url, open_session
from . import probes
from .observations import SILENCE_SLACK, Observations, Trial
from .probes import PROOF, Place

CHANNEL: Final = "everywire-doctor"
"""What is read unless somebody says otherwise: nobody publishes there, so that the silences are silent."""

Tell: TypeAlias = Callable[[str, bool], None]

_BEAT: Final = 1.0  # seconds; no server beats faster
_BEATS: Final = 3  # that show how they come
_SHORT: Final = (_BEATS + 1.5) * _BEAT  # seconds for them
_LEAST: Final = 3.0  # seconds; a shorter window shows nothing
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # of a header (RFC 9110 5.6.2)
_BROKEN: Final = ("unreachable", "tls_error", "timeout_open")


async def examine(
    url: str,
    *,
    channels: Sequence[str] = (CHANNEL,),
    idle: float = 20.0,
    life: float = 20.0,
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
    ca: str | None = None,
    patience: float = PROOF,
    tell: Tell = lambda name, done: None,
) -> Observations:
    """Look at everything between here and the mount at `url`. It only reads, and pings.

    Args:
        url: of the mount.
        channels: to read; quiet ones, or nothing is learnt about silence.
        idle: seconds of silence to try, 0 for none.
        life: seconds for which to hold a stream, 0 for as long as it takes to prove it.
        headers: to send with every request.
        token: to show as `Authorization: Bearer …`.
        ca: path of a certificate authority to trust instead of the system's.
        patience: seconds for each first answer.
        tell: called with a probe's name when it begins, and with its name and True when it is done.

    Raises:
        ConfigError: `url` is none of a mount, `ca` holds no authority, a window is too short, there is a token and a user, or
            a header, a token or a proxy of the environment is none.
    """
    for name, window in (("idle", idle), ("life", life)):
        if window and not window >= _LEAST:  # nor is it NaN
            raise ConfigError(f"{name}={window:g}: at least {_LEAST:g} seconds, or 0 for none")
    mount = mount_url(url)
    _check(mount, channels, headers or {}, token)
    place = Place(mount, list(channels), headers or {}, token, ca, patience)
    seen = Observations(
        probes.without_password(place.url),
        list(channels),
        idle,
        life,
        proxy=probes.without_password(probes.proxy_of(place.url)),
    )
    await open_session(headers, ca).close()  # here, so that what is wrong with them is not taken for a network's fault
    await _Examination(place, seen, tell).run()
    return seen


def _check(mount: str, channels: Sequence[str], headers: Mapping[str, str], token: str | None) -> None:
    """Raises: ConfigError, which shows no secret."""
    if token is not None and urlsplit(mount).username is not None:
        raise ConfigError("a token, or a user in the URL: a request has room for one of them")
    if token is not None and not token.isprintable():
        raise ConfigError("the token has characters in it that no header can have, such as a line's end")
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not value.isprintable():
            raise ConfigError("a header is a name, of letters, digits and -, and a value on one line")
    if not all(channels):
        raise ConfigError("a channel without a name")
    probes.check_proxies(mount)


class _Examination:
    """One look at everything, which fills `seen`."""

    def __init__(self, place: Place, seen: Observations, tell: Tell) -> None:
        self.place, self.seen, self.tell = place, seen, tell

    async def run(self) -> None:
        """First whether there is anybody, then all the rest at once."""
        await self._together(self._negotiate(), self._position(), self._ask("post", probes.ping), self._edge(), self._tls())
        first = [self.seen.asked[name].ended for name in ("negotiate", "position", "post")]
        if self.place.url.startswith("http:") and all(ended is not None and not ended.code for ended in first):
            self.seen.secure = await probes.secure(self.place)
        if all(ended is not None and ended.verdict in _BROKEN for ended in first):
            return
        await self._together(self._origin(), self._deflate(), *self._trials())
        if self.seen.broke_together:
            await self._later()

    async def _together(self, *work: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for each in work:
                    group.create_task(each)
        except ExceptionGroup as failed:  # a defect of ours; one of them will do
            raise failed.exceptions[0] from None

    # --------------------------------------------------------------------------------------------------- plain questions

    async def _ask(self, name: str, question: Callable[[Any], Any]) -> Any:
        self.tell(name, False)
        asked, answer = await probes.ask(self.place, name, question)
        self.seen.asked[name] = asked
        self.tell(name, True)
        return answer

    async def _negotiate(self) -> None:
        seen = self.seen
        seen.offered, seen.beat, seen.encodings = await self._ask("negotiate", probes.negotiate) or ([], BEAT, [])

    async def _position(self) -> None:
        self.seen.since = await self._ask("position", probes.position) or ""

    async def _later(self) -> None:
        """Whether it is still the same server, whose positions begin alike."""
        self.tell("later", False)
        asked, place = await probes.ask(self.place, "later", probes.position)
        gone = asked.ended is not None and asked.ended.verdict in (*_BROKEN, "bad_gateway")
        self.seen.later = "" if gone else place
        self.tell("later", True)

    async def _origin(self) -> None:
        """As a page of the same server asks, whose browser does not say `Sec-Fetch-Site` (over plain HTTP none does)."""
        await self._ask("origin", lambda target: probes.negotiate(target, {"origin": self.place.origin}))

    async def _edge(self) -> None:
        self.tell("edge", False)
        self.seen.edge = await probes.edge(self.place)
        self.tell("edge", True)

    async def _tls(self) -> None:
        self.seen.tls = await probes.tls(self.place)

    async def _deflate(self) -> None:
        self.seen.deflate = await probes.deflate(self.place)

    # ------------------------------------------------------------------------------------------------------------ trials

    def _trials(self) -> list[Coroutine[Any, Any, None]]:
        seen = self.seen
        work: list[Coroutine[Any, Any, None]] = []
        for transport in LADDER:
            if transport.many:
                seconds = max(seen.life, _SHORT)
                work.append(self._trial(transport, "beats", quiet=_BEAT, seconds=seconds, enough=_never if seen.life else _came))
            work.append(self._silence(transport))
        plain = {"accept-encoding": "identity"}
        work.append(self._trial(sse.TRANSPORT, "identity", quiet=_BEAT, seconds=_SHORT, enough=_came, headers=plain))
        if seen.since:
            last = {"last-event-id": seen.since}
            work.append(self._trial(sse.TRANSPORT, "header", quiet=_BEAT, seconds=0.0, enough=_any, headers=last))
        return work

    def _silence(self, transport: Transport) -> Coroutine[Any, Any, None]:
        """Go on from a position, and then say nothing for as long as the server allows, within the window."""
        quiet = min(max(self.seen.idle - SILENCE_SLACK, 1.0), self.seen.beat)
        seconds = quiet + SILENCE_SLACK if self.seen.idle else 0.0
        enough = _broken_silence if self.seen.idle else _any
        since = self.seen.since or None
        return self._trial(transport, "silence", since=since, quiet=quiet, seconds=seconds, enough=enough)

    async def _trial(self, transport: Transport, kind: str, **wanted: Any) -> None:
        name = f"{transport.name} {kind}"
        place = self.place
        if transport.commands_up and self._unreadable():  # a WebSocket needs no channels to show that it works
            place = place._replace(channels=())
        self.tell(name, False)
        self.seen.trials[name] = await probes.trial(place, transport, kind, **wanted)
        self.tell(name, True)

    def _unreadable(self) -> bool:
        """Whether our server says no to the channels."""
        ended = self.seen.asked["position"].ended
        return ended is not None and ended.verdict == "refused"


def _never(_: Trial) -> bool:
    return False


def _any(seen: Trial) -> bool:
    return bool(seen.arrivals)


def _came(seen: Trial) -> bool:
    """Enough beats to see how they come, and an answer."""
    return seen.answered is not None and sum(each.kind == "beat" for each in seen.arrivals) >= _BEATS


def _broken_silence(seen: Trial) -> bool:
    """Something came behind the first item."""
    return len(seen.arrivals) > 1
