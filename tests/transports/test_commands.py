from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports import Code, Hub, Options, Position, Refusal
from transports.admission import Posted
from transports.commands import Malformed, Ping, Publish, Subscribe, execute, parse
from transports.feed import Feed
from transports.items import Reply


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('{"do":"ping"}', Ping()),
        (' [{"do":"ping","ref":7}] ', Ping(7)),
        ('{"do":"publish","channel":"a","data":null,"new":1}', Publish("a", None)),
        ('{"do":"subscribe","channels":["a"],"since":"e.1"}', Subscribe(["a"], None, "e.1")),
    ],
)
def test_what_is_a_command(text: str, command: object) -> None:
    assert parse(text) == [command]
    assert parse(text.encode()) == [command]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1",
        "null",
        "[1]",
        '["a"]',
        "[[]]",
        "{",
        '{"do":"ping"}{',
        '"{"',
        b"\xff",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"do":"publish","channel":"a","data":"\\ud800"}',
    ],
)
def test_what_is_not_json_or_no_object_is_refused_as_a_whole(text: str | bytes) -> None:
    with pytest.raises(Refusal) as refused:
        parse(text)
    assert refused.value.code == Code.BAD_COMMAND


@pytest.mark.parametrize(
    ("text", "ref", "reason"),
    [
        ('{"ref":3}', 3, "do"),
        ('{"do":"fly","ref":3}', 3, "fly"),
        ('{"do":"publish","ref":3,"channel":"a"}', 3, "data"),
        ('{"do":"publish","ref":3,"channel":5,"data":1}', 3, "channel"),
        ('{"do":"publish","ref":"x","channel":"a","data":1}', None, "ref"),
        ('{"do":"publish","ref":3,"channel":"a","data":1,"key":""}', 3, "key"),
        ('{"do":"subscribe","ref":3,"channels":[]}', 3, "channels"),
    ],
)
def test_a_bad_command_among_others_is_answered_by_itself(text: str, ref: int | None, reason: str) -> None:
    first, bad, last = parse(f'[{{"do":"ping"}},{text},{{"do":"ping"}}]')
    assert first == last == Ping()
    assert isinstance(bad, Malformed)
    assert bad.ref == ref
    assert reason in bad.reason


@given(st.text() | st.binary())
def test_nothing_that_is_sent_does_anything_but_parse_or_be_refused(body: str | bytes) -> None:
    with suppress(Refusal):
        assert isinstance(parse(body), list)


@pytest.fixture
async def hub() -> Hub:
    hub = Hub(Options(channels=("a", "b")))
    await hub.open()
    return hub


class Speaker(NamedTuple):
    """Who sends a command on a connection on which `feed` is read."""

    feed: Feed
    who: Hashable = None

    def own(self) -> Feed:
        return self.feed


async def do(hub: Hub, text: str, feed: Feed | None = None) -> Reply:
    (command,) = parse(text)
    return await execute(command, hub, Posted(None, "", hub.limits, hub.rights, 0.0) if feed is None else Speaker(feed))


async def test_publish_is_answered_with_the_id(hub: Hub) -> None:
    reply = await do(hub, '{"do":"publish","ref":7,"channel":"a","data":1}')
    assert (reply.ref, reply.ok, reply.id) == (7, True, f"{hub.log.epoch}.1")


async def test_a_refusal_is_an_answer_with_its_number(hub: Hub) -> None:
    reply = await do(hub, '{"do":"publish","ref":7,"channel":"nope","data":1}')
    assert (reply.ref, reply.ok, reply.code, reply.name) == (7, False, 4404, "unknown_channel")
    assert hub.log.head == 0


async def test_a_number_too_large_for_json_is_refused_and_publishes_nothing(hub: Hub) -> None:
    reply = await do(hub, '{"do":"publish","channel":"a","data":1e999}')
    assert (reply.ok, reply.code) == (False, 4400)
    assert hub.log.head == 0


async def test_ping_is_answered(hub: Hub) -> None:
    assert (await do(hub, '{"do":"ping","ref":1}')).ok


async def test_channels_change_where_the_connection_stands(hub: Hub) -> None:
    with hub.feed(["a"]) as feed:
        await hub.publish("b", 1)
        await feed.take(0)
        reply = await do(hub, '{"do":"subscribe","channels":["b","b"]}', feed)
        assert (reply.id, feed.channels) == (f"{hub.log.epoch}.1", ("a", "b"))
        await do(hub, '{"do":"unsubscribe","channels":["a"]}', feed)
        assert feed.channels == ("b",)


async def test_the_first_channels_may_say_since_where(hub: Hub) -> None:
    await hub.publish("a", 1)
    start = Position(hub.log.epoch, 0)
    with hub.feed([]) as feed:
        assert (await do(hub, f'{{"do":"subscribe","channels":["a"],"since":"{start}"}}', feed)).id == str(start)
        assert len((await feed.take(0)).items) == 1
        assert (await do(hub, f'{{"do":"subscribe","channels":["b"],"since":"{start}"}}', feed)).code == 4400
        assert feed.channels == ("a",)


async def test_until_a_loss_is_told_the_place_to_come_back_to_is_the_old_one(hub: Hub) -> None:
    with hub.feed([]) as feed:
        assert (await do(hub, '{"do":"subscribe","channels":["a"],"since":"gone.5"}', feed)).id == "gone.5"
        await feed.take(0)
        assert (await do(hub, '{"do":"subscribe","channels":["b"]}', feed)).id == f"{hub.log.epoch}.0"


@pytest.mark.parametrize("since", ["x", "e.-1", ""])
async def test_a_bad_position_changes_nothing(hub: Hub, since: str) -> None:
    with hub.feed([]) as feed:
        assert (await do(hub, f'{{"do":"subscribe","channels":["a"],"since":"{since}"}}', feed)).code == 4400
        assert feed.channels == ()


async def test_where_channels_cannot_change_it_says_what_to_do(hub: Hub) -> None:
    reply = await do(hub, '{"do":"subscribe","channels":["b"]}')
    assert reply.code == 4400
    assert "open the stream again" in reply.reason
