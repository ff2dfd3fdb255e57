from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from transports import Code, Hub, Options, Refusal
from transports.asgi import Endpoints
from transports.sync import connect
from transports.testing import serving


@pytest.fixture
def url() -> Iterator[str]:
    """A server in a thread of its own, as a script would meet it."""
    ready: list[str] = []
    up, down = threading.Event(), threading.Event()

    async def run() -> None:
        hub = Hub(Options(channels=("a",)))
        async with serving(Endpoints(hub), drain=hub.close) as address:
            ready.append(address)
            up.set()
            await asyncio.to_thread(down.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert up.wait(10)
    yield ready[0]
    down.set()
    thread.join(10)


@pytest.mark.parametrize("transport", ["auto", "sse", "longpoll"])
def test_a_plain_loop_in_a_script(url: str, transport: str) -> None:
    with connect(url, ["a"], transport=transport) as stream:
        ids = [stream.publish("a", n) for n in range(3)]
        got = []
        for event in stream:
            got.append((event.id, event.data))
            if len(got) == 3:
                break
        assert got == list(zip(ids, range(3), strict=True))
        assert (stream.position, stream.state) == (ids[-1], "open")
    assert stream.state == "closed"
    assert list(stream) == []


def test_a_refusal_is_raised_where_it_is_entered(url: str) -> None:
    with pytest.raises(Refusal) as refused, connect(url, ["nope"]):
        pass
    assert refused.value.code == Code.UNKNOWN_CHANNEL


def test_a_callback_cannot_wait_for_its_own_stream(url: str) -> None:
    told: list[str] = []

    def on_state(_: str) -> None:
        try:
            stream.publish("a", 1)
        except RuntimeError as error:
            told.append(str(error))

    stream = connect(url, ["a"], on_state=on_state)
    with stream:
        stream.publish("a", 2)
    assert "cannot wait for its own stream" in told[0]


def test_it_is_used_once_and_says_how_things_stand(url: str) -> None:
    stream = connect(url, ["a"], transport="sse")
    assert (stream.state, stream.sentence) == ("idle", "Not connected yet.")
    with pytest.raises(RuntimeError, match="with connect"):
        stream.publish("a", 1)
    with stream:
        stream.publish("a", 1)
        assert next(stream).data == 1
        stream.switch("sse")
        with pytest.raises(ValueError, match="none of"):
            stream.switch("websocket")
        assert stream.evidence.transport == "sse"
    assert not [thread for thread in threading.enumerate() if thread.name == "everywire"]
    with pytest.raises(RuntimeError, match="used once"):
        stream.__enter__()


def test_who_is_there_for_a_script(url: str) -> None:
    with connect(url, ["a", "presence:a"]) as stream, stream.present("a", as_="ann", data=1):
        assert next(stream).data["change"] == "joined"
        assert [(member.name, member.data) for member in stream.members("a")] == [("ann", 1)]
