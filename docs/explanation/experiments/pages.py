"""Pages: what a script has measured is kept beside it as JSON, and what the documentation shows of it is made of that alone.

A table, or a line with figures, has its place in a page, between `<!-- name -->` and `<!-- end -->`, and nothing is written there
by hand. A figure within a sentence, of any page, stands between `<!--script.name-->` and `<!--/-->`; `figures.py` puts it there.
A script that has a `Sheet` takes these words:

    --write     measure, keep it, and put the tables into the page; `figures.py` puts figures into sentences
    WORD …      measure only those parts whose names hold one of these words; with --write the others stay as they were kept
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

Found: TypeAlias = dict[str, Any]
"""What was measured, by the names of the parts: all that JSON can say."""
Step: TypeAlias = tuple[str, Callable[[], Awaitable[Any]]]
"""A part, and what measures it. If a part is measured more than once, what it gave last is kept."""

END = "<!-- end -->"
_CALLED = {"redis": "redis-py"}  # packages whose names are those of something else, too
PATIENCE = 300.0  # seconds for a part, where its sheet gives no other time
_PLACE = re.compile(r"^<!-- ([a-z]+) -->$", re.MULTILINE)
_BEGIN, _OVER = r"<!--([a-z_]+\.[a-z0-9-]+)-->", "<!--/-->"
_FIGURE = re.compile(rf"{_BEGIN}((?:(?!<!--).)*){_OVER}", re.DOTALL)


def table(rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; the first row is its head."""
    head, *rest = [[str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rest))


def percent(share: float) -> str:
    """A share, as it stands in a sentence."""
    return f"{share * 100:.0f} %"


def put(text: str, tables: Mapping[str, str]) -> str:
    """`text` with each of `tables` in its place. Raises: ValueError, it has no such place."""
    for name, made in tables.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        old, end, after = rest.partition(END)
        if not (mark and end) or "<!-- " in old or mark in after:
            raise ValueError(f"the page has no place for {name!r}: write <!-- {name} --> and {END} into it, a line each")
        text = f"{before}{mark}\n{made}\n\n{end}{after}"
    return text


def places(text: str) -> list[str]:
    """The names of the places in a page."""
    return [name for name in _PLACE.findall(text) if name != "end"]


def fill(text: str, figures: Mapping[str, str]) -> str:
    """`text` with each figure that stands in a sentence. Raises: KeyError, nobody makes it; ValueError, one has no end."""
    if not len(re.findall(_BEGIN, text)) == text.count(_OVER) == len(_FIGURE.findall(text)):
        raise ValueError("each <!--script.name--> has to end with <!--/-->, before the next begins")
    return _FIGURE.sub(lambda found: f"<!--{found[1]}-->{figures[found[1]]}<!--/-->", text)


def figures_in(text: str) -> list[str]:
    """The names of the figures that stand in sentences of a page."""
    return [name for name, _ in _FIGURE.findall(text)]


def without_places(text: str) -> str:
    """The text of a page without all that is put into it."""
    return re.sub(r"^<!-- [a-z]+ -->\n.*?^<!-- end -->$", "", _FIGURE.sub("", text), flags=re.MULTILINE | re.DOTALL)


def machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """When and on what is measured now, as far as figures depend on it; nothing that tells which machine it is."""
    if (root := str(Path(__file__).parents[3])) not in sys.path:
        sys.path.insert(0, root)
    from tests.benchmarks.machine import describe

    here = describe()
    kernel = re.match(r"\d+\.\d+", here.kernel)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": here.processor,
        "cores": here.cores,
        "system": f"{sys.platform.capitalize()} {kernel[0] if kernel else ''}".strip(),
        "python": here.python,
        "versions": {name: found for name in packages if (found := _version(name))},
        "load": here.load,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def told(parts: Iterable[Mapping[str, Any]]) -> str:
    """What `machine` found for each part, as a sentence for each day and machine."""
    loads: dict[str, list[float]] = {}
    for on in parts:
        with_ = "".join(f", {_CALLED.get(name, name)} {number}" for name, number in on["versions"].items())
        where = f"{on['cores']} cores ({on['processor']}), {on['system']}, Python {on['python']}{with_}"
        loads.setdefault(f"Measured on {on['date']}, on a machine of {where}.", []).append(on["load"])
    return "\n".join(f"{where} The load before it began was {_range(found)}." for where, found in loads.items())


