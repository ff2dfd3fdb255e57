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

    __slots__ = ("bytes", "commands", "whose")

    def __init__(self, options: Options, whose: str) -> None:
        commands, size = getattr(options, f"commands_per_{whose}"), getattr(options, f"bytes_per_{whose}")
        burst = options.burst_seconds
        self.whose = whose
        self.commands = Rate(commands, max(1.0, commands * burst))
        self.bytes = Rate(size, max(options.message_bytes, size * burst))  # any message that is let through may come some time

    def fits(self, said: Said, number: int, size: int, now: float) -> tuple[int, str]:
        """How many of `number` commands in a message of `size` bytes may be executed, and the setting that is in the way."""
        if size > self.bytes.left(said.bytes, now) + _NEARLY:
            return 0, f"bytes_per_{self.whose}"
        return min(number, math.floor(self.commands.left(said.commands, now) + _NEARLY)), f"commands_per_{self.whose}"

    def take(self, said: Said, number: int, size: int, now: float) -> None:
        """So much is executed now."""
        said.commands = self.commands.taken(said.commands, now, number)
        said.bytes = self.bytes.taken(said.bytes, now, size)

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
        self._per_address: Counter[str] = Counter()
        self._per_who: Counter[Hashable] = Counter()
        self._sockets: Counter[str] = Counter()
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
        if self._number >= options.connections_per_process:
            self._full("connections_per_process", f"{self._number} read from this process", "")
        if self._per_address[address] >= options.connections_per_address:
            hint = (
                "what comes from there was forwarded: set trusted_hops to the number of proxies in front"
                if forwarded
                else "if a proxy is there, set trusted_hops; if many people are, raise it"
            )
            where = address or "a Unix socket"
            self._full("connections_per_address", f"{self._per_address[address]} read from {where}", hint)
        if who is not None and self._per_who[who] >= options.connections_per_who:
            self._full("connections_per_who", f"{self._per_who[who]} connections are yours", "who is it, and why so many?")
        self._number += 1
        self._per_address[address] += 1
        if who is not None:
            self._per_who[who] += 1

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
            self._per_who[who] += 1

    def _full(self, limit: str, what: str, hint: str) -> None:
        self._tell(limit, f"{what}: more are refused, as {limit} says" + (f"; {hint}" if hint else ""))
        raise self.refuse(limit, Code.RATE_LIMITED, f"{what}, and that is the limit ({limit})")

    # TCP connections, whatever is asked on them, if anything is.

    def knock(self, address: str) -> bool:
        """Whether another TCP connection may be taken; `hang_up` when it has ended, if so.

        Args:
            address: at the other end. Where proxies are in front it is one of theirs, and only the number of all counts.
        """
        options = self._options
        many = self._socket_number >= _SOCKETS * options.connections_per_process
        here = not options.trusted_hops and self._sockets[address] >= _SOCKETS * options.connections_per_address
        if many or here:
            limit = "connections_per_process" if many else "connections_per_address"
            self.refused[limit] += 1
            what = f"{self._sockets[address]} TCP connections from {address}, {self._socket_number} in all"
            self._tell(limit, f"{what}: more are ended at once, as {limit} says")
            return False
        self._socket_number += 1
        self._sockets[address] += 1
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
        number = max(1, commands)
        each = [(self._address, self._said_from.of(address, now))]
        if who is not None:
            each.append((self._who, self._said_by.of(who, now)))
        if said is not None:
            each.append((self._connection, said))
        allowed, limit = min(speech.fits(one, number, size, now) for speech, one in each)
        if allowed:
            for speech, one in each:
                speech.take(one, allowed, size, now)
        if allowed == number:
            return commands, None
        rest = number - allowed
        retry = math.ceil(1000 * max(speech.wait(one, rest, size, now) for speech, one in each)) / 1000
        speech, one = each[-1]
        why = f"more than {limit} allows: go on in {retry:g} s"
        refusal = self.refuse(limit, Code.RATE_LIMITED, why, retry)
        self._tell(limit, f"more is said by {who or address or 'somebody'} than {limit} allows: it has to wait")
        if speech.impatient(one, rest, size if not allowed else 0, now):
            raise refusal
        one.until = now + retry
        return min(allowed, commands), refusal


def _less(counter: Counter[Any], key: Hashable) -> None:
    """One less; who has none takes no room."""
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
