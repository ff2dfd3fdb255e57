"""Shapes: JSON Schemas of all that travels, made of the types that the server reads and writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from ..commands import Auth, Ping, Present, Publish, Subscribe, Unsubscribe
from ..errors import ErrorBody
from ..items import Beat, Bye, Event, Hello, Lost, Reply, Skipped
from ..offer import Alive, Offer, Ready, Ticket
from ..options import Options
from ..presence import Page
from ..schemas import Schema
from ..status import Status
from ..subscriptions import is_pattern

ITEMS: Final = (Hello, Event, Beat, Lost, Skipped, Reply, Bye)
COMMANDS: Final = (Publish, Subscribe, Unsubscribe, Present, Auth, Ping)
OTHERS: Final = (Alive, ErrorBody, Offer, Page, Ready, Status, Ticket)
_VALUES: Final = frozenset({"const", "default", "enum", "examples"})  # keywords with values, in which nothing is a schema
_NAMED: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})  # schemas by name
_REF: Final = "#/components/schemas/{name}"

Document: TypeAlias = dict[str, Any]


class Contract(NamedTuple):
    """What is written down.

    Attributes:
        options: of the server.
        channels: that somebody described, with their schemas, as `Hub.schemas` has them.
        title: of the documents.
        version: of what they describe.
    """

    options: Options = Options()
    channels: Sequence[tuple[str, Schema]] = ()
    title: str = "everywire"
    version: str = "1"


def ref(name: str) -> Document:
    """A reference to a schema."""
    return {"$ref": _REF.format(name=name)}


def any_of(names: Sequence[str]) -> Document:
    """One of several schemas."""
    return {"anyOf": [ref(name) for name in names]}


def schemas(contract: Contract) -> Document:
    """All schemas by name: items, commands, other answers, and what is in the channels that were described."""
    _, components = msgspec.json.schema_components([*ITEMS, *COMMANDS, *OTHERS], ref_template=_REF)
    made = {name: _plain(schema) for name, schema in sorted(components.items())}
    typed = [schema.type for _, schema in contract.channels if schema.document is None]
    found, components = msgspec.json.schema_components(typed, ref_template=_REF.format(name="Type.{name}"))
    made |= {f"Type.{name}": _plain(schema) for name, schema in sorted(components.items())}
    data = iter(found)
    for name, schema in contract.channels:
        shape = _plain(next(data)) if schema.document is None else _document(name, schema)
        made[f"Data.{slug(name)}"] = shape
        made[f"Event.{slug(name)}"] = _narrowed("Event", name, f"Data.{slug(name)}")
        made[f"Publish.{slug(name)}"] = _narrowed("Publish", name, f"Data.{slug(name)}")
    made["Item"] = any_of([*(each for each in made if each.startswith("Event.")), *(each.__name__ for each in ITEMS)])
    made["Command"] = any_of([*(each for each in made if each.startswith("Publish.")), *(each.__name__ for each in COMMANDS)])
    made["Commands"] = {"anyOf": [ref("Command"), {"type": "array", "items": ref("Command")}]}
    return made


def slug(name: str) -> str:
    """A channel or pattern as a part of a name: `orders.any` for `orders.*`."""
    return name.replace("*", "any").replace(":", "-")


def _narrowed(shape: str, channel: str, data: str) -> Document:
    """An event, or a publish, of a channel: with the data that is in it."""
    where = {"pattern": f"^{_escaped(channel[:-1])}"} if is_pattern(channel) else {"const": channel}
    return {"allOf": [ref(shape), {"type": "object", "properties": {"channel": where, "data": ref(data)}}]}


def _escaped(text: str) -> str:
    return text.replace(".", r"\.")


def _document(name: str, schema: Schema) -> Document:
    """A JSON Schema of somebody else's. What it refers to in itself is found from the root of the document here."""
    if isinstance(schema.document, bool):
        return {} if schema.document else {"not": {}}
    document = dict(schema.document or {})
    return document if "$id" in document else _moved(document, f"#/components/schemas/Data.{slug(name)}")


def _moved(value: Any, root: str) -> Any:
    if isinstance(value, list):
        return [_moved(each, root) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: each if name in _VALUES else _moved_under(name, each, root) for name, each in value.items()}


def _moved_under(name: str, value: Any, root: str) -> Any:
    if name in _NAMED and isinstance(value, dict):
        return {each: _moved(schema, root) for each, schema in value.items()}
    inner = name == "$ref" and isinstance(value, str) and (value == "#" or value.startswith("#/"))
    return f"{root}{value[1:]}" if inner else _moved(value, root)


def _plain(schema: Any) -> Any:
    """The schema with descriptions of one line."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: " ".join(value.split()) if name == "description" and isinstance(value, str) else _plain(value)
        for name, value in schema.items()
    }
