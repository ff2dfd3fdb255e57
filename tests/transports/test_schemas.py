from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Annotated, Any, TypedDict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quart import Quart

import transports.schemas
from tests.transports.conftest import TRANSPORTS, live
from transports import ConfigError, Hub, MissingExtraError, Options, Refusal, Transport
from transports.asgi import Endpoints
from transports.client import connect
from transports.conformance import Target
from transports.conformance.commands import WAYS, say
from transports.front import Front
from transports.items import encode_data
from transports.quart import Live
from transports.schemas import Schemas, schema_of
from transports.testing import serving


class Line(msgspec.Struct):
    price: float
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


class Order(msgspec.Struct):
    items: list[Line]
    at: datetime.datetime | None = None


ORDER = {
    "type": "object",
    "required": ["items"],
    "properties": {
        "items": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "at": {"type": ["string", "null"], "format": "date-time"},
    },
    "$defs": {
        "line": {
            "type": "object",
            "required": ["price"],
            "properties": {"price": {"type": "number"}, "count": {"type": "integer", "minimum": 1}},
        }
    },
}
GOOD = {"items": [{"price": 1.5}, {"price": 2, "count": 3}], "at": "2026-11-26T12:00:00Z", "more": "is let through"}
WORDS = [{"type": Order}, {"schema": ORDER}]
EACH = pytest.mark.parametrize("words", WORDS, ids=["type", "schema"])


async def hub_of(*channels: str, **settings: Any) -> Hub:
    hub = Hub(Options(channels=channels or ("*",), **settings))
    await hub.open()
    return hub


def said(words: dict, data: Any, name: str = "a") -> str | None:
    """Why `data` is refused."""
    try:
        schema_of(name, words.get("type"), words.get("schema")).check(encode_data(data))
    except Refusal as refusal:
        return f"{refusal}".removeprefix("4400 bad_command: ")
    return None


# --- what is refused, and how that is said


@EACH
def test_what_fits_is_published(words: dict) -> None:
    assert said(words, GOOD) is None


@pytest.mark.parametrize(
    ("data", "of_type", "of_document"),
    [
        ({"items": [{"price": "1"}]}, ".items[0].price: expected float, got str", '.items[0].price: it is not of type "number"'),
        ({"items": [{}]}, ".items[0]: object missing required field price", '.items[0]: "price" is a required property'),
        (
            {"items": [{"price": 1, "count": 0}]},
            ".items[0].count: expected int >= 1",
            ".items[0].count: it is less than the minimum of 1",
        ),
        ({"items": [], "at": "noon"}, ".at: invalid RFC3339 encoded datetime", '.at: it is not a "date-time"'),
        (5, ": expected object, got int", ': it is not of type "object"'),
    ],
)
def test_the_reason_names_the_path(data: Any, of_type: str, of_document: str) -> None:
    assert [said(words, data) for words in WORDS] == [f"data{of_type}", f"data{of_document}"]


@pytest.mark.parametrize(
    "words",
    [
        {"type": dict[str, list[float]]},
        {"schema": {"additionalProperties": {"items": {"type": "number"}}}},
        {"schema": {"enum": ["a"]}},
        {"type": Annotated[str, msgspec.Meta(pattern="^a$")]},
    ],
)
def test_a_reason_is_short_whatever_is_sent(words: dict) -> None:
    for data in ({"x" * 10_000: ["y"]}, "x" * 10_000):
        reason = said(words, data)
        assert reason is None or len(reason) < 700


@dataclasses.dataclass
class Point:
    x: int


class Named(TypedDict):
    x: int


@pytest.mark.parametrize("type_", [Point, Named, dict[str, int], msgspec.defstruct("Made", [("x", int)])])
def test_types_of_all_kinds(type_: Any) -> None:
    assert said({"type": type_}, {"x": 1}) is None
    assert said({"type": type_}, {"x": "1"}) in ("data.x: expected int, got str", "data[...]: expected int, got str")


def test_what_a_server_publishes_is_judged_by_what_travels() -> None:
    for words in WORDS:
        assert said(words, Order([Line(1.0)], datetime.datetime.now(datetime.UTC))) is None
        assert said(words, Order(["no"])) is not None


