"""Reading: what a client makes of the items that come, whichever wire they come by. Repeats are dropped, and the
position is kept.
"""

from __future__ import annotations

from .items import Beat, Event, Hello, Item, Lost
from .position import Position, parse


class Reading:
    """Where a client stands.

    Args:
        since: the position to begin with, None for the present.
    """

    def __init__(self, since: str | None = None) -> None:
        self._at: Position | None = parse(since) if since else None
        self._told: dict[str, Position] = {}  # channel -> through where its loss has been told

    @property
    def position(self) -> str | None:
        """What to send as `since`; None before the first item."""
        return None if self._at is None else str(self._at)

    def take(self, item: Item) -> Item | None:
        """The item if it is news; None if it came before. Raises: Refusal 4400, an id is not a position."""
        match item:
            case Event():
                return item if self._advance(parse(item.id)) else None
            case Beat():
                self._advance(parse(item.id))
            case Hello() if self._at is None:
                self._at = parse(item.id)
            case Lost():
                return self._lose(item)
        return item

    def _advance(self, to: Position) -> bool:
        """Move on to `to`, unless it lies behind."""
        if self._at is not None and self._at.epoch == to.epoch and to.offset <= self._at.offset:
            return False
        self._at = to
        return True

    def _lose(self, lost: Lost) -> Lost | None:
        """A loss is told again to whom came back before its end; what has been told already is left out."""
        at, after, through, told = parse(lost.id), parse(lost.after), parse(lost.through), self._told.get(lost.channel)
        again = lost.reason != "future" and told is not None and told.epoch == through.epoch
        if lost.reason == "future":
            self._at = at  # backwards: this log knows less than we do
        elif not again or (self._at is not None and self._at.epoch == at.epoch):
            self._advance(at)
        if again and told is not None:
            if through.offset <= told.offset:
                return None
            if after.epoch == told.epoch and after.offset < told.offset:
                lost.after = str(told)
        self._told[lost.channel] = through
        return lost
