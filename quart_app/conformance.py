"""How `everywire conformance` shows what it finds: a line for each check, and why, where one fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import click
import msgspec

from transports.conformance import CHECKS, Check, Result, Target, chosen, run

_COLOURS: Final = {"pass": "green", "fail": "red", "skip": "yellow"}
_WIDTH: Final = max(len(check.name) for check in CHECKS)


async def look(url: str, *, only: Sequence[str] = (), as_json: bool = False, quiet: bool = False, **wanted: object) -> int:
    """Look at the mount at `url`, show what came of each check, and give the exit code: 1 if one failed."""
    target = Target(url, **wanted)  # type: ignore[arg-type]  # what click gives is what it takes
    checks = chosen(only)
    await target.reached()
    results = []
    async for result in run(target, checks):
        results.append(result)
        if not as_json and not (quiet and result.verdict == "pass"):
            for line in lines(result):
                click.echo(line)
    counted = Counter(result.verdict for result in results)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"url": url, "counts": counted, "checks": results})))
    else:
        click.echo(f"{counted['pass']} passed, {counted['fail']} failed, {counted['skip']} could not be looked at")
    return 1 if counted["fail"] else 0


def lines(result: Result) -> Iterator[str]:
    """What is shown of a result."""
    verdict = click.style(result.verdict.upper(), fg=_COLOURS[result.verdict])
    yield f"{verdict}  {result.name:{_WIDTH}}  {result.says}"
    if result.verdict == "fail":
        yield f"      {'clause':>8}: {result.clause}"
        yield f"      {'expected':>8}: {result.expected}"
        yield f"      {'saw':>8}: {result.seen}"
    elif result.verdict == "skip":
        yield f"      {result.seen}"


def table(checks: Sequence[Check]) -> str:
    """The checks, a line each: name, clause, and what it says."""
    return "\n".join(f"{check.name:{_WIDTH}}  {check.clause}: {check.says}" for check in checks)
