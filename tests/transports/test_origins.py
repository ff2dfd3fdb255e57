"""Whose page asks, and what its browser is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports import Code, Refusal
from transports.origins import Page, check_host, foreign_page, preflight, shown_to

SHOP = "https://shop.example"


def page(allowed: tuple[str, ...] = (SHOP,), *, secure: bool = False, **headers: str) -> Page | Code | None:
    """Whose page sends these headers; the code, if it may not."""
    try:
        return foreign_page({name.replace("_", "-"): value for name, value in headers.items()}, allowed, secure=secure)
    except Refusal as refusal:
        return refusal.code


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://live.example", "live.example"),
        ("https://live.example", "live.example"),
        ("https://live.example:8443", "live.example:8443"),
        ("https://live.example", "LIVE.example:443"),
        ("http://live.example", "live.example:80"),
        ("http://live.example:80", "live.example"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://[::1]", "[::1]:80"),
        ("https://live.example.", "live.example."),
    ],
)
def test_a_page_that_came_from_here_is_ours(origin: str, host: str) -> None:
    assert page(origin=origin, host=host) is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", "live.example"),
        ("https://live.example.evil.example", "live.example"),
        ("https://evil-live.example", "live.example"),
        ("https://live.example@evil.example", "live.example"),
        ("https://evil.example@live.example", "live.example"),
        ("https://live.example:8443", "live.example"),
        ("https://live.example", "live.example:8443"),
        ("https://live.example:80", "live.example"),
        ("http://live.example:443", "live.example"),
        ("https://live.example", "live.example:80"),
        ("ftp://live.example", "live.example"),
        ("live.example", "live.example"),
        ("https://live.example/", "live.example"),
        ("https://live.example https://evil.example", "live.example"),
        ("null", "live.example"),
        ("null", "null"),
        ("", ""),
        ("http://", ""),
        ("https://", ""),
        ("http://[::1]:8000", "[::2]:8000"),
        ("http://[::1]", "::1"),
    ],
)
def test_what_is_only_like_ours_is_foreign(origin: str, host: str) -> None:
    assert page(origin=origin, host=host) is Code.FORBIDDEN


def test_without_a_host_nobody_is_ours() -> None:
    assert page(origin="http://x") is Code.FORBIDDEN


def test_over_tls_a_page_that_came_without_is_foreign() -> None:
    assert page(origin="http://live.example", host="live.example", secure=True) is Code.FORBIDDEN
    assert page(origin="https://live.example", host="live.example", secure=True) is None


@pytest.mark.parametrize(
    ("site", "mode", "origin", "found"),
    [
        ("same-origin", "cors", None, None),
        ("same-origin", "cors", "https://seen.example", None),  # a proxy has rewritten `Host`
        ("none", "navigate", None, None),  # the user typed it
        (None, None, None, None),  # no page at all
        ("cross-site", "no-cors", None, Code.FORBIDDEN),  # <script>, <img>
        ("same-site", "no-cors", None, Code.FORBIDDEN),
        ("cross-site", "navigate", None, Code.FORBIDDEN),  # into a frame, or whatever is not said
        (
            "cross-site",
            "cors",
            "https://live.example",
            Code.FORBIDDEN,
        ),  # the same name, another scheme or port
        ("same-site", "cors", "https://live.example", Code.FORBIDDEN),
        ("cross-site", "websocket", "https://live.example", None),
        ("cross-site", "websocket", "https://evil.example", Code.FORBIDDEN),
        ("cross-site", "cors", SHOP, Page(SHOP, True)),
        ("odd", "odd", None, None),
        ("odd", "odd", "https://evil.example", Code.FORBIDDEN),
    ],
)
def test_what_the_browser_says_of_the_site_counts(site: str, mode: str, origin: str, found: object) -> None:
    said = {"sec_fetch_site": site, "sec_fetch_mode": mode, "origin": origin, "host": "live.example"}
    assert page(**{name: value for name, value in said.items() if value is not None}) == found


@pytest.mark.parametrize(
    ("dest", "mode", "found"),
    [
        ("document", "navigate", None),
        ("iframe", "navigate", Code.FORBIDDEN),
        ("document", "no-cors", Code.FORBIDDEN),
        ("empty", "cors", Code.FORBIDDEN),
        ("script", "no-cors", Code.FORBIDDEN),
    ],
)
def test_a_link_that_somebody_follows_is_no_page_that_asks(dest: str, mode: str, found: object) -> None:
    assert page(sec_fetch_site="cross-site", sec_fetch_mode=mode, sec_fetch_dest=dest, host="live.example") is found
    assert (
        page(sec_fetch_site="cross-site", sec_fetch_mode=mode, sec_fetch_dest=dest, origin="https://evil.example")
        is Code.FORBIDDEN
    )


@pytest.mark.parametrize("named", [SHOP, "https://SHOP.example", "https://shop.example:443"])
@pytest.mark.parametrize("origin", [SHOP, "https://shop.example:443"])
def test_an_origin_is_named_however_it_is_written(named: str, origin: str) -> None:
    assert page((named,), origin=origin, host="x") == Page(origin, True)


def test_a_star_lets_all_in_and_vouches_for_none() -> None:
    assert page(("*",), origin="https://evil.example", host="x") == Page("https://evil.example", False)
    assert page(("*",), origin="null", host="x") == Page("null", False)
    assert page(("*",), sec_fetch_site="cross-site").named is False
    assert page(("*", SHOP), origin=SHOP, host="x") == Page(SHOP, True)
    assert page(("*",), origin="*", host="x") == Page("*", False)  # what it stands for cannot be said as a name
    assert page((SHOP,), origin="*", host="x") is Code.FORBIDDEN


@given(st.text(), st.text(), st.booleans())
def test_nothing_but_our_own_name_makes_a_page_ours(origin: str, host: str, secure: bool) -> None:
    found = page((), secure=secure, origin=origin, host=host)
    assert found in (None, Code.FORBIDDEN)
    if found is None:
        scheme, _, name = origin.lower().partition("://")
        assert scheme in ("http", "https")[secure:]
        port = ":80" if scheme == "http" else ":443"
        assert name.removesuffix(port) == host.lower().removesuffix(port)


def test_only_a_page_that_is_named_is_shown_what_is_known_of_its_user() -> None:
    named, any_one = dict(shown_to(Page(SHOP, True))), dict(shown_to(Page("https://evil.example", False)))
    assert named[b"access-control-allow-origin"] == SHOP.encode()
    assert named[b"access-control-allow-credentials"] == b"true"
    assert named[b"vary"] == b"origin"
    assert any_one[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in any_one
    assert named[b"access-control-expose-headers"] == any_one[b"access-control-expose-headers"]
    assert (shown_to(None), preflight(None)) == ((), ())


@pytest.mark.parametrize("host", ["live.example", "LIVE.example:8000", "[::1]", "[::1]:8000", "live.example:"])
def test_a_name_of_ours_is_one_with_any_port(host: str) -> None:
    check_host({"host": host}, ("live.example", "[::1]"))


@pytest.mark.parametrize(
    "host", ["evil.example", "", "live.example.evil.example", "evil@live.example", "live.example:8000:1", "live.example:x", "::1"]
)
def test_another_name_is_refused_where_names_are_set(host: str) -> None:
    check_host({"host": host}, ())
    with pytest.raises(Refusal) as refused:
        check_host({"host": host}, ("live.example", "[::1]"))
    assert (refused.value.code, refused.value.status) == (Code.FORBIDDEN, 421)
