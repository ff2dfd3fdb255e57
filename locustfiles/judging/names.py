"""Names: what people call a lane, a server and a network, and how an amount is written. The same words in the verdict, the report
and the terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Final
from urllib.parse import urlsplit

from ..plan import Plan
from ..samples import Lane

NAMES: Final = {"websocket": "WebSocket", "sse": "SSE", "longpoll": "long-polling", "negotiated": "negotiated"}


def lane_name(lane: Lane, plan: Plan) -> str:
    """`SSE`; where several servers are compared, `SSE of everywire`."""
    name = NAMES.get(lane.transport, lane.transport)
    return f"{name} of {subject_name(lane.subject)}" if len(plan.subjects) > 1 else name


def subject_name(subject: str) -> str:
    """A server, as it is called: by its name, its file's name, or its host and port."""
    if "://" in subject:
        return urlsplit(subject).netloc or subject
    return PurePath(subject).stem if subject.endswith(".py") else subject


def network_name(network: str) -> str:
    """`on an open network`, `on the network no-upgrade`."""
    return "on an open network" if network == "open" else f"on the network {network}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def amount(value: float, unit: str) -> str:
    """Three digits, which is as many as repeats agree on: `1.23 ms`, `12,345 ms`."""
    return f"{value:,.0f} {unit}".rstrip() if abs(value) >= 100 else f"{value:.3g} {unit}".rstrip()


def capital(text: str) -> str:
    """With a capital letter, as sentences begin."""
    return text[:1].upper() + text[1:]


def printable(text: str) -> str:
    """As it may go to a terminal: what would steer it, or hide what follows, is shown by its code."""
    return "".join(each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text)
