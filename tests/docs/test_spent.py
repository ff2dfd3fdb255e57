"""What the server's time is spent on: each look of `perf` belongs to what is at work, and sends are those below `tcp_sendmsg`."""

from __future__ import annotations

import shutil

import pytest

from tests.docs.test_capacity import load

spent = load("spent")

SAID = """
    ffffffff81eb1920 netif_rx_internal ([kernel.kallsyms])
    ffffffff820861df __tcp_transmit_skb ([kernel.kallsyms])
    ffffffff82070e1f tcp_sendmsg_locked ([kernel.kallsyms])
    ffffffff82070f5a tcp_sendmsg ([kernel.kallsyms])
    ffffffff81000130 entry_SYSCALL_64_after_hwframe ([kernel.kallsyms])
               f8350 __GI___libc_write (/usr/lib/x86_64-linux-gnu/libc.so.6)
    7878787878787878 [unknown] ([unknown])


    ffffffff81e7daab tcp_recvmsg ([kernel.kallsyms])
               f82ad read (/usr/lib/x86_64-linux-gnu/libc.so.6)


              1af848 _PyObject_Malloc (/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0)
        7f703c25b000 [unknown] ([unknown])


              24f9d7 take_gil (/usr/bin/python3.11)


               3f2a0 __pyx_f_6uvloop_4loop_write (/venv/site-packages/uvloop/loop.cpython-311-x86_64-linux-gnu.so)


               f8350 __GI___libc_write (/usr/lib/x86_64-linux-gnu/libc.so.6)

"""


def test_each_look_belongs_to_what_is_at_work() -> None:
    assert spent.counted(SAID) == {"all": 6, "kernel": 2, "send": 1, "interpreter": 2, "uvloop": 1}
    assert spent.counted("\n") == {"all": 0, "kernel": 0, "send": 0, "interpreter": 0, "uvloop": 0}


def test_the_table_has_shares_of_all_looks_of_all_rounds() -> None:
    part = {"all": [100, 300], "kernel": [50, 190], "send": [30, 170], "interpreter": [40, 60], "uvloop": [0, 20]}
    assert spent.tables({"polls": part})["spent"].splitlines()[2:] == ["| polls | 60% | 50% | 25% | 5% | 10% | 400 |"]


@pytest.mark.real
@pytest.mark.skipif(shutil.which("perf") is None or shutil.which("cc") is None, reason="there is no perf, or no C compiler")
async def test_a_server_is_looked_at_while_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spent, "ROUNDS", 1)
    monkeypatch.setattr(spent, "SECONDS", 0.3)
    try:
        found = await spent.measure("single")
    except OSError as error:
        pytest.skip(str(error))
    (all_of_them,) = found["all"]
    assert all_of_them >= found["kernel"][0] + found["interpreter"][0] > 0