@pytest.mark.parametrize("number", [10**40, -(10**40), 2**64, 1.5, float("nan")])
def test_numbers_that_no_machine_has(number: Any) -> None:
    assert said({"schema": {"type": "number"}}, number) == ('data: it is not of type "number"' if number != number else None)


def test_a_text_that_makes_a_pattern_look_back_for_ever_is_refused_in_time() -> None:
    assert "pattern" not in (said({"schema": {"pattern": "^(?=(a+)+$)b"}}, "a" * 5_000) or "")
    assert said({"schema": {"pattern": r"^(a|aa)+$(?=x)"}}, "a" * 5_000 + "b") is not None


# --- what is none


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"type": Order, "schema": ORDER},
        {"type": object()},
        {"type": Hub},
        {"type": list["Nowhere"]},  # noqa: F821
        {"type": Annotated[int, msgspec.Meta(pattern="a")]},
        {"schema": {"type": "objekt"}},
        {"schema": {"pattern": "("}},
        {"schema": {"$ref": "#/$defs/nothing"}},
        {"schema": {"$ref": "http://127.0.0.1:9/schema.json"}},
        {"schema": {"$ref": "file:///etc/hostname"}},
        {"schema": {"$schema": "https://example.com/made-up"}},
        {"schema": {"x": object()}},
        {"schema": 5},
    ],
    ids=range(14),
)
async def test_a_bad_schema_is_told_where_it_was_written(words: dict) -> None:
    for where in (Live(channels=["*"]), await hub_of()):
        with pytest.raises(ConfigError, match="channel 'a'"):
            where.channel("a", **words)


def test_nothing_is_loaded_from_elsewhere() -> None:
    with pytest.raises(ConfigError, match="put what it stands for below"):
        schema_of("a", document={"$ref": "file:///etc/hostname"})


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("order.*", "no channel matches"),
        ("b", "no channel named"),
        ("*a", "is not a channel name"),
        ("presence:orders.a", "shape of its own"),
        ("orders.a", "has a schema already"),
    ],
)
async def test_a_schema_for_channels_that_there_are_not(name: str, why: str) -> None:
    hub = await hub_of("orders.*", "a")
    hub.channel("orders.a", type=int)
    with pytest.raises(ConfigError, match=why):
        hub.channel(name, type=int)


def test_what_is_declared_before_the_app_is_there_is_kept() -> None:
    late = Live(channels=["a", "b"])
    late.channel("a", type=int)
    with pytest.raises(ConfigError, match="already"):
        late.channel("a", type=int)
    late.init_app(Quart("test"))
    late.channel("b", type=str)
    assert [name for name, _ in late.hub.schemas] == ["a", "b"]
    unmounted = Live(channels=["a"])
    unmounted.channel("a", type=int)
    assert [name for name, _ in unmounted.asgi.hub.schemas] == ["a"]


def test_channels_that_the_app_does_not_allow_are_told_when_it_is_known_which_there_are() -> None:
    live = Live(channels=["a"])
    live.channel("b", type=int)
    with pytest.raises(ConfigError, match="no channel named 'b'"):
        live.init_app(Quart("test"))


def test_json_schemas_need_their_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jsonschema_rs", None)
    with pytest.raises(MissingExtraError, match=r"everywire\[schema\]"):
        schema_of("a", document=ORDER)
    assert transports.schemas.schema_of("a", int)


# --- which one counts


@given(
    st.lists(st.text("ab.", max_size=4).map(lambda text: f"a{text}"), unique=True), st.text("ab.", max_size=5).map("a{}".format)
)
def test_its_own_goes_before_the_longest_pattern(names: list[str], channel: str) -> None:
    wanted, schemas = [*(f"{name}*" for name in names), *names[::2]], Schemas()
    made = {name: schema_of(name, int) for name in wanted}
    for name, schema in made.items():
        schemas.declare(name, schema)
    fits = [name for name in wanted if name == channel or (name.endswith("*") and channel.startswith(name[:-1]))]
    best = max(fits, key=lambda name: (name == channel, len(name)), default=None)
    assert schemas.of(channel) is (None if best is None else made[best])


