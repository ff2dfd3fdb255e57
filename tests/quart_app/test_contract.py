from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from quart_app.cli import cli

SHOP = """
import msgspec
from quart import Quart
from transports.quart import Live

class Order(msgspec.Struct):
    price: float

app = Quart("shop")
live = Live(app, channels=["orders.*"], mount="/events")
live.channel("orders.*", type=Order)

def create_app():
    return app
"""


def typed(*words: str) -> Result:
    return CliRunner().invoke(cli, ["contract", *words])


def test_it_is_written_as_yaml_or_json() -> None:
    for kind, key in (("openapi", "paths"), ("asyncapi", "channels")):
        as_yaml, as_json = typed(kind, "--title", "mine"), typed(kind, "--json", "--title", "mine")
        assert yaml.safe_load(as_yaml.output) == json.loads(as_json.output)
        assert key in json.loads(as_json.output)
        assert json.loads(as_json.output)["info"]["title"] == "mine"


@pytest.mark.parametrize("name", ["app", "live", "create_app()", "live.asgi", "live.hub"])
def test_the_channels_of_an_application_are_in_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "everywire_shop.py").write_text(SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    document = yaml.safe_load(typed("openapi", "--app", f"everywire_shop:{name}").output)
    assert document["servers"][0]["url"] == "/events"
    assert document["components"]["schemas"]["Type.Order"]["properties"] == {"price": {"type": "number"}}


@pytest.mark.parametrize("name", ["shop", ":app", "everywire_nosuch:app", "json:nosuch", "json:dumps", "quart_app.cli:cli"])
def test_what_is_no_application_is_one_line(name: str) -> None:
    result = typed("openapi", "--app", name)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: --app {name}: ")


def test_the_reference_application_has_one() -> None:
    assert typed("asyncapi", "--app", "quart_app:create_app()").exit_code == 0
