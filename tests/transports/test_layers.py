"""Who may know whom, and what an import costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import transports

ROOT = Path(__file__).parents[2]


def test_the_layers_hold() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", ["transports", "transports.asgi", "transports.hub"])
def test_a_server_pulls_in_no_framework_no_client_and_no_load_generator(module: str) -> None:
    heavy = ["quart", "aiohttp", "locust", "gevent", "starlette", "hypercorn"]
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_few_and_there() -> None:
    assert len(transports.__all__) == len(set(transports.__all__))  # ruff keeps them sorted
    assert all(hasattr(transports, name) for name in transports.__all__)
