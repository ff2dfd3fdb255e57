from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import socket
import ssl
import struct
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.jumping import jumping
from tests.ports import free_port
from transports import ConfigError
from transports.networks import NETWORKS, Behaviour, Network, Passage, Piece, Profile, Stage, proxy
from transports.networks.behaviours import Away, Delay, Forget, Hold, Portal

pytestmark = pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")

GET = b"GET /live?a=1 HTTP/1.1\r\nHost: x\r\nX-Own: \xe4 , b\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
NOISE = random.Random(1).randbytes(1_000_000)  # cannot be compressed
FRAME_UP, FRAME_DOWN = b"\x81\x82abcd\x09\x0b", b"\x81\x02hi"


class Side:
    """One end of a connection, held by a test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def says(self, data: bytes) -> None:
        self.writer.write(data)

    async def hears(self, data: bytes) -> None:
        """These bytes come next."""
        assert await self.reader.readexactly(len(data)) == data

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """All that comes until the other side has closed."""
        return await self.reader.read()

    async def silent(self, seconds: float = 60.0) -> bool:
        """Whether nothing happens for so long, not even an end."""
        try:
            async with asyncio.timeout(seconds):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False

    async def reset(self) -> bool:
        """Whether the connection ends by a reset."""
        try:
            while await self.reader.read(65_536):
                pass
        except ConnectionResetError:
            return True
        return False

    def close(self) -> None:
        self.writer.transport.abort()


class Server:
    """A server of which the test says every byte."""

    def __init__(self) -> None:
        self._sides: asyncio.Queue[Side] = asyncio.Queue()
        self.made: list[Side] = []

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made.append(Side(reader, writer))
        self._sides.put_nowait(self.made[-1])

    async def side(self) -> Side:
        """The next connection that is made."""
        return await self._sides.get()


class Play:
    """A network between a test's clients and its server."""

    def __init__(self, network: Network, server: Server) -> None:
        self.network, self.server = network, server
        self.clients: list[Side] = []

    async def client(self, **settings: object) -> Side:
        url = (self.network.proxy or self.network.url).rpartition("//")[2]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split("/")[0].rpartition(":")[2]), **settings)
        self.clients.append(Side(reader, writer))
        return self.clients[-1]

    async def asked(self, request: bytes = GET, through: bytes | None = None) -> tuple[Side, Side]:
        """A client whose request has come to the server, as it is or as `through`."""
        client = await self.client()
        client.says(request)
        side = await self.server.side()
        await side.hears(request if through is None else through)
        return client, side

    async def upgraded(self) -> tuple[Side, Side]:
        """A client with a WebSocket to the server."""
        client, side = await self.asked(UPGRADE)
        side.says(SWITCHING)
        await client.hears(SWITCHING)
        return client, side

    def kinds(self, kind: str) -> list[Passage]:
        return [passage for passage in self.network.record.passages()[1] if passage.kind == kind]


