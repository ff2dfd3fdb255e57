"""Counts: what the clients' evidence adds up to, for the operator. Each client says, when it opens a wire, why it does
and what it tried before; here that becomes numbers.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from .errors import Code
from .evidence import LABELS, VERDICTS

WHYS: Final = frozenset({"race", "retest", "wish", "move"})
_TRIED_MOST: Final = 8  # in one request; what a client says is never trusted to be short


class Counts:
    """How many wires were opened, for which reason, and what clients found out about the others. It only grows."""

    def __init__(self) -> None:
        self._opened: Counter[str] = Counter()
        self._whys: Counter[str] = Counter()
        self._verdicts: Counter[tuple[str, str]] = Counter()
        self._moves: Counter[str] = Counter()

    def opened(self, transport: str, why: str, tried: str) -> None:
        """A client opened a wire.

        Args:
            transport: its name.
            why: `race`, `retest`, `wish` or `move`; anything else counts as `other`.
            tried: what the client found out since it last opened one: `websocket.refused_http,sse.buffered`. What is none of our
                names is not counted: the number of counters must not depend on clients.
        """
        self._opened[transport] += 1
        self._whys[why if why in WHYS else "other"] += 1
        for each in tried.split(",")[:_TRIED_MOST]:
            rung, _, verdict = each.partition(".")
            if rung in LABELS and verdict in VERDICTS:
                self._verdicts[rung, verdict] += 1

    def moved(self, code: Code) -> None:
        """A reader was told to go on at another process."""
        self._moves[code.name.lower()] += 1

    def as_dict(self) -> dict[str, Any]:
        """For JSON: `{"opened": {"sse": 3}, "why": {"race": 3}, "verdicts": {"websocket": {"refused_http": 2}}, "moved":
        {"draining": 3}}`.
        """
        verdicts: dict[str, dict[str, int]] = {}
        for (rung, verdict), number in sorted(self._verdicts.items()):
            verdicts.setdefault(rung, {})[verdict] = number
        return {
            "opened": dict(sorted(self._opened.items())),
            "why": dict(sorted(self._whys.items())),
            "verdicts": verdicts,
            "moved": dict(sorted(self._moves.items())),
        }
