"""What is said to be compatible is what is run."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.documents import ROOT, code, rows
from tests.middleboxes import BOXES

PAGE = ROOT / "docs" / "reference" / "compatibility.md"
CI = ROOT / ".github" / "workflows" / "ci.yml"


def test_the_versions_of_python_are_those_of_ci() -> None:
    matrix = yaml.safe_load(CI.read_text())["jobs"]["test"]["strategy"]["matrix"]
    assert [row[0] for row in rows(PAGE, "## Python")] == matrix["python"]


def test_the_versions_of_libraries_are_those_that_tests_run_with() -> None:
    pinned = dict(re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text().lower(), re.MULTILINE))
    assert {code(row[0]): row[1] for row in rows(PAGE, "## Libraries")}.items() <= pinned.items()


@pytest.mark.parametrize("heading", ["## Python", "## Browsers and Node", "## What stands between", "## Brokers", "## HTTP"])
def test_what_runs_it_is_there(heading: str) -> None:
    for row in rows(PAGE, heading):
        assert all((ROOT / path).exists() for path in re.findall(r"`([^`]+/[^`]+)`", row[-1]))


def test_the_middleboxes_are_those_that_are_run() -> None:
    shown = {row[0].lower() for row in rows(PAGE, "## What stands between")}
    assert shown == {box.name.partition("-")[0] for box in BOXES.values()}
