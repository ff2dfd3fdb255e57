"""Attacks by somebody who may be here: bob wants what is ann's."""

from __future__ import annotations

import asyncio

from transports.testing import until

from .browser import readable
from .stage import EVIL, SECRET, Target, replies
from .table import ALL, STREAMS, attack

BOB = "Cookie: who=bob"
READING = "authorize is asked about reading"


@attack("reading by the name of the channel", READING, over=ALL)
async def _(target: Target) -> bool:
    """He knows what it is called."""
    return SECRET in (await target.read(target.secret, BOB)).told


@attack("watching who is connected", "operators are asked for")
async def _(target: Target) -> bool:
    """He asks for the page of an operator, or for its figures, from the server's own machine."""
    answers = [await target.ask(path, BOB) for path in ("status", "metrics")]
    return any(status == 200 for status, _, _ in answers)


@attack("reading by a pattern", READING, over=ALL)
async def _(target: Target) -> bool:
    """He asks for everything, or for all that begins alike."""
    seen = [await target.read(f"channels={beginning}&since={target.beginning}&wait=0", BOB) for beginning in ("*", "secret.*")]
    return any(SECRET in each.told for each in seen)


@attack("reading by a pattern, what comes later", READING, over=STREAMS)
async def _(target: Target) -> bool:
    """He follows a pattern before the channel is there."""
    reading = asyncio.create_task(target.read("channels=s*,open.news", BOB))
    await until(lambda: target.hub.readers)
    await target.hub.publish("s2.ann", 1)
    await target.hub.publish("open.news", 1)
    return "s2.ann" in (await reading).told


@attack("reading by a position", READING, over=ALL)
async def _(target: Target) -> bool:
    """He has or guesses a position in front of ann's event, and says that he has been reading there."""
    guessed = [f"{target.hub.log.epoch}.{offset}" for offset in range(3)]
    seen = [await target.read(f"channels={SECRET}&since={each}&wait=0", BOB) for each in guessed]
    return any(SECRET in each.told for each in seen)


@attack("reading by the header of a position", READING, over=["sse"])
async def _(target: Target) -> bool:
    """The same as `Last-Event-ID`."""
    return SECRET in (await target.read(f"channels={SECRET}", BOB, f"Last-Event-ID: {target.beginning}")).told


@attack("reading by the command subscribe", READING, over=["ws"])
async def _(target: Target) -> bool:
    """He is in already, with channels that he may read."""
    ws = await target.websocket("", BOB)
    ws.say({"do": "subscribe", "ref": 1, "channels": [SECRET], "since": target.beginning})
    return (await replies(ws))[0]["ok"]


@attack("who is there", READING)
async def _(target: Target) -> bool:
    """He asks for the list of those in a channel that he may not read."""
    return (await target.ask(f"presence/{SECRET}", BOB))[0] == 200


@attack("publishing where one may not", "authorize is asked about publishing")
async def _(target: Target) -> bool:
    """By POST."""
    _, replies = await target.post({"do": "publish", "ref": 1, "channel": SECRET, "data": "forged"}, headers=[BOB])
    return replies[0]["ok"]


@attack("publishing over WebSocket where one may not", "authorize is asked about publishing", over=["ws"])
async def _(target: Target) -> bool:
    """On a connection that may read."""
    ws = await target.websocket("channels=open.news", BOB)
    await ws.items()
    ws.say({"do": "publish", "ref": 1, "channel": SECRET, "data": "forged"})
    return (await replies(ws))[0]["ok"]


@attack("answers that the server has kept", "answers are shared where all may read the same", edges=["front"])
async def _(target: Target) -> bool:
    """Ann polls several times, so that an answer is kept for all who ask the same. Bob polls what he may, and then asks that."""
    question = f"channels={SECRET}&since={target.beginning}&wait=0"

    async def asked(who: str, *queries: str) -> bytes:
        connection, body = await target.connect(), b""
        for query in queries:
            connection.send(f"GET /live/poll?{query} HTTP/1.1\r\nHost: x\r\nCookie: who={who}\r\n\r\n".encode())
            _, _, body = await connection.answer()
        return body

    assert b"pin" in await asked("ann", *[question] * 4)
    return b"pin" in await asked("bob", *[question.replace(SECRET, "open.news")] * 3, question)


@attack("what the operator sees", "observing is for operators")
async def _(target: Target) -> bool:
    """Bob asks who is connected, from where, and what they read."""
    asked = [await target.ask(path, BOB, "Accept: */*") for path in ("status", "status?json", "metrics")]
    return all(status == 200 for status, _, _ in asked)


@attack("what the operator sees, by a page", "observing is for operators", "origins are named", knows=None, allows=None)
async def _(target: Target) -> bool:
    """The operator sits at the server, where nobody has to say who they are, and looks at a page of somebody else."""
    target.name = "localhost"
    status, headers, _ = await target.ask("status?json", f"Origin: {EVIL}")
    return status == 200 and readable(headers, EVIL)
