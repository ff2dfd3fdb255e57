"""The explanations: their words are those of the code, their figures those that were recorded, and their programs are run."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from pathlib import Path

import pytest

import locustfiles
import transports
from tests.documents import ROOT, blocks, code, rows, script
from tests.transports.conftest import live
from transports.networks import NETWORKS
from transports.testing import until

PAGES = ROOT / "docs" / "explanation"
EXPERIMENTS = ROOT / "quart_app" / "lab" / "static" / "words" / "experiments"


@pytest.mark.parametrize(("heading", "package"), [("## The stream", transports), ("## The comparison", locustfiles)])
def test_the_glossary_has_the_words_of_the_code(heading: str, package: object) -> None:
    words = [row[0] for row in rows(PAGES / "glossary.md", heading)]
    assert words == sorted(set(re.findall(r"\*\*([^*]+)\*\*", package.__doc__)), key=str.lower)


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*/en.json")), ids=lambda path: path.parent.name)
def test_what_an_experiment_names_as_its_source_answers_a_question(path: Path) -> None:
    """Standard and section, in a row that leads to the experiment."""
    link = f"#experiment={path.parent.name})"
    lines = [line for line in (PAGES / "rfcs.md").read_text().splitlines() if link in line]
    assert lines
    named = re.compile(r"RFC \d+|HTML|\d+\.\d+(?:\.\d+)*")
    assert set(named.findall(json.loads(path.read_text())["source"])) <= set(named.findall(" ".join(lines)))


@pytest.mark.parametrize("row", rows(PAGES / "rfcs.md", "## Kept by the code"), ids=lambda row: row[0])
def test_a_file_that_keeps_to_an_rfc_says_so(row: list[str]) -> None:
    assert re.search(r"RFC \d+", row[1])[0] in (ROOT / code(row[2])).read_text()


def test_the_networks_that_proxies_are_shown_with_can_be_played() -> None:
    shown = [re.findall(r"`([\w-]+)`", row[3]) for row in rows(PAGES / "what-proxies-do.md", "# What proxies do to streams")]
    assert all(shown)
    assert {name for names in shown for name in names} <= set(NETWORKS)


def test_the_program_about_percentiles_prints_what_is_shown(tmp_path: Path) -> None:
    page = PAGES / "percentiles.md"
    (program,), (shown,) = blocks(page, "python"), blocks(page, "text")
    with script(program.text, tmp_path / "percentiles.py") as running:
        assert running.communicate()[0] == shown.text


class Database:
    """A number and a position, in one transaction."""

    def __init__(self) -> None:
        self.full = True  # when the second number comes, once
        self.kept = sqlite3.connect(":memory:")
        self.kept.execute("CREATE TABLE it (sum, position)")
        self.kept.execute("INSERT INTO it VALUES (0, NULL)")
        self.kept.commit()

    def transaction(self) -> sqlite3.Connection:
        return self.kept

    def apply(self, data: int) -> None:
        self.kept.execute("UPDATE it SET sum = sum + ?", [data])
        if data == 2 and self.full:
            self.full = False
            raise OSError("the disk is full")

    def keep_position(self, position: str) -> None:
        self.kept.execute("UPDATE it SET position = ?", [position])

    def position(self) -> str | None:
        return self.kept.execute("SELECT position FROM it").fetchone()[0]

    def sum(self) -> int:
        return self.kept.execute("SELECT sum FROM it").fetchone()[0]


async def test_what_is_kept_with_its_position_counts_once() -> None:
    (block,) = blocks(PAGES / "delivery.md", "python")
    names: dict = {}
    exec(compile(block.text, str(block), "exec"), names)
    database = Database()
    async with live() as (hub, url):
        following = asyncio.create_task(names["follow"](url, database))
        await until(lambda: hub.readers)
        await hub.publish("orders", 1)
        await until(lambda: database.sum() == 1)
        await hub.publish("orders", 2)  # in the middle of this transaction it breaks
        with pytest.raises(OSError, match="disk is full"):
            await following
        assert database.sum() == 1
        following = asyncio.create_task(names["follow"](url, database))
        await until(lambda: database.sum() == 3)
        following.cancel()
        await asyncio.wait([following])
