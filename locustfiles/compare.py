"""`everywire compare`, `report`, `diff` and `advise`: what is typed, what is printed, and the exit codes.

Everything that is measured runs in a process of its own, and so does Locust, which would patch this one.

Exit codes: 0 all is well; 1 it was not understood, or something broke; 3 a threshold was not kept, or `diff` found something
worse; 4 not trustworthy, and a run that was broken off never is; 5 the server does not answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from transports.errors import ConfigError

from .conducting.archive import Archive, ArchiveError, recorded, show
from .conducting.conductor import Conductor
from .conducting.describe import questions
from .conducting.environment import environment
from .conducting.planning import PlanError, Staging, Wishes, running, staging
from .conducting.stage import StageError, Stop, StoppedError, UnreachableError, status_of, stoppable
from .judging import advice
from .judging import diff as differences
from .judging import slo as thresholds
from .judging.names import NAMES, printable
from .judging.verdict import judge
from .reporting import report as reporting
from .samples import Run, SampleError
from .subjects import BUILT_IN, subject

FAILED: Final = 1
THRESHOLD: Final = 3
NOT_TRUSTWORTHY: Final = 4
UNREACHABLE: Final = 5
_Result = TypeVar("_Result")


class Command(click.Command):
    """A command for which not to be understood is exit code 1: those above 1 say something about a measurement."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """See click."""
        return _plainly(lambda: super(Command, self).make_context(*arguments, **options))

    def invoke(self, ctx: click.Context) -> Any:
        """See click."""
        return _plainly(lambda: super(Command, self).invoke(ctx))


def _plainly(work: Callable[[], _Result]) -> _Result:
    try:
        return work()
    except click.ClickException as error:
        error.exit_code, error.message = FAILED, printable(error.message)  # type: ignore[misc]
        raise


def _say(text: str, *, err: bool = False) -> None:
    """Print what may come from a file or a server of anybody's."""
    click.echo(printable(text), err=err)


class Number(click.FloatRange):
    """A number within limits. What is not a number is within any, for click."""

    def convert(self, *arguments: Any) -> Any:
        """See click."""
        found = super().convert(*arguments)
        return self.fail(f"{arguments[0]!r} is no number.", *arguments[1:]) if math.isnan(found) else found


@click.command(cls=Command)
@click.option("--scenario", default="fanout", show_default=True, metavar="NAME|FILE", help="The question. --list shows them.")
@click.option(
    "--subject", "subjects", multiple=True, metavar="NAME|FILE|URL", help="A server; several are compared.  [default: everywire]"
)
@click.option(
    "--url", "urls", multiple=True, help="The same as --subject, for a server that runs already: http://127.0.0.1:8000."
)
@click.option(
    "--network", "networks", multiple=True, metavar="NAME", help="A network to play in front; several in turns.  [default: open]"
)
@click.option("--transport", "transports", multiple=True, type=click.Choice(list(NAMES)), help="Only this; several may be given.")
@click.option("--quick", is_flag=True, help="Fewer readers, less time. What else is given stands.")
@click.option("--readers", type=click.IntRange(1), help="Readers at once.")
@click.option("--rate", type=Number(0, min_open=True), help="Events per second.")
@click.option("--seconds", type=Number(0, min_open=True), help="Of publishing in each round.")
@click.option("--repeats", type=click.IntRange(1), help="Rounds of each; with fewer than 5 only large differences are found.")
@click.option("--size", type=click.IntRange(60, 30_000), help="Bytes of one event's data.")
@click.option("--processes", type=click.IntRange(1, 64), help="Processes that read, for more readers than one core can play.")
@click.option("--slo", multiple=True, metavar="LIMIT", help="Such as 'p99<50ms' or 'sse:lost==0': exit code 3 if it is not kept.")
@click.option("--no-calibrate", is_flag=True, help="Do not measure first what the instrument adds by itself.")
@click.option("--remote", is_flag=True, help="Allow a URL beyond this machine. Only for servers that you may load.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Directory.  [default: compare-<time>]")
@click.option("--list", "wanted", is_flag=True, help="Show scenarios and servers.")
@click.pass_context
def compare(
    context: click.Context,
    /,
    *,
    urls: tuple[str, ...],
    subjects: tuple[str, ...],
    no_calibrate: bool,
    output: Path | None,
    wanted: bool,
    **wishes: Any,
) -> None:
    """Compare transports, servers and networks: delay, loss, bytes, CPU, memory.

    \b
    everywire compare --quick
    everywire compare --network open --network buffering --network latency-200ms
    everywire compare --scenario restart --transport sse --transport longpoll
    everywire compare --url http://127.0.0.1:8000 --slo 'p99<50ms'

    Numbers that are not given are the scenario's. Writes run.json, events.csv, percentiles and index.html. Ctrl-C keeps what
    was measured.

    \b
    Exit code: 0 measured; 3 a threshold was not kept; 4 not trustworthy;
    5 a server does not answer; 1 anything else.
    """
    if wanted:
        _say(_list())
        return
    asked = Wishes(subjects=(*subjects, *urls), calibrate=not no_calibrate, **wishes)
    try:
        planned = staging(asked)
    except PlanError as error:
        raise click.ClickException(str(error)) from error
    try:
        context.exit(_conducted(planned, output or Path(f"compare-{datetime.now():%Y%m%d-%H%M%S}")))
    except ArchiveError as error:
        raise click.ClickException(str(error)) from error


