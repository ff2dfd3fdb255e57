"""Every figure in digits is made of what was measured, is a value of the code, or is no figure of ours.

What scripts put into pages is looked at by `test_experiments.py`. Whatever else looks like a figure has to be named here: in
`HELD` with the value that it has in the code, or in `TOLD` with where it comes from.
"""

from __future__ import annotations

import gzip
import inspect
import re
from pathlib import Path

import pytest

from locustfiles import histogram
from locustfiles.judging import doubts, figures
from quart_app.lab import running
from tests.benchmarks import measures
from tests.benchmarks import table as bench_table
from tests.docs.test_capacity import load
from tests.documents import PAGES, ROOT
from tests.hostile import fuzz, test_slow_readers
from tests.static import test_client_js
from transports import (
    Code,
    Options,
    Pace,
    accepting,
    accounts,
    attendance,
    facts,
    items,
    peers,
    request,
    rights,
    schemas,
    serve,
    status,
    tickets,
    workers,
)
from transports.brokers import sqlite
from transports.brokers.database import Database

pages, capacity, costs, storm, schemas_py = map(load, ("pages", "capacity", "costs", "storm", "schemas"))
OPTIONS, PACE, PLAN = Options(), Pace(), capacity.Asked._field_defaults
SCENARIO = (ROOT / "locustfiles" / "scenarios" / "capacity.py").read_text()  # whoever imports it has a patched Python
GOAL = float(re.search(r"goal=([\d.]+)", SCENARIO)[1])
BUCKET = round(2.0 ** (1 - histogram._BITS), 3)
SPARE = inspect.signature(Database).parameters["spare"].default
STATIC = ROOT / "transports" / "static"
MODULES = sum(len(gzip.compress((STATIC / f"{name}.min.js").read_bytes(), 9)) for name in ("outbox", "oneway", "tabs"))
READ = ("items", "log", "hub", "brokers/memory", "feed", "sse")  # items 2 to 6 of the reading path
READING = sum(len((ROOT / "transports" / f"{name}.py").read_text().splitlines()) for name in READ)
LAG = int(re.search(r"lag = ([\d_]+)", (STATIC / "client.js").read_text())[1])

# What a figure is of, and how many of it is one in each unit.
UNITS = {
    **dict.fromkeys(("s", "second", "seconds"), ("seconds", 1.0)),
    **dict.fromkeys(("minute", "minutes"), ("seconds", 60.0)),
    **dict.fromkeys(("hour", "hours"), ("seconds", 3600.0)),
    **dict.fromkeys(("µs", "μs"), ("seconds", 1e-6)),
    **dict.fromkeys(("KB", "KiB"), ("bytes", 1024.0)),
    **dict.fromkeys(("MB", "MiB"), ("bytes", 1 << 20)),
    **dict.fromkeys(("times", "×"), ("times", 1.0)),
    **dict.fromkeys(("%", "percent"), ("share", 0.01)),
    "ms": ("seconds", 1e-3),
    "bytes": ("bytes", 1.0),
    "kB": ("bytes", 1000.0),
    "GB": ("bytes", 1e9),
    "Gbit/s": ("bits", 1e9),
    "": ("number", 1.0),
}
_UNIT = "|".join(map(re.escape, sorted(filter(None, UNITS), key=len, reverse=True)))
_FIGURE = re.compile(
    rf"(?<![\w.#§/])(?:(?<!-)|(?<=\d-))(\d+(?:,\d{{3}})*(?:\.\d+)?)(?:[ \u00a0\n]?({_UNIT})(?!\w)|)(?![\w.]*\w)", re.ASCII
)
_NAMED = re.compile(  # versions, and sections of standards
    r"(?:\b(?:Python|Redis|Hypercorn|TLS|HTML|server,|RFC \d+|chunks|Chromium|nginx|HTTP/))"
    r"(?:,? ?(?:and )?\d+\.\d+(?:\.\d+)*)+(?= \||\W)"
)
MADE = {"networks.md", "contract.md", "conformance.md"}  # wholly, and compared as a whole
PAST = {"CHANGELOG.md"}  # what was said then
LOOKED_AT = [page for page in PAGES if page.name not in MADE | PAST]


def sentences(page: Path) -> str:
    """The page without blocks, code, targets of links, and what scripts have put into it."""
    text = pages.without_places(page.read_text("utf-8"))
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return _NAMED.sub(" ", re.sub(r"`[^`]*`|\]\([^)\n]*\)", "`", text))


