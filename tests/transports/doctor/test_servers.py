"""Who is recognised, by which sign."""

from __future__ import annotations

import pytest

from transports.doctor.observations import Asked, Head, Observations
from transports.doctor.servers import recognise, strangers


def seen(edge: str = "", **headers: str) -> Observations:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = {"negotiate": Asked("negotiate", heads=[Head("/", 200, "1.1", named, 0.0, 0.0)])}
    return Observations("http://x/live", [], 0.0, 0.0, asked=asked, edge=edge)


@pytest.mark.parametrize(
    ("observations", "name", "kind"),
    [
        (seen(server="nginx/1.22.1"), "nginx", "reverse"),
        (seen(server="openresty"), "nginx", "reverse"),
        (seen("HTTP/1.1 400 Bad request\nContent-length: 90\n\nYour browser sent an invalid request."), "HAProxy", "reverse"),
        (seen(server="Apache/2.4.71 (Debian)"), "Apache", "reverse"),
        (seen("HTTP/1.1 400 Bad Request\nServer: Apache/2.4.71 (Debian)\n\n"), "Apache", "reverse"),
        (seen(x_varnish="32770 3"), "Varnish", "reverse"),
        (seen(via="1.1 cache (Varnish/7.1)"), "Varnish", "reverse"),
        (seen(via="1.1 Caddy"), "Caddy", "reverse"),
        (
            seen("HTTP/1.1 400 Bad Request\nContent-Type: text/plain; charset=utf-8\nConnection: close\n\n400 Bad Request"),
            "Caddy",
            "reverse",
        ),
        (seen(via="1.1 office (squid/5.7)"), "Squid", "forward"),
        (seen(cf_ray="8f1"), "Cloudflare", "cdn"),
        (seen(via="1.1 google"), "Google load balancer", "cdn"),
        (seen(server="hypercorn-h11"), "Hypercorn", "origin"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_is_recognised(observations: Observations, name: str, kind: str) -> None:
    assert [(server.name, server.kind) for server in recognise(observations)] == [(name, kind)]


@pytest.mark.parametrize("observations", [seen(), seen(server="Apache-Coyote/1.1"), seen("HTTP/1.1 400 \ncontent-length: 0\n\n")])
def test_who_is_not(observations: Observations) -> None:
    assert recognise(observations) == []


def test_a_chain_is_told_as_one() -> None:
    found = recognise(seen(server="nginx", via="1.1 varnish (Varnish/7.1), 1.1 office (squid/5.7)"))
    assert [server.name for server in found] == ["nginx", "Varnish", "Squid"]


def test_who_names_himself_and_is_not_known_is_told_too() -> None:
    assert strangers(seen(server="Gate/3", via="1.1 Caddy")) == ["server: Gate/3"]
