"""The browser client's own tests run in Node, which comes as a wheel of the `dev` extra: one command runs all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NODE = Path(sys.executable).with_name("node")


@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.js")), ids=lambda file: file.name)
def test_in_node(file: Path) -> None:
    done = subprocess.run(
        [NODE, "--test", "--test-timeout=60000", file], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout
