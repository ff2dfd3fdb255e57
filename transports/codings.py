"""Codings: the bodies of polls and streams compressed with gzip or zstd, where a client takes it (RFC 9110 8.4 and 12.5.3).

A coding makes of a transport the same transport, whose framing compresses. So what was compressed for one reader is shared by
all, as any framing is: each part of a stream stands for itself, and a reader may begin with any of them.
"""

from __future__ import annotations

import gzip
import importlib
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, Final, NamedTuple

import msgspec

from .deflate import blocks
from .errors import MissingExtraError
from .transport import Transport

VARY: Final = (b"vary", b"accept-encoding")
IDENTITY: Final = "identity"  # no coding
_WEIGHT: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?", re.ASCII)  # RFC 9110 12.4.2
_LEVELS: Final = {"gzip": 1, "zstd": 3}  # each with its bytes and its CPU in docs/how-to/compress.md


class Coding(NamedTuple):
    """How bodies are compressed."""

    whole: Callable[[bytes], bytes]  # a body
    opening: bytes  # of a stream, before its first part
    part: Callable[[bytes], bytes]  # of a stream; what it holds can be read as soon as it has come


def _gzip() -> Coding:
    """A member (RFC 1952) for a whole body. A stream is one too, as browsers read no second: its header, then blocks of deflate.

    It never gets to its end, where a checksum over what went to this reader would stand: `bye` says that a stream is over.
    """
    whole = partial(gzip.compress, compresslevel=_LEVELS["gzip"], mtime=0)
    return Coding(whole, b"\x1f\x8b\x08\0\0\0\0\0\0\xff", blocks)


def _zstd() -> Coding:
    """A frame (RFC 8878) for a whole body, and one for each part of a stream."""
    compress = partial(_load_zstd().compress, level=_LEVELS["zstd"])
    return Coding(compress, b"", compress)


def _load_zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):  # the first is of Python 3.14 and later, the second of before
        with suppress(ImportError):
            return importlib.import_module(name)
    raise MissingExtraError("zstd", "backports.zstd")


_MAKE: Final = {"gzip": _gzip, "zstd": _zstd}


@cache
def coding(name: str) -> Coding:
    """The coding of this name. Raises: MissingExtraError, its library is not installed."""
    return _MAKE[name]()


def spoken(transport: Transport, accepted: str, names: Sequence[str]) -> Transport:
    """How to speak over `transport` with a client that says `Accept-Encoding: <accepted>`.

    Args:
        transport: one of HTTP.
        accepted: the header; empty if there is none.
        names: of the codings that are offered, best first.
    """
    return _coded(transport, choose(accepted, names)) if names else transport


@cache
def _coded(transport: Transport, name: str) -> Transport:
    if name == IDENTITY:
        return msgspec.structs.replace(transport, headers=(*transport.headers, VARY))
    how, frame = coding(name), transport.frame
    compress = how.part if transport.many else how.whole
    return msgspec.structs.replace(
        transport,
        frame=lambda items: compress(frame(items)),
        headers=(*transport.headers, (b"content-encoding", name.encode()), VARY),
        opening=how.opening + transport.opening if transport.many else b"",
    )


def choose(accepted: str, names: Sequence[str]) -> str:
    """The coding that a client likes best: one of `names`, of two that it likes as much the first, or `IDENTITY`."""
    weights = _weights(accepted)
    best = max(names, key=lambda name: _weight(weights, name))
    liked = _weight(weights, best)
    return best if liked > 0 and liked >= weights.get(IDENTITY, 0.0) else IDENTITY


def _weight(weights: dict[str, float], name: str) -> float:
    return weights.get(name, weights.get("*", 0.0))


def _weights(accepted: str) -> dict[str, float]:
    """What is accepted, and how much of 1 it is liked. What is not understood is not accepted."""
    found: dict[str, float] = {}
    for element in accepted.lower().split(","):
        name, _, parameter = [part.strip(" \t") for part in element.partition(";")]
        label, _, weight = [part.strip(" \t") for part in parameter.partition("=")]
        usual = not parameter or (label == "q" and _WEIGHT.fullmatch(weight) is not None)
        found[name.removeprefix("x-")] = (float(weight) if parameter else 1.0) if usual else 0.0
    return found
