"""Makes what the server serves of the browser client: `python tests/static/minify.py` writes client.min.js and tabs.min.js.

It takes whitespace, comments and local names away, and nothing else: tests/static/test_client_js.py holds it to that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import minify

STATIC: Final = Path(__file__).parents[2] / "transports" / "static"
NAMES: Final = ("client", "tabs")


def minified(name: str) -> str:
    """What is served of `name`.js."""
    return str(minify.string("application/javascript", (STATIC / f"{name}.js").read_text("utf-8"))) + "\n"


if __name__ == "__main__":
    for name in NAMES:
        (STATIC / f"{name}.min.js").write_text(minified(name), "utf-8")