def found(text: str) -> list[str]:
    """The figures in it: what has a unit, a fraction, or thousands."""
    return [
        " ".join(each[0].split())
        for each in _FIGURE.finditer(text)
        if each[2] or "." in each[1] or re.match(r"\d{1,3},\d{3}", each[1])
    ]


def value(figure: str) -> tuple[str, float]:
    """What it is of, and how much."""
    number, unit = re.fullmatch(rf"([\d.,]+) ?({_UNIT}|)", figure).groups()
    of, one = UNITS[unit]
    return of, round(float(number.replace(",", "")) * one, 9)


def seconds(number: float) -> tuple[str, float]:
    return "seconds", number


def size(number: float) -> tuple[str, float]:
    return "bytes", number


def count(number: float) -> tuple[str, float]:
    return "number", number


def share(number: float) -> tuple[str, float]:
    return "share", number


LINUX, THEIRS = "as Linux has it", "the default of somebody else's program, by its documentation"
ADVICE, EXAMPLE, AIM = "what is advised", "an example", "what was aimed at"
STANDARD = "what a standard says"

# Values of the code, by page. What is measured with these is an experiment's own.
HELD: dict[str, list[tuple[str, float]]] = {
    "CONTRIBUTING.md": [size(test_client_js.MOST), count(round(READING, -2))],
    "README.md": [count(OPTIONS.history_count), size(OPTIONS.history_bytes)],
    "docs/explanation/back-pressure.md": [
        *(size(OPTIONS.batch_bytes), size(test_slow_readers.MOST), seconds(OPTIONS.send_timeout)),
        *(count(costs.SLOW_RATE), size(costs.SLOW_BYTES), count(LAG)),
    ],
    "docs/explanation/capacity.md": [
        *(count(capacity.SIZES[0]), count(capacity.SIZES[-1]), count(serve._BACKLOG), seconds(capacity.DOWN)),
        *(seconds(PLAN["late"]), seconds(PLAN["late"] + 0.1), share(PLAN["core"]), count(PLAN["descriptors"])),
        *(size(PLAN["host_memory"]), ("bits", PLAN["network"]), share(capacity.BUSY), seconds(storm.GAP), seconds(storm.PROOF)),
        *(count(capacity.SPREAD[0]), seconds(capacity.SPREAD[1])),
    ],
    "docs/explanation/decisions/0012-parts-of-the-browser-client.md": [size(test_client_js.MOST)],
    "docs/explanation/decisions/0015-a-log-in-sqlite.md": [seconds(sqlite._BRISK), seconds(sqlite._CALM), count(SPARE)],
    "docs/explanation/decisions/0019-workers.md": [seconds(accepting._STEP), seconds(accepting._SAYING)],
    "docs/explanation/decisions/0023-presence-is-a-fold.md": [count(OPTIONS.presence_members), size(OPTIONS.presence_bytes)],
    "docs/explanation/decisions/0032-what-hypercorn-speaks.md": [size(OPTIONS.batch_bytes)],
    "docs/explanation/decisions/0021-leave-in-two-phases.md": [seconds(OPTIONS.stays)],
    "docs/explanation/decisions/0027-who-and-what.md": [*map(seconds, (OPTIONS.recheck, tickets.LIFE, rights._TURN))],
    "docs/explanation/experiments/costs.md": [
        *(count(costs.IDLE), seconds(costs.GOOD), size(costs.SLOW_BYTES), count(costs.SLOW_RATE)),
        *(seconds(costs.SLOW_TIMES * costs.SECONDS), seconds(OPTIONS.send_timeout)),
    ],
    "docs/explanation/experiments/first_event.md": [seconds(PACE.gap)],
    "docs/explanation/experiments/schemas.md": [count(schemas_py.TIMES)],
    "docs/explanation/half-open.md": [seconds(facts.BEAT + PACE.slack + PACE.answer)],
    "docs/explanation/honest-comparison.md": [share(BUCKET), seconds(figures.RESOLUTION / 1000)],
    "docs/explanation/decisions/0034-the-lab-is-real.md": [seconds(running._TICK)],
    "docs/explanation/memory.md": [size(serve._UNSENT)],
    "docs/explanation/negotiator.md": [
        *map(seconds, (PACE.gap, facts.BEAT, PACE.backoff_most, PACE.retest)),
        *map(count, (PACE.gap, PACE.at_once, PACE.backoff)),  # its table
    ],
    "docs/explanation/percentiles.md": [share(round(1 - 0.99**100, 2)), share(BUCKET)],
    "docs/explanation/reconnect-storms.md": [count(serve._BACKLOG)],
    "docs/explanation/security-model.md": [
        *map(seconds, (tickets.LIFE, OPTIONS.key_window, 2 * OPTIONS.key_window, fuzz.LINGER)),
    ],
    "docs/explanation/what-proxies-do.md": [seconds(OPTIONS.beat)],
    "docs/how-to/authenticate.md": [*map(seconds, (accounts.NOTICE, tickets.LIFE, OPTIONS.presence_lease, tickets._SLACK))],
    "docs/how-to/choose-a-server.md": [count(serve._BACKLOG)],
    "docs/how-to/compare-transports.md": [seconds(GOAL / 1000), seconds(figures.RESOLUTION / 1000)],
    "docs/how-to/deploy/index.md": [seconds(OPTIONS.beat)],
    "docs/how-to/find-out-what-a-network-does.md": [seconds(OPTIONS.beat)],
    "docs/how-to/keep-events-over-restarts.md": [seconds(sqlite._BRISK), seconds(sqlite._CALM)],
    "docs/how-to/limit.md": [seconds(Code.RATE_LIMITED.retry or 0), size(request.LINE_BYTES), size(request.HEAD_BYTES)],
    "docs/how-to/load-test-in-your-own-locustfile.md": [share(BUCKET), seconds(doubts.CLOCK_ERROR / 1e6)],
    "docs/how-to/mount-in-starlette-fastapi-litestar.md": [seconds(OPTIONS.poll_wait_max)],
    "docs/how-to/resume-over-reload-and-restart.md": [
        *(seconds(OPTIONS.history_age), count(OPTIONS.history_count), size(OPTIONS.history_bytes)),
        seconds(OPTIONS.history_count / 20),
    ],
    "docs/how-to/run-several-workers.md": [seconds(workers.HANGS), seconds(workers._BACK_OFF[1])],
    "docs/how-to/serve-networks-that-block-websocket.md": [seconds(PACE.gap)],
    "docs/how-to/share-events-with-redis.md": [count(OPTIONS.history_total)],
    "docs/how-to/show-who-is-there.md": [
        *(seconds(OPTIONS.presence_delay), seconds(OPTIONS.presence_lease), count(attendance.LISTED))
    ],
    "docs/how-to/validate.md": [count(schemas._BACKTRACKS)],
    "docs/how-to/why-is-a-client-on-longpoll.md": [seconds(PACE.retest)],
    "docs/reference/benchmarks.md": [
        *(seconds(limit / 1000) for limit in measures.LIMITS),
        *(share(measures.DISTURBED), share(round(measures._STEP - 1, 2)), share(bench_table._NEAR)),
    ],
    "docs/reference/browser-client.md": [size(test_client_js.MOST), size(round(MODULES / 1024) * 1024), count(LAG)],
    "docs/reference/configuration.md": [
        *(size(request.LINE_BYTES), size(request.HEAD_BYTES), count(items._DIGITS_MAX)),
        *(count(attendance.LISTED), count(status._SHOWN_MOST), seconds(tickets.LIFE)),
    ],
    "docs/reference/control-channels.md": [seconds(peers._OLD)],
    "docs/reference/protocol.md": [
        *(seconds(OPTIONS.key_window), count(items._DIGITS_MAX), size(OPTIONS.presence_bytes), count(OPTIONS.presence_members)),
        *(seconds(OPTIONS.presence_delay), count(attendance.LISTED), seconds(attendance._WAIT), seconds(tickets.LIFE)),
        *(seconds(accounts.NOTICE), seconds(OPTIONS.first_command_timeout), seconds(OPTIONS.send_timeout)),
        *(size(request.LINE_BYTES), size(request.HEAD_BYTES)),
    ],
    "docs/reference/run.md": [seconds((1 << histogram._BITS) / 1e6), share(BUCKET)],
    "docs/tutorials/break-the-network.md": [seconds(200 / 5)],
    "docs/tutorials/live-board.md": [seconds(OPTIONS.presence_delay)],
    "docs/tutorials/one-event-four-ways.md": [seconds(OPTIONS.poll_wait)],
}

