from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import groupby

import pytest
import trustme

from tests.transports.conftest import live, request_head
from transports import LADDER, Code, ConfigError, ConnectionFailedError, EventsLostError, Hub, Options, Pace, Refusal, Transport
from transports.asgi import Endpoints
from transports.client import connect, publisher
from transports.testing import Cutter, serving, until
from transports.wires import backoff


@asynccontextmanager
async def answering(answer: Callable[[str], bytes | None]) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that answers each request head with fixed bytes, or says nothing for None; the heads are recorded."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                heads.append(head)
                if (reply := answer(head)) is None:
                    await reader.read()
                    break
                writer.write(reply)
                if b"content-length" not in reply:
                    break
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
    finally:
        server.close()


def http(status: int, kind: str, body: str) -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


async def test_published_and_read_over_each_transport(transport: Transport) -> None:
    async with live() as (_, url), connect(url, ["a"], transports=[transport]) as stream:
        assert stream.transport == transport.name
        position = await stream.publish("a", {"hello": "wörld"})
        event = await anext(stream)
        assert (event.id, event.channel, event.data) == (position, "a", {"hello": "wörld"})
        assert stream.position == position
        await until(lambda: stream.state == "open")
    assert stream.state == "closed"
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_the_states_of_a_cut() -> None:
    states: list[str] = []
    async with live() as (_, url):
        cutter = Cutter(url, iter([600]))
        async with cutter.open() as through, connect(through, ["a"], transport="websocket", on_state=states.append) as stream:
            await until(lambda: stream.state == "open")
            for n in range(20):
                await stream.publish("a", n)
            assert [(await anext(stream)).data for _ in range(20)] == list(range(20))
            await until(lambda: stream.state == "open" and cutter.made)
    assert [state for state, _ in groupby(states)] == ["connecting", "open", "reconnecting", "open", "closed"]
    assert [(each.rung, each.verdict) for each in stream.evidence.attempts] == [
        ("websocket", "ok"),
        ("websocket", "cut_early"),
        ("websocket", "ok"),
    ]


async def test_closing_ends_the_iteration_of_another_task(transport: Transport) -> None:
    async with live() as (hub, url):
        stream = connect(url, ["a"], transports=[transport])
        async with stream:

            async def follow() -> str:
                async for _ in stream:
                    pass
                return "ended"

            following = [asyncio.create_task(follow()) for _ in range(2)]
            cancelled = asyncio.create_task(follow())
            await until(lambda: hub.readers)
            cancelled.cancel()
            await stream.close()
            assert await asyncio.gather(*following) == ["ended", "ended"]
            assert (await asyncio.gather(cancelled, return_exceptions=True))[0].__class__ is asyncio.CancelledError
        assert stream.state == "closed"
        await until(lambda: not hub.readers)


async def test_an_error_in_the_block_is_the_one_that_comes_out_of_it() -> None:
    async with live() as (hub, url):
        stream = connect(url, ["a"], transport="sse")

        async def fail() -> None:
            async with stream:
                following.append(asyncio.create_task(anext(stream, "ended")))
                await until(lambda: hub.readers == 1)
                raise KeyError

        following: list[asyncio.Task] = []
        with pytest.raises(KeyError):
            await fail()
        assert await following[0] == "ended"


async def test_the_position_is_that_of_what_was_handed_out(transport: Transport) -> None:
    async with live() as (hub, url):
        ids = [await hub.publish("a", n) for n in range(3)]
        async with connect(url, ["a"], since=f"{hub.log.epoch}.0", transports=[transport]) as stream:
            assert stream.position == f"{hub.log.epoch}.0"
            for position in ids:
                await anext(stream)
                assert stream.position == position, "not that of the batch it came in"


async def test_two_tasks_share_what_comes() -> None:
    async with live() as (hub, url), connect(url, ["a"]) as stream:
        first, second = asyncio.create_task(anext(stream)), asyncio.create_task(anext(stream))
        await until(lambda: hub.readers)
        await hub.publish("a", 1)
        await hub.publish("a", 2)
        assert sorted([(await first).data, (await second).data]) == [1, 2]


