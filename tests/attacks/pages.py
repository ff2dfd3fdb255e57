"""Attacks by pages: ann is signed in, and her browser shows a page of somebody else."""

from __future__ import annotations

import json
from functools import partial

from transports import Request

from . import table
from .browser import framable, kept_by_a_cache, may_ask, readable, runs_as_script
from .stage import EDGES, EVIL, OURS, SECRET, SERVERS, Target, read_http2
from .table import ALL

PUBLISH = json.dumps({"do": "publish", "channel": SECRET, "data": "forged"}).encode()
FORM = "Content-Type: text/plain"  # what a form can say: its one field may be called '{"do":"publish","x":"', and so on
SCRIPT = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script")


def by_password(request: Request) -> str | None:
    return "ann" if request.headers.get("authorization", "").startswith("Basic ") else None


attack = partial(table.attack, edges=SERVERS)


async def published(target: Target) -> bool:
    """Whether ann's channel has what she did not say."""
    seen = await target.read(target.secret, OURS)
    return any(item.data == "forged" for item in seen.items if item.kind == "event")


@attack("cross-site WebSocket hijacking", "origins are named", over=["ws"])
async def _(target: Target) -> bool:
    """A page opens a WebSocket in ann's name, and reads."""
    return SECRET in (await target.read(target.secret, OURS, f"Origin: {EVIL}")).told


@attack("cross-site reading by EventSource and fetch", "origins are named", over=["sse", "poll"])
async def _(target: Target) -> bool:
    """A page reads with ann's cookies, and is shown the answer."""
    seen = await target.read(target.secret, OURS, f"Origin: {EVIL}")
    return SECRET in seen.told and readable(seen.headers, EVIL)


@attack("hijacking over HTTP/2", "origins are named", over=ALL, edges=EDGES)
async def _(target: Target) -> bool:
    """Where a browser asks for everything over one connection, WebSockets too (RFC 8441)."""
    _, body = await read_http2(target, target.secret, ("cookie", "who=ann"), ("origin", EVIL))
    return b"pin" in body


@attack("hijacking by a page that is like ours", "origins are named", over=ALL)
async def _(target: Target) -> bool:
    """From another port of the same name, as another application of the same machine."""
    seen = await target.read(target.secret, OURS, "Origin: http://x:8001")
    return SECRET in seen.told


@attack("hijacking by a page without an origin", "origins are named", over=ALL)
async def _(target: Target) -> bool:
    """From a file or a sandboxed frame: `Origin: null`."""
    return SECRET in (await target.read(target.secret, OURS, "Origin: null")).told


@attack("two origins in one request", "one origin in a request", over=ALL, edges=EDGES)
async def _(target: Target) -> bool:
    """Something between us and the browser lets a second header through: which one counts?"""
    return SECRET in (await target.read(target.secret, OURS, f"Origin: {EVIL}", "Origin: http://x")).told


@attack("a page without TLS against a server with it", "a page that came without TLS is foreign to TLS", over=ALL, tls=True)
async def _(target: Target) -> bool:
    """Who sits on the way writes into a page that came as http, which then asks us over https."""
    return SECRET in (await target.read(target.secret, OURS, "Origin: http://x")).told


@attack(
    "reading as a script",
    "pages that name no origin are foreign too",
    "nosniff",
    "resource policy",
)
async def _(target: Target) -> bool:
    """A page has an answer run as a script, which needs no leave: JSON is one."""
    status, headers, _ = await target.ask(f"poll?{target.secret}", OURS, *SCRIPT)
    return runs_as_script(status, headers)


@attack("names of others that lead here", "names of the server", over=ALL, hosts=("x",), knows=None, allows=None)
async def _(target: Target) -> bool:
    """DNS rebinding: the page is of the very name by which it asks, so it is of our origin."""
    target.name = "evil.example:8000"
    seen = await target.read(target.secret, f"Origin: http://{target.name}", "Sec-Fetch-Site: same-origin")
    return SECRET in seen.told


@attack("cross-site POST by a form", "origins are named", "POST is JSON")
async def _(target: Target) -> bool:
    """A page sends a form in ann's name, which needs no leave."""
    await target.ask("commands", OURS, FORM, f"Origin: {EVIL}", method="POST", body=PUBLISH)
    return await published(target)


@attack("cross-site POST of which nobody says whence", "POST is JSON")
async def _(target: Target) -> bool:
    """The same from a browser, or over a proxy, that sends no `Origin`."""
    await target.ask("commands", OURS, FORM, method="POST", body=PUBLISH)
    return await published(target)


@attack("cross-site POST by fetch", "origins are named")
async def _(target: Target) -> bool:
    """A page says that it sends JSON; its browser asks first."""
    asks = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type")
    status, headers, _ = await target.ask("commands", f"Origin: {EVIL}", *asks, method="OPTIONS")
    if not may_ask(status, headers, EVIL):
        return False
    await target.ask("commands", OURS, f"Origin: {EVIL}", method="POST", body=PUBLISH)
    return await published(target)


@attack("cookies with a star", "a star lets in no cookies", over=["ws"], origins=("*",))
async def _(target: Target) -> bool:
    """Where pages of all origins may connect, one does so in ann's name."""
    return SECRET in (await target.read(target.secret, OURS, f"Origin: {EVIL}")).told


@attack("answers to a star with cookies", "a star lets in no cookies", "a star is no name", over=["sse", "poll"], origins=("*",))
async def _(target: Target) -> bool:
    """The same where the browser must show the answer."""
    seen = await target.read(target.secret, OURS, f"Origin: {EVIL}")
    return SECRET in seen.told and readable(seen.headers, EVIL)


@attack("cookies with a star, again and again", "a star lets in no cookies", origins=("*",))
async def _(target: Target) -> bool:
    """A poll that looks like the last one is answered without being read again."""
    connection, body = await target.connect(), b""
    for _ in range(4):
        connection.send(target.opening(f"{target.secret}&wait=0", OURS, f"Origin: {EVIL}"))
        body += (await connection.answer())[2]
    return b"pin" in body


@attack("a kept password with a star", "a star lets in no cookies", over=["ws"], origins=("*",), knows=by_password)
async def _(target: Target) -> bool:
    """A browser that has asked for a name and a password shows them to us whoever's page asks, too."""
    return SECRET in (await target.read(target.secret, "Authorization: Basic YW5uOngK", f"Origin: {EVIL}")).told


@attack("answers in a frame", "no frames")
async def _(target: Target) -> bool:
    """A page shows an answer of ours in a frame of its own."""
    return framable((await target.ask(f"poll?{target.secret}", OURS, "Sec-Fetch-Site: none"))[1])


@attack("answers in a cache", "no-store")
async def _(target: Target) -> bool:
    """A proxy keeps what ann got, and hands it to the next who asks."""
    status, headers, _ = await target.ask(f"poll?{target.secret}", OURS)
    return kept_by_a_cache(status, headers)
