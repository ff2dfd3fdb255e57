"""Record: what one reader has seen of one source, judged by the publisher's sequence numbers alone, so that a transport cannot
hide what it lost.
"""

from __future__ import annotations

from array import array
from typing import Literal, NamedTuple, TypeAlias

from ..samples import Tally
from .timeline import Cells

Finding: TypeAlias = Literal["", "lost", "declared", "doubled", "disordered", "alien"]


class _Gap(NamedTuple):
    """Numbers from `first` to `last` that have not come (yet)."""

    first: int
    last: int
    declared: bool


class Record:
    """What one reader has seen of one source, whose events are numbered without holes.

    Args:
        source: who numbers them: the publisher in a channel, or a reader that publishes itself.
        cells: where deliveries are kept; readers share them. None: nowhere.
    """

    def __init__(self, source: str, cells: Cells | None = None) -> None:
        self.source = source
        self._cells = cells
        self.next: int | None = None  # the number that has to come now
        self._first = 0  # the lowest number seen
        self._gaps: list[_Gap] = []
        self._told = False  # a `lost` came since the last event: the next gap is a declared one
        self._head_told = False
        self._delivered = self._doubled = self._disordered = 0

    def event(self, n: int, due: int, delay: int) -> Finding:
        """Event number `n`, which was due at `due`, came `delay` later, in microseconds. Returns what is wrong with that.

        One of a number that was due at another time is `alien`: there are two who publish. It counts as nothing.
        """
        if n == self.next:
            finding: Finding = ""
            self.next = n + 1
        elif self.next is None or n > self.next:
            finding = self._ahead(n)
        elif self._is_alien(n, due):
            return "alien"
        elif self._fills_gap(n):
            finding = "disordered"
            self._disordered += 1
        else:
            self._doubled += 1
            return "doubled"
        self._told = False
        self._delivered += 1
        if self._cells is not None:
            try:
                self._cells[n].append(delay)
            except KeyError:
                self._cells[n] = array("q", (due, delay))
        return finding

    @property
    def delivered(self) -> int:
        """Events that came, each counted once."""
        return self._delivered

    def lost(self) -> None:
        """The server declared that something is gone; what, the numbers of the next event tell."""
        self._told = True

    def tally(self, first: int | None = None, last: int | None = None) -> Tally:
        """The judgement, when all of `first` to `last` should have come; where None, from or through what was seen. Nothing
        beyond `last` is missed: nobody has published it.
        """
        gaps = list(self._gaps)
        if self.next is None:
            if first is not None and last is not None and first <= last:
                gaps.append(_Gap(first, last, self._told))
        else:
            if first is not None and first < self._first:
                gaps.append(_Gap(first, self._first - 1, self._head_told))
            if last is not None and last >= self.next:
                gaps.append(_Gap(self.next, last, self._told))
        if last is not None:
            gaps = [gap._replace(last=min(gap.last, last)) for gap in gaps if gap.first <= last]
        lost = sum(gap.last - gap.first + 1 for gap in gaps)
        return Tally(
            expected=self._delivered + lost,
            delivered=self._delivered,
            lost=lost,
            declared=sum(gap.last - gap.first + 1 for gap in gaps if gap.declared),
            doubled=self._doubled,
            disordered=self._disordered,
        )

    def _ahead(self, n: int) -> Finding:
        skipped, self.next = self.next, n + 1
        if skipped is None:
            self._first, self._head_told = n, self._told
            return ""
        self._gaps.append(_Gap(skipped, n - 1, self._told))
        return "declared" if self._told else "lost"

    def _is_alien(self, n: int, due: int) -> bool:
        known = None if self._cells is None else self._cells.get(n)
        return known is not None and known[0] != due

    def _fills_gap(self, n: int) -> bool:
        """A late one: take it out of its gap. One before the first that was seen opens the gap between them."""
        if n < self._first:
            self._gaps += _holes(n + 1, self._first - 1, declared=False)
            self._first = n
            return True
        for place, gap in enumerate(self._gaps):
            if gap.first <= n <= gap.last:
                self._gaps[place : place + 1] = [
                    *_holes(gap.first, n - 1, declared=gap.declared),
                    *_holes(n + 1, gap.last, declared=gap.declared),
                ]
                return True
        return False


def _holes(first: int, last: int, *, declared: bool) -> list[_Gap]:
    return [_Gap(first, last, declared)] if first <= last else []
