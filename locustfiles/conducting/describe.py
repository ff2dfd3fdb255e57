"""Describe: what a scenario file asks, and which users it has, as JSON: `python -m locustfiles.conducting.describe FILE`.

A process of its own, because a scenario imports Locust, which patches whoever imports it. `questions` reads the docstrings
alone and runs nothing.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from ..plan import NEGOTIATED, POINTS, TRANSPORTS, Scenario

SCENARIOS: Final = Path(__file__).parents[1] / "scenarios"
_WAIT: Final = 60.0  # seconds for a file to be run


class ScenarioError(ValueError):
    """There is no such scenario, or its file cannot be used; the message says why."""


class Description(msgspec.Struct, frozen=True):
    """A scenario file."""

    question: str
    scenario: Scenario
    users: dict[str, str]  # transport: name of the class


def names() -> list[str]:
    """The scenarios that come with the package."""
    return sorted(file.stem for file in SCENARIOS.glob("*.py") if not file.stem.startswith("_"))


def file_of(text: str) -> Path:
    """The file of a scenario, by its name or its path. Raises: ScenarioError, there is none."""
    if text.endswith(".py"):
        if Path(text).is_file():
            return Path(text).resolve()
        raise ScenarioError(f"there is no file {text}")
    if text in names():
        return SCENARIOS / f"{text}.py"
    near = get_close_matches(text, names(), 1)
    hint = f"the nearest is {near[0]}" if near else f"there are {', '.join(names())}"
    raise ScenarioError(f"there is no scenario {text!r}; {hint}. A .py file may stand there too")


def question_of(docstring: str | None) -> str:
    """The first sentence: what is asked."""
    text = " ".join((docstring or "").strip().partition("\n\n")[0].split())
    return re.split(r"(?<=[?.])\s", text, maxsplit=1)[0]


def questions() -> Mapping[str, str]:
    """What each scenario of the package asks. Their files are read, not run."""
    return {name: question_of(ast.get_docstring(ast.parse((SCENARIOS / f"{name}.py").read_text("utf-8")))) for name in names()}


def description(file: Path) -> Description:
    """What a file says of itself, run in a process of its own. Raises: ScenarioError, it cannot be run or used."""
    command = [sys.executable, "-m", __name__, str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        raise ScenarioError(f"{file} did not come to an end within {_WAIT:g} s of being imported") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ScenarioError(f"{file} cannot be used: {said[-1] if said else f'exit code {done.returncode}'}")
    for line in reversed(done.stdout.splitlines()):  # a file may say something of its own, before and after
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(line, type=Description)
    raise ScenarioError(f"{file} ends the process that looks at it")


def describe(module: ModuleType) -> Description:
    """What a scenario says of itself. Raises: ScenarioError, it has no users or plays no rounds."""
    users = _users(module)
    if not users:
        raise ScenarioError("it has no user class that reads, such as class Reader(SSEUser)")
    if "locustfiles.rounds" not in sys.modules:
        raise ScenarioError("it plays no rounds: add `import locustfiles.rounds`")
    scenario = getattr(module, "SCENARIO", None)
    if scenario is None:
        scenario = Scenario(transports=tuple(users))
    if not isinstance(scenario, Scenario):
        raise ScenarioError("its SCENARIO is no locustfiles.plan.Scenario")
    _check(scenario)
    if missing := [name for name in scenario.transports if name not in users]:
        raise ScenarioError(f"its SCENARIO wants {', '.join(missing)}, for which it has no user class")
    return Description(question_of(module.__doc__), scenario, users)


def _check(scenario: Scenario) -> None:
    """Raises: ScenarioError, its numbers make no sense."""
    if scenario.point not in ("", *POINTS):
        raise ScenarioError(f"its SCENARIO is answered by {scenario.point!r}, which is none of {', '.join(POINTS)}")
    numbers = msgspec.structs.asdict(scenario)
    _check_numbers("SCENARIO", numbers)
    if unknown := sorted(set(scenario.quick) - set(numbers)):
        raise ScenarioError(f"its SCENARIO changes with --quick what there is not: {', '.join(unknown)}")
    _check_numbers("SCENARIO with --quick", numbers | scenario.quick)


def _check_numbers(where: str, numbers: dict[str, Any]) -> None:
    try:
        found = msgspec.convert(msgspec.to_builtins(numbers), Scenario)
    except (msgspec.ValidationError, TypeError) as error:
        raise ScenarioError(f"its {where} makes no sense: {error}") from error
    if found.follows > found.channels:
        raise ScenarioError(f"its {where} has readers follow {found.follows} of {found.channels} channels")


def _users(module: ModuleType) -> dict[str, str]:
    """Transport and name of each class of the module that reads; of several for a transport, the one named first."""
    from ..users import StreamUser  # brings Locust in

    found: dict[str, str] = {}
    for name, each in vars(module).items():
        if isinstance(each, type) and issubclass(each, StreamUser) and not each.abstract:
            found.setdefault(_transport(each), name)
    return {transport: found[transport] for transport in (*TRANSPORTS, NEGOTIATED) if transport in found}


def _transport(user: type) -> str:
    """The name of what a user class reads."""
    wire = getattr(user, "wire", None)
    named = getattr(user, "transport", None) or getattr(wire, "transport", None)
    return str(getattr(named, "name", named))


def _run(file: Path) -> ModuleType:
    """The module that a file is."""
    sys.path.insert(0, str(file.parent))  # as Locust does
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ScenarioError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(arguments: list[str]) -> None:
    """Describe the file that is named."""
    (name,) = arguments
    try:
        found = describe(_run(Path(name)))
    except ScenarioError as error:
        sys.exit(str(error))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
