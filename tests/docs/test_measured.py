"""The smaller scripts of the experiments: that they measure something, and what is shown of it."""

from __future__ import annotations

import pytest

from tests.docs.test_capacity import load

counting, details, formats, hostile, hosts, limits = map(load, ("counting", "details", "formats", "hostile", "hosts", "limits"))


def test_what_is_left_behind_is_named_and_what_is_gone_is_not() -> None:
    assert hostile.left({"tasks": 0, "files": -1}) == "nothing"
    assert hostile.left({"tasks": 2, "files": 0, "members": 1}) == "2 tasks, 1 member"
    before = dict.fromkeys(hostile.LEFT, 3) | {"rss_mib": 30.0}
    assert hostile.left_of([before, before | {"files": 9}, before | {"rss_mib": 50.0}]) == "nothing"
    assert hostile.left_of([before, before | {"accounts": 4}]) == "1 account"


def test_a_soak_shows_its_memory_from_the_beginning_to_the_end() -> None:
    held = [dict.fromkeys(hostile.LEFT, 0) | {"rss_mib": mib} for mib in (30.0, 31.5, 32.0, 31.0)]
    shown = hostile.tables({"soak, plain": [{"edge": "plain", "minutes": 10.0, "held": held}]})
    assert list(shown) == ["soak"]
    assert shown["soak"].splitlines()[-1] == "| plain | 10 | 30.0 | 31.5, 32.0 | 31.0 | nothing |"


def test_what_readers_of_hosts_notice_is_a_row_for_each_run() -> None:
    times = {"silence_p50": 0.4, "silence_p99": 0.466, "silence_most": 2.0}
    outcome = {"readers": 300, "published": 12_000, "lost": 1, "doubled": 0, "disordered": 2, "crowd": 143, **times}
    shown = hosts.tables({"killed": outcome})["noticed"].splitlines()
    assert shown[2:] == ["| workers were killed, and Redis restarted | 300 | 12,000 | 1, 0, 2 | 0.40 s | 0.47 s | 2.00 s |"]
    assert hosts.figures({"killed": outcome}) == {}
    assert hosts.figures({"restarted": outcome}) == {"opened": "143"}


@pytest.mark.parametrize("name", limits.WORKS)
async def test_what_limits_cost_is_measured_with_and_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ROUNDS", 1)
    monkeypatch.setattr(limits, "TIMES", 20)
    found = await limits.compared(name)
    assert min(found.values()) > 0
    rows = limits.tables({name: {"with": 30.04, "without": 20.0}})["cost"].splitlines()[2:]
    assert rows == [f"| {limits.WORKS[name][0]} | 30.0 | 20.0 | 1.50 |"]


async def test_what_counting_costs_is_measured_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "TURNS", 1)
    monkeypatch.setattr(counting, "POLLS", 2)
    assert (await counting.fan_out(2, 0.01))["microseconds"] > 0
    assert (await counting.polls(0.01))["microseconds"] > 0
    shown = counting.tables({"readers: 10": {"microseconds": 80.0, "percent": -0.04}})["cost"].splitlines()
    assert shown[2:] == ["| an event to 10 readers | 80.0 µs | 0.0 % |"]


def test_what_follows_from_settings_needs_no_measurement() -> None:
    assert details.figures({}) == {"renewals": "0.7 MB/s"}


def test_a_detail_is_a_row_and_what_a_sentence_says() -> None:
    found = {
        "HAProxy": {"with": {"half": 0.712, "late": 9.96}, "without": {"half": 208.2, "late": 217.0}},
        "SQLite": {"calm": 1.04, "brisk": 4.4},
        "redis": {"json": 200, "beside": 100.0},
        "drawn": {"none": 4.6, "some": 83.0, "half": 100.0, "ten": 100.0},
        "planted: 300": {"sentence": "SSE came later."},
    }
    assert len(details.tables(found)["details"].splitlines()) == 2 + 2 + 1 + 1 + 4
    made = details.figures(found)
    assert (made["haproxy-with-half"], made["haproxy-without-half"]) == ("0.7 ms", "208 ms")
    assert (made["sqlite-calm"], made["sqlite-brisk"]) == ("1 %", "4 %")
    assert (made["redis"], made["redis-usual"]) == ("100 bytes", "30 MB")
    assert (made["drawn-none"], made["drawn-ten"], made["planted-300"]) == ("4.6 of 100", "100 of 100", "SSE came later.")


async def test_heads_are_read_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(details, "ROUNDS", 3)
    monkeypatch.setattr(details, "TIMES", 100)
    assert set(await details.heads()) == {"front", "h11"}


async def test_less_work_makes_more_bytes() -> None:
    found = {"levels": await formats.levels()}
    made = formats.figures(found)
    assert found["levels"]["1"][0] > found["levels"]["6"][0]
    assert set(made) == {"level-time", "level-bytes"}
    assert formats.figures({"levels": {"1": (1130, 20.0), "6": (1000, 100.0)}}) == {"level-time": "20 %", "level-bytes": "13 %"}
