"""Words: one catalogue for each language, of the page and of each experiment, which say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import quart_app.lab
from quart_app.lab.stage import table
from quart_app.lab.words import languages

WORDS = Path(quart_app.lab.__file__).parent / "static" / "words"
EXPERIMENTS = sorted((WORDS / "experiments").iterdir())


def said(folder: Path, language: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{language}.json").read_text())
    return found


def flat(words: dict[str, Any], above: str = "") -> dict[str, str]:
    """Keys, joined by dots, and what is said."""
    found: dict[str, str] = {}
    for key, value in words.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return found


@pytest.mark.parametrize("folder", [WORDS, *EXPERIMENTS], ids=lambda path: path.name)
@pytest.mark.parametrize("language", [name for name in languages() if name != "en"])
def test_each_language_says_the_same_with_the_same_figures(folder: Path, language: str) -> None:
    english, other = flat(said(folder, "en")), flat(said(folder, language))
    more = set(other) - set(english)
    assert set(english) <= set(other)
    assert all(key.startswith(("networks.", "state.")) for key in more), "what the library says is English already"
    for key, text in english.items():
        figures = [sorted(re.findall(r"\{(\w+)\}", each)) for each in (text, other[key])]
        assert figures[0] == figures[1], key


@pytest.mark.parametrize("language", languages())
def test_what_is_counted_has_a_form_for_one_and_a_form_for_more(language: str) -> None:
    def counted(words: dict[str, Any]) -> list[dict[str, Any]]:
        below = [found for each in words.values() if isinstance(each, dict) for found in counted(each)]
        return [words, *below] if "of" in words else below

    forms = counted(said(WORDS, language))
    assert len(forms) >= 5
    assert all(set(each) == {"of", "one", "other"} and f"{{{each['of']}}}" in each["other"] for each in forms)


@pytest.mark.parametrize("language", [name for name in languages() if name != "en"])
def test_each_network_of_a_lane_is_told_of_in_each_language(language: str) -> None:
    told = said(WORDS, language)["networks"]
    assert set(told) == {each["name"] for each in table()}
    assert all(set(words) == {"name", "story", "does"} for words in told.values())
    names = [words["name"] for words in told.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda path: path.name)
def test_each_figure_of_an_experiment_has_a_name_that_tells_it_from_the_others(folder: Path, language: str) -> None:
    words = said(folder, language)
    names = [*words["figures"].values()]
    assert len(set(names)) == len(names)
    assert set(re.findall(r"\{(\w+)\}", words["because"] + words["doubt"])) <= set(words["figures"])


def test_each_experiment_has_a_title_a_page_and_a_place_in_one_of_the_lessons() -> None:
    ids = [folder.name for folder in EXPERIMENTS]
    assert sorted(said(WORDS, "en")["experiments"]["titles"]) == ids
    lessons = (Path(__file__).parents[3] / "docs" / "tutorials" / "lessons.md").read_text()
    assert sorted(re.findall(r"http://127\.0\.0\.1:8000/lab/#experiment=([a-z0-9-]+)", lessons)) == ids
    scripts = WORDS.parent / "experiments"
    assert all(f'id: "{name}"' in (scripts / f"{name}.js").read_text() for name in ids)
