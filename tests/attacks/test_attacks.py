"""Each attack of the table fails, and succeeds as soon as what stops it is taken away."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme

from tests.documents import ROOT

from .everything import ATTACKS, PAGE, page
from .guards import GUARDS, Guard, without
from .stage import PATIENCE, stage
from .table import Attack

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
            patience = 1.0 if set(removed) == set(attack.guards) else PATIENCE
            return await attack.run(await stack.enter_async_context(stage(edge, path, patience=patience, **settings)))


@pytest.mark.parametrize(("attack", "edge", "path"), CASES)
async def test_an_attack_fails_and_succeeds_without_its_guard(attack: Attack, edge: str, path: str, pem: Path) -> None:
    assert not await succeeds(attack, edge, path, pem)
    if len(attack.guards) > 1:
        for stays in attack.guards:  # each of them is enough
            assert not await succeeds(attack, edge, path, pem, *(set(attack.guards) - {stays})), f"{stays} is not"
    assert await succeeds(attack, edge, path, pem, *attack.guards), "it would not succeed anyway: this proves nothing"


def test_each_guard_stops_something() -> None:
    assert {name for each in ATTACKS.values() for name in each.guards} == set(GUARDS)


def test_the_security_model_tells_of_each_attack_and_of_no_other() -> None:
    assert PAGE.read_text() == page(), "python -m tests.attacks.everything writes the tables"


@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)
def test_each_guard_is_where_it_is_said_to_be(guard: Guard) -> None:
    text = (ROOT / guard.code).read_text()
    for name in guard.name.split(", "):
        assert re.search(rf"^ *(async )?(def |class )?{name.rpartition('.')[2]}\b", text, re.MULTILINE), name
