"""Planning: from what somebody typed to a plan that can be played. What makes no sense is told before anything is started."""

from __future__ import annotations

import importlib.util
import ipaddress
import shlex
from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from transports.errors import ConfigError
from transports.networks import network

from ..judging.names import NAMES, listed
from ..judging.slo import slo
from ..plan import NEGOTIATED, TRANSPORTS, Plan, Scenario
from ..subjects import Subject, SubjectError, subject
from .conductor import Cast, lanes
from .describe import Description, ScenarioError, description, file_of
from .faults import ON_SERVER, FaultError, network_of, within

_QUICK: Final = {"readers": 50.0, "rate": 20.0, "seconds": 3.0, "repeats": 3.0}  # of a scenario that says nothing about it
_CHOOSING: Final = "restricted"  # a scenario that has the client that chooses
_NUMBERS: Final = ("readers", "rate", "seconds", "repeats", "size", "processes")


class PlanError(ValueError):
    """What was asked for cannot be played; the message says why, in one line."""


class Wishes(NamedTuple):
    """What was typed; None and empty: what the scenario says."""

    scenario: str = "fanout"
    subjects: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    transports: tuple[str, ...] = ()
    slo: tuple[str, ...] = ()
    quick: bool = False
    readers: int | None = None
    rate: float | None = None
    seconds: float | None = None
    repeats: int | None = None
    size: int | None = None
    processes: int | None = None
    calibrate: bool = True
    remote: bool = False


class Staging(NamedTuple):
    """A plan, who plays it, and the command that has it played again."""

    plan: Plan
    cast: Cast
    command: str
    notes: list[str]


def staging(wishes: Wishes) -> Staging:
    """The plan that these wishes ask for.

    Raises:
        PlanError: there is no such scenario, subject, network, transport or threshold; or they do not go together.
    """
    try:
        return _staging(wishes)
    except (ScenarioError, SubjectError, ConfigError, FaultError) as error:
        raise PlanError(str(error)) from error


def _staging(wishes: Wishes) -> Staging:
    if any(importlib.util.find_spec(name) is None for name in ("locust", "gevent")):  # importing them would patch this process
        raise PlanError("Locust is not installed. Install it with:  pip install 'everywire[load]'")
    for text in wishes.slo:
        slo(text)
    for name in wishes.networks:
        network(name)
    named = wishes.subjects or ("everywire",)
    subjects = {text: subject(text) for text in dict.fromkeys(named)}
    file = file_of(wishes.scenario)
    for each in subjects.values():
        _check_subject(each, wishes.remote)
    found = description(file)
    cast = Cast(file, found.users, subjects)
    plan = _plan(wishes, found, tuple(subjects))
    _check(plan, cast, wishes.transports)
    for text in plan.slo:
        slo(text, plan)
    played = {lane.transport for lane in lanes(plan, cast)}
    plan = msgspec.structs.replace(
        plan,
        transports=tuple(name for name in plan.transports if name in played),
        calibrate=plan.calibrate and bool(set(found.users).intersection(TRANSPORTS)),
    )
    return Staging(plan, cast, command(plan, wishes), _notes(plan, found.scenario, wishes))


def _plan(wishes: Wishes, found: Description, subjects: tuple[str, ...]) -> Plan:
    scenario = quickened(found.scenario) if wishes.quick else found.scenario
    given: dict[str, Any] = {name: value for name in _NUMBERS if (value := getattr(wishes, name)) is not None}
    given |= {name: getattr(wishes, name) for name in ("networks", "transports") if getattr(wishes, name)}
    whole = Plan(
        **{**msgspec.structs.asdict(scenario), **{name: _once(value) for name, value in given.items()}},
        scenario=wishes.scenario,
        question=found.question,
        subjects=subjects,
        slo=wishes.slo,
        calibrate=wishes.calibrate,
    )
    try:
        whole = msgspec.convert(msgspec.to_builtins(whole), Plan)
    except msgspec.ValidationError as error:
        raise PlanError(f"this cannot be played: {error}") from error
    return msgspec.structs.replace(whole, faults=within(whole.faults, whole.seconds))


def _once(value: Any) -> Any:
    return tuple(dict.fromkeys(value)) if isinstance(value, tuple) else value


def quickened(scenario: Scenario) -> Scenario:
    """The scenario with fewer readers and less time, as it says itself."""
    changes = scenario.quick or ({} if scenario.faults or scenario.goal else _QUICK)
    return msgspec.structs.replace(scenario, **{name: _like(getattr(scenario, name), value) for name, value in changes.items()})


def _like(before: Any, value: float) -> Any:
    """JSON knows one kind of number."""
    return round(value) if isinstance(before, int) else value