@pytest.mark.parametrize("callback", ["tap", "on_state"])
async def test_a_defect_of_a_callback_is_not_taken_for_one_of_the_network(callback: str) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError("mine")

    async with live() as (_, url):
        with pytest.raises(BrokenPipeError, match="mine"):
            await connect(url, ["a"], **{callback: fail}).__aenter__()


async def test_a_server_that_cannot_wait_is_not_asked_without_a_pause() -> None:
    beat = '[{"type":"beat","id":"e.1","at":1}]'
    async with answering(lambda head: http(200, "application/json", beat)) as (url, heads):
        async with connect(url, ["a"], transport="longpoll", since="e.1") as stream:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 0.3)
        assert len(heads) <= 3


async def test_a_position_that_gets_lost_on_the_way_is_no_silent_loss() -> None:
    hello = '[{"type":"hello","v":1,"id":"e.9","connection":"c","channels":["a"],"resumed":"fresh","beat":15}]'
    async with answering(lambda head: http(200, "application/json", hello)) as (url, _):
        with pytest.raises(ConnectionFailedError, match="position got lost"):
            async with connect(url, ["a"], transport="longpoll", since="e.1", connect_timeout=0.3):
                pass


@pytest.mark.parametrize("channels", [[], [""], ["a", ""], ["a,b"]])
def test_what_can_be_no_channels_is_refused_at_once(channels: list[str]) -> None:
    with pytest.raises(ConfigError, match="are no channels"):
        connect("http://127.0.0.1:9", channels)


@pytest.mark.parametrize("url", ["nonsense", "ftp://x/live", "127.0.0.1:8000/live", "http://", ""])
def test_a_url_that_can_never_work_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="is not the URL of a mount"):
        connect(url, ["a"])


def test_an_authority_that_is_none_is_named(tmp_path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        asyncio.run(connect("http://127.0.0.1:9", ["a"], ca=str(tmp_path / "ca.pem")).__aenter__())


async def test_what_is_lost_is_raised_and_the_iteration_may_go_on() -> None:
    async with live(history_count=2) as (hub, url):
        for n in range(5):
            await hub.publish("a", n)
        async with connect(url, ["a"], since=f"{hub.log.epoch}.1") as stream:
            with pytest.raises(EventsLostError) as lost:
                await anext(stream)
            assert (lost.value.lost.after, lost.value.lost.through) == (f"{hub.log.epoch}.1", f"{hub.log.epoch}.3")
            assert [(await anext(stream)).data for _ in range(2)] == [3, 4]


async def test_a_time_out_of_the_callers_loses_nothing(transport: Transport) -> None:
    async with live() as (hub, url), connect(url, ["a"], transports=[transport]) as stream:
        for n in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 0.01)
            await hub.publish("a", n)
            assert (await anext(stream)).data == n
        assert len(stream.evidence.attempts) == 1, "it was the same wire all the time"


async def test_a_refusal_for_good_ends_it_with_its_number(transport: Transport) -> None:
    async with live(channels=("a",)) as (_, url):
        stream = connect(url, ["nope"], transports=[transport])
        with pytest.raises(Refusal) as refused:
            async with stream:
                pass
        assert refused.value.code == Code.UNKNOWN_CHANNEL
        assert stream.state == "failed"


async def test_a_bye_that_says_when_is_followed(transport: Transport) -> None:
    async with live() as (hub, url), connect(url, ["a"], transports=[transport]) as stream:
        reading = asyncio.create_task(anext(stream))
        await until(lambda: hub.readers)
        for feed in list(hub._feeds):
            feed.end(Refusal(Code.REBALANCE, retry=0.01))
        await hub.publish("a", 1)
        assert (await reading).data == 1


async def test_the_next_transport_is_tried_where_one_does_not_work() -> None:
    for missing, chosen in [(1, "sse"), (2, "longpoll")]:
        async with live(transports=LADDER[missing:]) as (_, url), connect(url, ["a"]) as stream:
            assert stream.transport == chosen
            await until(lambda missing=missing: list(stream.evidence.bad) == ["websocket", "sse"][:missing])


async def test_a_page_that_is_not_ours_is_told_as_what_it_is() -> None:
    async with answering(lambda head: http(200, "text/html", "<h1>Welcome to the hotel</h1>")) as (url, _):
        with pytest.raises(ConnectionFailedError, match="text/html") as failed:
            async with connect(url, ["a"], connect_timeout=0.5):
                pass
        assert "websocket" in str(failed.value)


