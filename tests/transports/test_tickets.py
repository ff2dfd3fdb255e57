"""Tickets: good once, for one transport, for half a minute, over all processes."""

from __future__ import annotations

import inspect
import uuid
from pathlib import Path

import itsdangerous
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stores import STORES
from tests.together import Together
from transports import Code, ConfigError, Hub, Options, Refusal
from transports.brokers import Follower
from transports.request import Identity
from transports.tickets import LIFE, Tickets


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def a_hub(shared: object = None, **settings: object) -> tuple[Tickets, Hub, Clock]:
    hub, clock = Hub(Options(channels=("*",), **settings), broker=shared), Clock()
    hub.accounts.clock = clock
    tickets = Tickets(hub)
    await hub.open()
    return tickets, hub, clock


async def redeemed(tickets: Tickets, shown: str, path: str = "sse") -> Identity | Code:
    try:
        found = tickets.redeem(shown, path)
        return await found if inspect.isawaitable(found) else found
    except Refusal as refusal:
        assert len(shown) < 20 or shown not in str(refusal)  # noqa: PT017 - either outcome is an answer
        return refusal.code


@pytest.mark.parametrize("who", ["ann", 7, ("eu", 7), ("eu", ("de", 1)), "ä\x00", True])
async def test_a_ticket_says_who_and_until_when_once(who: object) -> None:
    tickets, _, clock = await a_hub()
    shown, expires = tickets.give(Identity(who, clock.now + 600), "sse")
    assert expires == clock.now + LIFE
    assert await redeemed(tickets, shown, "ws") == Code.UNAUTHORIZED
    assert await redeemed(tickets, shown) == Identity(who, clock.now + 600)
    assert await redeemed(tickets, shown) == Code.UNAUTHORIZED


async def test_a_ticket_is_too_old_after_half_a_minute_or_with_what_it_was_given_for() -> None:
    tickets, _, clock = await a_hub()
    late, _ = tickets.give(Identity("ann"), "sse")
    short, expires = tickets.give(Identity("ann", clock.now + 3), "sse")
    assert expires == clock.now + 3
    clock.now += 3
    assert await redeemed(tickets, short) == Code.UNAUTHORIZED
    clock.now += LIFE - 3.1
    assert await redeemed(tickets, late) == Identity("ann")
    late, _ = tickets.give(Identity("ann"), "sse")
    clock.now += LIFE
    assert await redeemed(tickets, late) == Code.UNAUTHORIZED


async def test_a_ticket_lasts_no_longer_than_keys_are_remembered() -> None:
    tickets, _, clock = await a_hub(key_window=5)
    assert tickets.give(Identity("ann"), "sse")[1] == clock.now + 5


async def test_a_ticket_is_of_no_use_in_another_life_of_the_log_where_it_is_forgotten_who_was_redeemed() -> None:
    tickets, hub, _ = await a_hub(secret="s")
    shown, _ = tickets.give(Identity("ann"), "sse")
    assert await redeemed(tickets, shown) == Identity("ann")
    await hub.close()
    again, _, _ = await a_hub(secret="s")
    assert await redeemed(again, shown) == Code.UNAUTHORIZED


async def test_who_redeemed_is_forgotten_when_the_ticket_is_too_old_anyway() -> None:
    tickets, _, clock = await a_hub()
    for _ in range(100):
        await redeemed(tickets, tickets.give(Identity("ann"), "sse")[0])
        clock.now += 1
    assert len(tickets._redeemed) <= LIFE + 1


async def test_of_two_processes_one_redeems() -> None:
    broker = Together()
    (here, _, _), (there, _, _) = await a_hub(broker, secret="s"), await a_hub(broker, secret="s")
    for first, second in ((here, there), (there, here)):
        shown, _ = here.give(Identity("ann"), "sse")
        claims = [first.redeem(shown, "sse"), second.redeem(shown, "sse")]  # both find it good: the broker decides
        assert await claims[0] == Identity("ann")
        with pytest.raises(Refusal, match="used before"):
            await claims[1]
        assert await redeemed(second, shown) == Code.UNAUTHORIZED


