"""Each attack of the table fails, and succeeds as soon as what stops it is taken away."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme

from . import pages, rights  # noqa: F401 - they fill the table
from .guards import GUARDS, without
from .stage import stage
from .table import ATTACKS, Attack

CASES = [
    pytest.param(each, edge, path, id=f"{each.name}-{edge}-{path}".replace(" ", "_"))
    for each in ATTACKS.values()
    for edge in each.edges
    for path in each.over
]


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for a server that is called `x`."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    trustme.CA().issue_cert("x").private_key_and_cert_chain_pem.write_to_path(path)
    return path


async def succeeds(attack: Attack, edge: str, path: str, pem: Path, *removed: str) -> bool:
    """Whether it does, against a server without these guards."""
    settings = dict(attack.settings)
    if settings.pop("tls", False):
        settings["pem"] = pem
    with without(*removed):
        async with AsyncExitStack() as stack:
            return await attack.run(await stack.enter_async_context(stage(edge, path, **settings)))


@pytest.mark.parametrize(("attack", "edge", "path"), CASES)
async def test_an_attack_fails_and_succeeds_without_its_guard(attack: Attack, edge: str, path: str, pem: Path) -> None:
    assert not await succeeds(attack, edge, path, pem)
    if len(attack.guards) > 1:
        for stays in attack.guards:  # each of them is enough
            assert not await succeeds(attack, edge, path, pem, *(set(attack.guards) - {stays})), f"{stays} is not"
    assert await succeeds(attack, edge, path, pem, *attack.guards), "it would not succeed anyway: this proves nothing"


def test_each_guard_stops_something() -> None:
    assert {name for each in ATTACKS.values() for name in each.guards} == set(GUARDS)
