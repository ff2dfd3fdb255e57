"""What a request asks for, and what it shows."""

from __future__ import annotations

import base64
import tracemalloc
from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transports import Code, Refusal
from transports.request import NOBODY, ONCE, Identity, Request, fields, parameters, parse_count


def asking(query: str = "", **headers: str) -> Request:
    return Request("GET", "poll", query, {name.replace("_", "-"): value for name, value in headers.items()})


@given(st.text(st.sampled_from("ab=&%+2B;ä"), max_size=30))
@example("a=1&a=2&=&b&&c=%26")
def test_parameters_are_read_as_the_standard_library_reads_them(query: str) -> None:
    first: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        first.setdefault(name, value)
    assert parameters(query) == first


def test_long_lists_of_names_that_somebody_makes_up_fill_no_memory() -> None:
    def many(number: int) -> tuple[str, ...]:
        return asking("channels=" + ",".join(f"{number:x}{each:x}" for each in range(1000))).channels()

    assert many(0)[:2] == ("00", "01")
    tracemalloc.start()
    try:
        for number in range(64):
            many(number)
        assert tracemalloc.get_traced_memory()[0] < 500_000  # kept: 50 KB each
    finally:
        tracemalloc.stop()


def subprotocol(token: str) -> str:
    return "everywire.token." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1).filter(lambda text: text.strip() == text))
def test_a_token_arrives_as_it_was_shown_by_header_and_by_subprotocol(token: str) -> None:
    assert asking(authorization=f"Bearer {token}").token == token
    assert asking(sec_websocket_protocol=f"everywire.v1.json, {subprotocol(token)}").token == token


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer  "},
        {"sec_websocket_protocol": "everywire.v1.json"},
        {"sec_websocket_protocol": "everywire.token."},
        {"sec_websocket_protocol": "everywire.token.%%%"},
        {"sec_websocket_protocol": "everywire.token.a"},
        {"sec_websocket_protocol": "everywire.token._w"},  # not UTF-8
    ],
)
def test_what_is_no_token_is_none(headers: dict[str, str]) -> None:
    assert asking(**headers).token is None


def test_the_scheme_of_a_token_is_read_in_any_case_and_goes_before_a_subprotocol() -> None:
    assert asking(authorization="bEARER x", sec_websocket_protocol=subprotocol("y")).token == "x"


@pytest.mark.parametrize(
    ("text", "cookies"),
    [
        ("", {}),
        ("a=1; b=two", {"a": "1", "b": "two"}),
        ('a="q\\"x\\073"', {"a": 'q"x;'}),
        ("; =;;\x00", {}),
        ('prefs={"a":1}; session=x', {"prefs": '{"a":1}', "session": "x"}),  # as scripts set them
        ("a[0]=1; b; c d=e f; ä=ö; session=x==", {"a[0]": "1", "c d": "e f", "ä": "ö", "session": "x=="}),
        ('a="; session=x', {"a": '"', "session": "x"}),
        ("session=here; path=p; session=above", {"session": "here", "path": "p"}),
    ],
)
def test_cookies_are_read_and_garbage_is_passed_over(text: str, cookies: dict[str, str]) -> None:
    assert asking(cookie=text).cookies == cookies


def test_who_asks_is_nobody_until_it_is_found_out_and_cannot_be_had_if_it_was_not() -> None:
    request = asking()
    assert request.identity == NOBODY
    request.found = Identity("ann", 5.0)
    assert (request.who, request.identity.expires) == ("ann", 5.0)
    request.found = Refusal(Code.UNAUTHORIZED)
    with pytest.raises(Refusal, match="4401"):
        _ = request.who


# --- headers that come twice, and what a POST is


def test_what_is_said_twice_is_one_list_or_the_last_or_refused() -> None:
    twice = [("via", "a"), ("x", "1"), ("cookie", "a=1"), ("via", "b"), ("x", "2"), ("cookie", "b=2")]
    assert fields(twice) == {"via": "a, b", "x": "2", "cookie": "a=1; b=2"}
    for name in ONCE:
        with pytest.raises(ValueError, match=name):
            fields([(name, "a"), ("x", "y"), (name, "a")])


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON", "application/json; charset=utf-8", " application/json "]
)
def test_json_is_taken(kind: str) -> None:
    asking(content_type=kind).check_json()


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "text/plain; application/json",
        "text/plain, application/json",
        "application/json, text/plain",
        "application/jsonp",
        "text/json",
        "application/json\x00",
    ],
)
def test_what_a_form_can_say_is_refused(kind: str | None) -> None:
    with pytest.raises(Refusal, match="application/json") as refused:
        asking(**({} if kind is None else {"content_type": kind})).check_json()
    assert (refused.value.code, refused.value.status) == (Code.BAD_COMMAND, 415)


@pytest.mark.parametrize(
    ("shown", "kept"), [("Bearer t", True), ("bearer t", True), ("Basic YTpi", False), ("Negotiate x", False)]
)
def test_what_a_browser_adds_by_itself_is_forgotten_and_what_the_page_shows_is_not(shown: str, kept: bool) -> None:
    headers = {"authorization": shown, "cookie": "a=1", "origin": "x"}
    request = Request("GET", "poll", "", headers)
    request.forget_user()
    assert request.headers == {"origin": "x"} | ({"authorization": shown} if kept else {})
    assert "cookie" in headers  # which may be those of the next request too


@pytest.mark.parametrize(("text", "count"), [(None, 7), ("0", 0), ("9", 9), ("100", 10), ("999999999", 10)])
def test_how_many_are_listed(text: str | None, count: int) -> None:
    assert parse_count(text, 7, 10, "members") == count


@pytest.mark.parametrize("text", ["", "-1", "1.0", "many", "٣", "²", "1" * 10, "1_0", " 1"])
def test_what_is_no_number_of_things_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match=r"limit=.*: a number of members, 10 at the most"):
        parse_count(text, 7, 10, "members")
