"""`everywire contract`: the documents, of this project or of an application."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from transports.contract import Contract, as_json, as_yaml, asyncapi, openapi
from transports.errors import ConfigError
from transports.hub import Hub


def written(kind: str, app: str | None, *, title: str, version: str, in_json: bool) -> str:
    """A document, `asyncapi` or `openapi`, as text. Raises: ConfigError, MissingExtraError."""
    contract = Contract(title=title, version=version)
    if app is not None:
        hub = hub_of(app)
        contract = contract._replace(options=hub.options, channels=tuple(hub.schemas))
    document = asyncapi(contract) if kind == "asyncapi" else openapi(contract)
    return as_json(document) if in_json else as_yaml(document)


def hub_of(app: str) -> Hub:
    """The hub of an application that is named `module:name`, or `module:function()`. Raises: ConfigError."""
    module, colon, name = app.partition(":")
    if not colon or not module or not name:
        raise ConfigError(f"--app {app}: say module:name, or module:create_app()")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as for any program that is started here
    try:
        found: Any = importlib.import_module(module)
        for part in name.removesuffix("()").split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"--app {app}: {error}") from error
    if name.endswith("()"):
        found = found()
    found = getattr(found, "extensions", {}).get("live", found)  # an application of Quart's
    hub = getattr(found, "hub", found)
    if not isinstance(hub, Hub):
        raise ConfigError(f"--app {app}: neither an application with Live nor a Live")
    return hub
