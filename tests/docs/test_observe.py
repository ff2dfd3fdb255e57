"""The page on observing is done as it says."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys

import aiohttp
import prometheus_client
import pytest
import yaml
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from tests.documents import ROOT, blocks, code, program, rows, run
from tests.ports import free_port
from tests.transports.conftest import live
from transports.client import connect
from transports.figures import FIGURES
from transports.journal import CONNECTIONS

OBSERVE = ROOT / "docs" / "how-to" / "observe.md"
AUTHORIZE, REGISTRY, LOGS, STRUCTLOG, TRACES = blocks(OBSERVE, "python")


@pytest.fixture
def untouched():
    """What a program sets of logging is that of the test alone."""
    loggers = [logging.getLogger(), logging.getLogger("transports")]
    before = [(each.level, each.handlers[:]) for each in loggers]
    yield
    for each, (level, handlers) in zip(loggers, before, strict=True):
        each.setLevel(level)
        each.handlers[:] = handlers


def test_the_metrics_are_those_of_the_code() -> None:
    table = rows(ROOT / "docs" / "reference" / "metrics.md", "# Metrics")
    listed = [(code(name), kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in table]
    assert listed == [(each.name, each.kind, each.labels, each.meaning) for each in FIGURES]


def test_the_questions_are_asked_of_metrics_that_there_are() -> None:
    known = {each.name for each in FIGURES} | {f"{each.name}_bucket" for each in FIGURES if each.kind == "histogram"}
    asked = set(re.findall(r"everywire_\w+", OBSERVE.read_text()))
    assert asked - known == set()
    assert len(asked) > 6


async def test_the_events_of_the_log_have_the_fields_that_are_listed(caplog, monkeypatch) -> None:
    listed = {code(event): (level, re.findall(r"`(\w+)`", fields)) for event, level, fields in rows(OBSERVE, "## Logs")}
    assert listed["poll.closed"][1] == []
    listed["poll.closed"] = listed["poll.closed"][0], listed["connection.closed"][1]
    caplog.set_level(logging.DEBUG, CONNECTIONS)
    async with live(channels=("a",)) as (_, url), aiohttp.ClientSession() as http:
        async with http.get(f"{url}/sse?channels=a") as stream:
            since = json.loads((await stream.content.readuntil(b"\n\n")).split(b"data: ")[1])["id"]
        async with http.get(f"{url}/poll?channels=a&since={since}&wait=0.01") as poll:
            await poll.read()
        async with http.get(f"{url}/poll?channels=b") as refused:
            assert refused.status == 404
    usual = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "event"}
    told = {each.event: (each.levelname, set(vars(each)) - usual) for each in caplog.records if hasattr(each, "event")}
    assert told == {event: (level, set(fields)) for event, (level, fields) in listed.items()}


def test_who_observes_is_decided_by_the_action() -> None:
    may = run(AUTHORIZE)["may"]
    assert may("operator", "observe", "$status")
    assert not may("ann", "observe", "$metrics")
    assert may("ann", "subscribe", "news")


def test_figures_stand_in_the_registry_of_a_program() -> None:
    kept = dict(prometheus_client.REGISTRY._collector_to_names)
    try:
        run(REGISTRY)
        assert b"everywire_channels" in prometheus_client.generate_latest()
    finally:
        for each in set(prometheus_client.REGISTRY._collector_to_names) - set(kept):
            prometheus_client.REGISTRY.unregister(each)


@pytest.mark.parametrize("block", [LOGS, STRUCTLOG], ids=["json", "structlog"])
async def test_lines_come_out_as_json(untouched, capsys, block) -> None:
    logging.getLogger().handlers[:] = []
    run(block)
    async with live() as (_, url), aiohttp.ClientSession() as http, http.get(f"{url}/sse?channels=a") as stream:
        await stream.content.readuntil(b"\n\n")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    (opened,) = [line for line in lines if " opened over " in (line.get("message") or line["event"])]
    assert opened["transport"] == "sse"
    assert opened["connection"]


def test_the_line_that_is_shown_is_one(untouched) -> None:
    (block,) = blocks(OBSERVE, "text")
    shown = json.loads(block.text)
    fields = next(fields for event, _, fields in rows(OBSERVE, "## Logs") if code(event) == "connection.closed")
    assert set(re.findall(r"`(\w+)`", fields)) < set(shown)


async def test_a_delivery_is_traced_to_its_publish() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    names = run(TRACES)
    names["tracer"] = provider.get_tracer("shop")  # of which a process has one, else
    done = []

    async def do(order: object) -> None:
        done.append(order)

    async with live() as (hub, url), connect(url, ["orders"]) as stream:
        await names["publish"](hub, "orders", {"id": 7})
        await names["deliver"](await anext(aiter(stream)), do)
    published, delivered = exporter.get_finished_spans()
    assert done == [{"id": 7}]
    assert (published.kind, delivered.kind) == (trace.SpanKind.PRODUCER, trace.SpanKind.CONSUMER)
    assert delivered.parent.span_id == published.context.span_id
    assert delivered.context.trace_id == published.context.trace_id
    assert delivered.attributes["messaging.message.id"] == published.attributes["messaging.message.id"]


@pytest.mark.real
async def test_prometheus_is_let_in_from_another_machine_with_the_token(tmp_path, monkeypatch) -> None:
    (block,) = blocks(OBSERVE, "yaml")
    (job,) = yaml.safe_load(block.text)["scrape_configs"]
    assert set(job) == {"job_name", "metrics_path", "authorization", "static_configs"}  # all else is as Prometheus has it: http
    assert set(job["authorization"]) == {"credentials_file"}  # and so is the type: Bearer
    ((target,),) = [each["targets"] for each in job["static_configs"]]
    token, port = "let-me-look-at-it", free_port()
    monkeypatch.setenv("EVERYWIRE_SET", f"observer_token={token}")
    command = [sys.executable, "-m", "quart_app", "serve", "--port", str(port)]
    with program(command, cwd=tmp_path) as server:
        assert f":{port}/" in await asyncio.to_thread(server.stdout.readline)
        url = f"http://127.0.0.1:{port}{job['metrics_path']}"
        async with aiohttp.ClientSession(headers={"Host": target}) as http:  # as who asks from elsewhere
            for shown in ({}, {"Authorization": "Bearer let-me-in-instead"}):
                async with http.get(url, headers=shown) as refused:
                    assert (refused.status, (await refused.json())["code"]) == (403, 4403)
            async with http.get(url, headers={"Authorization": f"Bearer {token}"}) as scraped:
                families = {each.name for each in text_string_to_metric_families(await scraped.text())}
    named = {each.name.removesuffix("_total") if each.kind == "counter" else each.name for each in FIGURES}
    assert families == named
