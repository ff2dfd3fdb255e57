"""The lines: for whom, for what, and how they are filled in."""

from __future__ import annotations

import pytest

from transports.doctor.mends import REVERSE, mends

FAULTS = ("upgrade", "host", "blocked", "buffering", "compression", "compressed", "idle", "life")
URL = "https://shop.example:8443/app/live"


def test_lines_know_the_mount_the_host_and_the_port() -> None:
    lines = [line for mend in mends(["upgrade", "blocked", "host"], [*REVERSE, "Squid"], URL) for line in mend.lines]
    assert "unless { path /app/live/ws }" in lines
    assert "acl everywire_host dstdomain -n shop.example" in lines
    assert "acl everywire_port port 8443" in lines
    assert not any(name in line for name in ("{mount}", "{pattern}", "{host}", "{port}") for line in lines)


def test_no_line_opens_anything_but_the_mount() -> None:
    every = [*FAULTS, *(f"{fault}/{rung}" for fault in FAULTS for rung in ("websocket", "sse", "longpoll"))]
    lines = [line for mend in mends(every, [*REVERSE, "Squid"], URL) for line in mend.lines]
    assert not any("http-request allow" in line or "http_access allow" in line or "allow all" in line for line in lines)
    assert not any(line.startswith(("acl SSL_ports", "acl Safe_ports")) for line in lines)
    for block in "\n".join(lines).split("sub ")[1:]:  # of Varnish
        assert block.find("return (p") == -1 or "/app/live/" in block[: block.index("return (p")]


def test_who_is_refused_by_a_server_gets_no_lines_to_get_past_it() -> None:
    assert mends(["blocked", "blocked/sse"], REVERSE, URL) == []


def test_nginx_is_said_to_forget_the_headers_of_its_surroundings() -> None:
    (mend,) = mends(["host"], ["nginx"], URL)
    assert "void" in mend.where


def test_a_place_is_named_once_and_a_line_in_it_too() -> None:
    found = mends(["upgrade", "host", "buffering", "compression"], REVERSE, URL)
    assert len({(mend.server, mend.where) for mend in found}) == len(found)
    headers, location = [mend for mend in found if mend.where.startswith("the location")]
    assert len(set(headers.lines)) == len(headers.lines)
    assert headers.why == ["upgrade", "host"]
    assert location.why == ["buffering", "compression"]


def test_blocks_stay_whole() -> None:
    (vcl,) = mends(["upgrade", "buffering"], ["Varnish"], URL)
    text = "\n".join(vcl.lines)
    assert text.count("sub vcl_recv {") == 2  # Varnish runs one behind the other
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("server", REVERSE)
@pytest.mark.parametrize("faults", [{"upgrade"}, {"buffering"}, {"compression"}, {"idle", "idle/sse"}])
def test_every_server_has_lines_for_what_servers_do(server: str, faults: set[str]) -> None:
    assert mends(faults, [server], URL)


def test_there_are_no_lines_without_a_fault_or_a_server() -> None:
    assert mends([], REVERSE, URL) == mends(["upgrade"], [], URL) == mends(["nonsense"], REVERSE, URL) == []
