"""The lines: for whom, for what, and how they are filled in."""

from __future__ import annotations

import pytest

from transports.doctor.mends import REVERSE, mends

URL = "https://shop.example:8443/app/live"


def test_lines_know_the_mount_the_host_and_the_port() -> None:
    lines = [line for mend in mends(["upgrade", "blocked", "host"], [*REVERSE, "Squid"], URL) for line in mend.lines]
    assert "http-request allow if { path_beg /app/live/ }" in lines
    assert "acl everywire dstdomain shop.example" in lines
    assert "acl SSL_ports port 8443" in lines
    assert not any("{mount}" in line or "{host}" in line or "{port}" in line for line in lines)


def test_a_place_is_named_once_and_a_line_in_it_too() -> None:
    found = mends(["upgrade", "host", "buffering", "compression"], REVERSE, URL)
    assert len({(mend.server, mend.where) for mend in found}) == len(found)
    (location,) = [mend for mend in found if mend.where.startswith("the location")]
    assert len(set(location.lines)) == len(location.lines)
    assert location.why == ["upgrade", "host", "buffering", "compression"]


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
