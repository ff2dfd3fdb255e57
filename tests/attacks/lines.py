"""Attacks with bytes: requests that are read in two ways, and texts that are more than they seem."""

from __future__ import annotations

from urllib.parse import quote

from .stage import OURS, Target
from .table import ALL, attack

HIDDEN = b"GET /live/negotiate HTTP/1.1\r\nHost: x\r\nX-Internal: yes\r\n\r\n"
INJECTED = "k\nevent: bye\ndata: {}\n\n"


@attack("a request in the body of another", "a body has one length")
async def _(target: Target) -> bool:
    """A proxy goes by the length, we by the chunks: what it took for a body we take for a request, past all its rules."""
    body = b"0\r\n\r\n" + HIDDEN
    lengths = (f"Content-Length: {len(body)}", "Transfer-Encoding: chunked")
    connection = await target.connect()
    connection.send(target.request("commands", OURS, *lengths, method="POST", body=body))
    return b'"versions"' in await everything(target, connection)


@attack("a request behind a line that ends oddly", "a header ends where its line ends")
async def _(target: Target) -> bool:
    """A header with a bare line feed in it is one to us, and two to somebody else: here the second one says who asks."""
    connection = await target.connect()
    connection.send(target.request(f"poll?{target.secret}", "X-Note: a\n" + OURS + "\r\nConnection: close"))
    return b" 400 " not in (await everything(target, connection))[:20]


@attack("lines in a stream by a position", "a position is one", over=["sse"], knows=None, allows=None)
async def _(target: Target) -> bool:
    """A link has a reader say where it stands, with a line end in it: what follows would be an item of its own."""
    query = f"channels=open.news&since={quote(INJECTED)}.1"
    connection = await target.connect()
    connection.send(target.request(f"sse?{query}"))
    status, _ = await connection.head()
    return status == 200 and b"\nevent: bye\ndata: {}\n" in await connection.chunk() + await connection.chunk()


@attack("names that are none", "a channel has a name", over=ALL)
async def _(target: Target) -> bool:
    """A channel whose name has line ends, a NUL, markup or a path in it, for whoever writes it somewhere without a thought."""
    names = ["open.\r\nSet-Cookie: who=bob", "open.\0", "open.<script>", "open./../../etc", "open.ä", "open." + "x" * 200]
    commands = [{"do": "publish", "ref": n, "channel": name, "data": 1} for n, name in enumerate(names)]
    _, replies = await target.post(*commands, headers=[OURS])
    seen = [await target.read(f"channels={quote(name)}&since={target.beginning}&wait=0", OURS) for name in names]
    return any(reply["ok"] for reply in replies) or any(each.told for each in seen)


async def everything(target: Target, connection: object) -> bytes:
    """All that comes, up to the end or a silence."""
    got = b""
    try:
        while True:
            status, headers, body = await connection.answer()
            got += f"HTTP/1.1 {status} {headers}".encode() + body
    except (EOFError, OSError, TimeoutError, AssertionError):
        return got
