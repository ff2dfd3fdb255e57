"""sse-starlette: an `EventSourceResponse` and a queue for each client, under uvicorn.

It keeps no log: a reader that was away gets a new queue and has missed what was said meanwhile.
"""

from __future__ import annotations

from . import Subject

SUBJECT = Subject(
    name="sse-starlette",
    what="sse-starlette's EventSourceResponse under uvicorn: a queue for each client, no log",
    command=("{python}", "-m", "locustfiles.subjects.sse_starlette_server", "--host", "{host}", "--port", "{port}"),
    ready="/ready",
    transports=("sse",),
    readers={"sse": "locustfiles.subjects.sse_starlette_readers:SSEReader"},
    needs={"sse_starlette": "sse-starlette", "starlette": "starlette", "uvicorn": "uvicorn"},
)
