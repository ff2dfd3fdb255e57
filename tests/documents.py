"""What the tests of documents share: blocks, tables and links out of Markdown, and programs that run with a bound."""

from __future__ import annotations

import ast
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from quart_app.cli import cli

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_KNOWN = {"curl", "diff", "echo", "export", "head", "journalctl", "kill", "locust", "pgrep", "sed", "seq", "vmstat"}
_TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, language: str) -> list[Block]:
    """The blocks of one language, in order."""
    text = page.read_text()
    found = [Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in _FENCE.finditer(text)]
    return [block for block in found if block.language == language]


def block_with(page: Path, language: str, words: str) -> Block:
    """The one block of a language that has `words` in it."""
    (found,) = [block for block in blocks(page, language) if words in block.text]
    return found


def all_blocks(language: str) -> list[Block]:
    """The blocks of one language in all documents."""
    return [block for page in PAGES for block in blocks(page, language)]


def compiles(block: Block) -> None:
    """Raises: SyntaxError."""
    compile("\n" * block.line + block.text, str(block.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def run(*parts: Block) -> dict[str, Any]:
    """The names that blocks define, one after the other in one module."""
    names: dict[str, Any] = {"__name__": "document"}
    for block in parts:
        exec(compile("\n" * block.line + block.text, str(block.page), "exec", dont_inherit=True), names)
    return names


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    table = []
    for line in f"\n{page.read_text()}".partition(f"\n{heading}\n")[2].splitlines():
        if line.startswith("|"):
            table.append([cell.strip() for cell in line.strip("|").split("|")])
        elif table:
            break
    assert len(table) > 2, f"no table below {heading!r} in {page.name}"
    return table[2:]


def code(cell: str) -> str:
    """What stands between backticks."""
    return re.fullmatch(r"`([^`]*)`", cell)[1]


def steps(block: Block) -> list[tuple[str, str]]:
    """What is typed in a console block, line by line, each with what is shown below it."""
    typed = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert len(typed) > 1, f"{block}: no command"
    assert not typed[0], f"{block}: what printed {typed[0]!r}?"
    return [(command, shown) for command, _, shown in (step.partition("\n") for step in typed[1:])]


def commands(block: Block) -> list[list[str]]:
    """The commands of a console block, each side of a pipe or of `&&` by itself, without files that it reads or writes."""
    found: list[list[str]] = []
    for line, _ in steps(block):
        found.append([])
        words = iter(shlex.split(line))
        for word in words:
            if word in {"|", "&&"}:
                found.append([])
            elif word in {"<", ">"}:
                next(words)
            else:
                found[-1].append(word)
    return found


def check_command(words: Sequence[str]) -> None:
    """A command of ours must be there, and understand its arguments; raises an error that says why not."""
    name, *arguments = words
    match name.rpartition("/")[2]:
        case "everywire":
            command = cli.get_command(click.Context(cli), arguments[0])
            assert command is not None, f"no command {arguments[0]}"
            command.make_context(arguments[0], arguments[1:]).close()
        case "make":
            assert arguments[0] in _TARGET.findall((ROOT / "Makefile").read_text())
        case "pip":
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            named = re.fullmatch(r"(?:\.|everywire-[\d.]+-py3-none-any\.whl)\[([\w,]+)\]", arguments[-1])
            assert named is not None
            assert set(named[1].split(",")) <= set(extras)
        case "python" | "python3" | "pytest" | "ruff":
            paths = [word for word in arguments if "/" in word and not word.startswith("-")]
            assert all((ROOT / path).exists() for path in paths)
        case other:
            assert other in _KNOWN, f"what is {other}?"


def broken_links(page: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    text = _FENCE.sub("", page.read_text())
    return [link for link in _LINK.findall(text) if "://" not in link and not _leads_somewhere(page, link)]


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_file() or ROOT not in target.parents:
        return False
    if not anchor:
        return True
    slugs = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in _HEADING.findall(target.read_text())]
    return anchor in slugs


def copied(directory: Path) -> Path:
    """A copy of the project without what git leaves out, in which all may be changed; its environment is that of the tests."""
    left_out = shutil.ignore_patterns(".git", *(Path(line).name for line in (ROOT / ".gitignore").read_text().split()))

    def ignored(parent: str, names: list[str]) -> set[str]:
        return {name for name in left_out(parent, names) if Path(parent, name).is_dir()}

    copy = Path(shutil.copytree(ROOT, directory / "everywire", ignore=ignored))
    (copy / ".venv").symlink_to(sys.prefix)
    return copy


def make(command: str) -> str:
    """A command of `make`, for which everything is installed: what would install is not done. Nor is it told who else makes."""
    rules = re.findall(r"^([\w./-]+):(?!=).*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    installing = [target for target, recipe in rules if "install" in recipe or "$(npm)" in recipe or "$(call debian" in recipe]
    assert {".venv/run", ".venv/dev", ".venv/bench", "debian", "nchan"} == set(installing)
    return f"env -u MAKEFLAGS -u MAKELEVEL {command} {' '.join(f'--old-file={target}' for target in installing)}"


def built(temporary: pytest.TempPathFactory) -> Path:
    """The documentation as `make docs` builds it, once for all tests of a run, whichever process they are in: no warning."""
    pytest.importorskip("furo", reason="needs the docs extra")
    base = temporary.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "documentation"
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "built").exists():
            command = shlex.split(make("make docs"))
            done = subprocess.run(command, cwd=copied(place), capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            (place / "built").touch()
    return place / "everywire" / "docs" / "_build" / "html"


@contextmanager
def program(command: Sequence[str | Path], *, cwd: Path, seconds: float = 60.0) -> Iterator[subprocess.Popen[str]]:
    """A running program, which is killed at the end, and after `seconds` in any case: then its output ends."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True) as running:
        bound = threading.Timer(seconds, running.kill)
        bound.start()
        try:
            yield running
        finally:
            bound.cancel()
            running.kill()


@contextmanager
def script(text: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A running Python script, kept at `path`."""
    path.write_text(text)
    with program([sys.executable, path], cwd=path.parent) as running:
        yield running