def running(url: str, remote: bool) -> Subject:
    """The server that runs at a URL. Raises: PlanError, it is none, or beyond this machine."""
    try:
        found = subject(url)
        _check_subject(found, remote)
    except SubjectError as error:
        raise PlanError(str(error)) from error
    return found


def _check_subject(found: Subject, remote: bool) -> None:
    """A server that is started is there, and one that runs already may be loaded. Raises: PlanError, SubjectError."""
    found.check()
    if found.url is None:
        return
    host = urlsplit(found.url).hostname or ""
    if not remote and not is_loopback(host):
        raise PlanError(f"{host} is not this machine. Load only servers that you may load, and say --remote.")


def _check(plan: Plan, cast: Cast, wanted: Iterable[str]) -> None:
    """Raises: PlanError, parts of the plan do not go together."""
    for name in wanted:
        if name not in cast.users:
            raise PlanError(f"the scenario {plan.scenario} has no reader for {NAMES[name]}; it has {_transports(cast.users)}")
    for each in cast.subjects.values():
        if not set(each.transports).intersection(plan.transports):
            raise PlanError(f"{each.name} has {_transports(each.transports)}; asked for is {_transports(plan.transports)}")
    played = lanes(plan, cast)
    for name in plan.networks:
        if not any(lane.network == name for lane in played):
            raise PlanError(_shut(plan, name))
    for name in wanted:
        if not any(lane.transport == name for lane in played):
            raise PlanError(f"none of the servers has {NAMES[name]}: {_offers(cast)}")
    _check_relayed(plan, cast)


def _notes(plan: Plan, scenario: Scenario, wishes: Wishes) -> list[str]:
    """What is not played, though it was asked for."""
    alone = set(wishes.transports) == {NEGOTIATED}
    forward = [name for name in plan.networks if network(name).forward and not alone]
    notes = [f"on {listed(forward)}, a forward proxy, only the client that chooses can be told of it"] if forward else []
    if late := [each.do for each in scenario.faults if each.at >= plan.seconds]:
        notes.append(f"{plan.seconds:g} s of publishing are over before the scenario would {listed(late)}")
    return notes


def _shut(plan: Plan, name: str) -> str:
    if network(name).forward:
        where = "" if plan.scenario == _CHOOSING else f"--scenario {_CHOOSING} "
        return f"{name} is a forward proxy, which only the client that chooses can use: say {where}--transport {NEGOTIATED}"
    return f"nothing could be measured on {name}: no server has {_transports(plan.transports)}"


def _check_relayed(plan: Plan, cast: Cast) -> None:
    """What is done to servers and connections must be possible. Raises: PlanError."""
    running = [each for each in cast.subjects.values() if each.url is not None]
    if running and (done := [each.do for each in plan.faults if each.do in ON_SERVER]):
        raise PlanError(f"the scenario wants to {done[0]} the server; {running[0].name} was not started here and is left alone")
    entries = {_entry(name) for name in plan.networks}
    for fault in plan.faults:
        if (name := network_of(fault)) is not None and entries != {_entry(name)}:
            raise PlanError(f"the scenario turns the network into {name}, into which clients come in another way")
    for each in running:
        if (each.url or "").startswith("https:") and (plan.networks != ("open",) or plan.faults):
            raise PlanError(f"{each.name}: networks are played in front of plain HTTP only")


def _entry(name: str) -> tuple[bool, bool, bool]:
    profile = network(name)
    return profile.tls, profile.http2, profile.forward


def _offers(cast: Cast) -> str:
    return "; ".join(f"{each.name} has {_transports(each.transports)}" for each in cast.subjects.values())


def _transports(names: Iterable[str]) -> str:
    return listed([NAMES.get(name, name) for name in names])


def is_loopback(host: str) -> bool:
    """Whether it is this machine, by its name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def command(plan: Plan, wishes: Wishes) -> str:
    """The command that plays this plan again, whatever the defaults will be by then."""
    several: list[tuple[str, tuple[str, ...]]] = [
        ("--subject", plan.subjects),
        ("--network", plan.networks),
        ("--transport", plan.transports),
        ("--slo", plan.slo),
    ]
    words = ["everywire", "compare", "--scenario", plan.scenario, *(["--quick"] if wishes.quick else [])]
    words += [word for option, values in several for value in values for word in (option, value)]
    words += [word for name in _NUMBERS for word in (f"--{name}", _number(getattr(plan, name)))]
    words += [word for word, said in (("--no-calibrate", not plan.calibrate), ("--remote", wishes.remote)) if said]
    return shlex.join(words)


def _number(value: float) -> str:
    return f"{value:.12g}"
