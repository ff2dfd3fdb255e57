"""Endpoints: the paths, their parameters and what they answer. Tests hold them against what is served, and against the tables
of `docs/reference/protocol.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

JSON: Final = "application/json"
_POSITION: Final = r"^[A-Za-z0-9]{1,16}\.(0|[1-9][0-9]*)$"


class Parameter(NamedTuple):
    """A parameter of a query, or a part of a path."""

    meaning: str
    schema: Mapping[str, Any]


class Answer(NamedTuple):
    """What a path answers when nothing is wrong."""

    status: int
    meaning: str
    kind: str  # content type
    shape: str  # name of a schema, or of several as an array: `[Item]`; empty: text of its own


class Endpoint(NamedTuple):
    """A path. `refusals`: HTTP statuses with a numbered error, beside those of `EVERYWHERE`."""

    method: str
    title: str
    text: str
    parameters: tuple[str, ...]
    answer: Answer
    refusals: tuple[int, ...]
    body: str = ""  # shape of what is posted
    open: bool = False  # to everybody, whoever they are


_SECONDS: Final = {"type": "number", "minimum": 0}
PARAMETERS: Final = {
    "channels": Parameter("Names and patterns, separated by commas.", {"type": "string", "examples": ["vitals,orders.*"]}),
    "latest": Parameter("Those of `channels` of which only the newest is wanted when events have piled up.", {"type": "string"}),
    "lag": Parameter(
        "Those of `channels` of which so many events may pile up at the most.", {"type": "string", "examples": ["orders.*:100"]}
    ),
    "since": Parameter("The position to read on from: the `id` of the last item.", {"type": "string", "pattern": _POSITION}),
    "wait": Parameter("Seconds to wait for an event.", _SECONDS),
    "beat": Parameter("The longest silence in seconds that the path bears.", _SECONDS),
    "why": Parameter("Why the client opens a wire.", {"type": "string", "enum": ["race", "retest", "wish", "move"]}),
    "tried": Parameter("What the client found out since a wire last worked.", {"type": "string"}),
    "ticket": Parameter("What a client shows that can set no headers.", {"type": "string"}),
    "v": Parameter("Protocol version.", {"type": "integer", "const": 1}),
}
"""Of a query, as `docs/reference/protocol.md` has them."""

ASIDE: Final = {
    "channel": Parameter("A channel.", {"type": "string", "minLength": 1, "maxLength": 119}),
    "after": Parameter("The last that was listed.", {"type": "string"}),
    "limit": Parameter(
        "How many to list, 1,000 members or 2,000 connections at the most; 0 only counts.", {"type": "integer", "minimum": 0}
    ),
    "json": Parameter("Whatever it says: JSON is wanted, whatever else is accepted.", {"type": "string"}),
    "for": Parameter("The path of the transport that the ticket is for.", {"type": "string", "enum": ["ws", "sse", "poll"]}),
}
"""Of paths of their own."""

_READ: Final = ("channels", "latest", "lag", "since", "why", "tried", "ticket", "v")
EVERYWHERE: Final = (405, 414, 431)
"""What any path may be refused with."""

_REFUSED: Final = (400, 401, 403, 404, 413, 421, 429, 500, 503)
_SCRIPT: Final = Answer(200, "The script.", "text/javascript", "")

ENDPOINTS: Final = {
    "ws": Endpoint(
        "GET",
        "Items down and commands up, over WebSocket",
        "An upgrade (RFC 6455). A page of a foreign origin gets 403, who asks by a name that is not served 421 or 403; "
        "every other refusal comes as `bye` and close code.",
        (*_READ[:4], "beat", *_READ[4:]),
        Answer(101, "A WebSocket: see `asyncapi.yaml`.", "", ""),
        (400, 403, 421, 426),
    ),
    "sse": Endpoint(
        "GET",
        "Items down, as Server-Sent Events",
        "A block per item, without end. The header `Last-Event-ID` goes before `since`.",
        (*_READ[:4], "beat", *_READ[4:]),
        Answer(200, "The stream: the `data` of each block is an `Item`.", "text/event-stream", ""),
        _REFUSED,
    ),
    "poll": Endpoint(
        "GET",
        "One batch of items",
        "Without `since` it is answered at once, with `hello`. With `since` it waits for something to happen.",
        (*_READ[:4], "wait", *_READ[4:]),
        Answer(200, "The batch, at least one item.", JSON, "[Item]"),
        _REFUSED,
    ),
    "commands": Endpoint(
        "POST",
        "Commands up, for every transport",
        "One command, or an array of them, executed in order. A command that fails gets its reply, and the others go on.",
        ("v",),
        Answer(200, "The replies, in the same order.", JSON, "[Reply]"),
        (400, 401, 403, 408, 413, 415, 421, 429, 500, 503),
        "Commands",
    ),
    "ticket": Endpoint(
        "POST",
        "A ticket, for what can set no headers",
        "For whoever shows a token or a cookie. It is shown as `ticket=…` within 30 seconds, once.",
        ("for", "v"),
        Answer(200, "The ticket.", JSON, "Ticket"),
        (400, 401, 403, 421, 429, 500, 503),
    ),
    "presence/": Endpoint(
        "GET",
        "Who is in a channel",
        "With a position: a reader of all changes knows the same there.",
        ("channel", "since", "after", "limit", "v"),
        Answer(200, "The members, sorted by name.", JSON, "Page"),
        (400, 401, 403, 404, 421, 429, 500, 503),
    ),
    "negotiate": Endpoint(
        "GET",
        "What the server offers",
        "Versions, transports with their paths, limits. A client may skip it.",
        ("v",),
        Answer(200, "What it offers.", JSON, "Offer"),
        (400, 403, 421, 503),
        open=True,
    ),
    "health": Endpoint(
        "GET",
        "For load balancers",
        "Whether new readers may be sent here.",
        ("v",),
        Answer(200, "They may.", JSON, "Ready"),
        (400, 403, 503),
        open=True,
    ),
    "health/live": Endpoint(
        "GET",
        "For who ends a process that hangs",
        "Answers as long as the process does.",
        ("v",),
        Answer(200, "It does.", JSON, "Alive"),
        (400, 403),
        open=True,
    ),
    "status": Endpoint(
        "GET",
        "Who is connected, for operators",
        "A page for browsers, JSON for everybody else and with `json` in the query.",
        ("json", "limit", "v"),
        Answer(200, "What is seen from this process.", JSON, "Status"),
        (400, 401, 403, 421, 500, 503),
    ),
    "metrics": Endpoint(
        "GET",
        "Figures, for Prometheus and for operators",
        "In the text format of Prometheus, or in that of OpenMetrics for who accepts it.",
        ("v",),
        Answer(200, "The figures.", "text/plain", ""),
        (400, 401, 403, 421, 500, 501, 503),
    ),
    "client.js": Endpoint("GET", "The browser client", "An ES module.", ("v",), _SCRIPT, (400,), open=True),
    **{
        name: Endpoint("GET", "A part of the browser client", f"Loaded when {why}.", ("v",), _SCRIPT, (400,), open=True)
        for name, why in {
            "outbox.js": "something is published",
            "oneway.js": "something comes over SSE or long-polling, or is refused",
            "presence.js": "a page imports it: who is there",
            "tabs.js": "tabs share a connection",
        }.items()
    },
}
"""By path below the mount; `presence/` is followed by a channel."""