# What is none of ours, by page.
TOLD: dict[str, dict[str, str]] = {
    "docs/explanation/capacity.md": {
        **dict.fromkeys(("200 bytes", "200,000", "5 times"), EXAMPLE),
        **dict.fromkeys(("1,024", "28,000", "4,096"), LINUX),
        "100 %": "what one core can do",
        "99 %": "of a table",
        "1 s": "what is simulated",
        "10,000": ADVICE,
    },
    "docs/explanation/experiments/costs.md": {"100 bytes": "what is measured with", "10 ms": EXAMPLE},
    "docs/explanation/honest-comparison.md": {
        "100 ms": "Locust's rounding, by its source",
        "1,024 bytes": "python-socketio's setting",
        "95 %": "of an interval of confidence",
        **dict.fromkeys(("0.3 ms", "0.5 ms"), "what is planted"),
    },
    "docs/explanation/decisions/0027-who-and-what.md": {"5 seconds": "what is promised: `recheck`, and a pass through all"},
    "docs/explanation/decisions/0031-what-was-compressed-once.md": {
        **dict.fromkeys(("256 KB", "32 KB", "258 bytes"), "what zlib and RFC 1951 say"),
        "1,000": "what is measured with",
    },
    "docs/explanation/decisions/0035-an-experiment-may-prove-nothing.md": {"400 ms": "what DevTools is asked for"},
    "docs/explanation/memory.md": {"6 KB": AIM, "4 MB": LINUX},
    "docs/explanation/percentiles.md": {"2,000": EXAMPLE},
    "docs/explanation/reconnect-storms.md": {"20,000": "what is simulated", "10,000": ADVICE},
    "docs/explanation/what-proxies-do.md": {"60 s": THEIRS},
    "docs/how-to/choose-a-server.md": {"16 MiB": THEIRS, "1 MiB": "what was tried"},
    "docs/how-to/compress.md": {"4 KB": "what is measured with"},
    "docs/how-to/deploy/index.md": {
        **dict.fromkeys(("60 s", "50 s", "300 s", "15 minutes", "5,000"), THEIRS),
        "30 seconds": ADVICE,
        "5 seconds": EXAMPLE,
    },
    "docs/how-to/deploy-without-a-gap.md": {"10 seconds": THEIRS},
    "docs/how-to/run-several-workers.md": {"10,000": ADVICE},
    "docs/how-to/share-events-with-redis.md": {"200 bytes": EXAMPLE},
    "docs/reference/benchmarks.md": {
        **dict.fromkeys(("1,000", "2,000", "10,000", "100,000", "100 bytes", "64 KB"), "what is measured with"),
        "60 s": "what is measured with",
        "1.6 %": "what a bucket of `load.c` is wide",
    },
    "docs/reference/command-line.md": {"1,000": "of what a figure is"},
    "docs/reference/compatibility.md": dict.fromkeys(("3.11", "3.12", "3.13"), "versions of Python"),
    "docs/reference/configuration.md": {
        "1,000": EXAMPLE,
        "4 KB": EXAMPLE,
        "8,000": STANDARD,
        **dict.fromkeys(("8,192", "1,000,000"), "a bound of the decoder's, in `commands.py`"),
    },
    "docs/tutorials/first-comparison.md": {"0.4 ms": "what the table of the example shows"},
    "docs/tutorials/lessons.md": {"45 minutes": "a lesson", "10 seconds": "what an experiment may take, which the tests play"},
    "docs/tutorials/one-event-four-ways.md": {"10 bytes": STANDARD},
}


