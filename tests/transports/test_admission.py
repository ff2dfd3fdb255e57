"""What a request asks for, and whether it may: the same for every edge."""

from __future__ import annotations

import pytest

from transports import Code, Hub, Options, Refusal
from transports.admission import Admission, Poll
from transports.items import Batch, decode_batch, encode_batch
from transports.ladder import LADDER
from transports.request import Request

WEBSOCKET, SSE, LONGPOLL = LADDER


async def an_admission(**settings: object) -> Admission:
    hub = Hub(Options(**{"channels": ("a", "b"), **settings}))
    await hub.open()
    return Admission(hub)


def asking(query: str, path: str = "poll", **headers: str) -> Request:
    return Request("GET", path, query, {name.replace("_", "-"): value for name, value in headers.items()})


async def test_a_first_poll_is_answered_with_where_to_begin_and_leaves_nobody_behind() -> None:
    admission = await an_admission()
    answer = admission.poll(LONGPOLL, asking("channels=a,b"))
    assert isinstance(answer, Batch)
    (hello,) = decode_batch(encode_batch(answer.items))
    assert (hello.kind, hello.id, hello.channels) == ("hello", f"{admission.hub.log.epoch}.0", ["a", "b"])
    assert admission.hub.readers == 0


async def test_a_poll_gets_at_once_what_is_there_and_else_waits() -> None:
    admission = await an_admission()
    epoch = admission.hub.log.epoch
    await admission.hub.publish("a", 1)
    answer = admission.poll(LONGPOLL, asking(f"channels=a&since={epoch}.0"))
    assert [item.data for item in decode_batch(encode_batch(answer.items))] == [1]
    assert admission.hub.readers == 0
    waiting = admission.poll(LONGPOLL, asking(f"channels=a&since={epoch}.1&wait=7"))
    assert isinstance(waiting, Poll)
    assert (waiting.wait, waiting.feed.position, admission.hub.readers) == (7, f"{epoch}.1", 1)


async def test_who_asks_the_same_in_ever_other_words_fills_no_memory() -> None:
    admission = await an_admission()
    epoch = admission.hub.log.epoch
    await admission.hub.publish("a", 1)
    questions = [f"channels=a&since={epoch}.0&x={number}" for number in range(5000)]
    for question in questions:
        assert isinstance(admission.poll(LONGPOLL, asking(question), question), Batch)
    assert admission.hub.recall(questions[-1]) is not None
    assert sum(admission.hub.recall(question) is not None for question in questions) <= 1024


@pytest.mark.parametrize("since", ["gone.5", "future", "evicted"])
async def test_a_poll_is_told_what_is_lost(since: str) -> None:
    admission = await an_admission(history_count=2)
    epoch = admission.hub.log.epoch
    for number in range(5):
        await admission.hub.publish("a", number)
    position = {"gone.5": "gone.5", "future": f"{epoch}.99", "evicted": f"{epoch}.1"}[since]
    answer = admission.poll(LONGPOLL, asking(f"channels=a&since={position}"))
    lost = decode_batch(encode_batch(answer.items))[0]
    assert (lost.kind, lost.after) == ("lost", position)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", Code.BAD_COMMAND),
        ("channels=", Code.BAD_COMMAND),
        ("channels=nobody", Code.UNKNOWN_CHANNEL),
        ("channels=a&since=x", Code.BAD_COMMAND),
        ("channels=a&wait=-1", Code.BAD_COMMAND),
        ("channels=a&wait=long", Code.BAD_COMMAND),
    ],
)
async def test_what_cannot_be_had_is_refused_and_nobody_reads(query: str, code: Code) -> None:
    admission = await an_admission()
    await admission.hub.publish("a", 1)
    with pytest.raises(Refusal) as refused:
        admission.poll(LONGPOLL, asking(query))
    assert refused.value.code == code
    assert admission.hub.readers == 0


async def test_a_stream_resumes_from_its_header_and_a_poll_from_its_query() -> None:
    admission = await an_admission()
    epoch = admission.hub.log.epoch
    for number in range(3):
        await admission.hub.publish("a", number)
    asked = asking(f"channels=a&since={epoch}.1&beat=5", "sse", last_event_id=f"{epoch}.2")
    assert (admission.stream(SSE, asked).feed.position, admission.stream(SSE, asked).beat) == (f"{epoch}.2", 5)
    answer = admission.poll(LONGPOLL, asked)
    assert [item.id for item in answer.items] == [f"{epoch}.2", f"{epoch}.3"]


async def test_why_a_wire_is_opened_is_counted_once() -> None:
    admission = await an_admission()
    admission.stream(SSE, asking("channels=a&why=race", "sse"))
    admission.poll(LONGPOLL, asking("channels=a&why=wish&tried=sse.buffered"))
    admission.poll(LONGPOLL, asking("channels=a"))
    admission.conversation(WEBSOCKET, asking("", "ws"), ["everywire.v1.json"])
    counted = admission.hub.counts.as_dict()
    assert counted["opened"] == {"longpoll": 1, "sse": 1, "websocket": 1}
    assert counted["verdicts"] == {"sse": {"buffered": 1}}


async def test_of_who_shows_a_token_alone_nothing_else_is_known() -> None:
    admission = await an_admission()
    asked: list[Request] = []
    admission.authenticate = lambda request: asked.append(request) or request.token
    assert (await admission.identify("t-ann", "192.0.2.7")).who == "t-ann"
    assert [(each.path, each.address, each.query, each.cookies, each.secure) for each in asked] == [
        ("", "192.0.2.7", {}, {}, False)
    ]
    assert [*asked[0].headers] == ["authorization"]
