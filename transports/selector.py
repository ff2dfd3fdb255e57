"""Selector: what a subscription comes to at a moment, for who asks: the channels that there are, that its patterns match, and
that it may read.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Protocol

from .errors import Code, Refusal
from .limits import Limits
from .log import Log
from .names import Names
from .options import Options
from .rights import May
from .subscriptions import Policy, Selection, Subscription, is_pattern, matched, select, subscription

_KNOWN = 4096  # lists of names that were checked and need not be again,
_SELECTIONS = 256  # and what they come to, which may be longer,
_SHORT = 8  # if they are as short as this: what clients make up must not fill the memory


class _Hub(Protocol):
    """What is asked of the hub."""

    log: Log
    limits: Limits
    options: Options

    @property
    def asks(self) -> bool: ...
    def may(self, who: Hashable, action: str, channel: str) -> bool: ...


class Selector:
    """See above.

    Args:
        hub: whose channels.
        names: which there may be.
    """

    def __init__(self, hub: _Hub, names: Names) -> None:
        self._hub, self._names = hub, names
        self._known: dict[tuple[str, ...], tuple[str, ...]] = {}  # as asked for -> each once, checked
        self._selections: dict[Subscription, Selection] = {}  # what asked for patterns, before anybody is asked whether they may

    def asked(self, channels: Iterable[str], policies: Mapping[str, Policy], who: Hashable) -> Subscription:
        """What `who` asks for. Raises: Refusal 4404 unknown channel, 4400 too many, or a policy for what is none of them."""
        return subscription(self._checked(tuple(channels)), policies, who)

    def _checked(self, asked: tuple[str, ...]) -> tuple[str, ...]:
        if (known := self._known.get(asked)) is not None:
            return known
        names = tuple(dict.fromkeys(asked))
        if len(names) > (most := self._hub.options.channels_per_reader):
            what = f"{len(names)} channels, a reader may follow {most}"
            raise self._hub.limits.refuse("channels_per_reader", Code.BAD_COMMAND, what)
        for name in names:
            self._names.check_asked(name)
        if len(asked) <= _SHORT:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[asked] = names
        return names

    def select(self, asked: Subscription, had: Sequence[str] = ()) -> Selection:
        """What `asked` comes to now; the names that it `had` already are not asked about again.

        Raises: Refusal 4403 a named channel that is not for who asks, 4413 too many.
        """
        if self._hub.asks:
            for name in asked.names:
                if not is_pattern(name) and name not in had and not self._may_read(asked.who, name):
                    raise Refusal(Code.FORBIDDEN, f"{name} is not for you")
        selection = self.allowed(asked, self._may_read) if self._hub.asks else self._everything(asked)
        self.bound(asked, selection)
        return selection

    def allowed(self, asked: Subscription, may: May) -> Selection:
        """What `asked` comes to, when `may` is asked about each channel that it does not name. Raises: Refusal 4500."""
        everything = self._everything(asked)
        if not everything.patterns:
            return everything
        named = len(everything.channels) - matched(asked, everything)
        found = [each for each in everything.channels[named:] if may(asked.who, each)]
        return everything if len(found) == matched(asked, everything) else select(asked, found)

    def bound(self, asked: Subscription, selection: Selection) -> None:
        """Raises: Refusal 4413, there are too many channels in it that `asked` does not name."""
        most = self._hub.options.matches_per_reader
        if (number := matched(asked, selection)) > most:
            what = ", ".join(selection.patterns)[:80]
            why = f"{what} matches {number} channels, a reader may follow {most} that it does not name"
            raise self._hub.limits.refuse("matches_per_reader", Code.TOO_LARGE, why)

    def forget(self) -> None:
        """There are other channels than before."""
        self._selections.clear()

    def _everything(self, asked: Subscription) -> Selection:
        """What `asked` comes to for who may read everything. Others who publish may allow more channels than we do."""
        everybody = asked if asked.who is None else asked._replace(who=None)
        if (selection := self._selections.get(everybody)) is None:
            selection = select(everybody, filter(self._names.__contains__, self._hub.log.names))
            if len(asked.names) <= _SHORT and matched(asked, selection) <= self._hub.options.matches_per_reader:
                if len(self._selections) >= _SELECTIONS:
                    self._selections.clear()
                self._selections[everybody] = selection
        return selection

    def _may_read(self, who: Hashable, channel: str) -> bool:
        return self._hub.may(who, "subscribe", channel)
