"""Who is there."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from .commands import WAYS, fails, say
from .endpoints import refused
from .target import Target, eventually, first, hello_of, mark, number
from .verdicts import Table, Unfit, holds, same

TABLE: Final = Table("Presence")
_LEFT: Final = 15.0  # seconds for a change to be told: a server waits some for those who load a page anew


async def _members(target: Target, **query: str) -> dict[str, Any]:
    answer = await target.get(f"presence/{target.channel}", query)
    same(answer.status, 200, "status of the list")
    listed = answer.json()
    number(listed.get("id"))
    same(listed.get("channel"), target.channel, "channel of the list")
    holds(isinstance(listed.get("count"), int) and isinstance(listed.get("members"), list), "count and members", listed)
    return dict(listed)


async def _listed(target: Target, *names: str) -> dict[str, Any]:
    """The list, once these are in it. Raises: Unmet."""

    def there(listed: Any) -> bool:
        return {*names} <= {each.get("as") for each in listed["members"]}

    return dict(await eventually(partial(_members, target), there, f"a list with {', '.join(names)}"))


async def _nameable(target: Target) -> None:
    """Raises: Unfit, who is there is there under the name that the server knows."""
    who = mark()
    await target.commands(_command(target, who))
    try:
        listed = await _members(target)
        if who not in [each.get("as") for each in listed["members"]] and target.token:
            raise Unfit("this server knows who shows the token, and under which name: several members are not to be had")
    finally:
        await target.commands(_command(target, who, **{"for": 0}))


def _command(target: Target, who: str, **more: Any) -> dict[str, Any]:
    return {"do": "present", "ref": 1, "channel": target.channel, "as": who, **more}


@TABLE.check("visit", "Who takes a lease has joined, is listed, changes, and has left when it is given up", over=WAYS)
async def _visit(target: Target, transport: str) -> None:
    await _nameable(target)
    who, changes = mark(), f"presence:{target.channel}"
    start = await target.present_position()
    (reply,) = await say(target, transport, _command(target, who, data={"mood": "fine"}))
    same((reply.get("ok"), reply.get("id")), (True, None), "ok and id")
    holds(isinstance(reply.get("for"), int | float) and reply["for"] > 0, "for, seconds of the lease", reply)
    (member,) = [each for each in (await _listed(target, who))["members"] if each.get("as") == who]
    same(member.get("data"), {"mood": "fine"}, "data of the member")
    await say(target, transport, _command(target, who, data={"mood": "busy"}))
    await say(target, transport, _command(target, who, **{"for": 0}))
    async with target.open("longpoll", {"channels": changes, "since": start}) as reading:
        told: list[dict[str, Any]] = []
        for _ in range(int(_LEFT) * 20):
            told += [item["data"] for item in await reading.batch() if item["type"] == "event" and item["data"]["as"] == who]
            if told and told[-1]["change"] == "left":
                break
    same([each["change"] for each in told], ["joined", "changed", "left"], "changes")
    same([each["data"] for each in told], [{"mood": "fine"}, {"mood": "busy"}, None], "data of the changes")
    same({each["visit"] for each in told}, {member.get("visit")}, "visits")
    await eventually(
        partial(_members, target), lambda page: who not in [each["as"] for each in page["members"]], "nobody at the end"
    )


@TABLE.check("list-and-stream", "The list is what a reader of all changes knows at its id")
async def _list_and_stream(target: Target) -> None:
    await _nameable(target)
    one, other = mark(), mark()
    await target.commands(_command(target, one))
    listed = await _listed(target, one)
    try:
        await target.commands(_command(target, other))
        query = {"channels": f"presence:{target.channel}", "since": listed["id"]}
        async with target.open("longpoll", query) as reading:
            change = (await first(reading, "event"))["data"]
            while change["as"] not in (one, other):
                change = (await first(reading, "event"))["data"]
        holds(one in [each["as"] for each in listed["members"]], "the first in the list", listed)
        same((change["as"], change["change"]), (other, "joined"), "the first change behind the list")
        later = await _members(target, since=listed["id"])
        holds(number(later["id"]) >= number(listed["id"]), "a list that is not older than since", later["id"])
    finally:
        await target.commands(_command(target, one, **{"for": 0}), _command(target, other, **{"for": 0}))


@TABLE.check("pages", "Members come sorted, as many as asked for; limit=0 only counts")
async def _pages(target: Target) -> None:
    await _nameable(target)
    beginning = mark()
    names = [f"{beginning}{n}" for n in range(5)]
    await target.commands(*[_command(target, name) for name in reversed(names)])
    try:
        await _listed(target, *names)
        counted = await _members(target, limit="0")
        same(counted["members"], [], "members with limit=0")
        holds(counted["count"] >= 5, "a count of 5 at least", counted["count"])
        page = await _members(target, after=beginning, limit="2")
        same([each["as"] for each in page["members"]], names[:2], "the first page")
        same(page.get("next"), names[1], "next")
        page = await _members(target, after=page["next"], limit="3")
        same([each["as"] for each in page["members"]], names[2:], "the next page")
    finally:
        await target.commands(*[_command(target, name, **{"for": 0}) for name in names])


@TABLE.check("presence-garbage", "What makes no sense is refused: 4400, 4404, 4413", over=WAYS)
async def _garbage(target: Target, transport: str) -> None:
    limits = (await target.get("negotiate")).json()["limits"]
    for command, code in (
        (_command(target, ""), 4400),
        (_command(target, "x" * 129), 4400),
        (_command(target, "a", lease="x" * 65), 4400),
        (_command(target, "a", **{"for": -1}), 4400),
        ({**_command(target, "a"), "channel": "no such/name"}, 4404),
        (_command(target, "a", data="x" * limits.get("presence_bytes", 1024)), 4413),
    ):
        (reply,) = await say(target, transport, command)
        fails(reply, code, str({**command, "data": "…"})[:100])


@TABLE.check("nobody-else-tells", "Nobody publishes who is there: 4403", over=WAYS)
async def _nobody_else(target: Target, transport: str) -> None:
    (reply,) = await say(target, transport, {"do": "publish", "ref": 1, "channel": f"presence:{target.channel}", "data": 1})
    fails(reply, 4403, "publish to a presence channel")


@TABLE.check("no-presence-of-presence", "Those who tell who is there have no members")
async def _no_nesting(target: Target) -> None:
    (reply,) = await target.commands({**_command(target, "a"), "channel": f"presence:{target.channel}"})
    holds(reply.get("ok") is False and reply.get("code") in (4400, 4403, 4404), "a refusal", reply)


@TABLE.check("list-garbage", "A list of nothing, or with a limit that is none, is refused")
async def _list_garbage(target: Target) -> None:
    refused(await target.get("presence/no$name"), 4404, 404)
    refused(await target.get(f"presence/{target.channel}", {"limit": "many"}), 4400, 400)
    refused(await target.get(f"presence/{target.channel}", {"since": "nonsense"}), 4400, 400)


@TABLE.check("lease-ends", "Who goes without a word leaves when the lease ends")
async def _lease_ends(target: Target) -> None:
    await _nameable(target)
    who = mark()
    async with target.socket({"channels": f"presence:{target.channel}"}) as talk:
        await hello_of(talk)
        (reply,) = await talk.replies(_command(target, who, **{"for": 1}))
        if reply.get("for") != 1:
            raise Unfit("this server gives no lease of a second")
        seen: list[str] = []
        while "left" not in seen:
            event = await first(talk, "event", _LEFT)
            seen += [event["data"]["change"]] if event["data"]["as"] == who else []
    same(seen, ["joined", "left"], "changes")
