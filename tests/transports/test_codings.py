"""Codings: which one a client gets, and that each part of a stream can be read as soon as it has come."""

from __future__ import annotations

import gzip
import importlib
import sys
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports import MissingExtraError, Options
from transports.admission import Admission
from transports.codings import choose, coding, spoken
from transports.hub import Hub
from transports.items import Beat, encode
from transports.ladder import LADDER

_, SSE, LONGPOLL = LADDER
NAMES = ("zstd", "gzip")


def zstd() -> Any:
    return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZip , x", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("zstd; q=0.5, gzip;q=0.499", "zstd"),
        ("zstd;q=0, gzip;q=0.001", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0.000", "identity"),
        ("*", "zstd"),
        ("*;q=0.1, gzip;q=0.2", "gzip"),
        ("*, zstd;q=0", "gzip"),
        ("*;q=0", "identity"),
        ("identity", "identity"),
        ("identity, gzip;q=0.5", "identity"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0", "identity"),  # nothing that we have is wanted: 12.5.3 lets us send it as it is
        ("identity;q=0, gzip", "gzip"),
        ("deflate, br", "identity"),
        ("gzip;q=1.5", "identity"),
        ("gzip;q=0.1234", "identity"),
        ("gzip;q=", "identity"),
        ("gzip;level=1", "identity"),
        ("gzip;Q=1", "gzip"),
        (",,gzip,", "gzip"),
        (";q=1,gzip", "gzip"),
    ],
)
def test_a_client_gets_what_it_likes_best(accepted: str, chosen: str) -> None:
    assert choose(accepted, NAMES) == chosen


@given(st.text(max_size=80))
def test_whatever_is_said_is_answered(accepted: str) -> None:
    assert choose(accepted, NAMES) in {*NAMES, "identity"}


@given(st.lists(st.binary(max_size=3000), max_size=5))
def test_a_whole_body_is_read_by_others(parts: list[bytes]) -> None:
    body = b"".join(parts)
    assert gzip.decompress(coding("gzip").whole(body)) == body
    assert zstd().decompress(coding("zstd").whole(body)) == body


@given(st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=5), st.data())
def test_each_part_of_a_stream_is_read_when_it_has_come_whichever_is_the_first(parts: list[bytes], draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(parts) - 1))
    how = coding("gzip")
    inflater = zlib.decompressobj(31)
    assert inflater.decompress(how.opening) == b""
    for part in parts[start:]:
        assert inflater.decompress(how.part(part)) == part
    for part in parts[start:]:  # a frame each
        assert zstd().ZstdDecompressor().decompress(coding("zstd").part(part)) == part
    assert coding("zstd").opening == b""


@pytest.mark.parametrize("transport", [SSE, LONGPOLL], ids=lambda each: each.name)
def test_who_accepts_the_same_shares_what_was_framed(transport: Any) -> None:
    one, other = spoken(transport, "gzip", NAMES), spoken(transport, "br, gzip;q=0.3", NAMES)
    assert one.frame is other.frame
    plain = spoken(transport, "", NAMES)
    assert plain.frame is transport.frame
    items = [encode(Beat("k3f9.1", 1.0))]
    assert zlib.decompressobj(31).decompress(one.opening + one.frame(items)) == transport.frame(items)


@pytest.mark.parametrize("transport", [SSE, LONGPOLL], ids=lambda each: each.name)
def test_caches_are_told_what_an_answer_depends_on(transport: Any) -> None:
    vary = (b"vary", b"accept-encoding")
    assert spoken(transport, "", NAMES).headers == (vary,)
    assert spoken(transport, "gzip", NAMES).headers == ((b"content-encoding", b"gzip"), vary)
    assert spoken(transport, "gzip", ()) is transport


def test_a_library_that_is_missing_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    coding.cache_clear()
    with pytest.raises(MissingExtraError, match=r"everywire\[zstd\]"):
        Admission(Hub(Options(encodings=("gzip", "zstd"))))
    monkeypatch.undo()
    coding.cache_clear()