@pytest.mark.parametrize("page", LOOKED_AT, ids=lambda page: str(page.relative_to(ROOT)))
def test_figures_are_those_of_the_code_or_of_somebody_else(page: Path) -> None:
    name = str(page.relative_to(ROOT))
    held, told = {(of, round(number, 9)) for of, number in HELD.get(name, [])}, TOLD.get(name, {})
    there = found(sentences(page))
    by_hand = [figure for figure in there if figure not in told and value(figure) not in held]
    assert by_hand == [], "measured? Let a script put it there. Else name it in HELD or in TOLD"
    assert set(told) <= set(there), "no longer there"
    assert {(of, number) for of, number in held} <= {value(figure) for figure in there}, "no longer there"


def test_what_is_a_figure() -> None:
    text = (
        "It took 1.5 ms, 20\nseconds or 10,000 of 12 readers, 70 % of RFC 9112 6.1 under Python 3.11 or 0.5 to 2 KB/s (2 of 3)."
    )
    assert found(_NAMED.sub(" ", text)) == ["1.5 ms", "20 seconds", "10,000", "70 %", "0.5", "2 KB"]
    assert [value(each) for each in ("1.5 ms", "2 KB", "10,000", "70 %", "2 minutes")] == [
        ("seconds", 0.0015), ("bytes", 2048.0), ("number", 10_000.0), ("share", 0.7), ("seconds", 120.0)
    ]  # fmt: skip
