"""The pages for who works on everywire: what they name is there, and what is shown is what the code reads."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import msgspec
import pytest

from tests.documents import ROOT, blocks, code, rows
from transports import Code, Hub, Options, peers, rights
from transports.admission import Admission
from transports.presence import control_of, record_of

WAY = ROOT / "docs" / "explanation" / "first-byte-to-reader.md"
CONTROL = ROOT / "docs" / "reference" / "control-channels.md"
TABLES = ("## Up", "## Down", "## How the reader came to be there", "## What differs elsewhere")
NAMED = [
    (file, name) for table in TABLES for row in rows(WAY, table) for file, name in re.findall(r"`(\S+\.py)`: `(\S+)`", row[-1])
]


@cache
def names(file: Path) -> frozenset[str]:
    """The functions and classes of a module, and the methods of these as `Class.method`."""
    found: set[str] = set()
    for each in ast.parse(file.read_text()).body:
        if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(each.name)
        if isinstance(each, ast.ClassDef):
            found |= {f"{each.name}.{one.name}" for one in each.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    return frozenset(found)


def test_each_step_says_where_it_is() -> None:
    assert all(re.search(r"`\S+\.py`: `\S+`", row[-1]) for table in TABLES for row in rows(WAY, table))


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)), ids=lambda part: part)
def test_what_a_step_names_is_there(file: str, name: str) -> None:
    assert name in names(ROOT / file)


def test_the_codes_of_a_step_are_codes() -> None:
    told = [row[2] for table in TABLES[:3] for row in rows(WAY, table)]
    assert {int(number) for cell in told for number in re.findall(r"\d{4}", cell)} <= set(map(int, Code))


async def test_the_control_channels_are_those_that_are_listened_to() -> None:
    hub = Hub(Options())
    Admission(hub)
    assert sorted(code(row[0]) for row in rows(CONTROL, "# Control channels")) == sorted(hub._controls)


PEERS, PRESENCE, RIGHTS, TICKETS = (block.text.splitlines() for block in blocks(CONTROL, "text"))


@pytest.mark.parametrize("line", PEERS)
def test_what_peers_say_is_understood(line: str) -> None:
    assert msgspec.json.encode(peers._decoder.decode(line)).decode() == line


@pytest.mark.parametrize("line", PRESENCE)
def test_what_is_told_of_leases_is_understood(line: str) -> None:
    assert record_of(control_of(line.encode())).decode() == line


@pytest.mark.parametrize("line", RIGHTS)
def test_what_is_told_of_rights_is_understood(line: str) -> None:
    assert msgspec.json.encode(msgspec.json.decode(line, type=rights._Word)).decode() == line


def test_what_is_told_of_a_ticket_is_a_text_of_chance() -> None:
    assert [len(bytes.fromhex(msgspec.json.decode(line))) for line in TICKETS] == [8]
