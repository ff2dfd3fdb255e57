"""Text: a document as it is written to a file."""

from __future__ import annotations

import msgspec

from ..errors import MissingExtraError
from .shapes import Document

_WIDTH = 120  # characters of a line


def as_yaml(document: Document) -> str:
    """YAML. Raises: MissingExtraError."""
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("contract", "PyYAML") from error
    text: str = yaml.dump(document, Dumper=_dumper(yaml), sort_keys=False, allow_unicode=True, width=_WIDTH)
    return text


def _dumper(yaml: object) -> type:
    """One that writes what comes twice twice: an alias is no help to who reads it."""
    safe: type = yaml.SafeDumper  # type: ignore[attr-defined]
    return type("Dumper", (safe,), {"ignore_aliases": lambda self, data: True})


def as_json(document: Document) -> str:
    """JSON, which is YAML too."""
    return msgspec.json.format(msgspec.json.encode(document)).decode() + "\n"
