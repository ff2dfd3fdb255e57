"""The URL of a mount: what is one, and what is said of what is none."""

from __future__ import annotations

import pytest

from transports import ConfigError
from transports.wires import mount_url


@pytest.mark.parametrize(
    ("url", "mount"),
    [
        ("http://shop.example/live/", "http://shop.example/live"),
        ("HTTPS://Shop.example:8443", "https://Shop.example:8443"),
        ("http://[::1]:8000/live", "http://[::1]:8000/live"),
        ("http://bücher.example/live", "http://bücher.example/live"),
        ("http://me:x@shop.example/live", "http://me:x@shop.example/live"),
    ],
)
def test_what_is_one(url: str, mount: str) -> None:
    assert mount_url(url) == mount


@pytest.mark.parametrize(
    "url",
    [
        "ftp://shop.example/live",
        "shop.example/live",
        "http:///live",
        "http://127.0.0.1:99999/live",
        "http://127.0.0.1:0/live",
        "http://127.0.0.1:x/live",
        "http://[::1/live",
        "http://..../live",
        f"http://{'a' * 300}/live",
        "http://exa mple/live",
        "http://shop.example/live\n",
        "http://me:SECRET@shop.example/live?x",
        "http://me:SEC#SECRET@shop.example/live",
        "http://me:SEC/SECRET@shop.example/live",
        "me:SECRET@shop.example",
    ],
)
def test_what_is_none_is_refused_and_no_password_in_it_is_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="is not the URL of a mount") as refused:
        mount_url(url)
    assert "SEC" not in str(refused.value)
