"""The process of the server under test: `everywire`, which ends when who started it is gone, however that ended.

python -m quart_app.lab.child serve --port 8001
"""

from __future__ import annotations

import os
import signal
import threading


def watch() -> None:
    """Ask this process to end when its standard input does: nobody else holds the other end than who started it."""
    while os.read(0, 4096):  # not by `sys.stdin`: its lock would be held when the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    from quart_app.cli import cli

    threading.Thread(target=watch, daemon=True).start()
    cli(prog_name="everywire")
