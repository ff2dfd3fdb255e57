"""For tests of your own application: `from transports.networks.fixture import network`, or, in a `conftest.py`,
`pytest_plugins = ["transports.networks.fixture"]`.

    async def test_without_websocket(network):
        async with network("no-upgrade", upstream="http://127.0.0.1:8000/live") as url:
            ...
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .proxy import Network


@pytest.fixture
def network() -> Callable[..., Network]:
    """Makes networks: `Network`, with the same arguments, and chance always the same."""
    return lambda names="open", **settings: Network(names, **{"seed": 1, **settings})
