"""Prelude: a Locust that has already imported what takes long, and waits to be told on its standard input what to play.

Half a second of each round, during which the server starts as well. What it is told is one line of JSON: `{"words": […],
"environment": {…}}`. If its input ends instead, whoever started it is gone, and so is the reason to play.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Import Locust, wait, and be it."""
    import locust.main

    line = sys.stdin.readline()
    if not line:
        return
    given = json.loads(line)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # Locust would listen for keys
    os.environ.update(given["environment"])
    sys.argv = ["locust", *given["words"]]
    locust.main.main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
