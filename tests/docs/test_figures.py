"""The tables of the page about benchmarks are made of what was measured."""

from __future__ import annotations

import importlib.util
import json

from tests.documents import ROOT


def test_the_tables_are_those_of_what_was_kept() -> None:
    spec = importlib.util.spec_from_file_location("figures_page", ROOT / "docs" / "figures_page.py")
    assert spec is not None
    assert spec.loader is not None
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    page = figures.PAGE.read_text()
    kept = json.loads(figures.KEPT.read_text())
    assert page == figures.written(page, kept), "run `python docs/figures_page.py`"
    assert {row for _, row, *_ in kept["samples"]} <= set(figures.ROWS)