def _conducted(planned: Staging, directory: Path) -> int:
    """Have it played, kept and shown; the exit code. Raises: ArchiveError."""
    packages = [package for each in planned.cast.subjects.values() for package in each.needs.values()]
    started = datetime.now(UTC).isoformat(timespec="seconds")
    run = Run(started=started, command=planned.command, plan=planned.plan, environment=environment(packages))
    archive = Archive(directory)
    for note in planned.notes:
        _say(f"Note: {note}.", err=True)
    with stoppable(Stop()) as stop:
        failed = FAILED
        try:
            failed = _played(Conductor(run, planned.cast, archive, stop))
        finally:  # whatever happens, even if nobody is there any more to be told
            if nothing := failed == UNREACHABLE and not (run.rounds or run.steps or run.calibration):
                archive.discard()
            else:
                archive.keep(run)
                archive.show(run)
        if nothing:
            return failed
        told = _tell(run, archive.page, archive.run)
        return failed or told


def _played(conductor: Conductor) -> int:
    """Have it play; the exit code of what broke it off, 0 if nothing did."""
    try:
        conductor.play()
    except StoppedError:
        _say("Broken off. What was measured until then is kept.", err=True)
    except UnreachableError as error:
        _say(f"Error: {error}", err=True)
        return UNREACHABLE
    except StageError as error:
        _say(f"Error: {error}", err=True)
        return FAILED
    return 0


def _tell(run: Run, page: Path, samples: Path) -> int:
    """Print what was found and where it is kept, and say by an exit code how good it is."""
    results = thresholds.check(run, map(thresholds.slo, run.plan.slo))
    _say(f"\n{reporting.text(run)}")
    if results:
        _say(f"\n{thresholds.text(results)}")
    _say(f"\nReport: {page}   Samples: {samples}\nAgain:  {run.command}")
    if not judge(run).trustworthy:
        return NOT_TRUSTWORTHY
    return 0 if all(each.met for each in results) else THRESHOLD


def _list() -> str:
    asked, servers = questions(), {name: subject(name).what for name in BUILT_IN}
    width = max(map(len, (*asked, *servers)))
    lines = ["Scenarios", *(f"  {name:{width}}  {text}" for name, text in asked.items()), ""]
    lines += ["Servers", *(f"  {name:{width}}  {text}" for name, text in servers.items()), ""]
    return "\n".join([*lines, "Networks: see `everywire proxy --list`."])


@click.command(cls=Command)
@click.argument("file", metavar="RUN.JSON", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Directory.  [default: that of the file]")
@click.option("--slo", multiple=True, metavar="LIMIT", help="Other thresholds than those of the run, such as 'p99<50ms'.")
@click.pass_context
def report(context: click.Context, file: Path, output: Path | None, slo: tuple[str, ...]) -> None:
    """Show a recorded run again: table, verdict and page. Measures nothing.

    Exit codes are those of `compare`.
    """
    run = _recorded(file)
    _check_thresholds(slo)
    run.plan = msgspec.structs.replace(run.plan, slo=slo or run.plan.slo)
    try:
        page = show(run, output or file.parent)
    except ArchiveError as error:
        raise click.ClickException(str(error)) from error
    context.exit(_tell(run, page, file))


@click.command(cls=Command)
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--tolerance", default=5.0, show_default=True, type=Number(0, 100), help="Percent by which anything may change.")
@click.option("--anyway", is_flag=True, help="Compare runs of different plans too, as far as they go together.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_context
def diff(context: click.Context, /, *, before: Path, after: Path, tolerance: float, anyway: bool, as_json: bool) -> None:
    """Tell what changed between two run.json by more than the noise of both.

    Exit code: 0 nothing is worse; 3 something is; 4 one of them is not trustworthy; 1 anything else.
    """
    try:
        found = differences.diff(_recorded(before), _recorded(after), tolerance=tolerance / 100, anyway=anyway)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    click.echo(differences.as_json(found)) if as_json else _say(differences.text(found))
    context.exit(found.code)


@click.command(cls=Command)
@click.argument("what", metavar="RUN.JSON|URL")
@click.option("--remote", is_flag=True, help="Allow a URL beyond this machine.")
def advise(*, what: str, remote: bool) -> None:
    """Tell which settings suit what was measured, each with the figure behind it.

    From a URL, such as http://127.0.0.1:8000, the counters of the server that runs there are read (its /status): what its
    clients found out about the networks between here and them.

    Exit code: 0 told; 4 the run is not trustworthy; 5 the server does not answer; 1 anything else.
    """
    if "://" in what:
        _say(advice.text(_advice_to(what, remote)))
        return
    run = _recorded(Path(what))
    _say(advice.text(advice.advise(run), run))
    click.get_current_context().exit(0 if judge(run).trustworthy else NOT_TRUSTWORTHY)


def _advice_to(url: str, remote: bool) -> list[advice.Advice]:
    """What the counters of a running server say."""
    try:
        found = running(url, remote)
        return advice.advise_status(status_of(found))
    except UnreachableError as error:
        _say(f"Error: {error}", err=True)
        raise SystemExit(UNREACHABLE) from error
    except (PlanError, ConfigError) as error:
        raise click.ClickException(str(error)) from error


def _recorded(file: Path) -> Run:
    try:
        run = recorded(file)
    except SampleError as error:
        raise click.ClickException(str(error)) from error
    _check_thresholds(run.plan.slo)
    return run


def _check_thresholds(slos: Iterable[str]) -> None:
    try:
        for text in slos:
            thresholds.slo(text)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