async def test_an_answer_that_is_nested_beyond_all_measure_is_one_that_is_not_ours() -> None:
    async with answering(lambda head: http(403, "application/json", '{"x":' + "[" * 50_000)) as (url, _):
        with pytest.raises(ConnectionFailedError, match="HTTP 403"):
            async with connect(url, ["a"], connect_timeout=0.5):
                pass


async def test_a_server_that_says_nothing_is_given_up_for_the_next_transport() -> None:
    async with (
        answering(
            lambda head: None if "/poll" not in head else http(200, "application/json", '[{"type":"beat","id":"e.1","at":1}]')
        ) as (
            url,
            _,
        ),
        connect(url, ["a"], pace=Pace(proof=0.05, gap=0.02)) as stream,
    ):
        assert stream.transport == "longpoll"
        await until(lambda: set(stream.evidence.bad) == {"websocket", "sse"})
        assert stream.sentence == "Live over long-polling: WebSocket was not answered."


async def test_a_wire_on_which_nothing_comes_is_dead() -> None:
    hello = json.dumps(
        {"type": "hello", "v": 1, "id": "e.1", "connection": "c", "channels": ["a"], "resumed": "fresh", "beat": 0.05}
    )
    beginning = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: " + hello.encode() + b"\n\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/poll" in head:
            writer.write(http(200, "application/json", '[{"type":"beat","id":"e.1","at":1}]'))
        else:
            heads.append(head.decode())
            writer.write(beginning)
        await reader.read()  # and never another byte
        writer.close()

    heads: list[str] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pace = Pace(slack=0.05, answer=0.05)
    async with connect(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", ["a"], transport="sse", pace=pace) as stream:
        reading = asyncio.create_task(anext(stream))
        await until(lambda: len(heads) >= 3)
        reading.cancel()
        await asyncio.wait([reading])
    assert "since=e.1" in heads[1]
    server.close()


async def bytes_through_hello(url: str) -> int:
    """How many bytes come down a WebSocket up to the end of its `hello`."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = request_head(LADDER[0], "channels=a").removesuffix(b"\r\n")
    writer.write(head + b"Sec-WebSocket-Protocol: everywire.v1.json\r\n\r\n")
    came = await reader.readuntil(b"}]")
    writer.close()
    return len(came)


async def test_a_wire_that_dies_right_after_its_hello_is_not_taken_for_one_that_works() -> None:
    async with live() as (hub, url):
        cutter = Cutter(url, iter([await bytes_through_hello(url)]))
        async with cutter.open() as through, connect(through, ["a"]) as stream:
            await hub.publish("a", 1)
            assert (await anext(stream)).data == 1
            first = stream.evidence.attempts[0]
            assert (first.rung, first.phase, first.verdict) == ("websocket", "heard", "cut_early")
            await until(lambda: stream.transport == "websocket")  # tried once more: it may have been the server's start
            assert not stream.evidence.bad


async def test_a_name_alone_is_no_list_of_names() -> None:
    with pytest.raises(TypeError, match=r"\['clock'\]"):
        connect("http://127.0.0.1:9", "clock")


async def test_nobody_there_is_an_error_that_says_what_was_tried() -> None:
    with pytest.raises(ConnectionFailedError, match=r"websocket.*sse.*longpoll"):
        async with connect("http://127.0.0.1:9", ["a"], connect_timeout=0.3):
            pass


async def test_a_publish_whose_answer_was_lost_publishes_once() -> None:
    async with live() as (hub, url):
        cutter = Cutter(url, iter([0, 20, 100]))  # at the first byte, in the head, in the body
        async with cutter.open() as through, publisher(through) as publish:
            (position,) = await publish([("a", 1, None)])
        assert hub.log.head == 1
        assert position == f"{hub.log.epoch}.1"
        assert cutter.made == 3


async def test_a_publish_that_is_refused_says_why_and_is_not_repeated() -> None:
    async with live(channels=("a",)) as (hub, url), publisher(url) as publish:
        with pytest.raises(Refusal) as refused:
            await publish([("a", 1, None), ("nope", 1, None)])
        assert refused.value.code == Code.UNKNOWN_CHANNEL
        assert hub.log.head == 1


async def test_a_publish_that_nobody_answers_is_given_up_in_time() -> None:
    async with publisher("http://127.0.0.1:9") as publish:
        with pytest.raises(ConnectionFailedError, match="not acknowledged"):
            await publish([("a", 1, None)], timeout=0.1)


def test_backoff_is_the_full_jitter_of_a_doubling_time_with_a_ceiling() -> None:
    assert [backoff(n, 1.0) for n in range(8)] == [0.5, 1, 2, 4, 8, 16, 20, 20]
    assert backoff(10_000, 1.0) == 20
    assert backoff(5, 0.0) == 0
    assert backoff(2, 0.25) == 0.5


def test_an_unknown_transport_is_named() -> None:
    with pytest.raises(ValueError, match="there is auto, websocket, sse, longpoll"):
        connect("http://x", ["a"], transport="carrier-pigeon")


async def test_a_stream_wants_to_be_entered() -> None:
    stream = connect("http://127.0.0.1:9", ["a"])
    with pytest.raises(RuntimeError, match="async with"):
        await anext(stream)
    with pytest.raises(RuntimeError, match="async with"):
        await stream.publish("a", 1)


# --- through proxies, and over TLS


@asynccontextmanager
async def forward_proxy(password: str | None = None) -> AsyncIterator[tuple[str, list[str]]]:
    """A forward proxy: CONNECT for TLS, absolute URLs for the rest, each with basic authentication if a password is given."""
    seen: list[str] = []
    wanted = None if password is None else "Basic " + base64.b64encode(f"user:{password}".encode()).decode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back = None
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *fields = head.split("\r\n")
            method, target, _ = first.split(" ")
            seen.append(f"{method} {target.split('?')[0]}")
            given = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
            if wanted is not None and given.get("proxy-authorization") != wanted:
                writer.write(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\ncontent-length: 0\r\n\r\n"
                )
                return
            place = target if method == "CONNECT" else target.split("/")[2]
            back_reader, back = await asyncio.open_connection(*place.split(":"))
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                once = "" if "upgrade" in given else "Connection: close\r\n"  # the next request is for the proxy again
                fields = head.removesuffix("\r\n") + once + "\r\n"
                back.write(fields.replace(target, "/" + target.split("/", 3)[3], 1).encode("latin-1"))
            await asyncio.wait(
                [asyncio.create_task(copy(reader, back)), asyncio.create_task(copy(back_reader, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        except (OSError, EOFError):
            pass
        finally:
            for each in (writer, back):
                if each is not None:
                    each.close()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{'' if password is None else f'user:{password}@'}{host}:{port}", seen
    finally:
        server.close()


@pytest.fixture
def tls(tmp_path) -> dict[str, str]:
    authority, paths = trustme.CA(), {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(paths["ca"])
    certificate.private_key_pem.write_to_path(paths["key"])
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(paths["cert"], append=True)
    return paths


@pytest.mark.parametrize("password", [None, "s3cret"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_through_a_proxy_from_the_environment(
    transport: Transport, password: str | None, secure: bool, tls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(Options(channels=("a",)))
    await hub.open()
    files = {"certfile": tls["cert"], "keyfile": tls["key"]} if secure else {}
    from tests.transports.conftest import TRANSPORTS

    async with (
        serving(Endpoints(hub, transports=TRANSPORTS), drain=hub.close, **files) as url,
        forward_proxy(password) as (proxy, seen),
    ):
        monkeypatch.setenv("HTTPS_PROXY" if secure else "HTTP_PROXY", proxy)
        monkeypatch.setenv("NO_PROXY", "")
        async with connect(url, ["a"], transports=[transport], ca=tls["ca"] if secure else None) as stream:
            await stream.publish("a", 1)
            assert (await anext(stream)).data == 1
    assert seen
    assert all(line.startswith("CONNECT 127.0.0.1:" if secure else ("GET http://127", "POST http://127")) for line in seen)


async def test_a_certificate_of_an_unknown_authority_is_not_trusted(tls: dict[str, str]) -> None:
    hub = Hub(Options(channels=("a",)))
    async with serving(Endpoints(hub), certfile=tls["cert"], keyfile=tls["key"]) as url:
        with pytest.raises(ConnectionFailedError, match="certificate"):
            async with connect(url, ["a"], connect_timeout=0.5):
                pass
