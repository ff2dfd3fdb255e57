"""In CI nothing is skipped: what cannot run there is a hole in the check, and fails it."""

from __future__ import annotations

import os
import signal

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write what came of the networks into the documentation")


def pytest_configure() -> None:
    """Programs that tests start can be interrupted: what a shell starts in the background ignores that, and so would they."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: two for each core, because tests wait more than they compute."""
    return 2 * len(os.sched_getaffinity(0))


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        reporter.write_line("skipped tests fail a run in CI", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
