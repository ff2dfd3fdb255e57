"""Reading: what a client makes of the items that come, by one wire or by several at once. Repeats are dropped, and the
position is kept.

Each wire is complete behind the position at which it was opened. So the items of all of them, less the repeats, are complete
behind ours, in whatever way they are mixed.
"""

from __future__ import annotations

import msgspec

from .errors import NotEverywireError, Refusal
from .items import Beat, Event, Hello, Item, Lost, Skipped
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

    @property
    def epoch(self) -> str | None:
        """Of which life of the log that is. When it changes, other wires that were opened before are of the past."""
        return None if self._at is None else self._at.epoch

    def take(self, item: Item) -> Item | None:
        """The item if it is news; None if it came before.

        Raises:
            NotEverywireError: the stream begins elsewhere than where we stand, or an id is none.
        """
        match item:
            case Event() | Beat() if not self._same_life(_place(item.id)):
                raise NotEverywireError(f"{item.id} is of another life of the log, and nobody said that it began anew")
            case Event():
                return item if self._advance(_place(item.id)) else None
            case Beat():
                self._advance(_place(item.id))
            case Hello() if self._at is None:
                self._at = _place(item.id)
            case Hello(resumed="fresh") if not self._passed(_place(item.id)):  # reading on would be a gap that nobody declares
                raise NotEverywireError("our position got lost on the way to the server")
            case Lost():
                return self._lose(item)
            case Skipped():  # another wire may have brought all of it, or be in another life of the log already
                through = _place(item.through)
                return item if self._same_life(through) and not self._passed(through) else None
        return item

    def _same_life(self, place: Position) -> bool:
        return self._at is None or self._at.epoch == place.epoch

    def _passed(self, place: Position) -> bool:
        """Whether we have everything up to `place`."""
        return self._at is not None and self._at.epoch == place.epoch and place.offset <= self._at.offset

    def _advance(self, to: Position) -> bool:
        """Move on to `to`, unless it lies behind."""
        if self._passed(to):
            return False
        self._at = to
        return True

    def _lose(self, lost: Lost) -> Lost | None:
        """The loss, or what has not been told of it: it comes again to whom came back before its end."""
        to, through, told = _place(lost.id), _place(lost.through), self._told.get(lost.channel)
        if lost.reason == "evicted" and self._passed(through):  # gone there, but another wire had brought it
            return None
        if lost.reason == "future" and not self._passed(_place(lost.after)):
            return None  # another wire has said so, and we have gone back already
        if lost.reason == "future":
            self._at, self._told = to, {}  # backwards: this log knows less than we do
            return lost
        known = told is not None and told.epoch == through.epoch
        if not known or (self._at is not None and self._at.epoch == to.epoch):  # a late repeat leads back to no earlier life
            self._advance(to)
        if known and told is not None:
            if through.offset <= told.offset:
                return None
            lost = msgspec.structs.replace(
                lost, after=str(max(told, _place(lost.after), key=lambda at: (at.epoch == told.epoch, at.offset)))
            )
        self._told[lost.channel] = through
        return lost


def _place(text: str) -> Position:
    """A position that came down. Raises: NotEverywireError, it is none."""
    try:
        return parse(text)
    except Refusal as refusal:
        raise NotEverywireError(f"{text[:40]!r} is no position") from refusal
