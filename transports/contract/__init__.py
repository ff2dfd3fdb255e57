"""The contract: what travels, written down for machines. `asyncapi.yaml` has the channels of each wire and what goes up and down
on it, `openapi.yaml` the paths, their parameters and answers. Both are made of the types that the server itself reads and writes.

    endpoints.py    the paths, their parameters and what they answer
    shapes.py       JSON Schemas of all that travels, and of the channels that somebody described
    openapi.py asyncapi.py     the documents, as plain values
    text.py         and as text
"""

from .asyncapi import asyncapi
from .openapi import openapi
from .shapes import Contract
from .text import as_json, as_yaml

__all__ = ["Contract", "as_json", "as_yaml", "asyncapi", "openapi"]
