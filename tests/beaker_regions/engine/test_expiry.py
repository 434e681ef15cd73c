"""The time for which a value is served: expire, grace, and their ends."""

from __future__ import annotations

import threading
import time

import pytest

from beaker_regions import CacheManager
from beaker_regions.engine import loading
from tests.beaker_regions.conftest import Calls, Later, Manager

SHORT = 60.0
"""Seconds, which pass by the clock alone."""
LONG = 600.0


def test_an_expired_value_is_loaded_again(manager: Manager, calls: Calls, later: Later) -> None:
    cache = manager(expire=SHORT)

    @cache.region("functions")
    def load() -> int:
        return calls()

    assert (load(), load()) == (1, 1)
    later(SHORT * 1.5)
    assert (load(), load()) == (2, 2)


def test_a_function_with_its_own_expiry(cache: CacheManager, calls: Calls, later: Later) -> None:
    @cache.region("functions", expire=SHORT)
    def load() -> int:
        return calls()

    assert load() == 1
    later(SHORT * 1.5)
    assert load() == 2


@pytest.mark.parametrize("days", [29, 31, 365 * 30])
def test_an_expiry_of_many_days(manager: Manager, calls: Calls, days: int) -> None:
    cache = manager(expire=days * 24 * 60 * 60)

    @cache.region("functions")
    def load() -> int:
        return calls()

    assert (load(), load()) == (1, 1)


def test_within_its_grace_an_expired_value_is_served_while_one_caller_loads(
    manager: Manager, calls: Calls, later: Later
) -> None:
    cache = manager(expire=SHORT, grace=LONG)
    loading, proceed = threading.Event(), threading.Event()

    @cache.region("functions")
    def load() -> int:
        if calls() > 1:
            loading.set()
            assert proceed.wait(LONG)
        return calls.count

    assert load() == 1
    later(SHORT * 1.5)
    renewing = threading.Thread(target=load)
    renewing.start()
    assert loading.wait(LONG)
    assert [load() for _ in range(20)] == [1] * 20, "others are served at once"
    proceed.set()
    renewing.join()
    assert load() == 2
    assert cache["functions"].stats["stale"] == 20


def test_an_invalidated_value_has_no_grace(manager: Manager, calls: Calls, later: Later) -> None:
    cache = manager(expire=SHORT, grace=LONG)

    @cache.region("functions")
    def load() -> int:
        return calls()

    assert load() == 1
    later(SHORT * 1.5)
    load.invalidate()
    assert load() == 2


def test_within_its_grace_a_value_is_served_after_a_failed_load(
    manager: Manager, calls: Calls, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "SLOW", LONG)
    cache = manager(expire=SHORT, grace=LONG)

    @cache.region("functions")
    def load() -> int:
        if calls() == 2:
            raise ConnectionError("the database is away")
        return calls.count

    assert load() == 1
    later(SHORT * 1.5)
    assert load() == 1, "the old value beats an error"
    assert cache["functions"].stats["failed.load"] == 1
    assert load() == 3, "and the next caller tries again"


def test_a_hanging_load_within_the_grace_does_not_delay_every_caller(
    manager: Manager, calls: Calls, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "PATIENCE", LONG)
    cache = manager(expire=SHORT, grace=LONG)

    @cache.region("functions")
    def load() -> int:
        if calls() == 2:
            time.sleep(2 * loading.SLOW)
            raise ConnectionError("the origin does not answer")
        return calls.count

    assert load() == 1
    later(SHORT * 1.5)
    assert [load() for _ in range(20)] == [1] * 20
    assert calls.count == 2, "it is not tried again at once"
    load.invalidate()
    assert load() == 3, "but where the old value may not be served"


def test_a_value_is_renewed_early_by_some_while_others_are_served(
    manager: Manager, calls: Calls
) -> None:
    cache = manager(expire=20, early=10)
    loading, proceed = threading.Event(), threading.Event()

    def load() -> int:
        if calls() == 1:
            time.sleep(1)  # so that each call renews with a probability of exp(-20 / 10 / 1)
        else:
            loading.set()
            assert proceed.wait(LONG)
        return calls.count

    cached = cache.region("functions")(load)
    assert cached() == 1

    def renew() -> None:
        while not loading.is_set():
            cached()

    renewing = threading.Thread(target=renew)
    renewing.start()
    assert loading.wait(LONG)
    assert [cached() for _ in range(50)] == [1] * 50, (
        "other callers are served the value, which has not expired"
    )
    assert calls.count == 2, "and do not wait"
    proceed.set()
    renewing.join()
    # Without `early`: a value whose load took long, as on a busy machine, may count as expired.
    assert manager(expire=LONG).region("functions")(load).peek() == 2


def test_a_failing_early_renewal_keeps_the_value(manager: Manager, calls: Calls) -> None:
    cache = manager(expire=20, early=10)

    @cache.region("functions")
    def load() -> int:
        if calls() > 1:
            raise ConnectionError("the database is away")
        time.sleep(1)
        return calls.count

    assert [load() for _ in range(200)] == [1] * 200
    assert calls.count > 1


@pytest.mark.usefixtures("nothing_in_background")
def test_a_clock_that_is_set_back_makes_no_value_fresh_for_longer(
    manager: Manager, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock one day ahead, a value would be fresh for a day longer."""
    cache = manager(expire=LONG, grace=LONG)

    @cache.region("functions")
    def load() -> int:
        return calls()

    now = time.time
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: now() + 24 * 60 * 60)
        assert (load(), load()) == (1, 1)
    assert (load(), load()) == (2, 2)
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: now() + 5)
        load.refresh()
    assert load() == 3, "clocks of two hosts differ by seconds"
