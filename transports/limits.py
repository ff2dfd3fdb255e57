"""Limits: how many connections there may be, and how much may be said on them, in all, per address, per who and per connection.

Who asks says what time it is. What is over a limit is a refusal with a number and a time to come back, and is counted
under the name of the setting that it was over.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any, Final, NamedTuple

from .errors import Code, Refusal
from .options import Options

_NEARLY: Final = 1e-6  # of one: a clock that counts in binary fractions comes out just below
_IDLE_SOME: Final = 1024  # of whom something is kept until who is idle is looked for
_SOCKETS: Final = 2  # TCP connections for each reader: commands go by another than a stream, and a page loads over some more

_PROXY: Final = (
    "; if a proxy is there, set trusted_hops, and if many people are, raise it",
    "; what comes from there was forwarded: set trusted_hops to the number of proxies in front",
)


def nobody(name: str, reason: str) -> None:
    """Who is told that a limit was reached, where nobody is."""


class Rate(NamedTuple):
    """So many a second, and `most` at once after a pause: a token bucket.

    What is kept of one is a single number, the time at which it is full again; 0.0 is a full one.
    """

    per_second: float
    most: float

    def left(self, full_at: float, now: float) -> float:
        """How many may be taken now."""
        return self.most - max(0.0, full_at - now) * self.per_second

    def taken(self, full_at: float, now: float, number: float) -> float:
        """When it is full again, if `number` are taken now."""
        return max(full_at, now) + number / self.per_second

    def wait(self, full_at: float, now: float, number: float) -> float:
        """Seconds until `number` may be taken, or as many as it ever holds."""
        return max(0.0, (min(number, self.most) - self.left(full_at, now)) / self.per_second)


class Said:
    """How much somebody has said of late.

    Attributes:
        commands: when as many as ever may come at once may come again; `bytes` likewise.
        patience: when as much as ever may be said again that was to wait.
        until: when it may go on, as it was told.
    """

    __slots__ = ("bytes", "commands", "patience", "until")

    def __init__(self) -> None:
        self.commands = self.bytes = self.patience = self.until = 0.0

    def over(self, now: float) -> bool:
        """Whether it is as if nothing had been said."""
        return max(self.commands, self.bytes, self.patience, self.until) <= now


class Speech:
    """How much one may say, under the names of the settings that say so."""

    __slots__ = ("_byte", "_command", "bytes", "commands", "whose")

    def __init__(self, options: Options, whose: str) -> None:
        commands, size = getattr(options, f"commands_per_{whose}"), getattr(options, f"bytes_per_{whose}")
        burst = options.burst_seconds
        self.whose = whose
        self.commands = Rate(commands, max(1.0, commands * burst))
        self.bytes = Rate(size, max(options.message_bytes, size * burst))  # any message that is let through may come some time
        self._command, self._byte = 1 / commands, 1 / size  # seconds until what one has taken is there again

    def free(self, said: Said, number: int, size: int, now: float) -> bool:
        """Whether all of a message may be executed: what is asked of every message, and mostly true."""
        return (said.commands <= now and said.bytes <= now and number <= self.commands.most) or (
            self.fits(said, number, size, now) == number
        )

    def fits(self, said: Said, number: int, size: int, now: float) -> int:
        """How many of `number` commands in a message of `size` bytes may be executed."""
        if size > self.bytes.left(said.bytes, now) + _NEARLY:
            return 0
        return min(number, math.floor(self.commands.left(said.commands, now) + _NEARLY))

    def limit(self, said: Said, size: int, now: float) -> str:
        """The setting that is in the way of more."""
        return f"{'bytes' if size > self.bytes.left(said.bytes, now) + _NEARLY else 'commands'}_per_{self.whose}"

    def take(self, said: Said, number: int, size: int, now: float) -> None:
        """So much is executed now."""
        said.commands = max(said.commands, now) + number * self._command
        said.bytes = max(said.bytes, now) + size * self._byte

    def wait(self, said: Said, number: int, size: int, now: float) -> float:
        """Seconds until so much more may come."""
        return max(self.commands.wait(said.commands, now, number), self.bytes.wait(said.bytes, now, size))

    def impatient(self, said: Said, number: int, size: int, now: float) -> bool:
        """Whether who was told to wait has not, once too often: twice as much as may be said was said, for long."""
        if now >= said.until:
            return False
        part = Rate(self.commands.per_second / self.commands.most, 1.0)
        much = min(1.0, max(number / self.commands.most, size / self.bytes.most))
        if part.left(said.patience, now) + _NEARLY < much:
            return True
        said.patience = part.taken(said.patience, now, much)
        return False


class Spoken:
    """What each of many has said of late; who has been silent takes no room."""

    def __init__(self) -> None:
        self._said: dict[Hashable, Said] = {}
        self._look_at = _IDLE_SOME

    def __len__(self) -> int:
        return len(self._said)

    def of(self, who: Hashable, now: float) -> Said:
        """What `who` has said."""
        said = self._said.get(who)
        if said is None:
            if len(self._said) >= self._look_at:
                self._said = {each: said for each, said in self._said.items() if not said.over(now)}
                self._look_at = max(_IDLE_SOME, 2 * len(self._said))
            said = self._said[who] = Said()
        return said


class Limits:
    """The limits of a hub, and what they have refused.

    Args:
        options: what is allowed.
        tell: called with the name of a setting and a sentence, whenever more is wanted than one that depends on who comes
            allows: somebody may want to know.
    """

    def __init__(self, options: Options, tell: Callable[[str, str], None] = nobody) -> None:
        self.refused: Counter[str] = Counter()  # by the name of the setting
        self._options, self._tell = options, tell
        self._number = 0
        self._per_address: dict[str, int] = {}  # no counters: asking those for what is not there costs a microsecond
        self._per_who: dict[Hashable, int] = {}
        self._sockets: dict[str, int] = {}
        self._socket_number = 0
        self._connection, self._who, self._address = (Speech(options, whose) for whose in ("connection", "who", "address"))
        self._said_by: Spoken = Spoken()
        self._said_from: Spoken = Spoken()

    def refuse(self, limit: str, code: Code, reason: str, retry: float | None = None) -> Refusal:
        """The refusal of what is over `limit`, a setting, counted."""
        self.refused[limit] += 1
        return Refusal(code, reason, retry=retry)

    # Connections: readers, which are streams, and polls that wait.

    def connect(self, who: Hashable, address: str, forwarded: bool = False) -> None:
        """One more reads; `disconnect` when it has gone.

        Args:
            who: None is nobody in particular, of whom there may be any number.
            address: of the client, as `addresses.network` makes it.
            forwarded: whether what it asks seems to have come through a proxy that nobody told us of.

        Raises:
            Refusal: 4429, there are too many.
        """
        options = self._options
        here, theirs = self._per_address.get(address, 0), 0 if who is None else self._per_who.get(who, 0)
        if self._number >= options.connections_per_process:
            raise self._full("connections_per_process", f"{self._number} read from this process")
        if here >= options.connections_per_address:
            raise self._full("connections_per_address", f"{here} read from {address or 'a Unix socket'}", _PROXY[forwarded])
        if theirs >= options.connections_per_who:
            raise self._full(
                "connections_per_who", f"{theirs} read as {str(who)[:40]!r}", "; a program needs more, or other names"
            )
        self._number += 1
        self._per_address[address] = here + 1
        if who is not None:
            self._per_who[who] = theirs + 1

    def disconnect(self, who: Hashable, address: str) -> None:
        """One has gone."""
        self._number -= 1
        _less(self._per_address, address)
        if who is not None:
            _less(self._per_who, who)

    def rename(self, before: Hashable, who: Hashable) -> None:
        """One that reads is known under another name from now on. It is there, so nobody refuses it."""
        if before is not None:
            _less(self._per_who, before)
        if who is not None:
            self._per_who[who] = self._per_who.get(who, 0) + 1

    def _full(self, limit: str, what: str, hint: str = "") -> Refusal:
        self._tell(limit, f"{what}: more are refused, as {limit} says{hint}")
        return self.refuse(limit, Code.RATE_LIMITED, f"{what}, and that is the limit ({limit})")

    # TCP connections, whatever is asked on them, if anything is.

    def knock(self, address: str) -> bool:
        """Whether another TCP connection may be taken; `hang_up` when it has ended, if so.

        Args:
            address: at the other end. Where proxies are in front it is one of theirs, and only the number of all counts.
        """
        options = self._options
        here = self._sockets.get(address, 0)
        many = self._socket_number >= _SOCKETS * options.connections_per_process
        if many or (here >= _SOCKETS * options.connections_per_address and not options.trusted_hops):
            limit = "connections_per_process" if many else "connections_per_address"
            self.refused[limit] += 1
            what = f"{here} TCP connections from {address or 'a Unix socket'}, {self._socket_number} in all"
            hint = "" if many else _PROXY[False]
            self._tell(limit, f"{what}: more are ended at once, as {limit} says{hint}")
            return False
        self._socket_number += 1
        self._sockets[address] = here + 1
        return True

    def hang_up(self, address: str) -> None:
        """A TCP connection that was taken has ended."""
        self._socket_number -= 1
        _less(self._sockets, address)

    # Commands.

    def speak(
        self, said: Said | None, who: Hashable, address: str, commands: int, size: int, now: float
    ) -> tuple[int, Refusal | None]:
        """How many of the commands in one message may be executed, and why not the rest: none behind the first that may not.

        What is refused costs nothing, but for who goes on without waiting.

        Args:
            said: what has been said on the same connection; None for a request that is alone.
            who: says it; None is nobody in particular.
            address: of the client, as `addresses.network` makes it.
            commands: in the message.
            size: of the message in bytes.
            now: in seconds, on any clock that only goes on.

        Raises:
            Refusal: 4429, who speaks was told to wait, and goes on as if nothing had been said.
        """
        number = commands or 1
        each = [(self._address, self._said_from.of(address, now))]
        if who is not None:
            each.append((self._who, self._said_by.of(who, now)))
        if said is not None:
            each.append((self._connection, said))
        for speech, one in each:
            if not speech.free(one, number, size, now):
                return self._bounded(each, who or address, commands, size, now)
        for speech, one in each:
            speech.take(one, number, size, now)
        return commands, None

    def _bounded(
        self, each: list[tuple[Speech, Said]], name: Hashable, commands: int, size: int, now: float
    ) -> tuple[int, Refusal | None]:
        """See `speak`: not all of it may be executed."""
        number = max(1, commands)
        fits = [speech.fits(one, number, size, now) for speech, one in each]
        allowed = min(fits)
        speech, one = each[fits.index(allowed)]
        limit = speech.limit(one, size, now)
        if allowed:
            for speech, one in each:
                speech.take(one, allowed, size, now)
        rest = number - allowed
        retry = math.ceil(1000 * max(speech.wait(one, rest, size, now) for speech, one in each)) / 1000
        refusal = self.refuse(limit, Code.RATE_LIMITED, f"more than {limit} allows: go on in {retry:g} s", retry)
        self._tell(limit, f"more is said by {str(name)[:40] or 'somebody'} than {limit} allows: it has to wait")
        speech, one = each[-1]
        if speech.impatient(one, rest, 0 if allowed else size, now):
            raise refusal
        one.until = now + retry
        return min(allowed, commands), refusal


def _less(numbers: dict[Any, int], key: Hashable) -> None:
    """One less; who has none takes no room."""
    if (left := numbers[key] - 1) > 0:
        numbers[key] = left
    else:
        del numbers[key]
