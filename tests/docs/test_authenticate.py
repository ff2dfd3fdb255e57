"""The how-to about who comes, run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import jwt
import pytest

from tests.documents import ROOT, block_with, run
from transports import Refusal
from transports.client import connect
from transports.quart import Live
from transports.testing import serving, until

PAGE = ROOT / "docs" / "how-to" / "authenticate.md"


def block(word: str) -> dict:
    """The names of the one block that has `word` in it."""
    return run(block_with(PAGE, "python", word))


@asynccontextmanager
async def served(names: dict) -> AsyncIterator[tuple[Live, str]]:
    """The app of a block, as it is served by its `live.run`, in this event loop; gives its `live`, and where the mount is."""
    app, live = names["app"], names["live"]
    how = {"options": live.hub.options, "others": live.hub.shared, "front": live.front}
    async with serving(app, drain=live.hub.close, **how) as url:
        yield live, f"{url}/live"


async def test_the_user_of_the_app_reads_what_is_theirs() -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with served(block("async def login")) as (_, url), aiohttp.ClientSession(cookie_jar=jar) as http:
        for status in (403, 200):
            async with http.get(f"{url}/poll?channels=orders.ann") as response:
                assert response.status == status
            await http.post(url.replace("/live", "/login"), data={"name": "ann"})
        async with http.post(f"{url}/commands", json={"do": "publish", "channel": "orders.ann", "data": 1}) as response:
            assert (await response.json())[0]["code"] == 4403


async def test_rights_are_loaded_when_somebody_comes() -> None:
    async with served(block("async def load")) as (live, url):
        async with connect(url, ["room.lobby"], token="let-me-in") as stream:
            await live.publish("room.lobby", 1)
            assert (await anext(stream)).data == 1
        with pytest.raises(Refusal, match="4401"):
            await connect(url, ["room.lobby"], token="wrong").__aenter__()


async def test_a_json_web_token_is_looked_at_closely() -> None:
    names = block("import jwt")
    key = names["app"].config["JWT_KEY"]
    good = {"sub": "ann", "exp": int(time.time()) + 60, "aud": "orders", "iss": "https://login.example"}
    wrong = [
        jwt.encode(good, key + "!", "HS256"),
        jwt.encode(good, key * 2, "HS512"),
        jwt.encode(good, None, "none"),
        *[jwt.encode({**good, **change}, key, "HS256") for change in ({"aud": "x"}, {"iss": "x"}, {"exp": time.time() - 1})],
        *[jwt.encode({k: v for k, v in good.items() if k != left}, key, "HS256") for left in good],
        "x",
    ]
    async with served(names) as (live, url), aiohttp.ClientSession() as http:
        for token in wrong:
            async with http.get(f"{url}/poll?channels=orders.a", headers={"Authorization": f"Bearer {token}"}) as response:
                assert response.status == 401
        async with connect(url, ["orders.a"], token=jwt.encode(good, key, "HS256")):
            assert {(account.who, account.expires) for account in live.hub.accounts} == {("ann", good["exp"])}


async def test_a_newer_token_is_shown_before_the_old_one_expires_and_no_event_is_lost_over_it() -> None:
    names, follow = block("import jwt"), block("fetch_token")["follow"]
    shown: list[int] = []
    given: list[int] = []  # until when each token holds

    async def fetch_token() -> str:
        given.append(int(time.time()) + (600 if given else 10))
        claims = {"sub": "ann", "exp": given[-1], "aud": "orders", "iss": "https://login.example"}
        return jwt.encode(claims, names["app"].config["JWT_KEY"], "HS256")

    async with served(names) as (live, url):
        following = asyncio.create_task(follow(url, fetch_token, shown.append))
        await until(lambda: len(live.hub.accounts))
        for number in range(3):
            await live.publish("orders.ann", number)
        await until(lambda: len(given) == 2 and {account.expires for account in live.hub.accounts} == {given[1]})
        for number in range(3, 6):
            await live.publish("orders.ann", number)
        await until(lambda: len(shown) >= 6)
        following.cancel()
        await asyncio.wait([following])
    assert shown == [0, 1, 2, 3, 4, 5]


async def test_who_is_no_longer_a_member_is_sent_away() -> None:
    names = block("async def block(name)")
    async with served(names) as (live, url):
        states: dict[str, list[str]] = {"ann": [], "bob": []}
        streams = [connect(url, ["room.lobby"], token=who, on_state=states[who].append) for who in states]
        for stream in streams:
            await stream.__aenter__()
        await names["leave"]("room.lobby", "ann")
        await until(lambda: "failed" in states["ann"])
        await names["block"]("bob")
        await until(lambda: "failed" in states["bob"])
        assert not len(live.hub.accounts)
        for stream in streams:
            await stream.close()
