"""What an operator's logs are told."""

from __future__ import annotations

import json
import logging
import logging.config
import sys

import aiohttp
import pytest
import structlog

from tests.transports.conftest import TRANSPORTS, live
from transports import Code, Refusal
from transports.client import connect
from transports.figures import Figures
from transports.journal import CONNECTIONS, LINES, PERIOD, Journal, JsonLines, Refusals, Text, printable
from transports.testing import until

SECRET = "s3cret-that-nobody-may-read"


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if getattr(record, "event", "") == event]


@pytest.mark.parametrize("transport", [each for each in TRANSPORTS if each.many], ids=lambda each: each.name)
async def test_a_connection_is_told_when_it_opens_and_when_it_closes(caplog, transport) -> None:
    caplog.set_level(logging.INFO, CONNECTIONS)
    async with live() as (hub, url):
        async with connect(url, ["a"], transports=[transport]) as stream:
            await until(lambda: len(hub.accounts))
            await hub.publish("a", 1)
            assert (await anext(aiter(stream))).data == 1
            (opened,) = told(caplog, "connection.opened")
            (account,) = hub.accounts
        await until(lambda: not len(hub.accounts))
        (closed,) = told(caplog, "connection.closed")
    assert (opened.connection, opened.transport, opened.who, opened.address) == (account.name, transport.name, None, "127.0.0.1")
    assert (opened.levelname, opened.name, opened.why) == ("INFO", "transports.connections", "race")
    assert (closed.connection, closed.items, closed.position) == (account.name, 1, f"{hub.log.epoch}.1")
    assert closed.reason in ("went", "closed")
    assert closed.bytes > 0
    assert closed.seconds >= 0
    assert account.name in closed.getMessage()


async def test_polls_are_told_to_those_only_who_want_to_know_everything(caplog) -> None:
    caplog.set_level(logging.INFO, CONNECTIONS)
    async with live() as (hub, url), aiohttp.ClientSession() as http:
        async with http.get(f"{url}/poll?channels=a") as first:
            since = (await first.json())[0]["id"]
        async with http.get(f"{url}/poll?channels=a&since={since}&wait=0.01") as second:
            assert (await second.json())[0]["type"] == "beat"
        assert [record for record in caplog.records if record.name == CONNECTIONS] == []
        caplog.set_level(logging.DEBUG, CONNECTIONS)
        async with http.get(f"{url}/poll?channels=a&since={since}&wait=0.01") as third:
            await third.read()
        (closed,) = told(caplog, "poll.closed")
        assert (closed.levelname, closed.reason, closed.transport) == ("DEBUG", "answered", "longpoll")
        assert hub.figures.closed["longpoll", "answered"] == 2


async def test_who_is_refused_is_told_with_the_code_and_no_secret(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    async with live(channels=("a",)) as (hub, url), aiohttp.ClientSession() as http:
        secrets = {"Authorization": f"Bearer {SECRET}", "Cookie": f"session={SECRET}"}
        for path in ("sse", "poll"):
            async with http.get(f"{url}/{path}?channels=b&token={SECRET}&_={SECRET}", headers=secrets) as response:
                assert response.status == 404
        async with http.ws_connect(f"{url}/ws?channels=b&token={SECRET}", headers=secrets) as ws:
            assert "4404" in (await ws.receive()).data
        async with http.post(f"{url}/commands", json=[1], headers=secrets) as response:
            assert response.status == 400
        async with http.get(f"{url}/sse?channels=a&ticket={SECRET}") as response:
            assert response.status == 401
        refused = told(caplog, "connection.refused")
        assert [(each.code, each.code_name) for each in refused] == [
            *[(4404, "unknown_channel")] * 3,
            (4400, "bad_command"),
            (4401, "unauthorized"),
        ]
        assert [each.path for each in refused[:3]] == ["sse", "poll", "ws"]
        assert all(each.address == "127.0.0.1" and each.levelname == "INFO" for each in refused)
        assert hub.figures.refused == {"unknown_channel": 3, "bad_command": 1, "unauthorized": 1}
    said = [
        JsonLines().format(record) + Text().format(record) for record in caplog.records if record.name.startswith("transports")
    ]
    assert not any(SECRET in line for line in said)


def test_a_flood_of_refusals_is_told_in_part_and_how_much_was_left_out() -> None:
    refusals = Refusals()
    flood = [refusals.left_out("forbidden", 100.0) for _ in range(LINES + 7)]
    assert flood == [0] * LINES + [None] * 7
    assert refusals.left_out("internal", 100.0) == 0  # another code has lines of its own
    assert refusals.left_out("forbidden", 100.0 + PERIOD) == 7
    assert refusals.left_out("forbidden", 100.0 + PERIOD) == 0


def test_what_is_left_out_of_the_logs_is_counted(caplog) -> None:
    caplog.set_level(logging.INFO, CONNECTIONS)
    figures = Figures()
    journal = Journal(figures)
    for _ in range(LINES + 7):
        journal.refused(Refusal(Code.FORBIDDEN), "10.0.0.7", "sse")
    assert len(told(caplog, "connection.refused")) == LINES
    assert (figures.refused["forbidden"], figures.left_out["forbidden"]) == (LINES + 7, 7)


def test_who_reads_cannot_write_lines_of_a_log() -> None:
    assert printable("a\nWARNING root: all is lost\x1b[2J") == "a\\nWARNING root: all is lost\\x1b[2J"
    assert len(printable("a" * 10_000)) == 200
    assert printable(("ann", 7)) == "('ann', 7)"


def record(**extra: object) -> logging.LogRecord:
    made = logging.LogRecord("transports.connections", logging.INFO, "", 0, "%s came", ("ann",), None)
    vars(made).update(extra)
    return made


def test_lines_of_json_hold_all_that_is_known() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        failed = record(event="connection.opened", who=("ann", 7), connection="c1")
        failed.exc_info = sys.exc_info()
    text = JsonLines().format(failed)
    line = json.loads(text)
    assert "\n" not in text
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "transports.connections", "ann came")
    assert (line["event"], line["who"], line["connection"]) == ("connection.opened", ["ann", 7], "c1")
    assert line["at"] == round(failed.created, 3)
    assert "ValueError: no" in line["exception"]
    assert set(line) == {"at", "level", "logger", "message", "process", "event", "who", "connection", "exception"}


def test_lines_of_text_end_with_what_is_known_besides() -> None:
    line = Text().format(record(event="connection.opened", items=3, why=""))
    assert line.endswith("INFO transports.connections: ann came event=connection.opened items=3")


def test_structlog_takes_the_fields() -> None:
    processor = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(), structlog.stdlib.add_log_level],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
    )
    line = json.loads(processor.format(record(event="connection.opened", connection="c1")))
    assert (line["connection"], line["level"]) == ("c1", "info")


def test_what_fails_whenever_somebody_comes_is_told_as_often_as_refusals_are(caplog) -> None:
    journal = Journal(Figures())
    for _ in range(LINES + 30):
        journal.failed("authenticate failed", RuntimeError("the database is away"))
    assert [record.getMessage() for record in caplog.records] == ["authenticate failed"] * LINES
    assert all(record.exc_info and record.levelname == "ERROR" for record in caplog.records)