@asynccontextmanager
async def playing(names: str | Profile = "open", **settings: object) -> AsyncIterator[Play]:
    server = Server()
    listening = await asyncio.start_server(server.accept, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    network = Network(names, upstream=f"http://127.0.0.1:{port}/base", **settings)
    play = Play(network, server)
    try:
        async with network:
            yield play
        own = [
            listening.sockets[0],
            *(side.writer.get_extra_info("socket") for side in (*server.made, *play.clients)),
        ]  # None for TLS that has ended
        there = [key.fd for key in asyncio.get_running_loop().wires.get_map().values()]
        assert len(set(there) - {each.fileno() for each in own if each is not None}) == 1, (
            "one is the loop's own, more are the network's"
        )
        assert asyncio.all_tasks() == {asyncio.current_task()}, "and it has no task any more"
    finally:
        listening.close()
        for side in (*server.made, *play.clients):
            side.close()
        for _ in range(10):
            await asyncio.sleep(0)


def now() -> float:
    return asyncio.get_running_loop().time()


def profile(*behaviours: Behaviour, **settings: object) -> Profile:
    return Profile("own", "", "", behaviours=behaviours, **settings)


# ------------------------------------------------------------------------------------------------ the table, on the wire


@jumping
async def test_open_passes_every_byte_as_it_is() -> None:
    async with playing("open") as play:
        assert play.network.url.endswith("/base")
        client, side = await play.asked()
        side.says(OK)
        await client.hears(OK)
        client.says(UPGRADE)
        await side.hears(UPGRADE)
        side.says(SWITCHING + FRAME_DOWN)
        await client.hears(SWITCHING + FRAME_DOWN)
        client.says(FRAME_UP)
        await side.hears(FRAME_UP)
        assert await side.silent(3_000)


@jumping
async def test_no_upgrade_takes_two_headers_out() -> None:
    async with playing("no-upgrade") as play:
        await play.asked(UPGRADE, b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")


@jumping
async def test_upgrade_swallowed_lets_the_handshake_pass_and_no_frame() -> None:
    async with playing("upgrade-swallowed") as play:
        client, side = await play.upgraded()
        client.says(FRAME_UP)
        side.says(FRAME_DOWN)
        assert await client.silent()
        assert await side.silent()
        assert [(passage.up, passage.raw) for passage in play.kinds("lost")] == [(True, FRAME_UP), (False, FRAME_DOWN)]


@jumping
async def test_what_comes_behind_a_frame_that_was_swallowed_never_does_and_a_way_without_holes_goes_on() -> None:
    async with playing("upgrade-swallowed") as play:
        client, side = await play.upgraded()
        side.says(FRAME_DOWN)
        assert await client.silent()
        for name in ("open", "latency-200ms", "open"):
            play.network.switch(name)
            side.says(FRAME_DOWN)
            assert await client.silent(), "a stream would have a hole, of which nobody is told"
        client.says(FRAME_UP)
        await side.hears(FRAME_UP)
        client, side = await play.upgraded()
        side.says(FRAME_DOWN)
        await client.hears(FRAME_DOWN)


@jumping
async def test_upgrade_cut_resets_200_ms_behind_the_101() -> None:
    async with playing("upgrade-cut") as play:
        client, side = await play.upgraded()
        began = now()
        assert await client.reset()
        assert now() - began == pytest.approx(0.2)
        assert await side.reset()


@jumping
async def test_upgrade_cut_counts_from_when_the_101_has_passed() -> None:
    async with playing("upgrade-cut+latency-2000ms") as play:
        client = await play.client()
        began = now()
        client.says(UPGRADE)
        side = await play.server.side()
        await side.hears(UPGRADE)
        side.says(SWITCHING)
        await client.hears(SWITCHING)
        assert await client.reset()
        assert now() - began == pytest.approx(2.2)


@jumping
async def test_buffering_holds_a_body_until_it_ends() -> None:
    async with playing("buffering") as play:
        client, side = await play.asked()
        side.says(CHUNKED + b"3\r\nabc\r\n")
        await client.hears(CHUNKED)
        assert await client.silent()
        side.says(b"3\r\ndef\r\n0\r\n\r\n")
        await client.hears(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")


@jumping
async def test_buffering_passes_what_it_has_of_a_body_that_was_cut_off() -> None:
    async with playing("buffering") as play:
        client, side = await play.asked()
        side.says(CHUNKED + b"3\r\nabc\r\n5\r\nab")
        await client.hears(CHUNKED)
        side.writer.close()
        assert await client.rest() == b"3\r\nabc\r\n5\r\nab"


@jumping
async def test_buffering_does_not_hold_more_than_it_can() -> None:
    async with playing("buffering") as play:
        client, side = await play.asked()
        size = 20 << 20
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
        side.says(head + bytes(size))
        await client.hears(head)
        assert not any(await client.reader.readexactly(size))


@jumping
async def test_buffering_4k_passes_whenever_there_are_4096_bytes() -> None:
    async with playing("buffering-4k") as play:
        client, side = await play.asked()
        piece = b"400\r\n" + bytes(1024) + b"\r\n"
        side.says(CHUNKED + piece * 3)
        await client.hears(CHUNKED)
        assert await client.silent()
        side.says(piece)
        await client.hears(piece * 4)
        side.says(piece)
        assert await client.silent()


@jumping
async def test_gzip_buffer_holds_until_8_kib_of_gzip_or_the_end() -> None:
    async with playing("gzip-buffer") as play:
        client, side = await play.asked()
        side.says(CHUNKED + b"6\r\nevent\n\r\n")
        head = await client.head()
        assert b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n" in head
        assert await client.silent()
        side.says(b"0\r\n\r\n")
        size = int(await client.reader.readline(), 16)
        assert gzip.decompress(await client.reader.readexactly(size)) == b"event\n"
        await client.hears(b"\r\n0\r\n\r\n")


@jumping
async def test_gzip_buffer_leaves_an_answer_to_head_alone() -> None:
    async with playing("gzip-buffer") as play:
        client, side = await play.asked(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n"
        side.says(answer)
        await client.hears(answer)
        client.says(GET)
        await side.hears(GET)
        side.says(b"HTTP/1.1 204 No Content\r\n\r\n")
        await client.hears(b"HTTP/1.1 204 No Content\r\n\r\n")


@jumping
async def test_idle_cut_closes_5_s_behind_the_last_byte() -> None:
    async with playing("idle-cut-5s") as play:
        client, side = await play.upgraded()
        assert await client.silent(4)
        side.says(FRAME_DOWN)
        await client.hears(FRAME_DOWN)
        began = now()
        assert await client.silent(4)
        client.says(FRAME_UP)
        await side.hears(FRAME_UP)
        assert await client.rest() == b""
        assert now() - began == pytest.approx(9)
        assert await side.rest() == b""


@pytest.mark.parametrize("upgrade", [False, True])
def test_request_cut_closes_10_s_behind_the_beginning_of_a_request(upgrade: bool) -> None:
    @jumping
    async def play_it() -> None:
        async with playing("request-cut-10s") as play:
            began = now()
            client, side = await (play.upgraded() if upgrade else play.asked())
            if not upgrade:
                side.says(CHUNKED)
                await client.head()
            for _ in range(9):
                assert await client.silent(1)
                side.says(FRAME_DOWN if upgrade else b"2\r\nhi\r\n")
                await client.reader.read(100)
            assert await client.rest() == b""
            assert now() - began == pytest.approx(10)

    play_it()


@jumping
async def test_request_cut_leaves_an_idle_connection_and_short_requests_alone() -> None:
    async with playing("request-cut-10s") as play:
        client, side = await play.asked()
        for _ in range(3):
            assert await client.silent(9)
            side.says(OK)
            await client.hears(OK)
            assert await client.silent(100)
            client.says(GET)
            await side.hears(GET)


@jumping
async def test_reset_every_7s_resets_what_is_7_s_old() -> None:
    async with playing("reset-every-7s") as play:
        began = now()
        client, side = await play.asked()
        side.says(CHUNKED)
        assert await side.reset()
        assert await client.reset()
        assert now() - began == pytest.approx(7)


@jumping
async def test_half_open_forgets_what_is_there_after_8_s_and_nothing_later() -> None:
    async with playing("half-open") as play:
        client, side = await play.upgraded()
        assert await client.silent(7.9)
        later, other = await play.asked()
        side.says(FRAME_DOWN)
        await client.hears(FRAME_DOWN)
        assert await client.silent(0.2)
        side.says(FRAME_DOWN)
        client.says(FRAME_UP)
        assert await client.silent(3_000)
        assert await side.silent(1)
        other.says(OK)
        assert await later.silent(1), "it was open, too"
        newest, server = await play.asked()
        server.says(OK)
        await newest.hears(OK)
        assert await newest.silent(3_000)


@jumping
async def test_latency_takes_half_of_a_round_trip_each_way() -> None:
    async with playing("latency-200ms") as play:
        client = await play.client()
        began = now()
        client.says(GET)
        side = await play.server.side()
        await side.hears(GET)
        assert now() - began == pytest.approx(0.1)
        side.says(OK)
        await client.hears(OK)
        assert now() - began == pytest.approx(0.2)


@jumping
async def test_narrow_takes_its_time_for_every_byte() -> None:
    async with playing("narrow-256kbit") as play:
        client, side = await play.asked()
        began = now()
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 64000\r\n\r\n"
        side.says(whole + bytes(64_000))
        await client.hears(whole)
        await client.reader.readexactly(32_000)
        assert now() - began == pytest.approx(1, abs=0.1), "it trickles"
        await client.reader.readexactly(32_000)
        assert now() - began == pytest.approx((len(whole) + 64_000) / 32_000)


@jumping
async def test_flaky_is_late_and_away_for_a_while() -> None:
    async with playing("flaky", seed=5) as play:
        began = now()
        client, side = await play.asked()
        assert 0.025 <= now() - began <= 0.175
        assert await client.reset()
        assert now() - began == pytest.approx(6)
        assert await side.reset()
        assert await (await play.client()).reset()
        await asyncio.sleep(1.6)  # by the jumping clock
        again, _ = await play.asked()
        assert await again.reset()
        assert now() - began == pytest.approx(18)


@jumping
async def test_restart_is_away_for_3_s_and_then_there() -> None:
    async with playing("restart-3s") as play:
        began = now()
        client, _ = await play.asked()
        assert await client.reset()
        assert now() - began == pytest.approx(5)
        for _ in range(2):
            assert await (await play.client()).reset()
            await asyncio.sleep(1.4)  # by the jumping clock
        await asyncio.sleep(0.3)
        again, side = await play.asked()
        side.says(OK)
        await again.hears(OK)
        assert await again.silent(3_000)


@jumping
async def test_one_byte_sends_each_byte_by_itself_and_records_what_it_was() -> None:
    async with playing("one-byte") as play:
        client = await play.client()
        client.says(GET)
        side = await play.server.side()
        reads = []
        while b"".join(reads) != GET:
            reads.append(await side.reader.read(100))
        assert len(reads) > len(GET) / 2, "the loop comes to read in between"
        side.says(OK)
        await client.hears(OK)
        assert play.network.record.requests == 1
        assert [passage.raw for passage in play.kinds("head")] == [GET, OK[:-2]]
        assert [passage.writes for passage in play.kinds("head")] == [len(GET), len(OK) - 2]
        play.network.switch("open")
        client.says(GET)
        await side.hears(GET)
        assert play.kinds("head")[-1].writes == 1


@jumping
async def test_http10_knows_no_chunks_and_one_request() -> None:
    async with playing("http10") as play:
        client, side = await play.asked(UPGRADE, b"GET /ws HTTP/1.0\r\nHost: x\r\n\r\n")
        side.says(b"HTTP/1.1 103 Early Hints\r\n\r\n" + CHUNKED + b"3\r\nabc\r\n")
        await client.hears(b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nabc")
        client.says(GET)
        side.says(b"2\r\nde\r\n0\r\n\r\n")
        assert await client.rest() == b"de"
        assert await side.rest() == b""


@jumping
async def test_http10_wants_to_know_how_much_is_sent() -> None:
    async with playing("http10") as play:
        client = await play.client()
        client.says(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.0 411 ")
        assert not play.server.made


@pytest.mark.parametrize(("name", "status"), [("captive-portal", b"200"), ("login-redirect", b"302")])
def test_portals_answer_everything_themselves(name: str, status: bytes) -> None:
    @jumping
    async def play_it() -> None:
        async with playing(name) as play:
            client = await play.client()
            for request in (
                GET,
                UPGRADE,
                b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                b"CONNECT a.example:443 HTTP/1.1\r\n\r\n",
            ):
                client.says(request)
                head = await client.head()
                assert head.startswith(b"HTTP/1.1 " + status)
                assert (b"\r\nLocation: http://login.invalid/\r\n" in head) == (status == b"302")
                size = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
                assert len(await client.reader.readexactly(size)) == size
            client.says(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert (await client.rest()).endswith(b"\r\n\r\n"), "no body for HEAD, and no waiting for one who wants an end"
            assert not play.server.made
            assert play.network.record.requests == 5

    play_it()


def known(user: str = "user:secret") -> bytes:
    return b"Proxy-Authorization: Basic " + b64encode(user.encode()) + b"\r\n"


@jumping
async def test_proxy_407_asks_who_it_is() -> None:
    async with playing("proxy-407") as play:
        assert play.network.url == f"http://127.0.0.1:{play.network.upstream[1]}/base", "that of the server"
        asked = b"GET http://x/live HTTP/1.1\r\nHost: x\r\n"
        client = await play.client()
        for wrong in (b"", known("user:wrong")):
            client.says(asked + wrong + b"\r\n")
            head = await client.head()
            assert head.startswith(b"HTTP/1.1 407 ")
            assert b'\r\nProxy-Authenticate: Basic realm="company"\r\n' in head
            await client.reader.readuntil(b"</h1>")
        client.says(asked + known() + b"\r\n")
        side = await play.server.side()
        await side.hears(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        side.says(OK)
        await client.hears(OK)


@jumping
async def test_proxy_407_makes_tunnels_to_the_one_server() -> None:
    async with playing("proxy-407") as play:
        client = await play.client()
        client.says(b"CONNECT elsewhere.example:443 HTTP/1.0\r\n" + known() + b"\r\n")
        await client.hears(b"HTTP/1.1 200 Connection established\r\n\r\n")
        side = await play.server.side()
        client.says(b"\x16\x03 whatever \r\n\r\n")
        await side.hears(b"\x16\x03 whatever \r\n\r\n")
        side.says(b"\0\r\n\r\n\0")
        await client.hears(b"\0\r\n\r\n\0")


@jumping
async def test_tls_inspection_shows_a_certificate_of_its_own(tmp_path: Path) -> None:
    async with playing("tls-inspection") as play:
        assert play.network.url.startswith("https://127.0.0.1:")
        with pytest.raises(ssl.SSLCertVerificationError):
            await play.client(ssl=ssl.create_default_context(), server_hostname="localhost")
        trusting = ssl.create_default_context(cafile=str(play.network.save_authority(tmp_path / "authority.pem")))
        for name in ("localhost", "127.0.0.1", "::1"):
            client = await play.client(ssl=trusting, server_hostname=name)
            client.says(UPGRADE)
            side = await play.server.side()
            await side.hears(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
            big = b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + bytes(900_000)
            side.says(big)
            await client.hears(big)
        assert play.network.cut() == 3
        assert await client.reset()
        assert await side.reset()


@pytest.mark.parametrize("names", ["tls-inspection", "h2-edge"])
def test_a_handshake_that_nobody_goes_on_with_ends_in_time_and_with_the_network(names: str) -> None:
    @jumping
    async def play_it() -> None:
        async with playing(names) as play:
            client, began = await play.client(), now()
            client.says(b"\x16\x03\x01")
            assert await client.rest() == b""
            assert now() - began == pytest.approx(5)
            silent, begun = await play.client(), await play.client()
            begun.says(b"\x16\x03\x01")
            await asyncio.sleep(1)  # by the jumping clock
        assert await silent.rest() == await begun.rest() == b""
        assert now() - began == pytest.approx(6)

    play_it()


def test_every_network_of_the_table_has_been_played() -> None:
    """By name, here or beside: whoever adds a network to the table sees that it needs a test."""
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path.stem != "test_profiles")
    assert [name for name in NETWORKS if f'"{name}"' not in here] == []


# ------------------------------------------------------------------------------------------------------- other networks, suddenly


@jumping
async def test_a_switch_releases_what_was_held_in_order() -> None:
    async with playing("buffering") as play:
        client, side = await play.asked()
        side.says(CHUNKED + b"1\r\na\r\n1\r\nb\r\n")
        await client.hears(CHUNKED)
        assert await client.silent(1)
        play.network.switch("open")
        side.says(b"1\r\nc\r\n")
        await client.hears(b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n")


@jumping
async def test_a_switch_to_a_network_that_holds_goes_on_holding() -> None:
    async with playing("buffering") as play:
        client, side = await play.asked()
        side.says(CHUNKED + b"1\r\na\r\n")
        await client.hears(CHUNKED)
        assert await client.silent(1)
        play.network.switch("buffering-4k")
        assert await client.silent()
        side.says(b"0\r\n\r\n")
        await client.hears(b"1\r\na\r\n0\r\n\r\n")


@jumping
async def test_a_switch_makes_what_is_late_pass_at_once() -> None:
    async with playing("latency-100000ms") as play:
        client = await play.client()
        client.says(GET)
        side = await play.server.side()
        assert await side.silent(1)
        play.network.switch("open")
        began = now()
        await side.hears(GET)
        side.says(OK)
        await client.hears(OK)
        assert now() == began


@jumping
async def test_a_switch_frees_the_sender_that_had_to_wait() -> None:
    async with playing("narrow-1kbit") as play:
        client, side = await play.asked()
        size = 400_000
        side.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        await client.head()
        play.network.switch("open")
        began = now()
        await client.reader.readexactly(size)
        assert now() - began < 0.1


@jumping
async def test_gzip_goes_on_to_the_end_of_a_body_without_holding_and_not_into_the_next() -> None:
    async with playing("gzip-buffer") as play:
        client, side = await play.asked()
        side.says(CHUNKED + b"1\r\na\r\n")
        await client.head()
        assert await client.silent(1)
        play.network.switch("open")
        packed = b""
        for letter in (b"a", b"b", b"c"):
            if letter != b"a":
                side.says(b"1\r\n" + letter + b"\r\n")
            packed += await client.reader.readexactly(int(await client.reader.readline(), 16))
            await client.hears(b"\r\n")
        side.says(b"0\r\n\r\n")
        packed += await client.reader.readexactly(int(await client.reader.readline(), 16))
        assert gzip.decompress(packed) == b"abc"
        await client.hears(b"\r\n0\r\n\r\n")
        client.says(GET)
        side.says(OK)
        await client.hears(OK)


@jumping
async def test_cuts_begin_and_stop_with_a_switch() -> None:
    async with playing("reset-every-7s") as play:
        client, _ = await play.asked()
        assert await client.silent(6.9)
        play.network.switch("open")
        assert await client.silent(1_000)
        play.network.switch("reset-every-7s")
        began = now()
        assert await client.reset()
        assert now() - began == pytest.approx(7), "its age begins with the network"


@jumping
async def test_a_switch_to_where_clients_would_have_to_come_in_another_way_is_refused() -> None:
    async with playing("open") as play:
        for name in ("tls-inspection", "proxy-407", "nonsense"):
            with pytest.raises(ConfigError):
                play.network.switch(name)
        assert play.network.profile is NETWORKS["open"]
        with pytest.raises(ConfigError, match="does not end TLS"):
            play.network.save_authority(Path("x"))


@jumping
async def test_a_network_of_half_a_dozen_things_does_them_all() -> None:
    async with playing("http10+gzip-buffer+latency-200ms+one-byte") as play:
        began = now()
        client = await play.client()
        client.says(GET)
        side = await play.server.side()
        await side.hears(GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
        side.says(b"HTTP/1.0 200 OK\r\n\r\nabc")
        side.writer.close()
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"chunked" not in head
        assert gzip.decompress(body) == b"abc"
        assert now() - began == pytest.approx(0.2)


# ----------------------------------------------------------------------------------------------------------------- ends


@jumping
async def test_forget_tells_nobody() -> None:
    async with playing("open") as play:
        client, side = await play.upgraded()
        assert play.network.cut("forget") == 1
        client.says(FRAME_UP)
        side.says(FRAME_DOWN)
        assert await client.silent()
        assert await side.silent()
        client.says(b"\xff" * 100_000)
        client.writer.close()
        assert await side.silent(3_000), "the server does not learn that the client has left"
        assert play.network.connections == 1
        assert all(passage.kind in ("lost", "open") for passage in play.network.record.passages()[1][3:])
        side.writer.close()
        await ended(play)


@jumping
async def test_forget_in_the_middle_of_a_body_that_the_client_does_not_read() -> None:
    async with playing("open") as play:
        client, side = await play.asked()
        side.says(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n" + bytes(20_000_000))
        await client.head()
        play.network.cut("forget")
        await asyncio.sleep(1)  # by the jumping clock
        client.close()
        assert await side.silent()
        assert play.network.connections == 1


async def ended(play: Play) -> None:
    async with asyncio.timeout(60):
        while play.network.connections:  # noqa: ASYNC110 - by the jumping clock
            await asyncio.sleep(0.1)


@jumping
async def test_cut_by_reset_and_by_close() -> None:
    async with playing("open") as play:
        first, second = await play.asked()
        assert play.network.cut() == 1
        assert await first.reset()
        assert await second.reset()
        first, second = await play.asked()
        assert play.network.cut("close") == 1
        assert await first.rest() == b""
        assert await second.rest() == b""
        await ended(play)
        assert play.network.cut() == 0
        with pytest.raises(ConfigError):
            play.network.cut("slowly")


@jumping
async def test_the_end_of_one_side_is_told_to_the_other() -> None:
    async with playing("open") as play:
        client, side = await play.asked()
        client.writer.close()
        assert await side.rest() == b""
        client, side = await play.asked()
        side.says(b"HTTP/1.1 200 OK\r\n\r\nuntil I close")
        side.writer.close()
        assert (await client.rest()).endswith(b"until I close")
        client, side = await play.asked()
        side.close()
        assert await client.rest() == b""
        await ended(play)


@pytest.mark.parametrize("names", ["open", "latency-2000ms", "buffering", "http10"])
def test_a_client_that_says_no_more_gets_its_answer(names: str) -> None:
    @jumping
    async def play_it() -> None:
        async with playing(names) as play:
            client = await play.client()
            client.says(GET)
            client.writer.write_eof()
            side = await play.server.side()
            await side.head()
            assert await side.silent(1)
            side.says(OK)
            assert (await client.rest()).endswith(b"\r\n\r\nok")
            assert await side.rest() == b"", "and no other will come"
            await ended(play)

    play_it()


@jumping
async def test_a_client_that_says_no_more_is_not_waited_for_for_ever() -> None:
    async with playing("open") as play:
        client, side = await play.asked()
        began = now()
        client.writer.write_eof()
        assert await side.rest() == b""
        assert now() - began == pytest.approx(5)
        client, side = await play.asked()
        side.says(CHUNKED)
        await client.hears(CHUNKED)
        client.writer.close()
        began = now()
        for _ in range(2):  # the first one finds out that nobody is there
            side.says(b"2\r\nhi\r\n")
            await asyncio.sleep(0.5)  # by the jumping clock
        await ended(play)
        assert now() - began < 2, "what is written shows that it has gone"
        client, side = await play.asked()
        began = now()
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert await side.rest() == b""
        assert now() == began, "a reset is no mere end"
        client, side = await play.upgraded()
        client.writer.write_eof()
        began = now()
        assert await side.rest() == b""
        assert now() == began, "nor is one that has a WebSocket waiting for an answer"


@jumping
async def test_a_client_that_leaves_before_it_has_asked() -> None:
    async with playing("open") as play:
        for said in (b"", b"GET /", GET[:-1]):
            client = await play.client()
            client.says(said)
            client.writer.close()
        await asyncio.sleep(1)  # by the jumping clock
        assert play.network.connections == 0
        assert not play.server.made


@jumping
async def test_no_server() -> None:
    async with playing("open") as play:
        play.network.upstream = ("127.0.0.1", free_port())
        client = await play.client()
        for _ in range(2):
            client.says(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
            assert (await client.head()).startswith(b"HTTP/1.1 502 ")
            await client.reader.readuntil(b"\n")


@pytest.mark.parametrize("names", ["open", "buffering", "latency-5000ms", "upgrade-swallowed", "half-open", "one-byte"])
def test_leaving_in_the_middle_of_everything_leaves_nothing(names: str) -> None:
    @jumping
    async def play_it() -> None:
        size = 3_000 if names == "one-byte" else 3_000_000
        async with playing(names) as play:
            await play.client()
            asking = await play.client()
            asking.says(GET[:20])
            for request in (GET, UPGRADE, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"):
                client = await play.client()
                client.says(request if request.startswith(b"POST") else request * 3)
                side = await play.server.side()
                await side.head()
                side.says(CHUNKED + b"5\r\n" if request == GET else b"HTTP/1.1 200 OK\r\n\r\n" + bytes(size))
            await asyncio.sleep(1)  # by the jumping clock
            reader, writer = await asyncio.open_connection("127.0.0.1", int(play.network.url.split("/")[2].rpartition(":")[2]))
            play.clients.append(Side(reader, writer))  # accepted by the kernel, and perhaps not yet by the network

    play_it()


@jumping
async def test_leaving_at_once_when_a_connection_has_come() -> None:
    for turns in range(8):
        async with playing("open") as play:
            await play.client()
            for _ in range(turns):
                await asyncio.sleep(0)


@jumping
async def test_a_client_that_does_not_read_does_not_keep_an_ended_connection() -> None:
    async with playing("open") as play:
        client, side = await play.asked()
        side.says(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n" + bytes(20_000_000))
        await client.head()
        await asyncio.sleep(1)  # by the jumping clock
        play.network.cut("close")
        await ended(play)


# ---------------------------------------------------------------------------------------------------------------- requests


@jumping
async def test_pipelined_requests_are_asked_one_by_one_and_answered_in_order() -> None:
    async with playing("latency-200ms") as play:
        client = await play.client()
        client.says(b"".join(b"POST /%d HTTP/1.1\r\nContent-Length: 1\r\n\r\n%d" % (n, n) for n in range(4)))
        side = await play.server.side()
        for n in range(4):
            await side.hears(b"POST /%d HTTP/1.1\r\nContent-Length: 1\r\n\r\n%d" % (n, n))
            assert await side.silent(1), "the next one waits for the answer"
            side.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % n)
        for n in range(4):
            await client.hears(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % n)
        assert play.network.record.requests == 4


@jumping
async def test_a_client_may_wait_for_100_continue() -> None:
    async with playing("open") as play:
        head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        client, side = await play.asked(head)
        side.says(b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.hears(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.says(b"abc")
        await side.hears(b"abc")
        side.says(OK)
        await client.hears(OK)


@jumping
async def test_an_answer_before_the_request_has_ended() -> None:
    async with playing("open") as play:
        client, side = await play.asked(b"POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc")
        side.says(OK)
        await client.hears(OK)
        client.says(b"def" + GET)
        await side.hears(b"def" + GET)


@pytest.mark.parametrize("names", ["open", "no-upgrade", "buffering", "latency-200ms"])
def test_who_asks_for_an_end_gets_one_although_the_server_was_not_told(names: str) -> None:
    @jumping
    async def play_it() -> None:
        async with playing(names) as play:
            client = await play.client()
            client.says(GET[:-2] + b"Connection: close\r\n\r\n" + GET)
            side = await play.server.side()
            await side.head()
            side.says(OK)
            assert await client.rest() == OK
            assert await side.rest() == b"", "and what came behind the last request was not asked"

    play_it()


@jumping
async def test_a_request_with_two_lengths_is_answered_here_and_goes_no_further() -> None:
    async with playing("open") as play:
        client, side = await play.asked()
        client.says(b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + bytes(200_000))
        assert await client.silent(1), "first the answer to the request before it"
        side.says(OK)
        await client.hears(OK)
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
        assert await side.rest() == b""


@jumping
async def test_a_head_without_an_end_is_refused() -> None:
    async with playing("open") as play:
        client = await play.client()
        client.says(b"GET / HTTP/1.1\r\nX: " + b"a" * 300_000)
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")


@jumping
async def test_a_head_must_end_20_s_behind_its_first_byte() -> None:
    async with playing("open") as play:
        client = await play.client()
        assert await client.silent(3_000), "who has said nothing may wait"
        began = now()
        for byte in GET[:19]:
            client.says(bytes((byte,)))
            assert await client.silent(1)
        assert (await client.rest()).startswith(b"HTTP/1.1 408 ")
        assert now() - began == pytest.approx(20)
        assert not play.server.made
        client, side = await play.asked()
        client.says(GET[:20])
        assert await client.silent(90), "first the answer to the request before it"
        side.says(OK)
        await client.hears(OK)
        assert (await client.rest()).startswith(b"HTTP/1.1 408 ")
        assert await side.rest() == b""


@jumping
async def test_a_head_in_time_and_another_one_later() -> None:
    async with playing("open") as play:
        client = await play.client()
        client.says(GET[:20])
        assert await client.silent(19)
        client.says(GET[20:] + GET[:20])
        side = await play.server.side()
        await side.hears(GET)
        side.says(OK)
        await client.hears(OK)
        assert await client.silent(19), "its time begins with its own first byte"
        client.says(GET[20:])
        await side.hears(GET)
        side.says(OK)
        await client.hears(OK)
        assert await client.silent(3_000)


@jumping
async def test_who_speaks_tls_to_a_plain_network_is_told_at_once() -> None:
    async with playing("open") as play:
        client, began = await play.client(), now()
        client.says(b"\x16\x03\x01\x02\x00\x01\x00")
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"begins with http://\n")
        assert now() == began


@jumping
async def test_a_server_that_speaks_no_http_ends_the_connection() -> None:
    async with playing("open") as play:
        client, side = await play.asked()
        side.says(b"220 mail.example\r\n\r\n")
        assert await client.rest() == b""
        assert await side.rest() == b""
        client, side = await play.asked(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.says(b"x\r\n")
        assert await client.rest() == b""


@jumping
async def test_frames_of_a_client_that_could_not_wait_and_protocols_that_are_no_websocket() -> None:
    async with playing("open") as play:
        client = await play.client()
        client.says(UPGRADE + FRAME_UP)
        side = await play.server.side()
        await side.hears(UPGRADE)
        side.says(SWITCHING)
        await client.hears(SWITCHING)
        await side.hears(FRAME_UP)
        other = UPGRADE.replace(b"websocket", b"tcp")
        client, side = await play.asked(other)
        answer = SWITCHING.replace(b"websocket", b"tcp")
        side.says(answer + b"ab\xff\xff\xff\xff no frame")
        await client.hears(answer + b"ab\xff\xff\xff\xff no frame")


@jumping
async def test_whoever_is_asked_for_only_the_one_server_is_reached() -> None:
    async with playing("open") as play:
        for target, came in [
            (b"http://elsewhere.example", b"/"),
            (b"http://elsewhere.example?a=/b", b"/?a=/b"),
            (b"HTTP://elsewhere.example:1/a//b", b"/a//b"),
            (b"https://elsewhere.example/a", b"/a"),
            (b"ws://user@elsewhere.example/a", b"/a"),
            (b"//elsewhere.example/a", b"//elsewhere.example/a"),
            (b"*", b"*"),
        ]:
            await play.asked(b"GET " + target + b" HTTP/1.1\r\nHost: y\r\n\r\n", b"GET " + came + b" HTTP/1.1\r\nHost: y\r\n\r\n")
        client = await play.client()
        client.says(b"CONNECT elsewhere.example:443 HTTP/1.1\r\n\r\n")
        await client.head()
        assert len(play.server.made) == 8


# -------------------------------------------------------------------------------------------------------------- pressure


@jumping
async def test_bodies_that_are_large_pass_both_ways_at_once() -> None:
    async with playing("open") as play:
        size = 5_000_000
        body = bytes(range(256)) * (size // 256)
        head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        client, side = await play.asked(head)
        client.says(body)
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = b"".join(b"%x\r\n%s\r\n" % (n, body[:n]) for n in (1, 65_534, 65_535, 65_536, 2_000_000)) + b"0\r\n\r\n"
        side.says(answer + chunks)
        async with asyncio.TaskGroup() as both:
            both.create_task(side.hears(body))
            both.create_task(client.hears(answer + chunks))
        assert play.network.record.up == len(head + body)
        assert play.network.record.down == len(answer + chunks)


@pytest.mark.parametrize("names", ["open", "latency-200ms", "narrow-1kbit", "gzip-buffer"])
def test_a_client_that_does_not_read_makes_the_server_wait(names: str) -> None:
    @jumping
    async def play_it() -> None:
        async with playing(names) as play:
            client = await play.client()
            client.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            client.reader._limit = 1_000
            client.says(GET)
            side = await play.server.side()
            await side.head()
            side.says(b"HTTP/1.1 200 OK\r\n\r\n")
            written = 0
            with contextlib.suppress(TimeoutError):
                while written < 60_000_000:
                    side.says(NOISE)
                    written += 1_000_000
                    async with asyncio.timeout(5):
                        await side.writer.drain()
            assert written < 30_000_000, "the rest would be in memory"

    play_it()


@jumping
async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_CONNECTIONS", 3)
    async with playing("open") as play:
        sides = [await play.asked() for _ in range(3)]
        assert await (await play.client()).reset()
        assert play.network.connections == 3
        sides[0][0].writer.close()
        assert await sides[0][1].rest() == b""
        sides[0][1].close()
        await ended_to(play, 2)
        await play.asked()


async def ended_to(play: Play, count: int) -> None:
    async with asyncio.timeout(60):
        while play.network.connections > count:  # noqa: ASYNC110 - by the jumping clock
            await asyncio.sleep(0.1)


# ------------------------------------------------------------------------------------------------------ chance, and the rest


def test_seeds_make_chance_repeatable() -> None:
    times: list[list[float]] = []

    @jumping
    async def play_it(seed: int, others: int) -> None:
        async with playing(profile(Delay(0.0, 100.0)), seed=seed) as play:
            began = now()
            client = await play.client()
            client.says(GET)
            side = await play.server.side()
            times.append([])
            for _ in range(3):
                await side.hears(GET)
                for _ in range(others):
                    (await play.client()).says(GET)  # something else beside it
                side.says(OK)
                await client.hears(OK)
                times[-1].append(now() - began)
                client.says(GET)

    play_it(1, 0)
    play_it(1, 0)
    play_it(2, 0)
    play_it(1, 2)
    assert times[0] == pytest.approx(times[1])
    assert times[0] != pytest.approx(times[2])
    assert times[0] == pytest.approx(times[3]), "others do not disturb it"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.com"])
def test_who_can_be_reached_by_others_must_say_so(host: str) -> None:
    with pytest.raises(ConfigError, match="expose"):
        Network("open", upstream=":1", host=host)
    assert Network("open", upstream=":1", host=host, expose=True).profile is NETWORKS["open"]


@pytest.mark.parametrize(
    ("upstream", "address"),
    [
        (":8000", ("127.0.0.1", 8000)),
        ("localhost:8000", ("localhost", 8000)),
        ("http://127.0.0.1:8000/live/", ("127.0.0.1", 8000)),
        ("http://[::1]:8000", ("::1", 8000)),
        ("http://a.example", ("a.example", 80)),
    ],
)
def test_where_the_server_is(upstream: str, address: tuple[str, int]) -> None:
    assert Network("open", upstream=upstream).upstream == address


@pytest.mark.parametrize(
    "upstream", ["", "http://", "https://a.example", ":x", ":99999", "ftp://a", "http://a?b=c", "http://a#b"]
)
def test_where_no_server_can_be(upstream: str) -> None:
    with pytest.raises(ConfigError, match="no server to lead to"):
        Network("open", upstream=upstream)


@pytest.mark.parametrize(
    ("host", "upstream"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("localhost", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.2"),
        ("", "localhost"),
    ],
)
@pytest.mark.parametrize("names", ["open", "h2-edge"])
def test_a_network_does_not_lead_to_itself(names: str, host: str, upstream: str) -> None:
    port = free_port()
    network = Network(names, upstream=f"{upstream}:{port}", host=host, port=port, expose=True)

    @jumping
    async def play_it() -> None:
        with pytest.raises(ConfigError, match="lead to itself"):
            await network.__aenter__()

    play_it()


@jumping
async def test_a_server_at_the_same_port_of_another_address_is_none_of_ours() -> None:
    port = free_port()
    async with Network("open", upstream=f"127.0.0.2:{port}", port=port) as url:
        assert url == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.2"])
def test_who_is_exposed_has_a_certificate_for_what_others_call_it(host: str, tmp_path: Path) -> None:
    @jumping
    async def play_it() -> None:
        network = Network("tls-inspection", upstream=":1", host=host, expose=True)
        async with network as url:
            trusting = ssl.create_default_context(cafile=str(network.save_authority(tmp_path / "authority.pem")))
            port = int(url.rpartition(":")[2])
            for name in (["127.0.0.2"] if host == "127.0.0.2" else [socket.gethostname()]) + ["localhost"]:
                _, writer = await asyncio.open_connection("127.0.0.2", port, ssl=trusting, server_hostname=name)
                writer.transport.abort()
            await asyncio.sleep(1)  # by the jumping clock

    play_it()


def test_a_machine_may_have_a_name_that_no_certificate_can_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "my_host")
    Network("tls-inspection", upstream=":1", host="::", expose=True)


@jumping
async def test_urls() -> None:
    async with Network("open", upstream=":1", host="::1") as url:
        assert url.startswith("http://[::1]:")
    async with Network("proxy-407", upstream="http://[::1]:9/live") as url:
        assert url == "http://[::1]:9/live"
    network = Network(profile(tls=True, forward=True), upstream=":9")
    assert (network.proxy or "").startswith("https://")
    with pytest.raises(ConfigError, match="there is no network"):
        Network("nonsense", upstream=":1")


@jumping
async def test_a_port_that_is_taken_and_a_network_that_is_entered_again() -> None:
    async with playing("open") as play:
        port = int(play.network.url.split("/")[2].rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"):
            await Network("open", upstream=":1", port=port).__aenter__()
        await play.network.__aexit__(None, None, None)
        assert await play.network.__aenter__() == f"http://127.0.0.1:{port}/base"
        client, side = await play.asked()
        side.says(OK)
        await client.hears(OK)


@jumping
async def test_what_passed_is_recorded_as_the_client_saw_it() -> None:
    async with playing("no-upgrade") as play:
        client, side = await play.asked(UPGRADE, b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
        side.says(OK)
        await client.hears(OK)
        client.writer.close()
        await ended(play)
        count, passages = play.network.record.passages()
        seen = [(passage.connection, passage.up, passage.kind, passage.raw) for passage in passages]
        assert seen == [
            (1, True, "open", b""),
            (1, True, "head", UPGRADE),
            (1, False, "head", OK[:-2]),
            (1, False, "data", b"ok"),
            (1, True, "close", b""),
        ]
        assert count == 5
        assert all(passage.came <= passage.passed for passage in passages)


@jumping
async def test_a_behaviour_of_your_own() -> None:
    class Shouting(Stage):
        def feed(self, piece: Piece, now: float) -> tuple[Piece]:
            piece.raw = piece.raw.upper() if piece.kind == "data" else piece.raw
            return (piece,)

    class Shout(Behaviour):
        def stage(self, *, down: bool, luck: Callable[[], float]) -> Stage | None:
            return Shouting() if down else None

    async with playing(profile(Shout())) as play:
        client, side = await play.asked()
        side.says(OK)
        await client.hears(OK[:-2] + b"OK")


@jumping
async def test_answers_pass_the_behaviours_from_the_server_to_the_client() -> None:
    async with playing(profile(Hold(), Portal())) as play:
        client = await play.client()
        client.says(GET)
        assert (await client.head()).startswith(b"HTTP/1.1 200 OK")
        await client.reader.readuntil(b"</h1>")
    async with playing(profile(Away(1, 1), Forget(0.5))) as play:
        client, _ = await play.asked()
        assert await client.silent(3), "forgotten before it could be reset"


def test_the_fixture_makes_networks_of_one_chance(network: Callable[..., Network]) -> None:
    first, second = (network("flaky", upstream=":1") for _ in range(2))
    assert first.profile is NETWORKS["flaky"]
    assert [first.luck() for _ in range(9)] == [second.luck() for _ in range(9)]
    assert network("open", upstream=":1", seed=2).luck() != network("open", upstream=":1").luck()
