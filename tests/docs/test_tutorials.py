"""The tutorials, done as they say: what is typed is typed, and what is shown must come."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.learner import Learner, alike, line
from tests.documents import ROOT, blocks
from tests.ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(150)]
TUTORIALS = ROOT / "docs" / "tutorials"
POLL = "curl 'http://127.0.0.1:8000/live/poll?channels=chat"


@pytest.fixture
def learner(tmp_path: Path) -> Callable[[str], Learner]:
    """Somebody with a tutorial in front of her, and other ports than those of the page."""
    return lambda name: Learner(TUTORIALS / f"{name}.md", tmp_path, p8000=str(free_port()), p8001=str(free_port()), p8100=str(free_port()))


def test_one_event_is_read_with_curl(learner: Callable[[str], Learner]) -> None:
    one = learner("one-event-four-ways")
    hello, event, polled, wire = (alike(block.text) for block in blocks(one.page, "text"))
    with one.start("everywire serve") as server:
        line(server, "everywire serves")
        with one.start("curl -N") as stream:
            assert alike("".join(stream.stdout.readline() for _ in range(3))) == hello
            one.type("echo")
            stream.stdout.readline()
            assert alike("".join(stream.stdout.readline() for _ in range(2))) == event
        (asked,) = json.loads(one.type(f"{POLL}'"))
        with one.start(f"{POLL}&since=jpngq4.14", "jpngq4.14", asked["id"]) as waiting:
            one.type("echo")
            assert alike(waiting.communicate()[0]) == polled
        kept = json.loads(one.type(f"{POLL}&since=jpngq4.0", "jpngq4", asked["id"].partition(".")[0]))
        assert [each["data"] for each in kept] == [{"text": "hello"}] * 2
        with one.start("everywire tail") as reader:
            first = line(reader, "hello") + line(reader, "reply")
            one.type("echo")
            assert alike(first + reader.communicate()[0]) == wire
        one.type("curl -s -o")


def test_every_number_comes_through_a_network_that_breaks(learner: Callable[[str], Learner]) -> None:
    one = learner("break-the-network")
    table = re.findall(r"^\| `([\w-]+)` \|", one.page.read_text(), re.MULTILINE)
    assert table == ["upgrade-swallowed", "cut", "buffering", "forget", "open"]
    with one.start("everywire serve") as server, one.start("everywire proxy") as network:
        line(server, "everywire serves")
        line(network, "Everything passes")
        with one.start("everywire tail") as reader:
            line(reader, "open: Live over WebSocket")
            one.type("seq")
            with one.start("everywire publish"):
                for harm in table:
                    network.stdin.write(f"{harm}\n")
                    network.stdin.flush()
                    line(network, f"^{harm}: ")
                    if harm in ("upgrade-swallowed", "buffering"):
                        line(reader, "open: Live over")
                reader.communicate()
        one.type("sed")
