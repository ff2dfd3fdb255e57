"""The null server: everything it gets goes out at once, in all three framings, and what is planted is there."""

import http.client
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locustfiles.measuring.blocks import Blocks
from locustfiles.measuring.frames import Frames
from locustfiles.measuring.publisher import Connection, Insistence, command, data, now
from locustfiles.measuring.readers import LongPollReader, Reader, SSEReader, WebSocketReader
from locustfiles.measuring.responses import Response
from locustfiles.plan import TRANSPORTS
from locustfiles.subjects import subject
from locustfiles.subjects.null_server import answer, plants, sse, websocket

READERS: dict[str, type[Reader]] = {each.transport.name: each for each in (WebSocketReader, SSEReader, LongPollReader)}
PATIENCE = 20.0  # seconds, for anything
ITEMS = st.lists(st.binary(min_size=1, max_size=400).map(lambda body: json.dumps(body.hex()).encode()), min_size=1, max_size=200)


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """The URL of its mount."""
    words = subject("null").argv("127.0.0.1", 0)
    with subprocess.Popen([*words, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().split()[-1] + "/live"
        process.terminate()


def publish(url: str, *numbers: int, channel: str = "c") -> None:
    with closing(Connection(url)) as connection:
        replies = Insistence(connection.post, lambda seconds: False)(
            [command(n, channel, str(n), data(n, now(), 60)) for n in numbers]
        )
        assert replies is not None
        assert [(each.ref, each.ok) for each in replies] == [(n, True) for n in numbers]


class Reading:
    """A reader at work in a greenlet: it reads while the test waits."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.found: list[int] = []
        self.delays: list[int] = []
        self.greenlet = gevent.spawn(self._read)
        self.until(lambda: reader.ready)

    def _read(self) -> None:
        for batch in self.reader.batches():
            self.found += [stamp.n for stamp in batch.stamps]
            self.delays += [batch.received - stamp.t for stamp in batch.stamps]

    def until(self, met: Callable[[], bool]) -> None:
        with gevent.Timeout(PATIENCE):
            while not met():
                gevent.sleep(0.001)
                assert not self.greenlet.ready(), self.greenlet.exception


@pytest.fixture
def reading() -> Iterator[Callable[[Reader], Reading]]:
    made = []

    def make(reader: Reader) -> Reading:
        made.append(Reading(reader))
        return made[-1]

    yield make
    gevent.killall([each.greenlet for each in made])


@pytest.mark.parametrize("name", TRANSPORTS)
def test_what_is_published_is_read(name: str, reading: Callable[[Reader], Reading]):
    with serving() as url:
        publish(url, 0)  # before it reads
        one = reading(READERS[name](url, ["c", "d"]))
        publish(url, 1)
        publish(url, 2, 3, channel="d")  # between two polls
        publish(url, 4, channel="e")  # of nobody's
        publish(url, 5)
        one.until(lambda: 5 in one.found)
    assert one.found == [1, 2, 3, 5]
    assert one.reader.traffic.opened == 1


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_plant_holds_one_transport_back(name: str, reading: Callable[[Reader], Reading]):
    with serving("--plant", "sse=30000") as url:
        one = reading(READERS[name](url, ["c"]))
        for n in range(10):
            publish(url, n)
            one.until(lambda n=n: n in one.found)  # type: ignore[misc]
    assert (min(one.delays) >= 30_000) == (name == "sse")


def test_a_poll_in_vain_is_answered_with_a_beat():
    with serving() as url:
        status, body = get(f"{url}/poll?channels=c&since=null.0&wait=0.1")
    assert status == 200
    assert json.loads(body)[0] | {"at": 0} == {"type": "beat", "id": "null.0", "at": 0}


@pytest.mark.parametrize(("path", "body", "status"), [("nothing", None, 404), ("commands", "{", 400), ("negotiate", None, 200)])
def test_other_requests_are_answered(path: str, body: str | None, status: int):
    with serving() as url:
        assert get(f"{url}/{path}", body)[0] == status


def get(url: str, body: str | None = None) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)) as connection:
        connection.request("GET" if body is None else "POST", url[url.index("/live") :], body)
        found = connection.getresponse()
        return found.status, found.read()


@given(ITEMS)
def test_every_size_is_framed_right(items: list[bytes]):
    whole = [json.loads(item) for item in items]
    (message,) = Frames().feed(websocket(items))
    assert json.loads(message.data) == whole
    stream = Response()
    stream.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert [json.loads(found) for found in Blocks().feed(stream.feed(sse(items)))] == whole
    poll = Response()
    assert json.loads(poll.feed(answer(items))) == whole
    assert poll.done


def test_plants_are_told_apart():
    assert plants(["sse=300", "longpoll=0"]) == {"sse": 300, "longpoll": 0}


@pytest.mark.parametrize("plant", ["sse", "carrier-pigeon=3", "sse=-1", "sse=1.5"])
def test_a_plant_that_is_none_is_one_clear_line(plant: str):
    words = [*subject("null").argv("127.0.0.1", 0), "--plant", plant]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    expected = f"--plant {plant}: it is one of websocket, sse, longpoll, and microseconds: longpoll=300\n"
    assert done.stderr == expected
