"""The browser client's own tests run in Node, which comes as a wheel of the `dev` extra: one command runs all. And its machine
does what the one in Python does, to the last bit: each replays the other's walks.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from transports import facts
from transports.asgi import served
from transports.negotiator import step

HERE = Path(__file__).parent
STATIC = HERE.parents[1] / "transports" / "static"
NAMES = ("client", "outbox", "oneway", "presence", "tabs")
TOOLS = HERE / "node_modules"  # what minify.js needs; see the Makefile
TESTS = sorted(HERE.glob("*.test.js"))
LAB = ("checks.test.js", "words.test.js")  # of its page, which the client is no part of
NODE = Path(sys.executable).with_name("node")
MOST = 9_216  # bytes of the client as it travels, after gzip -9
RUNGS = ("websocket", "sse", "longpoll")
STEPS = 400


def node(*arguments: str | Path, given: str = "", client: Path | None = None) -> str:
    env = {**os.environ, **({"EVERYWIRE_CLIENT": client.as_uri()} if client else {})}
    done = subprocess.run([NODE, *arguments], input=given, capture_output=True, text=True, timeout=110, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def as_served(tmp_path: Path) -> Path:
    """The browser client, with its parts beside it, as they travel."""
    for name in NAMES:
        (tmp_path / f"{name}.js").write_bytes(served(f"{name}.js"))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    return tmp_path / "client.js"


def exports_of(module: Path) -> list[str]:
    return node("--input-type=module", "-e", f"console.log(...Object.keys(await import({module.as_uri()!r})))").split()


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_in_node(file: Path) -> None:
    node("--test", "--test-timeout=100000", file)


def test_the_client_is_small() -> None:
    size = len(gzip.compress(served("client.js"), 9))
    assert size <= MOST, f"{size} bytes, {size - MOST} too many"


@pytest.mark.skipif(not TOOLS.exists() and "CI" not in os.environ, reason="no npm registry to take terser from")
def test_what_is_served_is_made_of_the_source() -> None:
    node(HERE / "minify.js", "check")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_served_exports_what_the_source_does(name: str) -> None:
    source = (STATIC / f"{name}.js").read_text("utf-8")
    assert set(re.findall(r"^export [a-z ]+ (\w+)", source, re.MULTILINE)) == set(exports_of(STATIC / f"{name}.min.js"))


@pytest.mark.parametrize("file", [file for file in TESTS if file.name not in LAB], ids=lambda file: file.name)
def test_what_is_served_does_what_the_source_does(file: Path, as_served: Path) -> None:
    node("--test", "--test-timeout=100000", file, client=as_served)


@pytest.mark.parametrize("seed", range(4))
def test_a_walk_in_what_is_served_is_the_same_as_in_the_source(seed: int, as_served: Path) -> None:
    def walk(client: Path | None) -> list[dict]:
        return list(map(json.loads, node(HERE / "wander.js", str(seed), str(STEPS), client=client).splitlines()))

    assert walk(as_served) == walk(None)


@pytest.mark.parametrize("seed", range(12))
def test_a_walk_in_javascript_is_the_same_in_python(seed: int) -> None:
    first, *log = map(json.loads, node(HERE / "wander.js", str(seed), str(STEPS)).splitlines())
    state = msgspec.convert(first["state"], facts.State)
    seen = set()
    for line in log:
        state, instructions = step(state, msgspec.convert(line["fact"], facts.Fact), line["now"], line["luck"])
        assert msgspec.to_builtins(state) == line["state"]
        assert instructions == msgspec.convert(line["do"], list[facts.Instruction])
        seen.add(state.state)
        if state.state in ("closed", "failed"):  # another walk begins
            state = facts.State(list(RUNGS), held=["sse"])
    assert len(seen) >= 4


@pytest.mark.parametrize("seed", range(12))
def test_a_walk_in_python_is_the_same_in_javascript(seed: int) -> None:
    chance = random.Random(seed)
    now, state = 1_763_850_000 + chance.random(), facts.State(list(RUNGS), held=["sse"])
    log, made = [json.dumps({"state": msgspec.to_builtins(state)})], []
    for place in range(STEPS):
        now += chance.random() ** 3 * chance.choice((0.2, 2, 20))
        if state.due is not None and chance.random() < 0.2:
            now = max(now, state.due)
        fact = facts.Start() if place == 0 else _something(chance, state)
        luck = chance.random()
        log.append(json.dumps({"now": now, "luck": luck, "fact": msgspec.to_builtins(fact)}))
        state, instructions = step(state, fact, now, luck)
        made.append((msgspec.to_builtins(state), instructions))
    lines = [json.loads(line) for line in node(HERE / "replay.js", given="\n".join(log)).splitlines()]
    for (then, instructions), line in zip(made, lines, strict=True):
        assert line["state"] == then
        assert msgspec.convert(line["do"], list[facts.Instruction]) == instructions


def _something(chance: random.Random, state: facts.State) -> facts.Fact:
    """A fact that could come in `state`."""
    wires = [wire.number for wire in state.wires if wire.phase != "waiting"]
    if not wires or chance.random() < 0.3:
        world: list[facts.Fact] = [facts.Tick()] * 12
        world += [
            facts.HttpOk(),
            facts.HttpFailed(),
            facts.Online(chance.random() < 0.5),
            facts.Offline(),
            facts.Offline(True, "ßo be it"),
        ]
        return chance.choice([*world, facts.Hidden(), facts.Shown(), facts.Prefer(chance.choice(RUNGS))])
    wire, retry = chance.choice(wires), chance.choice((None, None, 3.25))
    ends: list[facts.Fact] = [
        facts.Refused(wire, chance.choice((200, 302, 403, 404, 426, 503, 511)), "squid/6", chance.random() < 0.5, retry=retry),
        facts.Refused(wire, 503, code=4503, name="draining", reason="stopping", retry=chance.random() * 3),
        facts.Leaving(wire, chance.random() ** 3 * 30),
        facts.Closed(wire, chance.choice(("", "", "not_ours", "tls_error")), retry=retry),
        facts.Closed(wire, code=4503, name="draining", reason="stopping", retry=chance.random() * 3),
    ]
    works: list[facts.Fact] = [facts.Opened(wire), facts.Item(wire, chance.choice((0.0, 7.5, 15.0))), facts.Item(wire)]
    return chance.choice([*works * 2, *[facts.Answered(wire)] * 6, facts.Answered(wire, True), *ends])
