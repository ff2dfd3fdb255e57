"""Position: where a reader stands in the log. `k3f9.1042` says: I have everything up to 1042 in the channels I follow.

One token serves any number of channels, because offsets grow over the whole hub. This is the only place that parses
it; to a client it is opaque, but for the question which of two positions of one epoch is the later.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from .errors import Code, Refusal

OFFSET_MAX = 2**53 - 1  # the largest integer that JSON numbers carry exactly in every language (RFC 8259 section 6)
_FORM = re.compile(r"([A-Za-z0-9]{1,16})\.(0|[1-9][0-9]{0,15})", re.ASCII)


class Position(NamedTuple):
    """`epoch`: the name of one life of the log. `offset`: a number in it; there are holes, nobody computes with it."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.offset}"


@lru_cache(4096)  # readers in step come with the same
def parse(text: str) -> Position:
    """Read a position as it travels.

    Raises:
        Refusal: 4400, when `text` is not of the form `epoch.offset`.
    """
    found = _FORM.fullmatch(text)
    if found is None or (offset := int(found[2])) > OFFSET_MAX:
        raise Refusal(Code.BAD_COMMAND, f"{text[:40]!r} is not a position: send back the id of the last item, like 'k3f9.1042'")
    return Position(found[1], offset)
