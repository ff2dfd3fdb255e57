"""Who is connected, and what is known of it when it has gone."""

from __future__ import annotations

import pytest

from transports import Code, Hub, Options, Refusal
from transports.accounts import KEPT, WENT, Accounts, Alone
from transports.admission import Admission, Stream
from transports.group import Groups, Reader
from transports.items import encode_batch
from transports.ladder import LADDER
from transports.request import Identity, Request
from transports.testing import until

WEBSOCKET, SSE, LONGPOLL = LADDER


class Wire(Reader):
    """A reader that takes everything."""

    def __init__(self, groups: Groups, stream: Stream) -> None:
        super().__init__(groups, stream.feed, encode_batch, stream.beat, stream.account)
        self.came: list[bytes] = []
        self.write = self.came.append
        self.pump()

    @property
    def blocked(self) -> bool:
        return False

    def ended(self, why: Refusal | None) -> None:
        self.leave()


@pytest.fixture
async def hub() -> Hub:
    hub = Hub(Options(channels=("a",)))
    await hub.open()
    return hub


def let_in(hub: Hub, who: str = "ann", expires: float | None = None) -> Stream:
    request = Request("GET", "sse", "channels=a&why=race&tried=websocket.refused_http", {}, "10.0.0.7")
    request.found = Identity(who, expires)
    return Admission(hub).stream(SSE, request)


async def test_an_account_says_who_reads_what_over_which_transport(hub: Hub) -> None:
    stream = let_in(hub)
    (account,) = hub.accounts
    assert (account.who, account.transport, account.address, account.closed) == ("ann", "sse", "10.0.0.7", None)
    assert account.saw == ("race", "websocket.refused_http")
    assert account.position == stream.feed.position
    assert account.name.encode() in stream.hello().json


async def test_what_has_gone_to_a_reader_is_known_in_step_and_alone(hub: Hub) -> None:
    groups = Groups(hub)
    first = Wire(groups, let_in(hub))
    for number in range(3):
        await hub.publish("a", number)
        await until(lambda: len(first.came) == number + 1)  # noqa: B023 - waited for at once
    second = Wire(groups, let_in(hub))
    await hub.publish("a", 3)
    await until(lambda: len(second.came) == 1)
    assert [account.sent() for account in hub.accounts] == [(4, sum(map(len, first.came))), (1, len(second.came[0]))]
    first.step_out()
    await hub.publish("a", 4)
    await until(lambda: len(first.came) == 5)
    (one, other) = hub.accounts
    first.leave()
    second.leave()
    assert (one.sent(), other.sent()) == ((5, sum(map(len, first.came))), (2, sum(map(len, second.came))))
    assert len(hub.accounts) == 0
    assert [account.reason for account in hub.accounts.closed] == [WENT, WENT]


async def test_who_is_sent_away_is_known_with_the_reason(hub: Hub) -> None:
    reader = Wire(Groups(hub), let_in(hub))
    (account,) = hub.accounts
    account.end(Refusal(Code.FORBIDDEN))
    await until(lambda: account.closed is not None)
    assert account.reason == "forbidden"
    assert b'"code":4403' in reader.came[-1]
    account.close(Code.TOO_SLOW)
    assert account.reason == "forbidden"
    assert len(hub.accounts.closed) == 1


async def test_the_last_that_have_gone_are_kept_and_no_more(hub: Hub) -> None:
    for number in range(KEPT + 5):
        stream = let_in(hub, who=str(number))
        stream.account.close()
        stream.feed.leave()
    assert [account.who for account in hub.accounts.closed] == [str(number) for number in range(5, KEPT + 5)]
    assert hub.readers == 0


async def test_who_is_not_known_is_not_let_in_and_reads_nothing(hub: Hub) -> None:
    request = Request("GET", "sse", "channels=a", {})
    request.found = Refusal(Code.UNAUTHORIZED)
    with pytest.raises(Refusal, match="4401"):
        Admission(hub).stream(SSE, request)
    assert (hub.readers, len(hub.accounts)) == (0, 0)


async def test_credentials_that_end_end_the_connection_unless_they_are_renewed(hub: Hub) -> None:
    hub.accounts.clock = lambda: 1000.0
    early, renewed = let_in(hub, "ann", 1000.0), let_in(hub, "bob", 1000.0)
    renewed.account.hold_until(2000.0)
    readers = [Wire(Groups(hub), stream) for stream in (early, renewed)]
    await until(lambda: early.account.closed is not None)
    assert b'"code":4401' in readers[0].came[-1]
    assert (early.account.reason, renewed.account.closed, readers[1].came) == ("unauthorized", None, [])


def test_names_are_long_enough_not_to_be_guessed_and_never_come_twice() -> None:
    accounts = Accounts()
    names = [accounts.new_name() for _ in range(10_000)]
    assert len(set(names)) == len(names)
    assert all(len(name) == 8 for name in names)


async def test_who_has_nothing_but_a_feed_is_sent_away_by_it(hub: Hub) -> None:
    alone = Alone(hub.feed(["a"]))
    alone.end(Refusal(Code.REPLACED))
    assert alone.position == f"{hub.log.epoch}.0"
    assert alone.in_step() == (0, 0)
    assert not alone.feed.open
