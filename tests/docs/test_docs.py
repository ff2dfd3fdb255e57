"""The documentation is run, and its tables are compared with the code that they mirror."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import runpy
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import aiohttp
import click
import litestar
import msgspec
import pytest
from litestar.testing import AsyncTestClient

from quart_app.cli import cli
from tests.documents import (
    PAGES,
    ROOT,
    Block,
    all_blocks,
    blocks,
    broken_links,
    built,
    check_command,
    code,
    commands,
    compiles,
    rows,
    run,
    script,
)
from tests.ports import free_port
from tests.transports.conftest import live
from transports import Code, Options, Pace, Refusal, Transport, client, evidence, facts, items, negotiator
from transports import commands as spoken
from transports.brokers import Broker
from transports.contract import shapes
from transports.options import PREFIX
from transports.presence import Page, Presence
from transports.present import Members
from transports.quart import Live
from transports.testing import until

DOCS = ROOT / "docs"
CONTRACT = runpy.run_path(str(DOCS / "contract_pages.py"))
PROTOCOL = DOCS / "reference" / "protocol.md"
QUART = DOCS / "how-to" / "add-to-a-quart-app.md"
MOUNTED = DOCS / "how-to" / "mount-in-starlette-fastapi-litestar.md"
CLIENT = DOCS / "reference" / "python-client.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("block", all_blocks("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    compiles(block)


@pytest.mark.parametrize("block", all_blocks("console"), ids=str)
def test_commands_are_there_and_take_what_they_are_given(block: Block) -> None:
    for words in commands(block):
        check_command(words)


@pytest.mark.real
def test_scripts_of_pages_are_javascript(tmp_path: Path) -> None:
    scripts = [block.text for block in all_blocks("js")]
    scripts += [
        text for block in all_blocks("html") for text in re.findall(r"<script[^>]*>(.+?)</script>", block.text, re.DOTALL)
    ]
    assert len(scripts) > 10
    for number, text in enumerate(scripts):
        (tmp_path / f"{number}.mjs").write_text(text)
    (tmp_path / "all.mjs").write_text(f"""
        import {{ SourceTextModule }} from "node:vm";
        import {{ readFileSync }} from "node:fs";
        for (let n = 0; n < {len(scripts)}; n++) new SourceTextModule(readFileSync(`${{n}}.mjs`, "utf8"));
    """)
    node = [Path(sys.executable).with_name("node"), "--experimental-vm-modules", "--no-warnings", "all.mjs"]
    done = subprocess.run(node, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Blocks of programs, and what runs them: each block is named by what stands in it and in no other of its page. Commands are in
# test_commands.py.
RUN = {
    "tests/browser/test_documents.py": {
        "docs/how-to/add-to-a-quart-app.md": ['<script type="module">'],
        "docs/how-to/authenticate.md": ["jwt.encode", "let kept", "new EventSource"],
        "docs/how-to/move-from-socketio.md": ["location.reload"],
        "docs/how-to/resume-over-reload-and-restart.md": ["resume: true"],
        "docs/how-to/show-who-is-there.md": ["members(live"],
        "docs/how-to/stop-cross-site-hijacking.md": ["withCredentials", "withCookies"],
        "docs/reference/browser-client.md": ["resume: true"],
    },
    "tests/browser/test_tutorials.py": {
        "docs/how-to/move-from-socketio.md": ["new EventSource"],
        "docs/how-to/show-connection-state.md": ["PATIENCE"],
        "docs/tutorials/live-board.md": ["boards = {", "{% for room in rooms %}", 'id="pin"'],
        "docs/tutorials/one-event-four-ways.md": ["await import", "from the browser"],
    },
    "tests/docs/test_authenticate.py": {
        "docs/how-to/authenticate.md": ['@app.post("/login")', "let-me-in", "jwt.decode", "token=fetch_token", "live.revoke"]
    },
    "tests/docs/test_bad_networks.py": {
        "docs/how-to/play-a-bad-network.md": ["network(name", "upgrade-swallowed", "h2-edge", "Curfew"]
    },
    "tests/docs/test_comparison.py": {
        "docs/how-to/compare-with-what-you-have.md": ["queue.put_nowait", "class MineReader", "SUBJECT"],
        "docs/how-to/fail-on-a-regression.md": ["$code -eq 4"],
        "docs/how-to/load-test-in-your-own-locustfile.md": ["Reader(SSEUser)", "greeting", "Streaming(SSEUser)", "SCENARIO"],
    },
    "tests/docs/test_docs.py": {
        "docs/how-to/add-to-a-quart-app.md": ["/orders", "init_app", "from_prefixed_env", "live.run", "accesslog"],
        "docs/how-to/mount-in-starlette-fastapi-litestar.md": ["Starlette(", "FastAPI(", "Litestar(", "from news import"],
        "docs/how-to/show-who-is-there.md": ["lobby.present", "stream.present"],
        "docs/how-to/validate.md": ["msgspec.Struct"],
        "docs/how-to/write-a-broker.md": ["LinesBroker"],
        "docs/how-to/write-a-transport.md": ["NDJSON"],
        "docs/reference/python-client.md": ["event.at", "EventsLostError", "publisher(url)", "transports.sync"],
    },
    "tests/docs/test_explanations.py": {
        "docs/explanation/delivery.md": ["keep_position"],
        "docs/explanation/percentiles.md": ["STALL"],
    },
    "tests/docs/test_how_tos.py": {
        "docs/how-to/resume-over-reload-and-restart.md": ["PLACE.write_text"],
        "docs/how-to/serve-networks-that-block-websocket.md": ["test_something_gets_through"],
        "docs/how-to/test-your-app.md": [
            "/orders/<int:number>",
            "test_an_order_is_told",
            "test_an_order_arrives",
            "test_nothing_is_missed",
        ],
    },
    "tests/docs/test_observe.py": {
        "docs/how-to/observe.md": ["staff.", "Collector", "JsonLines", "structlog", "propagate.inject", "scrape_configs"]
    },
    "tests/docs/test_programs.py": {
        "docs/how-to/choose-a-server.md": ["find_server"],
        "docs/how-to/compress.md": ["deflate=True"],
        "docs/how-to/find-out-what-a-network-does.md": ["examine("],
        "docs/how-to/follow-many-channels.md": ["as stream", "orders.test."],
        "docs/how-to/keep-events-over-restarts.md": ["history_age"],
        "docs/how-to/keep-only-the-latest.md": ["latest=", "on_skipped"],
        "docs/how-to/move-from-socketio.md": ["socketio.AsyncServer", "live.authorize"],
        "docs/how-to/run-several-workers.md": ["workers=3"],
        "docs/how-to/share-events-with-redis.md": ["redis://"],
        "docs/how-to/stop-cross-site-hijacking.md": ["shop.example", 'origins=("*",)', "hosts="],
        "docs/reference/conformance.md": ["hello-first/sse"],
    },
    "tests/test_readme.py": {
        "README.md": ["ticking", "stream.transport", "transports.sync", "for await", "on_lost"],
    },
}


def test_every_program_is_run() -> None:
    kinds = ("python", "js", "html", "sh", "yaml")
    there = [str(block) for kind in kinds for block in all_blocks(kind)]
    named = []
    for test, pages in RUN.items():
        assert [page for page in pages if Path(page).stem.lower() not in (ROOT / test).read_text().lower()] == []
        for page, names in pages.items():
            for words in names:
                found = [str(block) for kind in kinds for block in blocks(ROOT / page, kind) if words in block.text]
                assert len(found) == 1, f"{page}: {words!r} is to name one block, and is in {found}: does {test} run it?"
                named += found
    assert sorted(named) == sorted(there), "run what is new, and say here where"


# --- tables


def test_the_codes_are_those_of_the_code() -> None:
    table = [
        [str(int(code)), code.name.lower(), str(code.status), "no" if code.retry is None else "yes", code.meaning]
        for code in Code
    ]
    for row in table[:2]:
        row[2] = ""  # a WebSocket's own two never travel as a status
    assert rows(PROTOCOL, "## Codes") == table


def test_the_configuration_is_that_of_the_code() -> None:
    table = rows(DOCS / "reference" / "configuration.md", "# Configuration")
    listed = [tuple(map(code, row[:3])) for row in table]
    fields = [(each.name, PREFIX + each.name.upper(), each.default) for each in msgspec.structs.fields(Options)]
    assert [(name, key) for name, key, _ in listed] == [(name, key) for name, key, _ in fields]
    assert [default.replace('"', "'") for _, _, default in listed] == [repr(default) for _, _, default in fields]


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_the_options_are_those_of_the_command_line(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    table = {code(row[0]): row[1] for row in rows(DOCS / "reference" / "command-line.md", f"## everywire {name}")}
    options = {max(each.opts, key=len): each for each in command.params if isinstance(each, click.Option)}
    assert list(table) == list(options)
    for option, each in options.items():
        if isinstance(each.default, str | int | float) and not each.is_flag:
            assert code(table[option]) == str(each.default)


def test_the_command_line_page_names_every_command() -> None:
    page = (DOCS / "reference" / "command-line.md").read_text()
    assert sorted(re.findall(r"^## everywire (\w+)$", page, re.MULTILINE)) == cli.list_commands(click.Context(cli))


def test_the_settings_of_the_client_are_those_of_the_code() -> None:
    parameters = inspect.signature(client.Stream).parameters.values()
    settings = [each for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    table = [(code(row[0]), code(row[1]).replace('"', "'")) for row in rows(CLIENT, "## connect")]
    named = {id(client.LADDER): "LADDER", id(client.SHARED): "SHARED", id(client.USUAL): "Pace()"}
    assert table == [(each.name, named.get(id(each.default), repr(each.default))) for each in settings]


def test_the_options_of_the_browser_client_are_those_of_its_types() -> None:
    types = (ROOT / "transports" / "static" / "client.d.ts").read_text()
    options = types.partition("export interface Options {")[2].partition("\n}")[0]
    named = re.findall(r"^  (\w+)\??:", options, re.MULTILINE)
    assert [code(row[0]) for row in rows(DOCS / "reference" / "browser-client.md", "# Browser client")] == named


def test_the_errors_of_the_client_are_there() -> None:
    assert {code(row[0]) for row in rows(CLIENT, "## Errors")} <= set(importlib.import_module("transports").__all__)


def test_the_states_are_those_of_the_negotiator_and_of_the_clients() -> None:
    """And what comes next is what it does: its stories go these ways and no others, says `test_negotiator.py`."""
    table = rows(PROTOCOL, "## States")
    assert [code(row[0]) for row in table] == list(facts.STATES) == list(client.State.__args__)
    assert {code(row[0]): set(re.findall(r"`(\w+)`", row[2])) for row in table} == {
        state: {after for before, after in negotiator.ARROWS if before == state} for state in facts.STATES
    }
    types = (ROOT / "transports" / "static" / "client.d.ts").read_text()
    assert re.findall(r'"(\w+)"', re.search(r"type State = ([^;]*);", types)[1]) == list(facts.STATES)


def test_the_shared_cases_are_those_that_there_are_and_tests_play_them() -> None:
    cases, table = ROOT / "tests" / "cases", rows(PROTOCOL, "## Shared cases")
    assert sorted(code(row[0]) for row in table) == sorted(str(path.relative_to(cases)) for path in cases.rglob("*.json"))
    for number in (2, 3):
        playing = ""
        for row in table:
            playing = playing if row[number] == "the same" else (ROOT / code(row[number])).read_text()
            folder, _, name = code(row[0]).removesuffix(".json").rpartition("/")
            assert re.search(rf"cases.*\b{folder or name}\b", playing), row


def test_the_fields_of_a_transport_are_those_of_the_code() -> None:
    table = rows(DOCS / "how-to" / "write-a-transport.md", "# Write a transport")
    assert [code(row[0]) for row in table] == list(Transport.__struct_fields__)


def test_the_layers_name_every_file() -> None:
    listed = " ".join(row[1] for row in rows(ROOT / "CONTRIBUTING.md", "## The architecture in one picture"))
    files = {path.name for path in (ROOT / "transports").rglob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"`(\w+\.py)`", listed)) == files


def test_the_page_of_networks_is_made_of_the_table_and_of_what_was_recorded() -> None:
    made = runpy.run_path(str(DOCS / "networks_page.py"))
    assert made["PAGE"].read_text() == made["page"](), "run `make networks`, or `python docs/networks_page.py`"


@pytest.mark.parametrize("path", sorted(CONTRACT["pages"]()), ids=lambda path: path.name)
def test_the_contract_is_that_of_the_code(path: Path) -> None:
    assert path.read_text() == CONTRACT["pages"]()[path], "run `python docs/contract_pages.py`"


# --- the examples of the protocol


ITEMS, COMMANDS, CHANGES, LISTS = (block.text.splitlines() for block in blocks(PROTOCOL, "json"))


@pytest.mark.parametrize("line", ITEMS)
def test_the_items_of_the_protocol_are_items(line: str) -> None:
    item = items.decode_item(line)
    told, sent = msgspec.json.decode(line), msgspec.json.decode(items.encode(item).json)
    assert {name: value for name, value in told.items() if value is not None} == {
        name: value for name, value in sent.items() if value is not None
    }


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_the_protocol_are_commands(line: str) -> None:
    (command,) = spoken.parse(line)
    assert command.ref == msgspec.json.decode(line)["ref"]
    assert not isinstance(command, spoken.Malformed)


def test_each_command_has_an_example() -> None:
    assert {type(command) for line in COMMANDS for command in spoken.parse(line)} == set(shapes.COMMANDS)


@pytest.mark.parametrize("line", CHANGES)
def test_the_changes_of_the_protocol_are_folded(line: str) -> None:
    presence = Presence("k3f9")
    presence.hear(1050, 1763850000.1, "chat", line.encode())
    assert list(presence.told("chat")) == ([] if '"left"' in line else ["ann"])


@pytest.mark.parametrize("line", LISTS)
def test_the_list_of_the_protocol_is_one(line: str) -> None:
    members = Members(msgspec.json.decode(line, type=Page))
    assert (members.id, [member.name for member in members]) == ("k3f9.1050", ["ann"])


def test_all_items_in_other_pages_are_items() -> None:
    lines = [line for block in all_blocks("json") if block.page != PROTOCOL for line in block.text.splitlines()]
    assert lines
    assert all(items.decode_item(line) is not None for line in lines)


# --- what can be run


@pytest.mark.real
def test_the_transport_of_the_how_to_is_plugged_in_on_both_sides(tmp_path: Path) -> None:
    (example,) = blocks(DOCS / "how-to" / "write-a-transport.md", "python")
    (tmp_path / "ndjson.py").write_text((DOCS / "how-to" / "ndjson.py").read_text())
    with script(example.text, tmp_path / "example.py") as running:
        assert running.communicate()[0] == "ndjson hello\n"


@pytest.mark.real
def test_the_broker_of_the_how_to_keeps_its_events(tmp_path: Path) -> None:
    (example,) = blocks(DOCS / "how-to" / "write-a-broker.md", "python")
    (tmp_path / "lines.py").write_text((DOCS / "how-to" / "lines.py").read_text())
    for printed in ("1 hello\n", "1 hello\n2 hello\n"):
        with script(example.text, tmp_path / "example.py") as running:
            assert running.communicate()[0] == printed


def test_the_members_of_a_broker_are_those_of_the_code() -> None:
    table = [code(row[0]) for row in rows(DOCS / "how-to" / "write-a-broker.md", "# Write a broker")]
    assert set(table) == {name for name in [*vars(Broker), *Broker.__annotations__] if not name.startswith("_")}


async def test_a_quart_app_has_a_stream_beside_its_own_routes() -> None:
    names = run(blocks(QUART, "python")[0])
    app, hub = names["app"], names["live"].hub
    async with app.test_app() as running:
        answer = await running.test_client().post("/orders")
        assert answer.status_code == 201
        assert (await answer.get_json())["event"] == f"{hub.log.epoch}.1"


def test_an_application_factory_is_configured_by_its_app() -> None:
    names = run(blocks(QUART, "python")[1])
    app = names["create_app"]()
    options = app.extensions["live"].hub.options
    assert (options.channels, options.beat) == (("orders",), 20.0)


async def test_what_does_not_look_right_is_refused_in_the_words_of_the_page() -> None:
    page = DOCS / "how-to" / "validate.md"
    live = run(blocks(page, "python")[0])["live"]
    order = {"items": [{"article": "a", "price": "much"}]}
    (told,) = [block.text.splitlines() for block in blocks(page, "text")]
    for (channel, data), line in zip([("orders.a", order), ("chat", {})], told, strict=True):
        with pytest.raises(Refusal) as refused:
            await live.publish(channel, data)
        assert str(refused.value) == f"4400 bad_command: {line}"


def test_the_environment_configures_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (words,) = commands(blocks(QUART, "console")[0])
    for word in words[1:]:
        monkeypatch.setenv(*word.split("=", 1))
    options = run(blocks(QUART, "python")[2])["live"].hub.options
    assert (options.channels, options.beat) == (("orders",), 20.0)


@pytest.mark.real
@pytest.mark.parametrize("block", blocks(QUART, "python")[3:], ids=["in one line", "taken apart"])
async def test_a_quart_app_is_run(tmp_path: Path, block: Block) -> None:
    port = free_port()
    with script(block.text.replace("8000", str(port)), tmp_path / "app.py") as server:
        async with client.connect(f"http://127.0.0.1:{port}/live", ["orders"], connect_timeout=30) as stream:
            await stream.publish("orders", 1)
            assert (await anext(stream)).data == 1
            server.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait, 20) == 0


STARLETTE, FASTAPI, LITESTAR, MAIN = blocks(MOUNTED, "python")


@pytest.mark.real
@pytest.mark.parametrize("app", [STARLETTE, FASTAPI, LITESTAR], ids=["starlette", "fastapi", "litestar"])
@pytest.mark.parametrize("transport", ["websocket", "sse", "longpoll"])
async def test_an_app_of_another_framework_is_run(tmp_path: Path, app: Block, transport: str) -> None:
    port = free_port()
    (tmp_path / "news.py").write_text(app.text)
    url = f"http://127.0.0.1:{port}"
    with script(MAIN.text.replace("8000", str(port)), tmp_path / "main.py") as server:
        async with (
            client.connect(f"{url}/live", ["news"], transport=transport, connect_timeout=30) as stream,
            aiohttp.ClientSession() as http,
        ):
            async with http.post(f"{url}/news", json="hello") as answer:
                event_id = (await answer.json())["event"]
            event = await anext(stream)
            assert (event.id, event.data, stream.transport) == (event_id, "hello", transport)
            server.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait, 20) == 0


async def test_litestar_asks_no_route_that_has_a_parameter_and_begins_like_the_mount() -> None:
    async def own() -> str:
        return "own"

    mounted = litestar.asgi("/live", is_mount=True, copy_scope=True)(Live().asgi)
    app = litestar.Litestar([mounted, litestar.get("/livestock")(own), litestar.get("/livestock/{name:str}")(own)])
    async with AsyncTestClient(app) as http:
        assert (await http.get("/livestock/hen")).status_code == 404
        assert (await http.get("/livestock")).text == "own"


@pytest.mark.real
async def test_who_is_there_is_shown(tmp_path: Path) -> None:
    port = free_port()
    app, program = (block.text.replace("8000", str(port)) for block in blocks(DOCS / "how-to" / "show-who-is-there.md", "python"))
    with script(app, tmp_path / "app.py"):
        async with (
            client.connect(f"http://127.0.0.1:{port}/live", ["presence:lobby"], connect_timeout=30),
            aiohttp.ClientSession() as http,
        ):
            with script(program, tmp_path / "program.py") as running:
                said = await asyncio.to_thread(running.communicate)
            assert said[0].splitlines()[-1] == "['ann', 'clerk']"
            async with http.get(f"http://127.0.0.1:{port}/who") as answer:  # ann has not been away for the delay
                assert await answer.json() == {"count": 2, "names": ["ann", "clerk"]}


READING, RECOVERING, PUBLISHING, BLOCKING = blocks(CLIENT, "python")


@pytest.mark.real
@pytest.mark.parametrize("block", [READING, BLOCKING], ids=["asyncio", "blocking"])
async def test_the_clients_of_the_reference_print_events(block: Block, tmp_path: Path) -> None:
    async with live() as (hub, url):
        start = f"asyncio.run(main({url!r}))" if block is READING else f"main({url!r})"
        with script(f"{block.text}\n{start}\n", tmp_path / "client.py") as running:
            await until(lambda: hub.readers)
            event_id = await hub.publish("vitals", {"load": 1})
            line = await asyncio.to_thread(running.stdout.readline)
    assert line.startswith(event_id)
    assert line.endswith("{'load': 1}\n")


async def test_a_loss_that_raises_is_recovered_from() -> None:
    follow = run(RECOVERING)["follow"]
    shown: list = []
    gone: list[str] = []

    async def reload(channel: str) -> None:
        gone.append(channel)

    async with live(history_count=1) as (hub, url), client.connect(url, ["a"]) as stream:
        following = asyncio.create_task(follow(stream, shown.append, reload))
        await until(lambda: hub.readers)
        await hub.publish("a", 1)
        await hub.publish("a", 2)  # before the reader was woken: only this one is still kept
        await until(lambda: shown)
        following.cancel()
        await asyncio.wait([following])
    assert ([event.data for event in shown], gone) == ([2], ["a"])


async def test_those_who_only_publish_get_the_ids(capsys: pytest.CaptureFixture[str]) -> None:
    async with live() as (hub, url):
        await run(PUBLISHING)["main"](url)
        assert capsys.readouterr().out == f"{[f'{hub.log.epoch}.1', f'{hub.log.epoch}.2']}\n"


# --- the built pages


class _Requests(HTMLParser):
    """What a page asks for by itself: all that is loaded, and no link that a reader would have to follow."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.urls += [value or "" for name, value in attrs if tag != "a" and name in {"src", "href", "srcset", "data"}]