def test_a_pattern_of_everything_leaves_who_is_there_alone() -> None:
    schemas = Schemas()
    schemas.declare("*", schema_of("*", int))
    assert (schemas.of("presence:a"), schemas.of("a") is not None) == (None, True)


# --- nothing changes

FIELDS = st.sampled_from(["items", "price", "count", "at", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["items", "price", "count", "at", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def fits(data: Any) -> bool:
    """What an order is, once more."""
    if not isinstance(data, dict) or not isinstance(lines := data.get("items"), list) or data.get("at") is not None:
        return False

    def number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    return all(
        isinstance(line, dict)
        and number(line.get("price"))
        and isinstance(count := line.get("count", 1), int)
        and not isinstance(count, bool)
        and count >= 1
        for line in lines
    )


SIMPLE = {key: value if key != "properties" else {**value, "at": {"type": "null"}} for key, value in ORDER.items()}
simple = st.fixed_dictionaries({"items": st.lists(st.fixed_dictionaries({"price": JSON}, optional={"count": JSON}), max_size=3)})


class Simple(msgspec.Struct):
    items: list[Line]
    at: None = None


@settings(deadline=None)
@given(JSON | simple)
async def test_what_does_not_fit_changes_nothing(data: Any) -> None:
    for words in ({"type": Simple}, {"schema": SIMPLE}):
        hub = await hub_of()
        hub.channel("orders.*", **words)
        with hub.feed(["orders.*"]) as feed:
            event, told = await published(hub, data)
            if event is None:
                assert told.startswith("4400 bad_command: data")
                assert not fits(data) or _whole(data)
                assert (hub.log.head, hub.log.channels, feed.selection.channels) == (0, 0, ())
                event, _ = await published(hub, {"items": []})  # the key was not taken
            else:
                assert fits(data) or _whole(data)
            assert event == f"{hub.log.epoch}.1"
        await hub.close()


async def published(hub: Hub, data: Any) -> tuple[str | None, str]:
    """The id, or the refusal."""
    try:
        return await hub.publish("orders.a", data, key="k"), ""
    except Refusal as refusal:
        return None, str(refusal)


def _whole(data: Any) -> bool:
    """Whether the two may differ: 1.0 is an integer to JSON Schema (6.1.1), and numbers beyond a float are to msgspec none."""
    text = json.dumps(data)
    return ".0" in text or "e" in text or any(len(part) > 15 for part in text.split())


# --- from outside


@EACH
@pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda each: each.name)
async def test_clients_are_refused_alike_on_every_transport(transport: Transport, words: dict) -> None:
    async with live() as (hub, url), connect(url, ["orders.*"], transports=[transport]) as stream:
        hub.channel("orders.*", **words)
        with pytest.raises(Refusal, match=r"4400 bad_command: data.items\[0\].price: ") as caught:
            await stream.publish("orders.a", {"items": [{"price": "much"}]})
        assert caught.value.code == 4400
        assert (hub.log.channels, hub.log.head) == (0, 0)
        await stream.publish("orders.a", GOOD)
        assert (await anext(stream)).data == GOOD


@pytest.mark.parametrize("edge", ["front", "plain"])
@pytest.mark.parametrize("way", WAYS)
async def test_commands_are_refused_alike_on_each_edge(edge: str, way: str) -> None:
    hub = await hub_of()
    hub.channel("orders.*", type=Order)
    endpoints = Endpoints(hub)
    front = Front(endpoints.admission, "") if edge == "front" else None
    async with serving(endpoints, drain=hub.close, front=front) as url:
        command = {"do": "publish", "ref": 1, "channel": "orders.a", "key": "k"}
        replies = await say(Target(url), way, {**command, "data": {"items": 5}}, {**command, "data": {"items": []}})
    assert (replies[0]["code"], replies[0]["reason"]) == (4400, "data.items: expected array, got int")
    assert replies[1]["id"] == f"{hub.log.epoch}.1"


async def test_a_bad_one_among_others_stops_nobody() -> None:
    hub = await hub_of()
    hub.channel("orders.*", type=int)
    hub.channel("orders.text", type=str)
    await hub.publish("orders.text", "one")
    with pytest.raises(Refusal, match="data: expected int, got str"):
        await hub.publish("orders.b", "one")
    await hub.publish("other", "anything")
