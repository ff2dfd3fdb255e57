"""Where a request comes from: nothing that a client wrote is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.addresses import client_address, hops, network
from transports.request import Request

PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("number", "said", "address"),
    [
        (0, "1.1.1.1", PROXY),
        (1, "", PROXY),
        (1, "1.1.1.1", "1.1.1.1"),
        (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (1, "6.6.6.6,1.1.1.1", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
        (2, "1.1.1.1", "1.1.1.1"),  # behind the first of two
        (3, "6.6.6.6, 7.7.7.7, 1.1.1.1, 10.0.0.3, 10.0.0.2", "1.1.1.1"),
        (1, "6.6.6.6, 1.1.1.1:4711", "1.1.1.1"),
        (1, "6.6.6.6, [2001:db8::1]:4711", "2001:db8::1"),
        (1, "6.6.6.6, 2001:db8::1", "2001:db8::1"),
        (1, "6.6.6.6, unknown", PROXY),
        (1, "6.6.6.6, ", PROXY),
        (1, 'for="6.6.6.6', PROXY),
    ],
)
def test_the_nth_from_the_right_is_believed(number: int, said: str, address: str) -> None:
    request = Request("GET", "ws", "", {"x-forwarded-for": said}, PROXY, hops(number, "x-forwarded-for"))
    assert request.address == address


@pytest.mark.parametrize(
    ("number", "said", "address"),
    [
        (1, "for=1.1.1.1", "1.1.1.1"),
        (1, "for=6.6.6.6, for=1.1.1.1;proto=https;by=10.0.0.1", "1.1.1.1"),
        (1, 'proto=https;For="[2001:db8::1]:4711"', "2001:db8::1"),
        (1, 'for=6.6.6.6, proto=http; for="1.1.1.1:80"', "1.1.1.1"),
        (2, "for=6.6.6.6, for=1.1.1.1, for=10.0.0.2", "1.1.1.1"),
        (1, "for=_hidden", PROXY),
        (1, "for=unknown", PROXY),
        (1, "proto=https", PROXY),
        # A client that would have its own word swallow the proxy's, or hide in what the proxy repeats of it.
        (1, 'for="6.6.6.6, for=1.1.1.1', "1.1.1.1"),
        (1, 'for=6.6.6.6;x=", for=1.1.1.1', "1.1.1.1"),
        (1, 'for=1.1.1.1;host="a,for=6.6.6.6"', "1.1.1.1"),
        (1, 'for=1.1.1.1;host="a\\",for=6.6.6.6"', "1.1.1.1"),
        (1, 'for=1.1.1.1;host=";for=6.6.6.6"', "1.1.1.1"),
    ],
)
def test_a_forwarded_header_is_read_as_its_rfc_has_it(number: int, said: str, address: str) -> None:
    request = Request("GET", "ws", "", {"forwarded": said}, PROXY, hops(number, "forwarded"))
    assert request.address == address


def test_the_header_that_the_proxies_do_not_write_is_not_looked_at() -> None:
    both = {"x-forwarded-for": "6.6.6.6", "forwarded": "for=1.1.1.1"}
    assert Request("GET", "ws", "", both, PROXY, hops(1, "forwarded")).address == "1.1.1.1"
    del both["forwarded"]
    assert Request("GET", "ws", "", both, PROXY, hops(1, "forwarded")).address == PROXY


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=200), st.integers(1, 3))
def test_nothing_that_a_client_writes_changes_what_is_believed(written: str, number: int) -> None:
    ours = ["1.1.1.1", "10.0.0.2", "10.0.0.3"][:number]
    for header, form in (("x-forwarded-for", "{}"), ("forwarded", 'for="{}"')):
        said = ", ".join([written, *(form.format(each) for each in ours)])
        assert client_address(PROXY, {header: said}, hops(number, header)) == "1.1.1.1"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("", ""),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_of_ipv6_all_that_a_customer_has_counts_as_one(address: str, counted: str) -> None:
    assert network(address) == counted


def test_who_says_that_it_was_forwarded_where_nobody_told_us_of_proxies_is_known() -> None:
    said = {"x-forwarded-for": "6.6.6.6"}
    assert Request("GET", "ws", "", said, PROXY).forwarded
    assert not Request("GET", "ws", "", said, PROXY, hops(1, "x-forwarded-for")).forwarded
    assert not Request("GET", "ws", "", {}, PROXY).forwarded
