"""Attacks with what is shown: tickets that were stolen from a log, rights that somebody had, names of others."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import itsdangerous

from tests.together import Together
from transports import Identity, Request
from transports.testing import until

from .stage import OURS, SECRET, Target, replies, stage, who
from .table import ALL, STREAMS, attack

KEY = "a secret of the application that it also signs its sessions with"
BOB = "Cookie: who=bob"


async def ticket(target: Target, path: str = "") -> str:
    """One of ann's, for the transport under attack or for another."""
    status, _, body = await target.ask(f"ticket?for={path or target.path}", OURS, method="POST")
    assert status == 200, body
    return json.loads(body)["ticket"]


async def shown(target: Target, ticket: str) -> bool:
    """Whether somebody reads what is ann's who shows this, and nothing else."""
    return SECRET in (await target.read(f"{target.secret}&ticket={ticket}")).told


@attack("a ticket that was used", "a ticket is good once", over=ALL)
async def _(target: Target) -> bool:
    """It stands in the log of a proxy; somebody reads that at once."""
    stolen = await ticket(target)
    assert await shown(target, stolen)
    return await shown(target, stolen)


@attack(
    "a ticket that was used at another process", "a ticket is good once in all processes", over=ALL, broker=Together, secret=KEY
)
async def _(target: Target) -> bool:
    """The process that is asked has not seen it."""
    stolen = await ticket(target)
    async with stage(target.edge, target.path, broker=lambda: target.hub._broker, secret=KEY) as other:
        assert await shown(other, stolen)
        return await shown(target, stolen)


@attack("an old ticket", "a ticket is good for 30 s", over=ALL)
async def _(target: Target) -> bool:
    """It was never used, as the network broke; somebody finds it a minute later."""
    stolen = await ticket(target)
    target.hub.accounts.clock = lambda: time.time() + 60
    return await shown(target, stolen)


@attack("a ticket for something else", "a ticket is for one transport", over=ALL)
async def _(target: Target) -> bool:
    """It was for one transport, and is shown to another."""
    return await shown(target, await ticket(target, next(path for path in ALL if path != target.path)))


@attack("a ticket that somebody made", "tickets are signed", over=ALL)
async def _(target: Target) -> bool:
    """He knows what one looks like."""
    own = Together()
    async with stage(target.edge, broker=lambda: own, secret="bob's") as his:
        his.hub.log.epoch = target.hub.log.epoch
        return await shown(target, await ticket(his, target.path))


@attack("something else that was signed", "tickets are signed as tickets", over=ALL, secret=KEY)
async def _(target: Target) -> bool:
    """The application signs other things with the same secret, and lets a user say what stands in them."""
    real, _ = target.endpoints.admission.tickets.give(Identity("ann"), target.path)
    payload = real.rpartition(".")[0]
    signer = itsdangerous.Signer(KEY, salt="cookie-session", digest_method=hashlib.sha256, key_derivation="hmac")
    return await shown(target, signer.sign(payload).decode())


async def goes_on(target: Target, change: Callable[[], Awaitable[object]]) -> bool:
    """Whether somebody who reads what is ann's still does after a change."""
    hub = target.hub
    query = f"channels={SECRET}&since={hub.log.epoch}.{hub.log.head}&wait=20&beat=30"
    reading = asyncio.create_task(target.read(query, OURS))
    await until(lambda: len(hub.accounts))
    await change()
    with suppress(TimeoutError):
        await until(lambda: not len(hub.accounts), target.patience)
    await hub.publish(SECRET, "later")
    with suppress(asyncio.IncompleteReadError):
        return SECRET in (await reading).told
    return False


def soon(request: Request) -> Identity:
    return Identity(who(request), time.time() + 0.3)


@attack("what was shown does not hold any more", "credentials end", over=STREAMS, knows=soon, beat=60.0)
async def _(target: Target) -> bool:
    """A connection that was let in with something that holds for a moment only is kept open."""
    return await goes_on(target, lambda: asyncio.sleep(0))


@attack("a device that was stolen", "revoke ends what is there", over=ALL, beat=60.0)
async def _(target: Target) -> bool:
    """Ann is signed out everywhere, and what reads in her name reads on."""
    return await goes_on(target, lambda: target.hub.rights.revoke("ann"))


@attack("a right that was taken away", "authorize is asked again", over=ALL, recheck=0.2, beat=60.0)
async def _(target: Target) -> bool:
    """Ann is moved to another department, and does not close the page."""

    async def move() -> None:
        target.hub.authorize = lambda *asked: False

    return await goes_on(target, move)


@attack("renewal as somebody else", "renewal asks about each channel", over=["ws"], beat=60.0)
async def _(target: Target) -> bool:
    """A connection of ann's goes on in the name of bob, with the channels that it has."""
    ws = await target.websocket(f"channels={SECRET}", OURS)
    await ws.items()
    ws.say({"do": "auth", "ref": 1, "token": "bob"})
    reply = (await replies(ws))[0]
    await target.hub.publish(SECRET, "later")
    return reply["ok"] and (await ws.items())[0]["type"] == "event"


@attack("being there as somebody else", "present is who asks")
async def _(target: Target) -> bool:
    """Bob says that he is ann."""
    command = {"do": "present", "ref": 1, "channel": "open.room", "as": "ann", "for": 45}
    await target.post(command, headers=[BOB])
    status, _, body = await target.ask("presence/open.room", BOB)
    return status == 200 and "ann" in [each["as"] for each in json.loads(body)["members"]]
