"""Makes what the server serves of the browser client: `python tests/static/minify.py` writes client.min.js and tabs.min.js.

The work is tdewolff's minifier's. Before it, three things that it leaves alone, since it takes a file for a script and not for a
module: names at the top level become local, so that they are shortened too; `const` becomes `let`, which saves a kind of
statement; and the columns of the table stand closer.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Final

sys.path[:] = [place for place in sys.path if Path(place) != Path(__file__).parent]  # this file has the package's name
_tdewolff = importlib.import_module("minify")

STATIC: Final = Path(__file__).parents[2] / "transports" / "static"
NAMES: Final = ("client", "tabs")


def minified(name: str) -> str:
    """What is served of `name`.js."""
    source = (STATIC / f"{name}.js").read_text("utf-8")
    exports = ",".join(re.findall(r"^export (?:class|(?:async )?function|const) (\w+)", source, re.MULTILINE))
    source = re.sub(r"^export ", "", source, flags=re.MULTILINE)
    source = re.sub(r"^(\s*|.*[({] ?)const ", r"\1let ", source, flags=re.MULTILINE)
    source = re.sub(r"(?<=GRID = `)[^`]*", lambda grid: re.sub(" +", " ", grid[0]), source)
    whole = f"export const {{{exports}}} = (() => {{\n{source}\nreturn {{{exports}}};\n}})();"
    return f"{_tdewolff.string('application/javascript', whole)}\n"


if __name__ == "__main__":
    for name in NAMES:
        (STATIC / f"{name}.min.js").write_text(minified(name), "utf-8")
