"""Items, positions and what is read from where, the same over each transport."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any, Final

import msgspec

from .target import Target, epoch, events, first, hello_of, mark, number, until
from .verdicts import ALL, HTTP, LONGPOLL, SSE, STREAMS, Table, holds, same

TABLE: Final = Table("Items: what travels down")
_BEAT: Final = 1.0  # seconds; the shortest that may be asked for
_LATE: Final = 2.0  # seconds by which what waits may be late: the server, and the way
_FAR: Final = 10**9  # events ahead of the log
VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    2**53 - 1,
    0.1,
    1e300,
    "",
    "ä€😀\u2028\u0000\"\\/\n\r",
    [],
    {},
    [[], [{}], {"a": [1, None]}],
    {"": 0, "é": {"x": "data: no\n\nid: no"}},
)  # fmt: skip


@TABLE.check("hello-first", "hello comes first, and says where reading starts", over=ALL)
async def _hello(target: Target, transport: str) -> None:
    async with target.open(transport) as reading:
        hello = await hello_of(reading)
    number(hello.get("id"))  # type: ignore[arg-type]
    same(hello.get("v"), 1, "v")
    same(hello.get("channels"), [target.channel], "channels")
    same(hello.get("resumed"), "fresh", "resumed")
    holds(isinstance(hello.get("connection"), str) and hello["connection"], "connection, a name", hello)
    holds(isinstance(hello.get("beat"), int | float) and hello["beat"] > 0, "beat, seconds", hello)


@TABLE.check("hello-is-the-whole-answer", "A poll without since is answered at once, with hello alone")
async def _first_poll(target: Target) -> None:
    began = time.monotonic()
    items = await target.poll({"channels": target.channel, "wait": "20"})
    same([item["type"] for item in items], ["hello"], "items")
    holds(time.monotonic() - began < 10, "an answer at once", f"{time.monotonic() - began:.1f} s")


@TABLE.check("event", "An event has id, channel, at and the data as it was published", over=ALL)
async def _event(target: Target, transport: str) -> None:
    start, sent = await target.present_position(), mark()
    ids = await target.publish_all(*[[sent, value] for value in VALUES])
    async with target.open(transport, since=start) as reading:
        items = await until(reading, ids[-1])
    came = [item for item in items if item["type"] == "event" and item.get("data", [None])[:1] == [sent]]
    texts = [msgspec.json.encode(item["data"][1:]).decode() for item in came]  # True is not 1, nor 0 the same as 0.0
    same(texts, [msgspec.json.encode([value]).decode() for value in VALUES], "data")
    same([item["id"] for item in came], ids, "ids, those of the replies")
    same({item.get("channel") for item in came}, {target.channel}, "channel")
    for item in came:
        holds(abs(item.get("at", 0) - time.time()) < 3600, "at, seconds since 1970", item)
        holds(item.get("about") is None, "no about, as none was given", item)


@TABLE.check("about", "An event that was published with about has it", over=ALL)
async def _about(target: Target, transport: str) -> None:
    start = await target.present_position()
    last = await target.publish(mark(), about="äpple 1")
    async with target.open(transport, since=start) as reading:
        same((await until(reading, last))[-1].get("about"), "äpple 1", "about")


@TABLE.check("same-json", "An event is the same JSON on each wire", clause="Framing")
async def _same_json(target: Target) -> None:
    start = await target.present_position()
    last = await target.publish({"mark": mark(), "x": [1.0, 1e10, "é/"]})
    found = []
    for transport in ALL:
        async with target.open(transport, since=start) as reading:
            found.append((await until(reading, last))[-1])
    same([[*each.items()] for each in found[1:]], [[*found[0].items()]] * 2, "fields and their order")


@TABLE.check("ids-grow", "Ids are positions of one epoch, and grow from event to event", over=ALL, clause="Positions")
async def _ids_grow(target: Target, transport: str) -> None:
    start = await target.present_position()
    ids = await target.publish_all(*range(20))
    async with target.open(transport, since=start) as reading:
        items = await until(reading, ids[-1])
    came = [item["id"] for item in items if item["type"] == "event"]
    same({epoch(each) for each in came}, {epoch(start)}, "epochs")
    numbers = [number(start), *map(number, came)]
    holds(all(a < b for a, b in pairwise(numbers)), "numbers that grow", numbers)
    same([each for each in came if each in ids], ids, "ids of the events, in the order in which they were published")


@TABLE.check("resume", "Read on from the id of an item, and exactly what is behind it comes", over=ALL)
async def _resume(target: Target, transport: str) -> None:
    sent = mark()
    ids = await target.publish_all(*[[sent, n] for n in range(10)])
    for place in (0, 4, 8):
        async with target.open(transport, since=ids[place]) as reading:
            items = await until(reading, ids[-1])
        if transport != LONGPOLL:
            hello = items.pop(0)
            same((hello["type"], hello.get("resumed")), ("hello", "exact"), "type and resumed of the first item")
            same(hello.get("id"), ids[place], "id of hello")
        same([item["type"] for item in items if item["type"] != "event"], [], "items beside events")
        came = [each[1] for each in events(items, target.channel) if isinstance(each, list) and each[:1] == [sent]]
        same(came, [*range(place + 1, 10)], f"what is behind {ids[place]}")


@TABLE.check("resume-from-hello", "Who drops before the first event comes back with the id of hello", over=ALL)
async def _resume_from_hello(target: Target, transport: str) -> None:
    async with target.open(transport) as reading:
        start = (await hello_of(reading))["id"]
    last = await target.publish(mark())
    async with target.open(transport, since=start) as reading:
        came = await until(reading, last)
    same([(item["type"], item["id"]) for item in came if item["type"] != "hello"], [("event", last)], "what is behind hello")


@TABLE.check("present", "Without since, reading starts at the present", over=ALL, clause="Endpoints")
async def _present(target: Target, transport: str) -> None:
    before = await target.publish(mark())
    await target.settle(before)
    async with target.open(transport) as reading:
        await hello_of(reading)
        after = await target.publish(mark())
        items = await until(reading, after)
    holds(before not in [item.get("id") for item in items if item["type"] == "event"], "nothing from before", items)


@TABLE.check("last-event-id", "On sse, Last-Event-ID goes before since", clause="Endpoints")
async def _last_event_id(target: Target) -> None:
    ids = await target.publish_all(1, 2, 3)
    query = {"channels": target.channel, "since": ids[0]}
    async with target.stream(query, [("last-event-id", ids[1])]) as stream:
        same((await hello_of(stream)).get("id"), ids[1], "where reading starts")
        same((await first(stream, "event"))["id"], ids[2], "the first event")


@TABLE.check("lost-epoch", "A position of another epoch: lost, then all that is kept", over=ALL)
async def _lost_epoch(target: Target, transport: str) -> None:
    last = await target.publish(mark())
    stranger = "zz" if epoch(last) != "zz" else "yy"
    async with target.open(transport, since=f"{stranger}.5") as reading:
        items = await until(reading, last)
    _declared(items, transport, "epoch", f"{stranger}.5", target)
    lost = next(item for item in items if item["type"] == "lost")
    kept = [number(item["id"]) for item in items if item["type"] == "event"]
    holds(number(lost["through"]) < min(kept), "a range that ends before what is kept", lost)


@TABLE.check("lost-future", "A position ahead of the log: lost, and on from the present", over=ALL)
async def _lost_future(target: Target, transport: str) -> None:
    now = await target.present_position()
    ahead = f"{epoch(now)}.{number(now) + _FAR}"
    async with target.open(transport, since=ahead) as reading:
        items = (
            [await first(reading, "lost")] if transport == LONGPOLL else [await hello_of(reading), await first(reading, "lost")]
        )
        last = await target.publish(mark())
        items += await until(reading, last)
    _declared(items, transport, "future", ahead, target)


def _declared(items: list[dict[str, Any]], transport: str, reason: str, since: str, target: Target) -> None:
    if transport != LONGPOLL:
        same(items[0]["type"], "hello", "type of the first item")
        resumed = items[0].get("resumed")
        holds(resumed == "lost" or (reason, resumed) == ("future", "exact"), "resumed of hello: lost", resumed)
        items = [item for item in items[1:] if item["type"] != "beat"]
    lost = items[0]
    same(lost["type"], "lost", "what comes before the events")
    same((lost.get("channel"), lost.get("reason")), (target.channel, reason), "channel and reason")
    same(lost.get("after"), since, "after, the position that was asked for")
    number(lost.get("through"))  # type: ignore[arg-type]
    number(lost.get("id"))  # type: ignore[arg-type]


@TABLE.check("beat", "A silence is filled with a beat, as often as was asked for", over=STREAMS)
async def _beat(target: Target, transport: str) -> None:
    async with target.open(transport, beat="1") as reading:
        hello = await hello_of(reading)
        same(hello.get("beat"), _BEAT, "beat of hello")
        began = time.monotonic()
        beats = [await first(reading, "beat", _BEAT + _LATE), await first(reading, "beat", _BEAT + _LATE)]
        lasted = time.monotonic() - began
    holds(lasted > _BEAT, "two beats in no less than one second", f"{lasted:.2f} s")
    for beat in beats:
        same(epoch(beat["id"]), epoch(hello["id"]), "epoch of a beat")
        holds(number(beat["id"]) >= number(hello["id"]), "an id that is not behind that of hello", beat)
        holds(isinstance(beat.get("at"), int | float), "at, seconds since 1970", beat)


@TABLE.check("beat-least", "Beats shorter than a second are not to be had", over=STREAMS, clause="Endpoints")
async def _beat_least(target: Target, transport: str) -> None:
    async with target.open(transport, beat="0.01") as reading:
        same((await hello_of(reading)).get("beat"), _BEAT, "beat of hello")


@TABLE.check("beat-most", "The server uses its own beat if that is shorter", over=STREAMS, clause="Endpoints")
async def _beat_most(target: Target, transport: str) -> None:
    own = (await target.get("negotiate")).json()["beat"]
    async with target.open(transport, beat="999999") as reading:
        same((await hello_of(reading)).get("beat"), own, "beat of hello")


@TABLE.check("poll-waits", "A poll without news waits as long as it was asked to, and is a beat then")
async def _poll_waits(target: Target) -> None:
    since = await target.present_position()
    began = time.monotonic()
    items = await target.poll({"channels": target.channel, "since": since, "wait": "1"})
    lasted = time.monotonic() - began
    same([item["type"] for item in items], ["beat"], "items")
    holds(0.9 < lasted < 1 + _LATE, "an answer after a second", f"{lasted:.2f} s")
    holds(number(items[0]["id"]) >= number(since), "an id that is not behind since", items)


@TABLE.check("poll-at-once", "A poll with wait=0 is answered at once")
async def _poll_at_once(target: Target) -> None:
    since = await target.present_position()
    began = time.monotonic()
    items = await target.poll({"channels": target.channel, "since": since, "wait": "0"})
    same([item["type"] for item in items], ["beat"], "items")
    holds(time.monotonic() - began < _LATE, "an answer at once", f"{time.monotonic() - began:.2f} s")


@TABLE.check("poll-woken", "A poll that waits is answered when something happens")
async def _poll_woken(target: Target) -> None:
    since = await target.present_position()
    began = time.monotonic()
    waiting = asyncio.create_task(target.poll({"channels": target.channel, "since": since, "wait": "9"}))
    try:
        await asyncio.sleep(0.2)  # most likely it waits by then; if not, it is answered all the same
        last = await target.publish(mark())
        items = await waiting
    finally:
        waiting.cancel()
    same([(item["type"], item.get("id")) for item in items], [("event", last)], "what it is answered with")
    holds(time.monotonic() - began < 5, "an answer long before its time is over", f"{time.monotonic() - began:.2f} s")


@TABLE.check("poll-again", "A lost answer costs nothing: the same question has the same events again", clause="Framing")
async def _poll_again(target: Target) -> None:
    since = await target.present_position()
    ids = await target.publish_all(1, 2, 3)
    await target.settle(ids[-1])
    query = {"channels": target.channel, "since": since, "wait": "0"}
    for _ in range(2):
        same([item["id"] for item in await target.poll(query)], ids, "ids of the batch")


@TABLE.check("quiet-readers-move", "A beat moves the position of a reader whose channels are quiet", over=HTTP)
async def _quiet(target: Target, transport: str) -> None:
    other = f"presence:{target.channel}"  # nothing of ours happens there now
    last = await target.publish(mark())
    query = {"channels": other, "beat": "1"}
    if transport == SSE:
        async with target.stream(query) as stream:
            beat = await first(stream, "beat")
    else:
        since = f"{epoch(last)}.{number(last) - 1}"
        beat = (await target.poll({**query, "since": since, "wait": "1"}))[-1]
    holds(number(beat["id"]) >= number(last), f"an id of at least {last}", beat)


@TABLE.check("several-channels", "One position serves several channels", over=ALL)
async def _several(target: Target, transport: str) -> None:
    async with target.open(transport, {"channels": f"{target.channel},presence:{target.channel}"}) as reading:
        same((await hello_of(reading)).get("channels"), [target.channel, f"presence:{target.channel}"], "channels of hello")
        last = await target.publish(mark())
        await until(reading, last)
