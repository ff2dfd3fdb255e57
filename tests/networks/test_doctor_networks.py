"""The doctor in the bad networks that our own proxy plays: what it says is what they do."""

from __future__ import annotations

import asyncio

import pytest

from tests.networks.test_doctor_mends import mounted
from tests.ways import Way
from transports import networks
from transports.doctor import Report, examine, report

WINDOW = 9.0  # seconds of silence and of life to try
PATIENCE = 8.0  # seconds for each first answer, on a machine that does other things too
TOGETHER = 5  # networks that are looked at side by side

EXPECTED = {
    "open": ("ok ok ok", [], 0),
    "no-upgrade": ("upgrade_stripped ok ok", ["upgrade"], 10),
    "upgrade-swallowed": ("no_answer ok ok", ["inspected", "inspection"], 10),
    "upgrade-cut": ("cut_early ok ok", ["inspected"], 10),
    "buffering": ("upgrade_stripped buffered ok", ["upgrade", "buffering"], 10),
    "buffering-4k": ("upgrade_stripped buffered ok", ["upgrade", "buffering"], 10),
    "gzip-buffer": ("upgrade_stripped buffered ok", ["upgrade", "buffering", "compressed"], 10),
    "idle-cut-4s": ("cut_idle cut_idle cut_idle", ["idle", "idle", "idle"], 10),
    "request-cut-5s": ("cut_early cut_early cut_idle", ["life", "life", "life"], 10),
    "reset-every-5s": ("cut_early cut_early cut_idle", ["life", "life", "life"], 10),
    "latency-200ms": ("ok ok ok", [], 0),
    "narrow-256kbit": ("ok ok ok", [], 0),
    "one-byte": ("ok ok ok", [], 0),
    "http10": ("upgrade_stripped ok ok", ["upgrade", "http10"], 10),
    "captive-portal": ("captive_portal captive_portal captive_portal", ["login"], 20),
    "login-redirect": ("captive_portal captive_portal captive_portal", ["login"], 20),
    "tls-inspection": ("tls_error tls_error tls_error", ["certificate"], 20),
}


async def test_what_is_said_of_each_network() -> None:
    turn = asyncio.Semaphore(TOGETHER)

    async def look(name: str, upstream: str) -> Report:
        async with turn, networks.Network(name, upstream=upstream) as way:
            return report(await examine(way, channels=[name], idle=WINDOW, life=WINDOW, patience=PATIENCE))

    async with mounted() as url:
        found = await asyncio.gather(*(look(name, f"{url}/live") for name in EXPECTED))
    seen = {
        name: (" ".join(row.verdict for row in each.transports), [finding.fault for finding in each.findings], each.exit)
        for name, each in zip(EXPECTED, found, strict=True)
    }
    assert seen == EXPECTED


async def test_a_proxy_that_wants_a_password_is_told_apart_from_one_that_got_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with mounted() as url:
        network = networks.Network("proxy-407", upstream=f"{url}/live")
        async with network as way:
            Way(way, network.proxy).take(monkeypatch)
            refused = report(await examine(way, idle=0, life=0))
            Way(way, network.proxy.replace("//", "//user:secret@")).take(monkeypatch)
            allowed = report(await examine(way, idle=0, life=0))
    assert (refused.exit, [each.fault for each in refused.findings]) == (20, ["proxy_auth"])
    assert (allowed.exit, allowed.sentence) == (0, "WebSocket works.")
    assert "secret" not in str(allowed)
