from __future__ import annotations

import pytest

from transports import LADDER, ConfigError
from transports.networks import NETWORKS, Profile, network
from transports.networks.behaviours import Away, CutIdle, CutOld, CutRequest, Delay, Hold, Narrow, StripUpgrade
from transports.networks.profiles import _NUMBERED

TRANSPORTS = [transport.name for transport in LADDER]


@pytest.mark.parametrize("profile", NETWORKS.values(), ids=NETWORKS.keys())
def test_each_network_tells_what_it_is(profile: Profile) -> None:
    assert NETWORKS[profile.name] is profile is network(profile.name)
    for text in (profile.story, profile.does):
        assert text[0].isupper() or text[0].isdigit()
        assert text.endswith(".")
    assert profile.wins in (*TRANSPORTS, "")
    assert profile.behaviours or profile.http2 or profile.name == "open"


def test_there_are_those_that_the_design_names() -> None:
    assert list(NETWORKS) == [
        *("open", "no-upgrade", "upgrade-swallowed", "upgrade-cut", "buffering", "buffering-4k", "gzip-buffer", "idle-cut-5s"),
        *("request-cut-10s", "reset-every-7s", "half-open", "latency-200ms", "narrow-256kbit", "flaky", "restart-3s", "one-byte"),
        *("http10", "captive-portal", "login-redirect", "proxy-407", "tls-inspection", "h2-edge"),
    ]
    with pytest.raises(TypeError):
        NETWORKS["mine"] = NETWORKS["open"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "behaviours"),
    [
        ("buffering-16k", (StripUpgrade(), Hold(16_384))),
        ("idle-cut-30s", (CutIdle(30),)),
        ("request-cut-1s", (CutRequest(1),)),
        ("reset-every-60s", (CutOld(60),)),
        ("latency-350ms", (Delay(0.35),)),
        ("latency-1000000ms", (Delay(1_000.0),)),
        ("narrow-8kbit", (Narrow(1_000),)),
        ("restart-20s", (Away(5, 20),)),
    ],
)
def test_another_number(name: str, behaviours: tuple[object, ...]) -> None:
    made = network(name)
    assert made.name == name
    assert [vars(each) for each in made.behaviours] == [vars(each) for each in behaviours]
    assert [type(each) for each in made.behaviours] == [type(each) for each in behaviours]
    usual = next(each for each in NETWORKS.values() if each.name.rpartition("-")[0] == name.rpartition("-")[0])
    long = name == "reset-every-60s"  # long enough for a WebSocket to be worth it
    assert (made.story, made.wins, made.settles) == (usual.story, *(("websocket", 0) if long else (usual.wins, usual.settles)))
    number = "".join(letter for letter in name if letter.isdigit())
    assert f" {number} " in f" {made.does}"


@pytest.mark.parametrize("usual", _NUMBERED)
def test_the_table_says_what_its_number_makes(usual: str) -> None:
    number = int("".join(letter for letter in usual if letter.isdigit()))
    assert [vars(each) for each in _NUMBERED[usual].behaviours(number)] == [vars(each) for each in NETWORKS[usual].behaviours]


@pytest.mark.parametrize("usual", _NUMBERED)
def test_without_a_number_it_is_the_usual_one(usual: str) -> None:
    name = usual.rpartition("-")[0]
    assert network(name) is NETWORKS["buffering" if name == "buffering" else usual]


def test_networks_are_joined_from_the_client_to_the_server() -> None:
    whole = network("latency-350ms + request-cut+tls-inspection")
    parts = [network(name) for name in ("latency-350ms", "request-cut-10s", "tls-inspection")]
    assert whole.name == "latency-350ms+request-cut-10s+tls-inspection"
    assert whole.behaviours == tuple(behaviour for part in parts for behaviour in part.behaviours)
    assert whole.story == " ".join(part.story for part in parts)
    assert whole.does == " ".join(part.does for part in parts)
    assert (whole.tls, whole.forward, whole.settles) == (True, False, 45)
    assert network("proxy-407+open").forward
    assert network("open+proxy-407").forward


@pytest.mark.parametrize("one", NETWORKS)
@pytest.mark.parametrize("other", ["open", "no-upgrade", "buffering", "captive-portal"])
def test_what_wins_in_two_networks_is_the_worse_of_both(one: str, other: str) -> None:
    order = [*TRANSPORTS, ""]
    both = network(f"{one}+{other}").wins
    assert order.index(both) == max(order.index(NETWORKS[one].wins), order.index(NETWORKS[other].wins))
    assert network(f"{other}+{one}").wins == both


@pytest.mark.parametrize(
    "names",
    [
        *(
            "",
            "+",
            "open+",
            "+open",
            "nonsense",
            "Open",
            "latency-0ms",
            "latency-1000001ms",
            "latency-ms",
            "latency-200s",
            "latency-200",
        ),
        *(
            "latency--200ms",
            "latency-1.5ms",
            "latency-2e3ms",
            "idle-5s",
            "cut-5s",
            "half-open-9s",
            "upgrade-cut-3ms",
            "buffering-k",
        ),
        *("-200ms", "latency-200ms-no-upgrade", "latency-12345678ms", "open,no-upgrade", "http-11"),
    ],
)
def test_there_is_none_of_that_name(names: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no network .*; .*`everywire proxy --list` shows all"):
        network(names)


@pytest.mark.parametrize(("name", "near"), [("no-upgrad", "no-upgrade"), ("h2edge", "h2-edge"), ("latency-200", "latency-200ms")])
def test_who_mistypes_a_name_is_told_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"no network '{name}'; the nearest is {near}, "):
        network(f"open+{name}")
