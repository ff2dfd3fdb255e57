"""The figures of the documentation are those that were kept, and every place for them is filled by a script.

A part that cannot be measured costs none of the others.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.docs.test_capacity import load
from tests.documents import PAGES, ROOT

EXPERIMENTS = ROOT / "docs" / "explanation" / "experiments"
SHEETS = ("costs", "first_event", "formats", "schemas", "who_and_what")
OTHERS = ("capacity", "choosing", "memory", "slow_readers")
BY_ITSELF = {ROOT / "docs" / "reference" / "benchmarks.md": {"figures"}}  # see test_figures.py

pages = load("pages")


@pytest.mark.parametrize("name", SHEETS)
def test_a_page_shows_what_its_script_has_kept(name: str) -> None:
    sheet = load(name).SHEET
    assert sheet.file.is_file(), f"nothing is kept: run `python docs/explanation/experiments/{name}.py --write`"
    page = sheet.page.read_text("utf-8")
    assert page == sheet.written(page), f"run `python docs/explanation/experiments/{name}.py --again`"


@pytest.mark.parametrize("name", OTHERS)
def test_so_do_those_of_scripts_that_keep_in_a_way_of_their_own(name: str) -> None:
    module = load(name)
    page = module.PAGE.read_text("utf-8")
    if name == "capacity":
        measured = msgspec.json.decode(module.MEASURED.read_bytes(), type=module.Measured)
        assert page == module.written(page, measured), "run `python docs/explanation/experiments/capacity.py write`"
    else:
        again = "choosing.py" if name == "choosing" else f"{name}.py --again"
        assert page == module.written(page), f"run `python docs/explanation/experiments/{again}`"


def filled() -> dict[Path, set[str]]:
    """The places that scripts fill, by page."""
    found = dict(BY_ITSELF)
    for name in SHEETS:
        sheet = load(name).SHEET
        found[sheet.page] = set(sheet.tables(sheet.kept()))
    capacity, choosing, memory, slow = map(load, OTHERS)
    measured = msgspec.json.decode(capacity.MEASURED.read_bytes(), type=capacity.Measured)
    found[capacity.PAGE] = set(capacity.tables(measured))
    found[choosing.PAGE] = set(choosing.tables())
    found[memory.PAGE] = set(memory.tables(memory.kept()))
    found[slow.PAGE] = set(slow.tables(json.loads(slow.MEASURED.read_text("utf-8"))))
    return {page.resolve(): names for page, names in found.items()}


def test_every_place_for_figures_is_filled_out_of_what_was_kept() -> None:
    there = {page.resolve(): set(names) for page in PAGES if (names := pages.places(page.read_text("utf-8")))}
    assert there == filled()


def test_nothing_that_is_kept_names_the_machine() -> None:
    kept = [path.read_text("utf-8") for path in EXPERIMENTS.glob("*.json")]
    assert kept
    assert [text for text in kept if str(ROOT) in text] == []


# --- what they share


def test_a_table_goes_into_its_place_and_nothing_else_changes() -> None:
    page = "before\n\n<!-- one -->\n\nold\n\n<!-- end -->\n\nbetween\n\n<!-- two -->\n\n<!-- end -->\nafter\n"
    table = pages.table([["a", "b"], [1, "c"]])
    assert table == "| a | b |\n| --- | --- |\n| 1 | c |"
    once = pages.put(page, {"two": "new", "one": table})
    assert once == (
        f"before\n\n<!-- one -->\n\n{table}\n\n<!-- end -->\n\nbetween\n\n<!-- two -->\n\nnew\n\n<!-- end -->\nafter\n"
    )
    assert pages.put(once, {"one": table, "two": "new"}) == once
    assert pages.places(once) == ["one", "two"]


def test_a_table_without_a_place_is_told() -> None:
    with pytest.raises(ValueError, match="'two'"):
        pages.put("<!-- one -->\n\n<!-- end -->\n", {"two": "new"})


async def three() -> int:
    return 3


async def broken() -> int:
    raise OSError("there is no such thing")


@pytest.fixture
def sheet(tmp_path: Path) -> Any:
    (tmp_path / "page.md").write_text("<!-- machine -->\n<!-- end -->\n\n<!-- sum -->\n\nold\n\n<!-- end -->\n")

    def tables(found: dict[str, int]) -> dict[str, str]:
        return {"sum": f"{'+'.join(found)}={sum(found.values())}"}

    return pages.Sheet(str(tmp_path / "script.py"), "page.md", tables)


def asked(*words: str) -> argparse.Namespace:
    return pages.parser("").parse_args(words)


def test_what_can_be_measured_is_kept_and_shown_though_something_else_fails(sheet: Any) -> None:
    with pytest.raises(SystemExit, match="not measured: broken"):
        sheet.run(asked("--write"), [("one", three), ("broken", broken), ("two", three)])
    page = sheet.page.read_text()
    assert "\none+two=6\n" in page
    assert "Python" in page
    assert "old" not in page
    assert page == sheet.written(page)


def test_a_part_is_measured_by_itself_and_the_rest_stays(sheet: Any) -> None:
    async def five() -> int:
        return 5

    sheet.run(asked("--write"), [("one", three), ("two", three)])
    sheet.run(asked("--write", "two"), [("one", broken), ("two", five)])
    assert "\none+two=8\n" in sheet.page.read_text()
    with pytest.raises(SystemExit, match="There are: one, two"):
        sheet.run(asked("four"), [("one", three), ("two", three)])


def test_without_being_told_to_nothing_is_written(sheet: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = sheet.page.read_text()
    sheet.run(asked(), [("one", three)])
    assert "one=3" in capsys.readouterr().out
    assert (sheet.page.read_text(), sheet.file.exists()) == (before, False)


def test_again_shows_what_was_kept_and_measures_nothing(sheet: Any) -> None:
    with pytest.raises(SystemExit, match="nothing is kept"):
        sheet.run(asked("--again"), [("one", three)])
    sheet.run(asked("--write"), [("one", three)])
    kept = sheet.file.read_text()
    sheet.page.write_text(sheet.page.read_text().replace("one=3", "by hand"))
    sheet.run(asked("--again"), [("one", broken)])
    assert "one=3" in sheet.page.read_text()
    assert sheet.file.read_text() == kept


@pytest.mark.parametrize("name", SHEETS)
def test_what_is_not_there_is_not_shown(name: str) -> None:
    assert set(load(name).SHEET.tables({})) == {"machine"}
