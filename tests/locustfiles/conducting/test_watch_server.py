"""Watch: looks at processes, and what is made of them."""

import subprocess
import sys
import time
from itertools import count

import psutil
import pytest

from locustfiles.conducting import watch
from locustfiles.conducting.watch import Seen, Tree, Watch, usage

BUSY = """
import sys, time
sys.stdin.read(1)
end = time.process_time() + 0.3
while time.process_time() < end: pass
print("done", flush=True)
sys.stdin.read()
"""


def seen(seconds: float, cpu: float, rss: int = 100, sockets: int = 5, relay: float = 0.0, busy: float = 0.0) -> Seen:
    return Seen(round(seconds * 1e6), cpu, rss, sockets, relay, busy)


def test_what_lies_between_two_looks_is_in_proportion():
    found = usage([seen(0, 1.0), seen(1, 2.0, busy=1.0), seen(2, 4.0, busy=3.0)], 500_000, 1_500_000, cores=2)
    assert found.cpu == pytest.approx(1.5)  # half of the first second's, half of the second's
    assert found.machine == pytest.approx(0.75)


def test_before_the_first_reader_is_the_first_look():
    found = usage(
        [seen(0, 0, rss=10, sockets=1), seen(1, 0, rss=70, sockets=9), seen(2, 0, rss=40, sockets=3)], 900_000, 2_000_000, 2
    )
    assert (found.rss_before, found.rss, found.sockets) == (10, 70, 9)


def test_a_round_that_was_shorter_than_two_looks():
    found = usage([seen(0, 1.0), seen(1, 2.0, rss=7)], 800_000, 900_000, cores=1)
    assert found.cpu == pytest.approx(0.1)
    assert found.rss in (100, 7)
    assert found.looks == []


def test_a_round_in_which_nothing_was_published():
    found = usage([seen(0, 1.0), seen(1, 2.0)], 500_000, 500_000, cores=1)
    assert (found.cpu, found.machine) == (0.0, 0.0)


@pytest.mark.parametrize("many", [2, 119, 120, 121, 122, 240, 241, 5000])
def test_few_looks_are_kept_and_they_hold_all_that_was_used(many: int):
    looked = [seen(place * 0.05, place * 0.01) for place in range(many)]
    kept = watch.looks(looked, 0)
    assert 0 < len(kept) <= watch.LOOKS
    assert {each.cpu for each in kept} == {0.2}
    assert kept == sorted(kept, key=lambda look: look.at)


def test_a_process_and_its_children_add_up_even_when_they_are_gone():
    pids: list[int | None] = []
    tree = Tree(lambda: pids[-1] if pids else None)
    assert tree.look() == 0.0
    for times in (1, 2):
        with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            pids.append(process.pid)
            tree.look()
            process.stdin.write(b"x")
            process.stdin.flush()
            process.stdout.readline()
            assert tree.look() >= 0.3 * times - 0.02  # the kernel counts in hundredths
            assert tree.rss > 1_000_000
        pids.append(None)  # as when a server is down before it is started again
        assert tree.look() >= 0.3 * times - 0.02
        assert (tree.rss, tree.sockets) == (0, 0)


def test_sockets_are_counted():
    import socket

    tree = Tree(lambda: psutil.Process().pid)
    tree.look()
    before = tree.sockets
    with socket.socket(), socket.socket():
        more = Tree(lambda: psutil.Process().pid)
        more.look()
        assert more.sockets == before + 2


def test_a_server_that_is_not_ours_is_not_watched():
    with Watch(None, None) as nothing:
        pass
    assert nothing.usage(0, 1) is None
    assert nothing.share(0, 1) is None


def test_the_network_s_share_is_of_one_core():
    seen = [both_of_one()]
    while len(seen) < 5 and abs(seen[-1][0] - seen[-1][1]) > 0.04:  # others may come between the two looks
        seen.append(both_of_one())
    share, used = seen[-1]
    assert share == pytest.approx(used, abs=0.04), seen  # looked at one after the other, in ticks of 10 ms
    assert 0.1 < used < 1.0, seen


def both_of_one() -> tuple[float, float]:
    """Seconds of CPU of this process while it works for 0.2 of them, as what a network takes and as what a server does."""
    own = psutil.Process().pid
    began = time.monotonic_ns() // 1000
    with Watch(lambda: own, lambda: own) as looked:
        spent = time.process_time() + 0.2
        for _ in count():
            if time.process_time() > spent:
                break
    ended = time.monotonic_ns() // 1000
    used, share = looked.usage(began, ended), looked.share(began, ended)
    assert used is not None
    assert share is not None
    return share * (ended - began) / 1e6, used.cpu
