"""Ways: how a client gets to a server when something stands in between."""

from __future__ import annotations

from typing import NamedTuple

import pytest


class Way(NamedTuple):
    """What a client has to be told."""

    url: str  # `scheme://host:port`, where the server seems to be
    proxy: str | None = None  # `http://user:password@host:port` of a forward proxy to go through
    ca: str | None = None  # path of the authority to trust

    def take(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the environment name this way's proxy, and no other."""
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        if self.proxy is not None:
            monkeypatch.setenv("HTTP_PROXY", self.proxy)
            monkeypatch.setenv("HTTPS_PROXY", self.proxy)
