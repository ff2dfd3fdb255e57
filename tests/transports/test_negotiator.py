"""The negotiator is played like a score: the stories in `tests/cases/negotiator` say what happens when, and what follows. The
JavaScript client plays the same ones. What no story tells is left to chance: random walks, and what must hold in each.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports import facts as f
from transports.evidence import VERDICTS, words
from transports.negotiator import ARROWS, GRID, TABLE, _Step, step

RUNGS = ["websocket", "sse", "longpoll"]
STORIES = [
    pytest.param(story, id=f"{path.stem}: {story['name']}")
    for path in sorted((Path(__file__).parents[1] / "cases" / "negotiator").glob("*.json"))
    for story in json.loads(path.read_text())
]
OVER = ("closed", "failed")


def number(value: float) -> str:
    """As JavaScript writes it."""
    return str(int(value)) if value == int(value) else repr(value)


def show(what: f.Instruction) -> str:
    """An instruction in the words of the stories."""
    match what:
        case f.Open(wire, rung, quiet):
            return f"open {wire} {rung}" + ("" if quiet is None else f" quiet={number(quiet)}")
        case f.Close(wire):
            return f"close {wire}"
        case f.Ask(wire):
            return f"ask {wire}"
        case f.Deliver(wire, rung):
            return f"deliver {wire} {rung}"
        case f.Announce(state, sentence):
            return f"announce {state}: {sentence}"
        case f.Remember(bad, quiet):
            told = [",".join(f"{rung}={each.verdict}" for rung, each in bad.items())] if bad else []
            return " ".join(["remember", *told, *([] if quiet is None else [f"quiet={number(quiet)}"])])
    raise AssertionError(what)


def first(story: dict[str, Any]) -> f.State:
    """The state in which a story begins. One-way streams are compared again only in the stories about that."""
    return f.State(
        rungs=story.get("rungs", RUNGS),
        held=story.get("held", ["sse"]),
        pace=msgspec.convert({"check": 1e9, **story.get("pace", {})}, f.Pace),
        bad=msgspec.convert(story.get("bad", {}), dict[str, f.Bad]),
        quiet=story.get("quiet"),
        quiet_until=story.get("quiet_until", 0.0),
    )


def view(state: f.State, now: float) -> dict[str, Any]:
    """How a story ended."""
    return {
        "state": state.state,
        "sentence": state.sentence,
        "using": next((wire.rung for wire in state.wires if wire.number == state.using), None),
        "bad": [rung for rung, bad in state.bad.items() if bad.until > now],
        "rounds": state.rounds,
        "quiet": state.quiet,
    }


# ---------------------------------------------------------------------------------------------------------------- stories


@pytest.mark.parametrize("story", STORIES)
def test_story(story: dict[str, Any]) -> None:
    state, now = first(story), 0.0
    for at, fact, expected, *luck in story["steps"]:
        now = state.due if at == "due" else at
        assert now is not None, "nothing is due"
        state, out = step(state, msgspec.convert(fact, f.Fact), now, *(luck or [0.5]))
        assert [show(each) for each in out] == expected, (now, fact)
    assert {key: view(state, now)[key] for key in story.get("end", {})} == story.get("end", {})


def test_no_two_stories_have_the_same_name() -> None:
    names = [param.values[0]["name"] for param in STORIES]
    assert sorted(set(names)) == sorted(names)


# -------------------------------------------------------------------------------------------------------------- the table


def test_every_fact_is_decided_in_every_state() -> None:
    assert list(TABLE) == list(f.STATES)
    for state in f.STATES:
        assert set(TABLE[state]) == set(f.FACTS), state


def test_every_rule_is_used() -> None:
    used = {name for row in GRID.strip().splitlines()[1:] for name in row.split()[1:]} - {"-"}
    rules = {name for name, rule in vars(_Step).items() if not name.startswith("_") and callable(rule)} - {"end", "ignore"}
    assert used == rules


def test_every_rule_says_what_it_does() -> None:
    assert all(rule.__doc__ for row in TABLE.values() for rule in row.values())


def test_every_fact_occurs_in_a_story() -> None:
    told = {fact["fact"] for param in STORIES for _, fact, *_ in param.values[0]["steps"]}
    assert told == set(f.FACTS)


def test_the_arrows_of_the_diagram_are_those_that_stories_go() -> None:
    gone = set()
    for param in STORIES:
        story = param.values[0]
        state, now = first(story), 0.0
        for at, fact, _, *luck in story["steps"]:
            now = state.due if at == "due" else at
            before = state.state
            state, _ = step(state, msgspec.convert(fact, f.Fact), now, *(luck or [0.5]))
            if before != state.state:
                gone.add((before, state.state))
                assert fact["fact"] in ARROWS[before, state.state]
    assert gone == set(ARROWS)


def test_every_verdict_has_words() -> None:
    for verdict in VERDICTS:
        assert "{" not in words("websocket", verdict, 403, "squid")


# ---------------------------------------------------------------------------------------------------------- walks by chance

Choice = tuple[str, float, int, int, float]  # what, how much later, which wire, which flavour, luck
Script = list[Choice]

KINDS = ["tick"] * 8 + ["next"] * 12 + ["late", "opened", "item", "item", "answered", "answered"]
KINDS += ["leaving", "refused", "closed", "closed", "http_ok", "http_failed", "online", "offline", "hidden", "shown", "unknown"]
FAILING = ["tick"] * 6 + ["opened", "leaving", "refused", "closed", "closed", "http_failed", "http_ok", "shown", "hidden"]
REFUSALS: list[dict[str, Any]] = [
    {"status": 403, "via": "squid"},
    {"status": 302, "html": True},
    {"status": 502, "via": "nginx"},
    {"status": 503, "retry": 5.0},
    {"status": 503, "code": 4503, "name": "BUSY", "retry": 5.0},
    {"status": 404, "code": 4404, "name": "OFF"},
]
ENDS: list[dict[str, Any]] = [{}, {}, {"how": "tls_error"}, {"how": "not_ours"}, {"code": 1012, "retry": 5.0}, {"code": 1001}]
RESTS = [f.Offline(let_go=True), f.Offline(), f.Offline(), f.Offline(reason="asleep"), f.Offline(let_go=True, reason="asleep")]


def scripts(kinds: list[str]) -> st.SearchStrategy[Script]:
    later = st.sampled_from([0.0, 0.0625, 0.25, 1.0, 3.0, 16.0, 70.0])
    luck = st.sampled_from([0.0, 0.25, 0.5, 0.96875])
    choice = st.tuples(st.sampled_from(kinds), later, st.integers(0, 3), st.integers(0, 5), luck)
    return st.lists(choice, max_size=60)


def plausible(state: f.State, choice: Choice) -> tuple[f.Fact, float]:
    """A fact that could come in this state, and how much later; a tick where none fits."""
    kind, later, which, flavour, _ = choice
    wires = [wire for wire in state.wires if wire.phase != "waiting"]
    if kind == "unknown":
        return f.Closed(state.numbers + 7), later
    if kind in ("next", "opened", "item", "answered", "refused", "closed", "leaving"):
        if not wires:
            return f.Tick(), 0.0
        return about(wires[which % len(wires)], kind, flavour), min(later, 16.0)
    if kind in ("online", "offline"):
        return (f.Online(same=flavour % 2 == 0) if kind == "online" else RESTS[flavour % len(RESTS)]), later
    plain: dict[str, f.Fact] = {"http_ok": f.HttpOk(), "http_failed": f.HttpFailed(), "hidden": f.Hidden(), "shown": f.Shown()}
    plain["prefer"] = f.Prefer(RUNGS[flavour % len(RUNGS)])
    return plain.get(kind, f.Tick()), later


def about(wire: f.Wire, kind: str, flavour: int) -> f.Fact:
    """A fact about a wire."""
    if kind == "next":  # what a wire that works would bring
        kind = {"opening": "opened", "opened": "item"}.get(wire.phase, "item" if wire.asked is None else "answered")
        flavour = 1
    match kind:
        case "opened":
            return f.Opened(wire.number)
        case "item":
            return f.Item(wire.number, 15.0 if flavour == 0 else 0.0)
        case "answered":
            return f.Answered(wire.number, behind=flavour == 0)
        case "leaving":
            return f.Leaving(wire.number, [0.0, 0.25, 1.0, 5.0, 30.0, 300.0][flavour])
        case "refused" if wire.phase == "opening":
            return f.Refused(wire.number, **REFUSALS[flavour])
    return f.Closed(wire.number, **ENDS[flavour])


def blame(bad: dict[str, f.Bad], now: float) -> dict[str, float]:
    """How much each rung is blamed: the pauses before its re-test, which grow with every failure."""
    return {rung: each.delay for rung, each in bad.items() if each.until > now}


def pure(state: f.State, fact: f.Fact, now: float, luck: float) -> tuple[f.State, list[f.Instruction]]:
    """One step, twice: it depends on nothing else, and changes nothing that was given."""
    before = msgspec.json.encode(state)
    after, out = step(state, fact, now, luck)
    assert msgspec.json.encode(state) == before, "the given state was changed"
    assert step(msgspec.json.decode(before, type=f.State), fact, now, luck) == (after, out), "the same gave something else"
    return after, out


class Client:
    """Does what the machine says, keeps count, and checks every step."""

    def __init__(self, state: f.State, now: float = 1000.0, careful: bool = False) -> None:
        self.careful = careful
        self.state, self.now, self.began = state, now, now
        self.open: dict[int, str] = {}  # number -> rung
        self.ever: set[int] = set()
        self.items: set[int] = set()  # the wires that brought one
        self.answers: set[int] = set()

    def tell(self, fact: f.Fact, now: float, luck: float = 0.5) -> list[f.Instruction]:
        was, self.now = self.state, now
        self.state, out = (pure if self.careful else step)(self.state, fact, now, luck)
        if isinstance(fact, f.Closed | f.Refused):
            self.open.pop(fact.wire, None)
        if isinstance(fact, f.Item | f.Answered) and fact.wire in self.open:
            {f.Item: self.items, f.Answered: self.answers}[type(fact)].add(fact.wire)
        for each in out:
            self.do(each)
        self.check()
        self.compare(was, fact, out)
        return out

    def do(self, what: f.Instruction) -> None:
        if isinstance(what, f.Open):
            assert what.wire not in self.ever, "a number was used twice"
            self.ever.add(what.wire)
            self.open[what.wire] = what.rung
        elif isinstance(what, f.Close):
            assert self.open.pop(what.wire, None), "a wire was closed that is not open"
        elif isinstance(what, f.Ask | f.Deliver):
            assert what.wire in self.open, "a word about a wire that is not open"
        if isinstance(what, f.Deliver):
            assert what.wire in self.items & self.answers, "trust before proof"

    def check(self) -> None:
        """What holds in every state."""
        state, pace = self.state, self.state.pace
        assert {wire.number: wire.rung for wire in state.wires if wire.phase != "waiting"} == self.open
        charge = [wire for wire in state.wires if wire.number == state.using]
        others = [wire for wire in state.wires if wire.number != state.using]
        assert len(charge) == bool(state.using)
        assert all(wire.phase == "proven" and wire.due is None for wire in charge)
        assert charge or state.state != "open"
        assert not charge or state.state == "open" or charge[0].struck, "in charge, not open and not suspected"
        assert not charge or state.state in ("open", "reconnecting", "offline")
        assert len({wire.rung for wire in others}) == len(others), "two tries of one rung"
        for wire in others:
            assert wire.due is not None, "it waits for ever"
            assert wire.phase != "proven" or (charge and wire.why == "retest" and better(wire, charge[0]))
            place = wire.why == "move" and charge and wire.rung == charge[0].rung and charge[0].leave is not None
            needed = wire.why == "wish" or (charge and better(wire, charge[0])) or place
            assert state.state != "open" or needed, "not needed beside the one in charge"
        if state.state == "open" and charge[0].why != "wish":  # no better rung is lost
            tried = {wire.rung for wire in others}.union(state.bad, state.failed)
            assert state.rise is not None or tried.issuperset(RUNGS[: RUNGS.index(charge[0].rung)])
        assert all(wire.phase != "waiting" for wire in others) or state.again is None or "wish" in {wire.why for wire in others}
        assert len(self.ever) <= pace.opens + pace.opens_rate * (self.now - self.began) + 1e-6
        resting = state.rest and state.state == "offline"
        assert state.due is not None or resting or state.state in ("idle", *OVER), "it hangs"
        assert not state.online or state.state != "offline"
        assert state.sentence[-1:] == "."
        assert not state.wires or state.state not in ("idle", *OVER)
        assert not charge or charge[0].rung not in blame(state.bad, self.now) or state.state != "open", "what works is blamed"

    def compare(self, was: f.State, fact: f.Fact, out: list[f.Instruction]) -> None:
        """What holds of every step."""
        state, now, about = self.state, self.now, getattr(fact, "wire", 0)
        assert was.state == state.state or fact.kind in ARROWS[was.state, state.state]
        closed = {each.wire for each in out if isinstance(each, f.Close)}
        delivers = [each for each in out if isinstance(each, f.Deliver)]
        opens = [each for each in out if isinstance(each, f.Open)]
        old = next((wire for wire in was.wires if wire.number == was.using), None)
        assert len(delivers) <= 1
        assert not delivers or (state.using == delivers[0].wire and state.state == "open")
        if was.state == "open" and was.using in closed:  # make before break
            assert delivers or state.state in OVER or (isinstance(fact, f.Offline) and fact.let_go)
        if was.state == "open" and old is not None and delivers and about != was.using:  # and no hurry
            new = next(wire for wire in state.wires if wire.number == state.using)
            moved = new.rung == old.rung and old.leave is not None and new.why == old.why
            assert new.why == "wish" or better(new, old) or moved
            assert new.why != "retest" or moved or now - new.proven >= state.pace.settle - 1e-6
        if was.wanted is not None and now < was.wanted:
            assert not opens, "the server said when"
        if was.rest and was.state == "offline" and not isinstance(fact, f.Online | f.Offline | f.Prefer):
            assert not opens, "it is to rest"
        assert not (isinstance(fact, f.Offline | f.HttpFailed | f.Hidden) and opens)
        blamed, before = blame(state.bad, now), blame(was.bad, now)
        for rung in blamed:
            if blamed[rung] > before.get(rung, 0.0):  # something works, and says so now
                assert state.state == "open"
                assert delivers or (isinstance(fact, f.Item | f.Answered) and fact.wire == state.using)
        if state.quiet is not None and state.quiet != was.quiet:
            assert delivers, "learnt before anything worked"


def better(wire: f.Wire, than: f.Wire) -> bool:
    return RUNGS.index(wire.rung) < RUNGS.index(than.rung)


def walk(script: Script, client: Client | None = None, careful: bool = False) -> Client:
    """A client that has lived through a script."""
    if client is None:
        client = Client(f.State(rungs=RUNGS, held=["sse"]), careful=careful)
        client.tell(f.Start(), client.now)
    for choice in script:
        if client.state.state in OVER:
            break
        fact, later = plausible(client.state, choice)
        now = client.now + later
        if isinstance(fact, f.Tick):  # never early; `late` comes as late as it likes
            now = max(client.now, client.state.due or 0.0) + (later if choice[0] == "late" else 0.0)
        elif client.state.due is not None and now > client.state.due and choice[0] != "late":
            now = max(client.now, client.state.due)
        client.tell(fact, now, choice[4])
    return client


HOW = ["closed", "silent", "refused", "gateway", "stalled", "dies", "behind"]


class Network:
    """A network in which some rungs work perfectly and the others fail, in one way or another."""

    def __init__(self, client: Client, works: list[str], how: str, trip: float) -> None:
        self.client, self.works, self.how, self.trip = client, works, how, trip
        self.coming: list[tuple[float, int, f.Fact]] = []
        self.count = 0
        self.opens: dict[str, int] = dict.fromkeys(RUNGS, 0)

    def later(self, seconds: float, fact: f.Fact) -> None:
        self.count += 1
        heapq.heappush(self.coming, (self.client.now + seconds, self.count, fact))

    def answer(self, out: list[f.Instruction]) -> None:
        for each in out:
            if isinstance(each, f.Open):
                self.opens[each.rung] += 1
                self.try_of(each.wire, each.rung in self.works)
            elif isinstance(each, f.Ask):
                works = self.client.open.get(each.wire) in self.works
                if works or self.how == "behind":
                    self.later(self.trip, f.Answered(each.wire, behind=not works))

    def try_of(self, wire: int, works: bool) -> None:
        how = "" if works else self.how
        if how == "closed":
            self.later(self.trip, f.Closed(wire))
        elif how in ("refused", "gateway"):
            self.later(self.trip, f.Refused(wire, 403 if how == "refused" else 502))
        elif how != "silent":
            self.later(self.trip, f.Opened(wire))
            if how != "stalled":
                self.later(self.trip, f.Item(wire, 15.0))
            if how == "dies":
                self.later(self.trip, f.Closed(wire))

    def facts(self) -> Iterator[tuple[float, f.Fact]]:
        """What happens next, for ever."""
        while True:
            due = self.client.state.due
            if self.coming and (due is None or self.coming[0][0] <= due):
                at, _, fact = heapq.heappop(self.coming)
                if getattr(fact, "wire", 0) in self.client.open:
                    yield at, fact
                    if isinstance(fact, f.Item):
                        self.later(15.0, f.Item(fact.wire))
            else:
                assert due is not None
                yield max(due, self.client.now), f.Tick()

    def run(self, seconds: float, until: tuple[str, ...] = ()) -> bool:
        """Whether one of the rungs `until` is in charge before `seconds` are over."""
        end = self.client.now + seconds
        for now, fact in self.facts():
            if now > end:
                return False
            self.answer(self.client.tell(fact, max(now, self.client.now)))
            if view(self.client.state, now)["using"] in until and self.client.state.state == "open":
                return True
        return False


def take_up(client: Client, works: list[str], how: str, trip: float, online: bool = True) -> Network:
    """From now on the network is like this; all wires of before are dead, and nobody says so."""
    network = Network(client, works, how, trip)
    dead = set(client.open)
    if client.state.rest or (online and not client.state.online):
        network.answer(client.tell(f.Online(same=True), client.now))
    network.answer(client.tell(f.Shown(), client.now))
    network.coming = [each for each in network.coming if getattr(each[2], "wire", 0) not in dead]
    return network


def slack(client: Client) -> float:
    """Seconds until the wires that are under way have had their time; more for questions where answers took long so far."""
    last = max((wire.due - client.now for wire in client.state.wires if wire.due is not None), default=0.0)
    return last + 6 * (client.state.rtt or 0.0)


WALKS = scripts([*KINDS, "prefer"])
HOWS, TRIPS = st.sampled_from(HOW), st.sampled_from([0.015625, 0.25, 1.5])


@settings(max_examples=300, deadline=None)
@given(WALKS)
def test_what_holds_at_every_step(script: Script) -> None:
    walk(script, careful=True)


@settings(max_examples=300, deadline=None)
@given(WALKS, st.sampled_from(RUNGS))
def test_stop_ends_everything(script: Script, rung: str) -> None:
    client = walk(script)
    if client.state.state not in OVER:
        client.tell(f.Prefer(rung), client.now)
        client.tell(f.Stop(), client.now)
        assert client.state.state == "closed"
        assert not client.open


@settings(max_examples=300, deadline=None)
@given(scripts(KINDS), TRIPS)
def test_where_everything_works_the_best_rung_is_reached(script: Script, trip: float) -> None:
    client = walk(script)
    if client.state.state not in OVER:
        network = take_up(client, RUNGS, "", trip)
        pace, bad = client.state.pace, client.state.bad.get("websocket")
        rest = 1.25 * pace.retest if bad is None else max(bad.retest - client.now, 1.25 * min(2 * bad.delay, pace.retest_most))
        assert network.run(60.0 + slack(client) + rest, ("websocket",)), client.state


@settings(max_examples=300, deadline=None)
@given(WALKS, HOWS, TRIPS, st.booleans())
def test_where_only_the_last_rung_works_it_is_reached(script: Script, how: str, trip: float, online: bool) -> None:
    client = walk(script)
    if client.state.state not in OVER:
        network = take_up(client, ["longpoll"], how, trip, online)
        assert network.run(45.0 + slack(client), ("longpoll",)), client.state


@settings(max_examples=300, deadline=None)
@given(WALKS, TRIPS)
def test_though_the_device_says_offline_something_is_reached(script: Script, trip: float) -> None:
    client = walk(script)
    if client.state.state not in OVER:
        client.tell(f.Offline(), client.now)
        network = take_up(client, RUNGS, "", trip, online=False)
        assert network.run(45.0 + slack(client), tuple(RUNGS)), client.state


@settings(max_examples=300, deadline=None)
@given(WALKS, HOWS, TRIPS)
def test_a_dead_wire_is_noticed(script: Script, how: str, trip: float) -> None:
    client = walk(script)
    if client.state.state == "open":
        network = Network(client, [], how, trip)
        pace = client.state.pace
        slow = max(trip, client.state.rtt or 0.0)
        patience = (pace.hidden if client.state.hidden else client.state.beat + pace.slack + 2 * slow) + max(
            pace.answer, 4 * slow
        )
        alive = [wire for wire in client.state.wires if wire.phase == "proven"]  # a better one that settles may follow
        end = client.now + 2.0 + 2 * patience * len(alive)
        for now, fact in network.facts():
            network.answer(client.tell(fact, max(now, client.now)))
            if client.state.state != "open":
                return
            assert now <= end, client.state


@settings(max_examples=300, deadline=None)
@given(scripts(FAILING))
def test_an_outage_from_the_start_is_never_blamed(script: Script) -> None:
    client = walk(script)
    assert not client.state.bad
    assert client.state.quiet is None


@settings(max_examples=300, deadline=None)
@given(WALKS, scripts(FAILING))
def test_an_outage_is_never_blamed(script: Script, outage: Script) -> None:
    client = walk(script)
    before = client.state
    walk(outage, client)
    assert all(each.delay <= before.bad[rung].delay for rung, each in client.state.bad.items())
    assert client.state.quiet in (None, before.quiet)


@settings(max_examples=100, deadline=None)
@given(HOWS, TRIPS)
def test_an_hour_in_a_bad_network_is_quiet(how: str, trip: float) -> None:
    client = Client(f.State(rungs=RUNGS, held=["sse"]), 0.0)
    network = Network(client, ["longpoll"], how, trip)
    network.answer(client.tell(f.Start(), 0.0))
    assert network.run(10.0, ("longpoll",))
    network.run(3600.0)
    assert network.opens["longpoll"] == 1
    assert client.state.state == "open"
    assert max(network.opens.values()) <= 12, network.opens  # the race, one more look, and 9 re-tests in ever longer pauses
