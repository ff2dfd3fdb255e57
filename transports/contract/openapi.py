"""OpenAPI 3.1: the paths, their parameters and answers."""

from __future__ import annotations

from typing import Any, Final

from ..errors import Code
from .endpoints import ASIDE, ENDPOINTS, EVERYWHERE, JSON, PARAMETERS, Answer, Endpoint, Parameter
from .shapes import Contract, Document, ref, schemas

_MEANINGS: Final = {
    405: "another method is wanted",
    414: "the URL is too long; the code is 4413",
    415: "another content type is wanted",
    421: "this name is not served here; the code is 4403",
    426: "an upgrade is wanted",
    431: "the head is too large; the code is 4413",
    501: "a library is missing here",
}


def openapi(contract: Contract) -> Document:
    """The document."""
    statuses = sorted({status for endpoint in ENDPOINTS.values() for status in (*endpoint.refusals, *EVERYWHERE)})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": contract.title,
            "version": contract.version,
            "summary": "One ordered event stream over WebSocket, Server-Sent Events and long-polling.",
            "description": "What goes over the wires that last is in asyncapi.yaml; what it means, in the wire protocol.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": contract.options.mount, "description": "The mount."}],
        "security": [{}, {"token": []}, {"ticket": []}],
        "paths": {f"/{path}{'{channel}' if path.endswith('/') else ''}": _path(path, each) for path, each in ENDPOINTS.items()},
        "components": {
            "schemas": schemas(contract),
            "parameters": {name: _parameter(name, each) for name, each in (PARAMETERS | ASIDE).items()},
            "responses": {f"refused-{status}": _refused(status) for status in statuses},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "ticket": {"type": "apiKey", "in": "query", "name": "ticket"},
            },
        },
    }


def _path(path: str, endpoint: Endpoint) -> Document:
    answers: Document = {str(endpoint.answer.status): _answer(endpoint.answer)}
    for status in sorted((*endpoint.refusals, *EVERYWHERE)):
        answers[str(status)] = {"$ref": f"#/components/responses/refused-{status}"}
    operation: Document = {
        "operationId": path.strip("/").replace(".js", "-script").replace("/", "-"),
        "summary": endpoint.title,
        "description": endpoint.text,
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in endpoint.parameters],
        "responses": answers,
    }
    if endpoint.open:
        operation["security"] = [{}]
    if endpoint.body:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": ref(endpoint.body)}}}
    return {endpoint.method.lower(): operation}


def _answer(answer: Answer) -> Document:
    if not answer.kind:
        return {"description": answer.meaning}
    return {"description": answer.meaning, "content": {answer.kind: {"schema": _shape(answer.shape)}}}


def _shape(shape: str) -> Any:
    if not shape:
        return {"type": "string"}
    return {"type": "array", "items": ref(shape[1:-1]), "minItems": 1} if shape.startswith("[") else ref(shape)


def _parameter(name: str, parameter: Parameter) -> Document:
    place: Document = {"in": "path", "required": True} if name == "channel" else {"in": "query"}
    return {"name": name, **place, "description": parameter.meaning, "schema": dict(parameter.schema)}


def _refused(status: int) -> Document:
    codes = [code for code in Code if code.status == status and code > 4000]
    told = "; ".join(f"{int(code)} {code.name.lower()}, {code.meaning}" for code in codes)
    refusal: Document = {"description": told or _MEANINGS[status], "content": {JSON: {"schema": ref("ErrorBody")}}}
    if any(code.retry is not None for code in codes):
        seconds = {"description": "Seconds until it makes sense to come back.", "schema": {"type": "integer", "minimum": 0}}
        refusal["headers"] = {"Retry-After": seconds}
    return refusal
