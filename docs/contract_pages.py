"""Make the pages of the contract, and the documents beside them, out of the code's own tables.

python docs/contract_pages.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader

from transports.conformance import CHECKS, Check
from transports.contract import Contract, as_yaml, asyncapi, openapi

HERE: Final = Path(__file__).parent
REFERENCE: Final = HERE / "reference"
_BOUNDS: Final = {
    "minLength": "length from {}",
    "maxLength": "length to {}",
    "minimum": "from {}",
    "maximum": "to {}",
    "pattern": "as `{}`",
    "examples": "such as `{0[0]}`",
}


def pages() -> dict[Path, str]:
    """Each file that is made, with its text."""
    jinja = Environment(loader=FileSystemLoader(HERE / "templates"), keep_trailing_newline=True, autoescape=False)
    jinja.filters.update(kind=kind, merged=merged, named=named)
    paths, wires = openapi(Contract()), asyncapi(Contract())
    contract = jinja.get_template("contract.md.j2").render(openapi=paths, asyncapi=wires, shapes=paths["components"]["schemas"])
    return {
        REFERENCE / "asyncapi.yaml": as_yaml(wires),
        REFERENCE / "conformance.md": jinja.get_template("conformance.md.j2").render(checks=CHECKS),
        REFERENCE / "contract.md": contract,
        REFERENCE / "openapi.yaml": as_yaml(paths),
    }


def merged(checks: Iterable[Check]) -> list[tuple[str, str, str]]:
    """A row for each check: its name, over what it looks, and what it says."""
    rows: dict[str, tuple[list[str], str]] = {}
    for check in checks:
        name, _, transport = check.name.partition("/")
        rows.setdefault(name, ([], check.says))[0].append(transport)
    return [(name, ", ".join(filter(None, over)), says) for name, (over, says) in rows.items()]


def named(reference: dict[str, Any]) -> str:
    """What a reference leads to."""
    name = reference["$ref"].rpartition("/")[2]
    return f"`{name}`" if "parameters" in reference["$ref"] else link(name)


def link(name: str) -> str:
    """A link to a shape on the same page."""
    return f"[{name}](#{name.lower()})"


def kind(schema: dict[str, Any]) -> str:
    """What a schema lets stand somewhere, in words."""
    if "$ref" in schema:
        return named(schema)
    if "anyOf" in schema:
        return " or ".join(map(kind, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{json.dumps(each)}`" for each in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"array of {kind(schema['items'])}"
    if "additionalProperties" in schema:
        return f"object, each {kind(schema['additionalProperties'])}"
    bounds = [words.format(schema[name]) for name, words in _BOUNDS.items() if name in schema]
    return ", ".join([schema.get("type", "anything"), *bounds]).replace("|", r"\|")  # it stands in a table


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
