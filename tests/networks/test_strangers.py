"""Networks that let nobody through whom they do not know, or who does not know them: nothing works, and the reason is said."""

from __future__ import annotations

import pytest

from tests.transports.conftest import live
from tests.ways import Way
from transports import LADDER
from transports.client import connect
from transports.errors import ConnectionFailedError
from transports.networks import Network

pytestmark = pytest.mark.real


async def refused(url: str) -> tuple[str, set[str]]:
    """What is said, and the verdicts, of a client that does not get through."""
    stream = connect(url, ["a"], memory={}, connect_timeout=1.0)
    with pytest.raises(ConnectionFailedError) as failed:
        async with stream:
            pass
    return str(failed.value), {attempt.verdict for attempt in stream.evidence.attempts}


async def test_a_certificate_that_is_not_trusted() -> None:
    async with live(LADDER) as (_, upstream), Network("tls-inspection", upstream=upstream) as url:
        said, verdicts = await refused(url)
    assert verdicts == {"tls_error"}
    assert "certificate" in said


async def test_a_proxy_that_does_not_know_us(monkeypatch: pytest.MonkeyPatch) -> None:
    async with live(LADDER) as (_, upstream):
        network = Network("proxy-407", upstream=upstream)
        async with network as url:
            Way(url, network.proxy).take(monkeypatch)
            said, verdicts = await refused(url)
    assert verdicts == {"refused_http"}
    assert "407" in said
    assert network.record.requests < 20
