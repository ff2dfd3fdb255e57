"""What hypothesis makes up, over real sockets: each is answered as the protocol says, or refused by name; nothing stays."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from transports import Code

from . import wires
from .fuzz import OPTIONS
from .target import EDGES, Target, target

EXAMPLES = int(os.environ.get("EVERYWIRE_FUZZ", "1000")) // 5  # of each kind, at each edge
ENDS = {1002, 1003, 1007, 1009, Code.BAD_COMMAND, Code.TOO_LARGE}  # RFC 6455 section 7.4.1, and ours
STATUSES = {200, 204, 400, 403, 404, 405, 406, 408, 411, 413, 414, 415, 417, 421, 426, 431, 501, 505}

names = st.sampled_from(["a", "c", "a*", "*", "", "$rights", "presence:a", "a b", "é", "x" * 200])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30) | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
refs = st.integers(0, 2**31)


def nearly(do: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A command whose fields are as they should be, or anything, or are not there; its `ref` is its own."""
    return st.fixed_dictionaries(
        {"do": st.just(do), "ref": refs}, optional={name: each | anything for name, each in fields.items()}
    )


commands = st.one_of(
    nearly("ping"),
    nearly("publish", channel=names, data=anything, key=st.text(max_size=9), about=st.text(max_size=9)),
    nearly("subscribe", channels=st.lists(names, max_size=3), latest=st.lists(names, max_size=2), since=st.text(max_size=9)),
    nearly("unsubscribe", channels=st.lists(names, max_size=3)),
    nearly(
        "present", channel=names, lease=st.text(max_size=9), data=anything, **{"as": st.text(max_size=9), "for": st.integers()}
    ),
    nearly("auth", token=st.text(max_size=30)),
    st.fixed_dictionaries({"do": anything, "ref": refs}, optional={"x": anything}),
)
frames = st.tuples(st.integers(0, 255), st.binary(max_size=200), st.booleans())
tokens = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=40)
heads = st.tuples(
    st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE"]) | tokens,
    st.sampled_from(["/", "/live/poll?wait=0&", "/live/negotiate?", "/live/commands?", "/live/ws?", "*"]),
    tokens,
    st.lists(
        st.tuples(
            st.sampled_from(["Origin", "Cookie", "Content-Length", "Transfer-Encoding", "Upgrade", "Connection", "Authorization"])
            | tokens,
            tokens,
        ),
        max_size=6,
    ),
)


def no_objects(said: Any) -> bool:
    """Whether it is nothing that commands are made of."""
    return not isinstance(said, dict) and not (isinstance(said, list) and all(isinstance(each, dict) for each in said) and said)


@pytest.fixture(params=EDGES, scope="module")
def played(request: pytest.FixtureRequest) -> Iterator[Callable[[Callable[[Target], Any]], Any]]:
    """Does something with a server that stays; in the end it holds what it held before, and has told of no error."""
    with asyncio.Runner() as runner:
        opened = target(request.param, **OPTIONS)
        server = runner.run(opened.__aenter__())
        before = runner.run(server.held())
        yield lambda doing: runner.run(doing(server))
        after = runner.run(server.back_to(before))
        assert not after.errors, after.errors
        runner.run(opened.__aexit__(None, None, None))


many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Heard(NamedTuple):
    """What came on a WebSocket."""

    replies: list[dict[str, Any]]
    code: int | None  # with which it was closed


async def conversation(server: Target, sent: bytes, replies: int) -> Heard:
    """What comes once this was sent, until there are so many replies, or the end."""
    line, loop, frames = await wires.connect(server), asyncio.get_running_loop(), FrameProtocol(client=True, extensions=[])
    heard: list[dict[str, Any]] = []
    text = ""
    try:
        await wires.send(line, wires.request("/live/ws", *wires.UPGRADE) + sent)
        async with asyncio.timeout(30):
            came = b""
            while b"\r\n\r\n" not in came:
                came += await loop.sock_recv(line, 65_536)
            head, _, data = came.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101"), head
            while True:
                frames.receive_bytes(data)
                for frame in frames.received_frames():
                    if frame.opcode is Opcode.CLOSE:
                        return Heard(heard, frame.payload[0])
                    if frame.opcode is Opcode.TEXT:
                        text += frame.payload
                        if frame.message_finished:
                            heard += [item for item in json.loads(text) if item["type"] == "reply"]
                            text = ""
                if len(heard) >= replies or not (data := await loop.sock_recv(line, 65_536)):
                    return Heard(heard, None)
    except ConnectionResetError:  # it had more to say than anybody wanted to hear
        return Heard(heard, None)
    finally:
        line.close()


@many
@given(st.lists(commands, min_size=1, max_size=5))
def test_each_command_has_one_reply_in_its_order(played: Any, said: list[dict[str, Any]]) -> None:
    sent = wires.frame(json.dumps(said).encode())
    heard = played(lambda server: conversation(server, sent, len(said)))
    assert heard.code is None
    assert [each.get("ref") for each in heard.replies] == [each["ref"] for each in said]
    assert all(each["ok"] or 4400 <= each["code"] < 4600 for each in heard.replies)


@many
@given(
    st.binary(max_size=300) | st.text(max_size=100).map(str.encode) | anything.filter(no_objects).map(json.dumps).map(str.encode)
)
def test_a_message_that_is_no_command_is_refused_by_number(played: Any, said: bytes) -> None:
    heard = played(lambda server: conversation(server, wires.frame(said) + wires.frame(b'{"do":"ping","ref":7}'), 1))
    sound = said.strip(b" \t\r\n") == b"[]"
    assert heard.replies == [{"type": "reply", "ref": 7, "ok": True}] if sound else heard.code in {1007, Code.BAD_COMMAND}


@many
@given(st.lists(frames, min_size=1, max_size=6))
def test_frames_that_are_made_up_end_it_with_a_code_or_are_understood(played: Any, made: list[tuple[int, bytes, bool]]) -> None:
    sent = [wires.frame(data, first) if masked else bytes((first, min(125, len(data)))) + data for first, data, masked in made]
    last = wires.frame(b"\x03\xe8", first=0x88)
    heard = played(lambda server: conversation(server, b"".join([*sent, last]), 1 << 20))
    assert heard.code in ENDS | {1000, None}


@many
@given(heads)
def test_a_head_that_is_made_up_is_answered_or_the_connection_ends(played: Any, head: Any) -> None:
    method, path, query, headers = head
    lines = [f"{method} {path}{query} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers), "", ""]

    async def asked(server: Target) -> bytes:
        line = await wires.connect(server)
        await wires.send(line, "\r\n".join(lines).encode("latin-1"))
        try:
            return await wires.answered(line, most=12, seconds=30)
        finally:
            line.close()

    answer = played(asked)
    assert not answer or int(answer.split(b" ")[1]) in STATUSES, answer
