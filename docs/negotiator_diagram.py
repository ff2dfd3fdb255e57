"""Draw the negotiator's states out of its table, into `docs/_static/negotiator.svg`.

python docs/negotiator_diagram.py
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from transports.facts import STATES
from transports.negotiator import ARROWS

PICTURE: Final = Path(__file__).parent / "_static" / "negotiator.svg"

_PLACES: Final = {
    "idle": (90, 90),
    "connecting": (330, 90),
    "open": (760, 90),
    "reconnecting": (760, 370),
    "offline": (330, 370),
    "closed": (1080, 90),
    "failed": (1080, 370),
}
_WIDTH, _HEIGHT = 130, 44  # of a state
_APART: Final = 9  # between the two arrows of a pair
_ENDS: Final = ("closed", "failed")  # arrows to these are told in words: they come from everywhere

_STYLE: Final = """
  .card{fill:#ffffff;stroke:#d5dbe3}
  .box{fill:#f4f7fb;stroke:#9fb0c3}
  .live{fill:#d8f3e8;stroke:#0f8a6a}
  .text{fill:#17212e}
  .soft{fill:#566577}
  .wire{stroke:#5f7186;fill:none;stroke-width:1.8}
  .tip{fill:#5f7186}
  text{font-family:ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;font-size:14px}
  .h{font-size:15px;font-weight:650}
  @media (prefers-color-scheme:dark){
    .card{fill:#10161e;stroke:#2b3644}
    .box{fill:#1c2836;stroke:#4b5f78}
    .live{fill:#123a2e;stroke:#3fd0a4}
    .text{fill:#e8eef5}
    .soft{fill:#a3b2c3}
    .wire{stroke:#8fa3ba}
    .tip{fill:#8fa3ba}
  }
"""


def draw() -> str:
    """The picture."""
    arrows = {pair: facts for pair, facts in ARROWS.items() if pair[1] not in _ENDS}
    lines = [_arrow(start, end, facts, (end, start) in arrows) for (start, end), facts in arrows.items()]
    states = [_state(name) for name in STATES]
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 470" width="1200" height="470" role="img"'
            ' aria-labelledby="title desc">',
            '<title id="title">The states of the negotiator</title>',
            f'<desc id="desc">{_in_words()}</desc>',
            f"<style>{_STYLE}</style>",
            '<defs><marker id="t" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
            '<path class="tip" d="M0 0 L10 5 L0 10 Z"/></marker></defs>',
            '<rect class="card" x="1" y="1" width="1198" height="468" rx="14" stroke-width="1.2"/>',
            *lines,
            *states,
            *_note(1080, 136, _from_anywhere("closed")),
            *_note(1080, 416, _from_anywhere("failed")),
            "</svg>",
            "",
        ]
    )


def _in_words() -> str:
    return "; ".join(f"{start} to {end} by {', '.join(facts)}" for (start, end), facts in ARROWS.items()) + "."


def _from_anywhere(end: str) -> list[str]:
    """What leads to a last state, and from where."""
    facts = list(dict.fromkeys(fact for (_, to), each in ARROWS.items() if to == end for fact in each))
    starts = [start for start, to in ARROWS if to == end]
    missing = [state for state in STATES if state not in (*starts, *_ENDS)]
    return [f"by {', '.join(facts)}", "from all others" + (f" but {', '.join(missing)}" if missing else "")]


def _state(name: str) -> str:
    x, y = _PLACES[name]
    kind = "live" if name == "open" else "box"
    left, top = x - _WIDTH / 2, y - _HEIGHT / 2
    return (
        f'<rect class="{kind}" x="{left:g}" y="{top:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="10" stroke-width="1.4"/>'
        f'<text class="text h" x="{x}" y="{y + 5}" text-anchor="middle">{name}</text>'
    )


def _arrow(start: str, end: str, facts: tuple[str, ...], both: bool) -> str:
    """A line from border to border; where there is one back, each keeps to its right."""
    (x1, y1), (x2, y2) = _PLACES[start], _PLACES[end]
    length = math.hypot(x2 - x1, y2 - y1)
    along, across = ((x2 - x1) / length, (y2 - y1) / length), ((y1 - y2) / length, (x2 - x1) / length)
    aside = _APART if both else 0
    x1, y1, x2, y2 = (value + aside * across[axis % 2] for axis, value in enumerate((x1, y1, x2, y2)))
    near, far = _border(along, 0), _border(along, 4)
    x1, y1, x2, y2 = x1 + along[0] * near, y1 + along[1] * near, x2 - along[0] * far, y2 - along[1] * far
    part = 0.5 if 0.0 in (round(along[0], 3), round(along[1], 3)) else 0.36  # labels of slanting lines keep out of the way
    label = _label(x1 + part * (x2 - x1), y1 + part * (y2 - y1), across, both, facts)
    return f'<path class="wire" d="M{x1:.1f} {y1:.1f} L{x2:.1f} {y2:.1f}" marker-end="url(#t)"/>{label}'


def _border(along: tuple[float, float], more: float) -> float:
    """From the middle of a state to its border, in the direction `along`."""
    reach = [half / abs(part) for half, part in ((_WIDTH / 2, along[0]), (_HEIGHT / 2, along[1])) if abs(part) > 1e-9]
    return min(reach) + more


def _label(x: float, y: float, across: tuple[float, float], both: bool, facts: tuple[str, ...]) -> str:
    """The facts, beside the line."""
    rows = [", ".join(facts[at : at + 3]) for at in range(0, len(facts), 3)]
    upright = abs(across[0]) > 0.9  # the line stands
    if upright:
        left = across[0] < 0
        anchor, x, y = ("end" if left else "start"), x + (-8 if left else 8), y - 9 * (len(rows) - 1) + 5
    elif both:
        anchor, x, y = "middle", x, (y + 18 if across[1] > 0 else y - 8 - 18 * (len(rows) - 1))
        if abs(across[1]) < 0.9:  # a slanting line
            anchor, x, y = ("start", x + 12, y - 4) if across[0] > 0 else ("end", x - 12, y + 4)
    else:
        anchor, y = "middle", y - 8 - 18 * (len(rows) - 1)
    return "".join(
        f'<text class="soft" x="{x:.1f}" y="{y + 18 * row:.1f}" text-anchor="{anchor}">{text}</text>'
        for row, text in enumerate(rows)
    )


def _note(x: float, y: float, rows: list[str]) -> list[str]:
    return [f'<text class="soft" x="{x}" y="{y + 18 * row}" text-anchor="middle">{text}</text>' for row, text in enumerate(rows)]


if __name__ == "__main__":
    PICTURE.write_text(draw())
