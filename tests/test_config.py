"""Options: read once, checked, and wrong ones named."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields

import pytest

from tests.live_server import ROOT
from tickstorm.config import Config, ConfigError, load, table


def test_without_anything_set_there_are_the_defaults():
    assert load({}) == Config()
    assert load({"TICK_HZ": "", "PORT": "  "}) == Config()


def test_the_environment_sets_options():
    config = load({"TICK_HZ": "30", "ALLOWED_ORIGINS": "https://a.example", "LOG_LEVEL": "debug"})
    assert (config.tick_hz, config.log_level) == (30, "debug")
    assert config.allowed_origins == "https://a.example"


@pytest.mark.parametrize(
    "option, value, allowed",
    [
        ("TICK_HZ", "9", "a whole number from 10 to 60"),
        ("TICK_HZ", "61", "a whole number from 10 to 60"),
        ("TICK_HZ", "twenty", "a whole number from 10 to 60"),
        ("TICK_HZ", "20.5", "a whole number from 10 to 60"),
        ("PORT", "0", "a whole number from 1 to 65535"),
        ("PORT", "65536", "a whole number from 1 to 65535"),
        ("PORT", "-1", "a whole number from 1 to 65535"),
        ("LOG_LEVEL", "loud", "one of debug, info, warning, error"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(option, value, allowed):
    with pytest.raises(ConfigError) as error:
        load({option: value})
    assert f"{option}={value} is not allowed" in str(error.value)
    assert allowed in str(error.value)


@pytest.mark.parametrize("option", [f for f in fields(Config) if f.type == "int"])
def test_the_limits_of_every_number_are_allowed_and_nothing_beyond(option):
    name, meta = option.name.upper(), option.metadata
    step = meta.get("multiple", 1)
    for value in (meta["low"], meta["high"]):
        assert getattr(load({name: str(value)}), option.name) == value
    for value in (meta["low"] - step, meta["high"] + step):
        with pytest.raises(ConfigError):
            load({name: str(value)})


def test_a_configuration_never_changes():
    with pytest.raises(FrozenInstanceError):
        load({}).tick_hz = 30


def test_there_is_a_socket_for_everyone_and_some_to_refuse_the_rest_with():
    for players in (1, 50, 1000, 20000):
        config = load({"MAX_PLAYERS": str(players), "MAX_SPECTATORS": "0"})
        assert config.max_websockets >= players + 32
        assert config.max_requests >= 32
        assert config.cores > config.max_requests, "there is one to refuse the next with"
        assert config.max_websockets >= 1.1 * players


def test_the_table_names_every_option_and_no_secret_value():
    text = table()
    for option in fields(Config):
        assert f"`{option.name.upper()}`" in text
        assert option.metadata["help"] in text


def test_the_check_prints_a_message_and_fails():
    check = [sys.executable, "-m", "tickstorm.config", "--check"]
    good = subprocess.run(check, cwd=ROOT, env={"TICK_HZ": "20"}, capture_output=True, text=True)
    assert (good.returncode, good.stderr) == (0, "")
    bad = subprocess.run(check, cwd=ROOT, env={"TICK_HZ": "5"}, capture_output=True, text=True)
    assert bad.returncode == 1
    assert bad.stderr == "tickstorm: TICK_HZ=5 is not allowed: a whole number from 10 to 60\n"
