"""Blocks: the examples of the standard, any line ends, any pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locustfiles.measuring.blocks import Blocks
from transports.errors import NotEverywireError
from transports.sse import StreamReader


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [b"YHOO\n+2\n10"]),
        (b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n", None),
        (b"data\n\ndata\ndata\n\ndata:\n", [b"", b"\n"]),  # the last one has no end
        (b"data:test\n\ndata: test\n\n", [b"test", b"test"]),
        (b"event: x\nid: 3\n\nretry: 10\n\n", []),
        (b"\xef\xbb\xbfdata: x\n\n", [b"x"]),
        (b"datax: 1\nxdata: 2\n\n", []),
    ],
)
def test_the_examples_of_section_9_2_6(stream: bytes, found: list[bytes] | None):
    assert Blocks().feed(stream) == (found if found is not None else [b"first event", b"second event", b" third event"])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@given(cuts=st.lists(st.integers(0, 60)))
def test_neither_line_ends_nor_pieces_matter(end: bytes, cuts: list[int]):
    stream = end.join([b": hi", b"", b"id: 7", b"data: one", b"data: two", b"", b"data: three", b"", b""])
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    blocks = Blocks()
    assert [found for a, b in itertools.pairwise(edges) for found in blocks.feed(stream[a:b])] == [b"one\ntwo", b"three"]


def test_an_event_is_handed_out_with_its_last_byte():
    blocks = Blocks()
    assert blocks.feed(b"data: x\r\n\r") == [b"x"]  # the CR alone ends the line
    assert blocks.feed(b"\ndata: y\r\n\r\n") == [b"y"]


@given(st.lists(st.sampled_from([b"data: {}\n", b"\n", b"\r", b"\n\n", b"data", b":", b" ", b"\xef\xbb\xbf", b"id: 1\n"])))
def test_it_reads_what_the_library_reads(pieces: list[bytes]):
    """Of events that are JSON objects; the reader of the library hands out items."""
    stream = b'data: {"type":"beat","id":"a.1","at":1}\n\n' + b"".join(pieces)
    whole = [found for found in Blocks().feed(stream) if found.startswith(b'{"type":"beat"')]
    reader = StreamReader()
    try:
        items = reader.feed(stream)
    except NotEverywireError:
        return
    assert len(whole) == len(items)


def test_a_block_without_an_end_is_refused():
    blocks = Blocks()
    blocks.feed(b"x" * (1 << 24))
    with pytest.raises(NotEverywireError, match="SSE block"):
        blocks.feed(b"x")