def _range(values: Sequence[float]) -> str:
    least, most = min(values), max(values)
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


class Sheet:
    """What a script has measured, part by part, and the page that shows it.

    Args:
        script: its `__file__`; what is kept is beside it.
        page: of the documentation, as seen from there.
        tables: makes of the parts that there are what is shown, by the names of the places.
        packages: whose versions are told.
        figures: makes of the parts what stands in sentences, here and elsewhere.
        machine: the name of the place for when and on what was measured.
        patience: seconds for a part.
    """

    def __init__(
        self,
        script: str,
        page: str,
        tables: Callable[[Found], dict[str, str]],
        *packages: str,
        figures: Callable[[Found], dict[str, str]] | None = None,
        machine: str = "machine",
        patience: float = PATIENCE,
    ) -> None:
        self.file = Path(script).with_suffix(".json")
        self.page = (self.file.parent / page).resolve()
        self._tables, self._packages, self._figures, self._machine = tables, packages, figures, machine
        self._patience = patience

    def kept(self) -> Found:
        """What is kept: each part as `{"on": machine(), "found": …}`; nothing, if nothing is."""
        return dict(json.loads(self.file.read_text("utf-8"))) if self.file.exists() else {}

    def keep(self, kept: Found) -> None:
        """Keep it."""
        part = self.file.with_suffix(".part")  # so that what is there is whole at any time
        part.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")
        part.replace(self.file)

    def shown(self) -> dict[str, str]:
        """All tables of what is kept, by the names of the places."""
        return self.tables(self.kept())

    def tables(self, kept: Found) -> dict[str, str]:
        """All tables of some parts, each with when and on what it was measured."""
        return {self._machine: told(part["on"] for part in kept.values()), **self._tables(_found(kept))}

    def figures(self) -> dict[str, str]:
        """What stands in sentences, of what is kept, by `script.name`."""
        made = self._figures(_found(self.kept())) if self._figures is not None else {}
        return {f"{self.file.stem}.{name}": figure for name, figure in made.items()}

    def written(self, text: str) -> str:
        """`text` with all that is shown of what is kept."""
        return put(text, self.shown())

    def write(self) -> None:
        """Put into the page what is shown of what is kept."""
        self.page.write_text(self.written(self.page.read_text("utf-8")), "utf-8")

    def run(self, asked: argparse.Namespace, steps: Iterable[Step]) -> None:
        """Do as `parser` was told, and print the tables.

        Each part is kept as soon as it has been measured. One that fails is told of and left out: it can be measured by itself.

        Raises:
            SystemExit: something failed.
        """
        kept, failed, on = self.kept() if asked.write else {}, [], machine(self._packages)
        for name, measure in self._chosen(list(steps), asked.parts):
            begun = time.monotonic()
            try:
                found = json.loads(json.dumps(asyncio.run(_bounded(measure, self._patience))))
            except Exception:
                traceback.print_exc()
                failed.append(name)
            else:
                kept[name] = {"on": on, "found": found}
                if asked.write:
                    self.keep(kept)
            print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        print(*self.tables(kept).values(), sep="\n\n", flush=True)
        if asked.write and kept:
            self.write()
            print("figures.py puts it into the sentences, too", file=sys.stderr, flush=True)
        if failed:
            raise SystemExit(f"not measured: {', '.join(failed)}. Measure them by these names, the rest stays as it is")

    def _chosen(self, steps: list[Step], words: Sequence[str]) -> list[Step]:
        """The steps that are meant. Raises: SystemExit, a word names none."""
        names = list(dict.fromkeys(name for name, _ in steps))
        for word in words:
            if not any(word in name for name in names):
                raise SystemExit(f"there is no part {word!r}. There are: {', '.join(names)}")
        return [step for step in steps if not words or any(word in step[0] for word in words)]


def _found(kept: Found) -> Found:
    return {name: part["found"] for name, part in kept.items()}


async def _bounded(measure: Callable[[], Awaitable[Any]], seconds: float) -> Any:
    async with asyncio.timeout(seconds):
        return await measure()


def parser(text: str | None) -> argparse.ArgumentParser:
    """The command line of a script with a sheet."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    made.add_argument("parts", nargs="*", metavar="WORD", help="measure only the parts whose names hold one of these words")
    made.add_argument("--write", action="store_true", help="keep what is measured, and put it into the documentation")
    return made
