"""Words: what the page says, in one catalogue for each language, which the page's scripts read, too."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
from werkzeug.datastructures import LanguageAccept

_FOLDER: Final = Path(__file__).parent / "static" / "words"
_FIRST: Final = "en"


def languages() -> list[str]:
    """That there are, English first."""
    return sorted((path.stem for path in _FOLDER.glob("*.json")), key=lambda name: (name != _FIRST, name))


def chosen(wanted: str | None, accepted: LanguageAccept) -> str:
    """The language that was asked for, or that the browser likes best of those that there are."""
    there = languages()
    return wanted if wanted in there else accepted.best_match(there) or _FIRST


@lru_cache
def words(language: str) -> dict[str, Any]:
    """What is said in that language. Without a catalogue, nothing."""
    path = _FOLDER / f"{language}.json"
    found: dict[str, Any] = msgspec.json.decode(path.read_bytes()) if path.is_file() else {}
    return found