@pytest.mark.real
@pytest.mark.timeout(300)  # another process may be building
def test_the_pages_build_without_a_warning_and_ask_nobody_else_for_anything(tmp_path_factory: pytest.TempPathFactory) -> None:
    html = built(tmp_path_factory)
    pages = list(html.rglob("*.html"))
    assert len(pages) > 15
    assert [url for page in pages for url in _Requests(page).urls if re.match(r"(\w+:)?//", url)] == []
    styles = "".join(style.read_text() for style in html.rglob("*.css"))
    assert re.findall(r"url\(['\"]?(?:\w+:)?//[^)]*", styles) == []


# --- the negotiator


NEGOTIATOR = DOCS / "explanation" / "negotiator.md"


def test_the_table_of_the_negotiator_is_that_of_the_code() -> None:
    (table,) = [block.text for block in blocks(NEGOTIATOR, "text")]
    assert table.strip() == negotiator.GRID.strip()


def test_the_diagram_of_the_negotiator_is_drawn_from_the_code() -> None:
    diagram = runpy.run_path(str(DOCS / "negotiator_diagram.py"))
    assert diagram["PICTURE"].read_text() == diagram["draw"]()


def test_the_verdicts_are_those_of_the_code() -> None:
    assert [(code(row[0]), row[1]) for row in rows(NEGOTIATOR, "## Evidence")] == list(evidence.VERDICTS.items())


def test_the_numbers_of_the_negotiator_are_those_of_the_code() -> None:
    table = {code(row[0]): float(row[1]) for row in rows(NEGOTIATOR, "## The numbers")}
    assert table == {name: float(value) for name, value in msgspec.structs.asdict(Pace()).items()}
