"""What the server's time is spent on: the kernel, the interpreter, the event loop.

    python docs/explanation/experiments/spent.py            # two minutes; prints the table
    python docs/explanation/experiments/spent.py polls      # one load
    python docs/explanation/experiments/spent.py --write    # keeps it in spent.json, for reference/benchmarks.md

The server and the loads are those of the benchmarks, and `perf record` looks at it while it works: Debian's package linux-perf,
as root. It looks by the clock of the CPU, so that it sees as much on a virtual machine, which has no counters of its own. A look
belongs to the library that it finds at work; what sends to sockets is all that was called by `tcp_sendmsg`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pages

sys.path.insert(0, str(Path(__file__).parents[3]))

import benchmarks

from tests.benchmarks.load import Load
from tests.benchmarks.program import compile_c
from tests.benchmarks.rows import BY_NAME
from tests.benchmarks.stage import Playing, Stage, cores

ROUNDS, SECONDS, CROWD = 5, 3.0, 2_000  # servers that are looked at in turn, each for so long, or until the crowd is in
SUBJECT = BY_NAME["everywire"]

# --- the loads, as in tests/benchmarks/measures.py


def single(playing: Playing, load: Load) -> None:
    """Each event is written to all before the next is published."""
    load.begin(100)
    load.expect(playing.publish(single=True, seconds=SECONDS, size=100))


def polls(_: Playing, load: Load) -> None:
    """Polls that are answered at once."""
    load.poll(SECONDS)


def connects(_: Playing, load: Load) -> None:
    """A crowd that comes at once."""
    load.add(CROWD, CROWD)


# What a row is called, its wire, how many are open before, and what is done then.
LOADS: dict[str, tuple[str, str, int, Callable[[Playing, Load], None]]] = {
    "single": ("one event per write", "ws", 200, single),
    "polls": ("polls", "poll", 100, polls),
    "connects": ("2,000 connects", "ws", 10, connects),
}

# --- looking


@contextmanager
def looked_at(pid: int, kept: Path) -> Iterator[None]:
    """`perf` looks at a process, and keeps what it saw. It looks by the time that this begins. Raises: OSError, it cannot."""
    listens, orders = os.pipe()
    answers, says = os.pipe()
    command = ("perf", "record", "-q", "-e", "cpu-clock", "-g", "-D", "-1", "--control", f"fd:{listens},{says}")
    with subprocess.Popen([*command, "-o", kept, "-p", str(pid)], pass_fds=(listens, says)) as perf:
        os.close(listens)
        os.close(says)
        try:
            os.write(orders, b"enable\n")
            if not os.read(answers, 8).startswith(b"ack"):
                raise OSError("perf record does not look at other processes here: it wants to be root")
            yield
        finally:
            perf.send_signal(signal.SIGINT)
            perf.wait()  # before what it is told by ends: else it keeps nothing
            os.close(orders)
            os.close(answers)


def looks(kept: Path) -> str:
    """What `perf` saw: for each look the functions, from within to without, each with what it belongs to."""
    command = ["perf", "script", "-i", str(kept), "-F", "ip,sym,dso"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def counted(script: str) -> dict[str, int]:
    """How many looks found what at work; `send` is a part of `kernel`."""
    counts = Counter(dict.fromkeys(("all", "kernel", "send", "interpreter", "uvloop"), 0))
    for look in re.split(r"\n\s*\n", script):
        if not (frames := [line.strip() for line in look.splitlines() if line.strip()]):
            continue
        belongs = frames[0].rpartition("(")[2].rstrip(")")
        name = belongs.rpartition("/")[2]
        counts["all"] += 1
        if belongs.startswith("[kernel") or name.endswith((".ko", ".ko.xz")):
            counts["kernel"] += 1
            counts["send"] += any(" tcp_sendmsg" in frame for frame in frames)
        elif re.match(r"(lib)?python3", name):
            counts["interpreter"] += 1
        elif "/uvloop/" in belongs:
            counts["uvloop"] += 1
    return dict(counts)


async def measure(name: str) -> dict[str, list[int]]:
    """What was found at work under a load, server by server."""
    _, wire, before, work = LOADS[name]
    rounds = []
    with tempfile.TemporaryDirectory() as directory:
        kept = Path(directory) / "looks"
        stage = Stage(compile_c(Path(directory), "load", "reference"), *cores())
        for _ in range(ROUNDS):
            with stage.playing(SUBJECT) as playing, playing.readers(wire) as load:
                load.add(before)
                with looked_at(playing.program.root, kept):
                    work(playing, load)
                rounds.append(counted(looks(kept)))
    return {each: [counts[each] for counts in rounds] for each in rounds[0]}


def steps() -> Iterable[pages.Step]:
    """All loads."""
    if shutil.which("perf") is None:
        raise SystemExit("there is no perf: Debian's package linux-perf has it")
    return [(name, partial(measure, name)) for name in LOADS]


# --- what is shown


def share(part: dict[str, list[int]], *names: str) -> float:
    """What share of all looks found one of these."""
    return sum(sum(part[name]) for name in names) / sum(part["all"])


def tables(found: pages.Found) -> dict[str, str]:
    """The table: a row for each load."""
    if not found:
        return {}
    rows = []
    for name in LOADS:
        if part := found.get(name):
            own = [share(part, each) for each in ("kernel", "send", "interpreter", "uvloop")]
            other = 1 - share(part, "kernel", "interpreter", "uvloop")
            rows.append([LOADS[name][0], *(f"{each:.0%}" for each in (*own, other)), f"{sum(part['all']):,}"])
    return {
        "spent": pages.table([["", "the kernel", "of it `tcp_sendmsg`", "the interpreter", "uvloop", "other", "samples"], *rows])
    }


def figures(found: pages.Found) -> dict[str, str]:
    """Shares, and what of C's rate there would be if Python and its loop cost nothing."""
    if not LOADS.keys() <= found.keys():
        return {}
    kept: dict[str, Any] = benchmarks.load()
    free = {
        name: benchmarks.share(kept, LOADS[name][0], "c") / (1 - share(found[name], "interpreter", "uvloop"))
        for name in ("single", "polls")
    }
    return {
        "single-send": pages.percent(share(found["single"], "send")),
        "connects-interpreter": pages.percent(share(found["connects"], "interpreter")),
        **{f"{name}-free": f"{figure:.2f}" for name, figure in free.items()},
    }


SHEET = pages.Sheet(__file__, "../../reference/benchmarks.md", tables, "Hypercorn", "uvloop", figures=figures, machine="profiled")

if __name__ == "__main__":
    SHEET.run(pages.parser(__doc__).parse_args(), steps())
