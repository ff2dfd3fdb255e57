"""Subscriptions: what one reader asks for. Names and patterns, how much of what piled up it wants, and who it is.

A pattern is a beginning and a `*`: `orders.*`. What it comes to is worked out by the hub, which knows the channels; here is what
matches, which policy holds for what, and which of the events behind a position a policy lets through.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from .errors import Code, Refusal
from .items import Encoded

LAG_MAX: Final = 1_000_000  # events; far more than is ever kept
PRESENCE: Final = "presence:"  # begins the channels that tell who is there: they match only patterns that ask for them
_BEGINNING = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9_.:\-]{0,126})?\*", re.ASCII)

_Reader = TypeVar("_Reader")


class Policy(NamedTuple):
    """How much of what piled up is wanted.

    `name` travels as the reason of `skipped`: `every`, `latest` (the newest of each `about`) or `lag` (the newest `most`).
    """

    name: str
    most: int = 0  # events of a channel, for `lag`


EVERY: Final = Policy("every")
LATEST: Final = Policy("latest")


class Subscription(NamedTuple):
    """What a reader asks for. Readers whose subscriptions are equal may share what they read."""

    names: tuple[str, ...]  # channels and patterns, each once
    policies: tuple[tuple[str, Policy], ...] = ()  # of those that do not want every event, in the order of the names
    who: Hashable = None  # as authentication knows the reader


class Selection(NamedTuple):
    """What a subscription comes to at a moment, and what `Log.after` needs of it."""

    channels: tuple[str, ...]  # each once; those that are named before those that are matched
    patterns: tuple[str, ...] = ()
    policies: tuple[Policy, ...] = ()  # one for each of `channels`; none at all where every event is wanted of all


def is_pattern(name: str) -> bool:
    """Whether `name` stands for any number of channels."""
    return name.endswith("*")


def matches(pattern: str, channel: str) -> bool:
    """Whether `pattern` takes in `channel`."""
    beginning = pattern[:-1]
    return channel.startswith(beginning) and (not channel.startswith(PRESENCE) or beginning.startswith(PRESENCE))


def check_pattern(pattern: str) -> None:
    """Raises: Refusal 4404, `pattern` is none."""
    if not _BEGINNING.fullmatch(pattern):
        raise Refusal(Code.UNKNOWN_CHANNEL, f"{pattern[:40]!r} is no pattern: the beginning of a channel name and a * at its end")


def subscription(names: Iterable[str], policies: Mapping[str, Policy], who: Hashable = None) -> Subscription:
    """What is asked for. Raises: Refusal 4400, a policy for what is not in `names`."""
    once = tuple(dict.fromkeys(names))
    if not policies:
        return Subscription(once, (), who)
    for name in policies:
        if name not in once:
            raise Refusal(Code.BAD_COMMAND, f"a policy for {name[:40]!r}, which is not one of the channels")
    return Subscription(once, tuple((name, policies[name]) for name in once if policies.get(name, EVERY) != EVERY), who)


def policies_of(latest: Iterable[str] = (), lag: Mapping[str, int] | None = None) -> dict[str, Policy]:
    """The policies that a command, or a program, gives. Raises: Refusal 4400, two for the same, or a lag out of range."""
    found = dict.fromkeys(latest, LATEST)
    for name, most in (lag or {}).items():
        if name in found:
            raise Refusal(Code.BAD_COMMAND, f"{name[:40]!r} is in latest and in lag: which of them?")
        if not 1 <= most <= LAG_MAX:
            raise Refusal(Code.BAD_COMMAND, f"lag={name[:40]}:{most}: 1 to {LAG_MAX} events")
        found[name] = Policy("lag", most)
    return found


def read_lag(text: str) -> dict[str, int]:
    """`lag=orders.*:100,chat:20` as it stands in a URL. Raises: Refusal 4400."""
    found: dict[str, int] = {}
    for part in text.split(","):
        if not part:
            continue
        name, _, most = part.rpartition(":")
        if not name or not re.fullmatch("[0-9]{1,9}", most, re.ASCII) or found.setdefault(name, int(most)) != int(most):
            raise Refusal(Code.BAD_COMMAND, f"lag={part[:40]}: say lag=NAME:EVENTS, once for each name")
    return found


def write_lag(lag: Mapping[str, int]) -> str:
    """The way back."""
    return ",".join(f"{name}:{most}" for name, most in lag.items())


def select(asked: Subscription, channels: Iterable[str]) -> Selection:
    """What `asked` comes to among `channels`, which are those that there are, in the order in which they came up."""
    patterns = tuple([name for name in asked.names if is_pattern(name)])
    if not patterns:
        return Selection(asked.names, (), _policies(asked, asked.names))
    named = [name for name in asked.names if not is_pattern(name)]
    plain = set(named)
    anything, presence = _beginnings(patterns)
    named += [
        channel
        for channel in channels
        if channel.startswith(presence if channel.startswith(PRESENCE) else anything) and channel not in plain
    ]
    return Selection(tuple(named), patterns, _policies(asked, named))


def _beginnings(patterns: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """With what a channel begins that one of `patterns` takes in, and with what one that tells who is there: many are looked for
    at once, as a hundred patterns may meet ten thousand channels.
    """
    anything = tuple([pattern[:-1] for pattern in patterns])
    return anything, tuple([beginning for beginning in anything if beginning.startswith(PRESENCE)])


def grow(asked: Subscription, chosen: Selection, channel: str) -> Selection:
    """`chosen` once `channel`, which `asked` matches, has come up."""
    return Selection((*chosen.channels, channel), chosen.patterns, chosen.policies + _policies(asked, (channel,)))


def matched(asked: Subscription, chosen: Selection) -> int:
    """How many of the channels of `chosen` are matched, and not named."""
    return len(chosen.channels) - len(asked.names) + len(chosen.patterns)


def _policies(asked: Subscription, channels: Sequence[str]) -> tuple[Policy, ...]:
    """One for each of `channels`: of its name, or of the longest pattern that matches it."""
    if not asked.policies:
        return ()
    known, names = dict(asked.policies), frozenset(asked.names)
    lengths = sorted(
        {len(name) - 1 for name in asked.names if is_pattern(name)}, reverse=True
    )  # not pattern by pattern: see above

    def longest(channel: str) -> str:
        return next(each for length in lengths if (each := channel[:length] + "*") in names and matches(each, channel))

    return tuple([known.get(each if each in names else longest(each), EVERY) for each in channels])


class Patterns(Generic[_Reader]):
    """Who follows which pattern. To find those who match costs a look for each character of the channel's name."""

    def __init__(self) -> None:
        self._readers: dict[str, set[_Reader]] = {}  # by pattern

    def add(self, patterns: Iterable[str], reader: _Reader) -> None:
        """`reader` follows `patterns`."""
        for pattern in patterns:
            self._readers.setdefault(pattern, set()).add(reader)

    def remove(self, patterns: Iterable[str], reader: _Reader) -> None:
        """`reader` follows them no longer."""
        for pattern in patterns:
            if (readers := self._readers.get(pattern)) is not None:
                readers.discard(reader)
                if not readers:
                    del self._readers[pattern]

    def matching(self, channel: str) -> Iterator[_Reader]:
        """Those who follow a pattern that takes in `channel`, each once."""
        if not self._readers:
            return
        found: set[_Reader] = set()
        for length in range(len(channel) + 1):
            pattern = channel[:length] + "*"
            if (readers := self._readers.get(pattern)) and matches(pattern, channel):
                found |= readers
        yield from found


def chosen(policy: Policy, events: Sequence[Encoded]) -> Sequence[Encoded]:
    """Those of `events`, all of one channel and in order, that `policy` lets through."""
    if policy.name == "lag":
        return events[-policy.most :]
    if policy.name == "latest":
        newest: dict[str | None, Encoded] = {}
        for event in events:
            newest.pop(event.about, None)
            newest[event.about] = event
        return [*newest.values()]
    return events
