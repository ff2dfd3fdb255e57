"""AsyncAPI 3.0: what goes up and down on each wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from .endpoints import ENDPOINTS, PARAMETERS
from .shapes import COMMANDS, ITEMS, Contract, Document, ref, schemas

_DOWN: Final = tuple(each.__name__ for each in ITEMS)
_UP: Final = tuple(each.__name__ for each in COMMANDS)
_WIRES: Final = {
    "websocket": (
        "ws",
        "A text frame is a JSON array of items; one of the client's is a command, or an array of them. With the subprotocol "
        "everywire.v1.msgpack the same comes in binary frames of MessagePack.",
    ),
    "sse": ("sse", "The data of a block is one item."),
    "poll": ("poll", "The answer is a JSON array of items."),
    "commands": ("commands", "A command, or an array of them, answered with an array of replies."),
}


def asyncapi(contract: Contract) -> Document:
    """The document. It is written from where the server stands: it sends items, and receives commands."""
    shapes = schemas(contract)
    down = [*(each for each in shapes if each.startswith("Event.")), *(each for each in _DOWN if each != "Reply")]
    up = [*(each for each in shapes if each.startswith("Publish.")), *_UP]
    posted = [each for each in up if each not in ("Subscribe", "Unsubscribe", "Auth")]  # which are for a WebSocket alone
    carried = {"websocket": [*down, "Reply", *up], "sse": down, "poll": down, "commands": [*posted, "Reply"]}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": contract.title,
            "version": contract.version,
            "description": "One ordered event stream over WebSocket, Server-Sent Events and long-polling.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "websocket": _server(contract, "ws", "The mount, for WebSocket."),
            "http": _server(contract, "http", "The mount, for everything else."),
        },
        "channels": {name: _channel(name, carried[name]) for name in _WIRES},
        "operations": {
            "sendOverWebsocket": _operation("send", "websocket", down),
            "receiveOverWebsocket": {**_operation("receive", "websocket", up), "reply": _reply("websocket")},
            "sendOverSse": _operation("send", "sse", down, "GET"),
            "sendToPolls": _operation("send", "poll", down, "GET"),
            "receiveByPost": {**_operation("receive", "commands", posted, "POST"), "reply": _reply("commands")},
        },
        "components": {
            "messages": {name: _message(name, shapes[name]) for name in [*down, "Reply", *up]},
            "schemas": shapes,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "ticket": {"type": "httpApiKey", "in": "query", "name": "ticket"},
            },
        },
    }


def _server(contract: Contract, protocol: str, description: str) -> Document:
    kept = {"pathname": contract.options.mount, "description": description}
    return {"host": "localhost:8000", "protocol": protocol, **kept, "security": _SECURITY}


_SECURITY: Final = [{"$ref": "#/components/securitySchemes/token"}, {"$ref": "#/components/securitySchemes/ticket"}]


def _channel(name: str, messages: Sequence[str]) -> Document:
    path, text = _WIRES[name]
    channel: Document = {
        "address": f"/{path}",
        "title": ENDPOINTS[path].title,
        "description": text,
        "servers": [{"$ref": f"#/servers/{'websocket' if name == 'websocket' else 'http'}"}],
        "messages": {each: {"$ref": f"#/components/messages/{each}"} for each in messages},
    }
    if name == "websocket":
        channel["bindings"] = {"ws": {"method": "GET", "query": _query(path)}}
    return channel


def _query(path: str) -> Document:
    known = {name: PARAMETERS[name] for name in ENDPOINTS[path].parameters}
    return {"type": "object", "properties": {name: {**each.schema, "description": each.meaning} for name, each in known.items()}}


def _operation(action: str, channel: str, messages: Sequence[str], method: str = "") -> Document:
    operation: Document = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{each}"} for each in messages],
    }
    if method:
        path = _WIRES[channel][0]
        query = {"query": _query(path)} if ENDPOINTS[path].parameters else {}
        operation["bindings"] = {"http": {"method": method, **query}}
    return operation


def _reply(channel: str) -> Document:
    return {"channel": {"$ref": f"#/channels/{channel}"}, "messages": [{"$ref": f"#/channels/{channel}/messages/Reply"}]}


def _message(name: str, shape: Any) -> Document:
    said = {"summary": shape["description"]} if "description" in shape else {}
    return {"name": name, **said, "payload": ref(name)}
