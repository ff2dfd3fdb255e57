"""Conformance: does a server speak the protocol? A table of checks, each with the clause of `docs/reference/protocol.md` that it
looks at, over all three transports and from outside: any server will do, whatever it is written in.

    verdicts.py     what a check is, and what comes of it
    wire.py         connections on which nothing is put right
    target.py       the server, and readings of it over each wire
    endpoints.py items.py framing.py commands.py patterns.py presence.py     the checks
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

from ..errors import ConfigError
from . import commands, endpoints, framing, items, patterns, presence
from .target import Target
from .verdicts import Check, Result, Unfit, Unmet

__all__ = ["CHECKS", "Check", "Result", "Target", "chosen", "run"]

CHECKS: Final[tuple[Check, ...]] = tuple(
    check
    for table in (endpoints.TABLE, items.TABLE, framing.TABLE, commands.TABLE, patterns.TABLE, patterns.POLICIES, presence.TABLE)
    for check in table.checks
)
_MOST: Final = 60.0  # seconds for one check


def chosen(only: Sequence[str]) -> list[Check]:
    """The checks whose names match one of `only`, such as `resume`, `resume/sse` or `*/sse`; all, if there are none.

    Raises:
        ConfigError: one of them matches nothing.
    """
    for pattern in only:
        if not any(_named(check, pattern) for check in CHECKS):
            raise ConfigError(f"no check is called {pattern!r}; `--list` shows them")
    return [check for check in CHECKS if not only or any(_named(check, pattern) for pattern in only)]


def _named(check: Check, pattern: str) -> bool:
    return fnmatchcase(check.name, pattern) or fnmatchcase(check.name.partition("/")[0], pattern)


async def run(target: Target, checks: Sequence[Check] = CHECKS) -> AsyncIterator[Result]:
    """Look at `target`, one check after the other: they publish, and must not see each other's events."""
    for check in checks:
        began = time.monotonic()
        verdict, expected, seen = await _verdict(check, target)
        yield Result(check.name, check.clause, check.says, verdict, expected, seen, round(time.monotonic() - began, 3))


async def _verdict(check: Check, target: Target) -> tuple[str, str, str]:
    try:
        async with asyncio.timeout(_MOST):
            await check.run(target)
    except Unmet as unmet:
        return "fail", unmet.expected, unmet.seen
    except Unfit as unfit:
        return "skip", "", str(unfit)
    except TimeoutError:
        return "fail", f"an end within {_MOST:g} s", "none"
    except OSError as error:
        return "fail", "a connection", str(error)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        return "fail", "what the protocol says", f"something of another shape: {error!r}"
    return "pass", "", ""
