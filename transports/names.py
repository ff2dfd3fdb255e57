"""Names: which channels there may be, and which patterns could match any of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import Code, Refusal
from .subscriptions import PRESENCE, check_pattern, is_pattern

_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:\-]{0,127}", re.ASCII)
_KNOWN = 4096  # names that were found good and need not be looked at again


class Names:
    """The names that may be read and published.

    Args:
        channels: names, and beginnings with a `*`: the setting `channels`.
    """

    def __init__(self, channels: Iterable[str]) -> None:
        channels = tuple(channels)
        self._names = {name for name in channels if not is_pattern(name)}
        self._beginnings = tuple(name[:-1] for name in channels if is_pattern(name))
        self._good: set[str] = set()

    def __contains__(self, channel: str) -> bool:
        try:
            self.check(channel)
        except Refusal:
            return False
        return True

    def check(self, channel: str) -> None:
        """Raises: Refusal 4404, unless `channel` is a name that may be read and published."""
        if channel in self._good:
            return
        if not _CHANNEL.fullmatch(channel):
            raise Refusal(Code.UNKNOWN_CHANNEL, f"{channel[:40]!r} is not a channel name: 1 to 128 of A-Z a-z 0-9 _ . : -")
        whose = channel.removeprefix(PRESENCE)  # who may know of a channel may know who is there
        nested = whose != channel and whose.startswith(PRESENCE)
        if nested or (whose not in self._names and not whose.startswith(self._beginnings)):
            raise Refusal(Code.UNKNOWN_CHANNEL, f"no channel named {channel!r}")
        if len(self._good) < _KNOWN:
            self._good.add(channel)

    def check_asked(self, name: str) -> None:
        """Raises: Refusal 4404, unless `name` may be asked for: a channel, or a pattern that could match one."""
        if not is_pattern(name):
            self.check(name)
            return
        check_pattern(name)
        beginning = name[:-1].removeprefix(PRESENCE)
        if beginning.startswith(PRESENCE) or not (
            any(name.startswith(beginning) for name in self._names)
            or any(each.startswith(beginning) or beginning.startswith(each) for each in self._beginnings)
        ):
            raise Refusal(Code.UNKNOWN_CHANNEL, f"no channel matches {name!r}, nor may one")
