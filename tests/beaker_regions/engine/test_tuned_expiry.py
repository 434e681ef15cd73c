"""A changed option takes effect for stored entries, too."""

from __future__ import annotations

import pytest

from beaker_regions import ConfigurationError, parse_cache_config_options
from beaker_regions.config.environment import expiry_options, size_limit_options
from beaker_regions.config.options import check
from tests.beaker_regions.conftest import Calls, Later, Manager

SHORT = 60.0
"""Seconds, which pass by the clock alone."""
LONG = 600.0


def test_a_shorter_expiry_applies_to_stored_values(
    manager: Manager, calls: Calls, later: Later
) -> None:
    def load() -> int:
        return calls()

    assert manager(expire=LONG).region("functions")(load)() == 1
    later(SHORT * 1.5)
    assert manager(expire=SHORT).region("functions")(load)() == 2


@pytest.mark.parametrize("where", ["region", "function"])
def test_a_longer_expiry_applies_to_stored_values(
    manager: Manager, calls: Calls, where: str, later: Later
) -> None:
    def load() -> int:
        return calls()

    assert manager(expire=SHORT).region("functions")(load)() == 1
    later(SHORT * 1.5)
    if where == "region":
        longer = manager(expire=LONG).region("functions")(load)
    else:
        longer = manager(expire=SHORT).region("functions", expire=LONG)(load)
    assert longer() == 1
    longer.invalidate()
    assert longer() == 2, "no expiry makes an invalidated value valid"


def test_a_longer_grace_applies_to_stored_values(
    manager: Manager, calls: Calls, later: Later
) -> None:
    def load() -> int:
        if calls() > 1:
            raise ConnectionError("the database is away")
        return 1

    assert manager(expire=SHORT).region("functions")(load)() == 1
    later(SHORT * 1.5)
    graceful = manager(expire=SHORT, grace=LONG).region("functions")(load)
    assert graceful() == 1
    assert graceful.policy.grace == LONG
    with pytest.raises(ConnectionError):
        manager(expire=SHORT).region("functions")(load)()


def test_a_region_that_is_turned_off_and_on_again(manager: Manager, calls: Calls) -> None:
    def load() -> int:
        return calls()

    assert manager().region("functions")(load)() == 1
    off = manager(enabled=False).region("functions")(load)
    assert (off(), off()) == (2, 3)
    on = manager().region("functions")(load)
    assert on() == 1
    off.invalidate()
    assert on() == 4, "an invalidation works while the region is off"


@pytest.mark.parametrize(
    ("value", "expire"), [("3600", 3600), (" 1.5 ", 1.5), ("none", None), ("None", None)]
)
def test_the_environment_sets_an_expiry(value: str, expire: float | None) -> None:
    given = expiry_options("functions", "big-files", environ={"REGIONS_BIG_FILES_EXPIRE": value})
    assert given == {"cache.big-files.expire": expire}
    config = {"cache.regions": "big-files", "cache.big-files.type": "memory", **given}
    options = parse_cache_config_options(config)["cache_regions"]["big-files"]
    assert check("big-files", options).expire == (expire or float("inf"))


def test_an_empty_variable_is_ignored() -> None:
    environ = {"REGIONS_FILES_EXPIRE": " ", "REGIONS_DATA_DIR": "x", "PATH": ""}
    assert expiry_options("files", environ=environ) == {}


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("REGIONS_FILES_EXPIRE", "1h", "REGIONS_FILES_EXPIRE = '1h': give a number of seconds"),
        ("REGIONS_FILES_EXPIRE", "0", "above 0"),
        ("REGIONS_FILES_EXPIRE", "-5", "above 0"),
        ("REGIONS_FILES_EXPIRE", "nan", "above 0"),
        ("REGIONS_FIELS_EXPIRE", "60", "did you mean 'REGIONS_FILES_EXPIRE'?"),
    ],
)
def test_an_error_names_an_invalid_variable(variable: str, value: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        expiry_options("files", environ={variable: value})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("value", "limit"),
    [("5", 5), (" 40G ", 40 * 1024**3), ("2 TiB", 2 * 1024**4), ("1k", 1024), ("None", None)],
)
def test_the_environment_sets_a_size_limit(value: str, limit: int | None) -> None:
    given = size_limit_options("big-files", environ={"REGIONS_BIG_FILES_SIZE_LIMIT": value})
    assert given == {"cache.big-files.size_limit": limit}


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5G", "1P"])
def test_an_error_names_an_invalid_size_limit(value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"REGIONS_FILES_SIZE_LIMIT = '{value}': give a"):
        size_limit_options("files", environ={"REGIONS_FILES_SIZE_LIMIT": value})
