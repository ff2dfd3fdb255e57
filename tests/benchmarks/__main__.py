"""The command line of the benchmarks: `python -m tests.benchmarks --help`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from . import bench, plan, results, table
from .program import ProgramError
from .rows import BY_NAME


def _names(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    names = [name for name in (value or "").split(",") if name]
    for name in names:
        if name not in plan.NAMES:
            raise click.BadParameter(f"there is no measure {name}; there are {', '.join(plan.NAMES)}")
    return names


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="A few subjects, once, in five minutes.")
@click.option("--only", metavar="MEASURE,...", callback=_names, help="These measures alone.")
@click.option("--subject", "subjects", multiple=True, type=click.Choice(list(BY_NAME)), help="This subject; again for more.")
@click.option("--repeats", type=click.IntRange(1), help="How often each is measured.  [default: 5, quick 1]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where to keep the results.")
@click.pass_context
def cli(
    context: click.Context, quick: bool, only: list[str], subjects: tuple[str, ...], repeats: int | None, out: Path | None
) -> None:
    """How fast everywire is on this machine, beside others."""
    if context.invoked_subcommand is not None:
        return
    lanes = plan.chosen(quick=quick, only=only, subjects=subjects)
    if not lanes:
        raise click.UsageError("nothing to measure: none of these subjects has one of these measures")
    try:
        measured = bench.run(lanes, repeats=repeats or (1 if quick else 5), quick=quick, tell=bench.to_stderr)
    except ProgramError as error:
        raise click.ClickException(str(error)) from error
    path = results.write(out or Path(f"bench-{datetime.now(UTC):%Y%m%d-%H%M%S}"), measured)
    (path.parent / "bench.md").write_text(table.markdown(measured))
    click.echo(table.text(measured))
    click.echo(f"kept in {path.parent}/", err=True)


@cli.command("table")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--text", "as_text", is_flag=True, help="For a terminal, instead of Markdown.")
def show(directory: Path, as_text: bool) -> None:
    """The tables of the results in DIRECTORY, as Markdown."""
    try:
        kept = results.read(directory)
    except (OSError, msgspec.MsgspecError) as error:
        raise click.ClickException(f"{directory} has no results that can be read: {error}") from error
    click.echo((table.text if as_text else table.markdown)(kept), nl=False)


if __name__ == "__main__":
    cli(prog_name="python -m tests.benchmarks")
