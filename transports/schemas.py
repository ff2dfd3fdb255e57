"""Schemas: what the events of a channel look like, where somebody said so. The hub asks before it publishes.

A schema is a type that msgspec decodes (a Struct, a dataclass, a TypedDict, `list[int]`, …) or a JSON Schema. What is looked
at is the JSON that will travel, whatever it was made of, so a server's own events and a client's are judged alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from .errors import Code, ConfigError, MissingExtraError, Refusal
from .subscriptions import is_pattern, matches

Document: TypeAlias = Mapping[str, Any] | bool
"""A JSON Schema, of draft 2020-12 unless its `$schema` names another."""

_BACKTRACKS: Final = 100_000  # steps of a regular expression that looks around; the text that it is tried on is a stranger's
_SHOWN: Final = 300  # characters of a reason: what it quotes is a stranger's too


class Schema(NamedTuple):
    """What events look like. One of `type` and `document` is None."""

    check: Callable[[bytes], None]  # raises Refusal 4400 for the JSON of an event's data
    type: Any
    document: Document | None


def schema_of(name: str, type: Any = None, document: Document | None = None) -> Schema:  # noqa: A002 - the word of who asks for it
    """The schema of a type, or of a JSON Schema.

    Args:
        name: of the channels, for errors.
        type: what msgspec decodes.
        document: a JSON Schema.

    Raises:
        ConfigError: there are both or neither, or it is none that can be checked.
        MissingExtraError: JSON Schemas need the extra `schema`.
    """
    if (type is None) == (document is None):
        raise ConfigError(f"channel {name!r}: say type=… or schema=…, one of them")
    if document is not None:
        return Schema(_check_of_document(name, document), None, document)
    return Schema(_check_of_type(name, type), type, None)


def _check_of_type(name: str, type: Any) -> Callable[[bytes], None]:  # noqa: A002
    try:
        msgspec.json.schema(type)  # unlike a decoder, it finds what cannot be decoded before somebody sends it
        decode = msgspec.json.Decoder(type).decode
    except (NameError, TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"channel {name!r}: {type!r} is no type that JSON can be checked against: {error}") from error

    def check(body: bytes) -> None:
        try:
            decode(body)
        except msgspec.ValidationError as error:
            raise _refusal(*_said_of_type(str(error))) from None

    return check


def _said_of_type(text: str) -> tuple[str, str]:
    """Where and what: msgspec's "Expected `float`, got `str` - at `$.items[0].price`"."""
    what, _, where = text.partition(" - at `$")
    what = what.replace("`", "")
    return where.rstrip("`"), what[:1].lower() + what[1:]


def _check_of_document(name: str, document: Document) -> Callable[[bytes], None]:
    try:
        import jsonschema_rs
    except ImportError as error:
        raise MissingExtraError("schema", "jsonschema-rs") from error
    try:
        validate = jsonschema_rs.validator_for(
            document if isinstance(document, bool) else dict(document),
            validate_formats=True,  # draft 2020-12 leaves that open, and who writes one means it
            retriever=_elsewhere,
            mask="it",  # instead of the value, which may be long
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS),
        ).validate
    except (TypeError, ValueError, RecursionError) as error:
        text = " ".join(str(error).split())[:_SHOWN]
        raise ConfigError(f"channel {name!r}: this is no JSON Schema: {text}") from error

    def check(body: bytes) -> None:
        try:
            validate(msgspec.json.decode(body))
        except jsonschema_rs.ValidationError as error:
            raise _refusal(_path(error.instance_path), error.message) from None

    return check


def _elsewhere(uri: str) -> Any:
    """Called for a `$ref` that leads out of the schema: nothing is loaded over the network, or out of a file."""
    raise LookupError(f"{uri} is not in the schema: put what it stands for below $defs")


def _path(steps: list[Any]) -> str:
    return "".join([f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps])


def _refusal(where: str, what: str) -> Refusal:
    return Refusal(Code.BAD_COMMAND, f"data{where[:_SHOWN]}: {what[:_SHOWN]}")


class Schemas:
    """The schemas of a hub, by channel and pattern."""

    def __init__(self) -> None:
        self._by_name: dict[str, Schema] = {}
        self._lengths: tuple[int, ...] = ()  # of the patterns without their `*`, the longest first

    def declare(self, name: str, schema: Schema) -> None:
        """What is published to `name`, a channel or a pattern, has to fit. Raises: ConfigError, it has a schema already."""
        if name in self._by_name:
            raise ConfigError(f"channel {name!r} has a schema already")
        self._by_name[name] = schema
        self._lengths = tuple(sorted({len(each) - 1 for each in self._by_name if is_pattern(each)}, reverse=True))

    def __iter__(self) -> Iterator[tuple[str, Schema]]:
        """Channels and patterns with their schemas, in the order in which they were declared."""
        return iter(self._by_name.items())

    def of(self, channel: str) -> Schema | None:
        """The schema of a channel: its own, or that of the longest pattern that takes it in."""
        if not self._by_name:
            return None
        if (own := self._by_name.get(channel)) is not None:
            return own
        patterns = (channel[:length] + "*" for length in self._lengths)
        return next((self._by_name[each] for each in patterns if each in self._by_name and matches(each, channel)), None)
