"""The figures of the documentation are those that were kept, and every place for them is filled by a script.

A part that cannot be measured costs none of the others.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.docs.test_capacity import load
from tests.documents import PAGES, ROOT

EXPERIMENTS = ROOT / "docs" / "explanation" / "experiments"

figures, pages = load("figures"), load("pages")
SOURCES = figures.sources()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_what_was_kept(page: Path) -> None:
    assert page.read_text("utf-8") == figures.written(page), "run `python docs/explanation/experiments/figures.py`"


def test_every_place_is_filled_and_every_figure_used() -> None:
    tables: dict[Path, set[str]] = {}
    for source in SOURCES:
        tables.setdefault(source.page, set()).update(source.tables())
    texts = {page.resolve(): page.read_text("utf-8") for page in PAGES}
    assert {page: set(names) for page, text in texts.items() if (names := pages.places(text))} == tables
    assert {name for text in texts.values() for name in pages.figures_in(text)} == set(figures.figures())


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
    assert pages.without_places(once) == "before\n\n\n\nbetween\n\n\nafter\n"


def test_a_figure_in_a_sentence_is_filled_wherever_it_stands() -> None:
    page = "It was <!--slow.p-99-->1 s<!--/--> and\n* <!--fast.all-->2\nms<!--/-->.\n"
    filled = pages.fill(page, {"slow.p-99": "3 s", "fast.all": "4 ms", "other.one": "5"})
    assert filled == "It was <!--slow.p-99-->3 s<!--/--> and\n* <!--fast.all-->4 ms<!--/-->.\n"
    assert pages.figures_in(filled) == ["slow.p-99", "fast.all"]
    assert pages.without_places(filled) == "It was  and\n* .\n"
    with pytest.raises(KeyError, match=r"slow\.p-99"):
        pages.fill(page, {})
    with pytest.raises(ValueError, match="has to end"):
        pages.fill(page.replace("1 s<!--/-->", "1 s"), {"slow.p-99": "3 s", "fast.all": "4 ms"})


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


def test_a_part_that_takes_too_long_is_left_out(tmp_path: Path) -> None:
    sheet = pages.Sheet(str(tmp_path / "script.py"), "page.md", lambda _: {}, patience=0.01)
    with pytest.raises(SystemExit, match="not measured: endless"):
        sheet.run(asked(), [("endless", asyncio.Event().wait)])


def test_without_being_told_to_nothing_is_written(sheet: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = sheet.page.read_text()
    sheet.run(asked(), [("one", three)])
    assert "one=3" in capsys.readouterr().out
    assert (sheet.page.read_text(), sheet.file.exists()) == (before, False)


@pytest.mark.parametrize("name", figures.SHEETS)
def test_what_is_not_there_is_not_shown(name: str) -> None:
    assert list(load(name).SHEET.tables({}).values()) == [""]  # when and on what: never


def test_where_nothing_works_before_somebody_logs_in_no_transport_gets_the_credit() -> None:
    *named, asking = load("choosing").won()
    assert asking[3] == "`captive-portal`, `login-redirect`"
    assert not any("captive-portal" in row[3] or "login-redirect" in row[3] for row in named)
    counts = [row[1].split(" of ") for row in [*named, asking]]
    assert {sum(int(count) for count, _ in counts)} == {int(total) for _, total in counts}
