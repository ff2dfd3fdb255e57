"""The page about the directory of a run says what the structs, the archive and the commands say."""

from __future__ import annotations

import types
import typing

import msgspec
import pytest

from locustfiles import compare
from locustfiles.conducting import archive
from locustfiles.histogram import Histogram
from locustfiles.plan import Fault, Plan
from locustfiles.samples import SCHEMA, Run
from tests.documents import ROOT, code, rows

PAGE = ROOT / "docs" / "reference" / "run.md"
WORDS = {int: ("integer", "moment"), float: ("number",), str: ("string",), bool: ("boolean",)}


def structs(start: type) -> dict[str, type]:
    """All that can be met in a file, by name."""
    found: dict[str, type] = {}
    todo = [start]
    while todo:
        each = todo.pop()
        if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__name__ not in found:
            found[each.__name__] = each
            todo += [kind for hint in typing.get_type_hints(each).values() for kind in inside(hint)]
    return found


def inside(hint: object) -> list:
    return [hint, *(kind for part in typing.get_args(hint) for kind in inside(part))]


def words(hint: object) -> set[str]:
    """How the page may call a type."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (kind,) = (part for part in parts if part is not type(None))
        return {f"{word} or null" for word in words(kind)}
    if origin in (list, tuple):
        return {f"list of {word}" for word in words(parts[0])}
    if origin is dict:
        return {"object"}
    if hint in WORDS:
        return set(WORDS[hint])
    return {hint.__name__} if issubclass(hint, msgspec.Struct) else {"list"}


STRUCTS = structs(Run)


@pytest.mark.parametrize("name", STRUCTS)
def test_every_field_is_there_with_its_type(name: str) -> None:
    kind = STRUCTS[name]
    told = {code(field): what for field, what, _ in rows(PAGE, f"### {name}")}
    hints = typing.get_type_hints(kind)
    assert set(told) == set(kind.__struct_fields__)
    assert {field: what for field, what in told.items() if what not in words(hints[field])} == {}
    if kind.__struct_config__.array_like:
        assert list(told) == list(kind.__struct_fields__)


def test_the_walk_has_seen_the_structs_that_matter() -> None:
    assert {"Run", "Plan", "Fault", "Round", "Sample", "Slot", "Look", "Histogram", "Step"} <= set(STRUCTS)
    assert STRUCTS["Plan"] is Plan
    assert STRUCTS["Fault"] is Fault
    assert STRUCTS["Histogram"] is Histogram


def test_the_schema_is_the_one_that_is_written() -> None:
    assert PAGE.read_text().count(f"`{SCHEMA}`") == 2


def test_the_columns_of_the_events() -> None:
    assert [code(column) for column, _ in rows(PAGE, "## events.csv")] == list(archive.HEADER)


def test_the_exit_codes_are_those_of_the_commands() -> None:
    codes = {compare.FAILED, compare.THRESHOLD, compare.NOT_TRUSTWORTHY, compare.UNREACHABLE}
    assert [int(number) for number, _ in rows(PAGE, "## Exit codes")] == [0, *sorted(codes)]