@pytest.mark.parametrize("kind", [name for name, store in STORES.items() if store.shared])
async def test_of_two_processes_that_share_a_broker_one_redeems(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async with STORES[kind].fresh(tmp_path, request) as store:
        (here, one, _), (there, other, _) = [await a_hub(store.broker(), secret="s") for _ in range(2)]
        shown, _ = here.give(Identity("ann"), "sse")
        assert await redeemed(there, shown) == Identity("ann")
        assert await redeemed(here, shown) == Code.UNAUTHORIZED
        late, third, _ = await a_hub(store.broker(), secret="s")  # it was not there when that was said
        assert await redeemed(late, shown) == Code.UNAUTHORIZED
        for hub in (one, other, third):
            await hub.close()


async def test_who_was_revoked_cannot_use_what_was_given_before() -> None:
    tickets, hub, clock = await a_hub()
    before, _ = tickets.give(Identity("ann"), "sse")
    clock.now += 1.0
    await hub.rights.revoke("ann")
    assert await redeemed(tickets, before) == Code.UNAUTHORIZED
    clock.now += 1.0
    later = hub.rights.now + 1.0
    hub.rights._clock = lambda: later
    after, _ = tickets.give(Identity("ann"), "sse")
    assert await redeemed(tickets, after) == Identity("ann")


async def test_nobody_gets_a_ticket_and_nothing_that_json_changes_is_in_one() -> None:
    tickets, _, _ = await a_hub()
    with pytest.raises(Refusal, match="4401"):
        tickets.give(Identity(None), "sse")
    for who in (object(), uuid.uuid4(), b"ann", frozenset({"ann"})):
        with pytest.raises(ConfigError, match=type(who).__name__):
            tickets.give(Identity(who), "sse")


async def test_several_processes_need_a_secret_that_they_share() -> None:
    tickets, _, _ = await a_hub(Together())
    with pytest.raises(ConfigError, match="LIVE_SECRET"):
        tickets.give(Identity("ann"), "sse")
    assert await redeemed(tickets, "W10.AAAA") == Code.UNAUTHORIZED


async def test_what_the_same_secret_signs_elsewhere_is_no_ticket() -> None:
    tickets, hub, clock = await a_hub(secret="s")
    content = f'["n",{clock.now},{clock.now + 9},"sse","{hub.log.epoch}","ann",null]'
    for salt in ("cookie-session", "itsdangerous.Signer", ""):
        assert await redeemed(tickets, itsdangerous.URLSafeSerializer("s", salt=salt).dumps(content)) == Code.UNAUTHORIZED
    ours, _ = tickets.give(Identity("ann"), "sse")
    body, _, signature = ours.rpartition(".")
    assert await redeemed(tickets, body + "." + signature[::-1]) == Code.UNAUTHORIZED


_tickets: list[Tickets] = []


@given(st.text(max_size=300))
async def test_no_text_is_a_ticket_by_chance(shown: str) -> None:
    if not _tickets:
        _tickets.append((await a_hub(secret="s"))[0])
    assert await redeemed(_tickets[0], shown or "?") == Code.UNAUTHORIZED


class Late(Together):
    """What is published comes when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Follower] = []

    def hold(self) -> None:
        self.held, self.followers = self.followers, []

    def let_go(self, count: int) -> None:
        self.followers, self.held = self.held, []
        for each in self.followers:
            each.take(self.records[-count:])


async def test_a_broker_that_is_slow_is_no_use_of_a_ticket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transports.tickets._WAIT", 0.01)
    broker = Late()
    (here, _, _), (there, _, _) = await a_hub(broker, secret="s"), await a_hub(broker, secret="s")
    shown, _ = here.give(Identity("ann"), "sse")
    broker.hold()
    assert await redeemed(here, shown) == Code.BROKER_DOWN
    assert await redeemed(there, shown) == Code.BROKER_DOWN
    broker.let_go(1)
    assert await redeemed(there, shown) == Code.UNAUTHORIZED  # the other was first
    assert await redeemed(here, shown) == Identity("ann")  # and has come back
    assert await redeemed(here, shown) == Code.UNAUTHORIZED


async def test_a_ticket_whose_use_came_before_this_process_did_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transports.tickets._WAIT", 0.01)
    broker = Together()
    (here, _, _), (there, _, _) = await a_hub(broker, secret="s"), await a_hub(broker, secret="s")
    shown, _ = here.give(Identity("ann"), "sse")
    assert await redeemed(here, shown) == Identity("ann")
    there._values.clear()
    assert await redeemed(there, shown) == Code.UNAUTHORIZED


async def test_a_revocation_counts_though_the_clock_of_who_gave_the_ticket_is_ahead() -> None:
    broker = Together()
    (here, _, ahead), (there, hub, _) = await a_hub(broker, secret="s"), await a_hub(broker, secret="s")
    ahead.now += 4.0
    shown, _ = here.give(Identity("ann"), "sse")
    await hub.rights.revoke("ann")
    assert await redeemed(there, shown) == Code.UNAUTHORIZED
