from __future__ import annotations

import pytest

from transports import ConfigError
from transports.options import PREFIX, UNBOUNDED, Options, options_from, settings_from


def test_defaults_are_options() -> None:
    assert options_from({}) == Options()


def test_a_configuration_is_read_by_its_prefix_and_the_rest_left_alone() -> None:
    assert options_from({"LIVE_BEAT": 5, "LIVE_CHANNELS": ["a"], "SECRET_KEY": 1}, prefix=PREFIX) == Options(
        beat=5.0, channels=("a",)
    )


@pytest.mark.parametrize(
    ("settings", "prefix", "message"),
    [
        ({"LIVE_BEET": 5}, PREFIX, "did you mean LIVE_BEAT"),
        ({"chanels": ["a"]}, "", "did you mean channels"),
        ({"xyzzy": 1}, "", "there are batch_bytes"),
        ({"LIVE_BEAT": 0}, PREFIX, "LIVE_BEAT"),
        ({"LIVE_BEAT": "fast"}, PREFIX, "LIVE_BEAT"),
        ({"LIVE_CHANNELS": "clock"}, PREFIX, "LIVE_CHANNELS"),
        ({"LIVE_CHANNELS": [1]}, PREFIX, "LIVE_CHANNELS"),
        ({"mount": "live"}, "", "mount"),
        ({"mount": "/live/"}, "", "mount"),
        ({"history_count": 0}, "", "history_count"),
        ({"beat": float("inf")}, "", "beat"),
        ({"channels": ["bad name!"]}, "", "channels"),
        ({"channels": ["a*b"]}, "", "channels"),
        ({"channels": [""]}, "", "channels"),
        ({"origins": ["https://x.example/"]}, "", "origins"),
        ({"origins": ["https://*.example"]}, "", "origins"),
        ({"origins": ["x.example"]}, "", "origins"),
        ({"origins": ["null"]}, "", "origins"),
        ({"hosts": ["x.example:80"]}, "", "hosts"),
        ({"hosts": ["https://x.example"]}, "", "hosts"),
        ({"message_bytes": 64 << 20}, "", "message_bytes"),
        ({"observer_token": "0123456789abcdef\n"}, "", "observer_token"),  # as a file ends, and nobody could show it
        ({"channels": ["a\n"]}, "", "channels"),
        ({"origins": ["https://x.example\n"]}, "", "origins"),
        ({"hosts": ["x.example\n"]}, "", "hosts"),
        ({"mount": "/live\n"}, "", "mount"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_do(settings: dict, prefix: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options_from(settings, prefix=prefix)


def test_a_secret_is_not_shown() -> None:
    options = Options(secret="hush", observer_token="hush-hush-hush-hush", channels=("a",))
    assert "hush" not in repr(options)
    assert repr(options).startswith("Options(channels=('a',), broker='memory://', ")
    assert "secret=''" in repr(Options())


def test_settings_out_of_texts_are_of_the_types_that_they_have() -> None:
    texts = ("trusted_hops=1", "beat=2.5", "slow_readers=close", "origins=https://a.example,https://b.example", "mount=/x")
    assert settings_from(texts) == {
        "trusted_hops": 1,
        "beat": 2.5,
        "slow_readers": "close",
        "origins": ("https://a.example", "https://b.example"),
        "mount": "/x",
    }
    assert options_from(settings_from(texts)).trusted_hops == 1


@pytest.mark.parametrize("text", ["beat", "beats=1", "beat=", "beat=-1", "trusted_hops=1.5", "slow_readers=never", "=1"])
def test_what_is_no_setting_is_told(text: str) -> None:
    with pytest.raises(ConfigError):
        settings_from([text])


def test_without_bounds_there_is_no_number_that_one_machine_reaches() -> None:
    options = options_from(UNBOUNDED)
    bounded = [name for name in Options.__struct_fields__ if name.startswith(("connections_per", "commands_per", "bytes_per"))]
    assert len(bounded) == 9
    assert all(getattr(options, name) >= 10**9 for name in bounded)
