"""The load client and the reference server, compiled once."""

from __future__ import annotations

import shutil

import pytest

from tests.benchmarks.program import compile_c
from tests.benchmarks.stage import Stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Both of them, on any core: here it only counts that they are right."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    return Stage(compile_c(tmp_path_factory.mktemp("compiled"), "load", "reference"), None, None)
