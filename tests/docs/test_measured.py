"""What is shown of what the smaller scripts of the experiments have measured: the pure parts of it."""

from __future__ import annotations

from tests.docs.test_capacity import load

hostile = load("hostile")


def test_what_is_left_behind_is_named_and_what_is_gone_is_not() -> None:
    assert hostile.left({"tasks": 0, "files": -1}) == "nothing"
    assert hostile.left({"tasks": 2, "files": 0, "members": 1}) == "2 tasks, 1 members"
    before = dict.fromkeys(hostile.LEFT, 3) | {"rss_mib": 30.0}
    assert hostile.left_of([before, before | {"files": 9}, before | {"rss_mib": 50.0}]) == "nothing"
    assert hostile.left_of([before, before | {"accounts": 4}]) == "1 accounts"


def test_a_soak_shows_its_memory_from_the_beginning_to_the_end() -> None:
    held = [dict.fromkeys(hostile.LEFT, 0) | {"rss_mib": mib} for mib in (30.0, 31.5, 32.0, 31.0)]
    shown = hostile.tables({"soak, plain": [{"edge": "plain", "minutes": 10.0, "held": held}]})
    assert list(shown) == ["soak"]
    assert shown["soak"].splitlines()[-1] == "| plain | 10 | 30.0 | 31.5, 32.0 | 31.0 | nothing |"
