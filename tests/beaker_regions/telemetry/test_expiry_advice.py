"""The effect of another expiry is predicted from a sample, and the prediction is right."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from beaker_regions import CacheManager
from beaker_regions.reports import metrics
from beaker_regions.telemetry.expiry_advice import ExpiryAdvice, advise
from beaker_regions.telemetry.sampling import ALL, UNKNOWN_AGE, Sample, function_id
from beaker_regions.telemetry.simulation import CANDIDATES, DAY, HOT, HOUR, KEYS, Simulation
from bench.whatif import Event, measured, predicted, steady, tidal
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import Manager

START = 1_800_000_000.0


def calls_of(key: int, times: list[float], generations: list[int] | None = None) -> list[Sample]:
    """A sample of each call, and a count of it."""
    samples = []
    for at, mark in zip(times, generations or [1] * len(times), strict=True):
        samples.append(Sample(START + at, 1, key << 50, mark, 1, 0, ALL, UNKNOWN_AGE))
        samples.append(Sample(START + at, 1, 0, 0, 1, 0, ALL, 0))
    return samples


def advice(samples: list[Sample], today: float) -> ExpiryAdvice:
    simulation = Simulation()
    simulation.run(sorted(samples))
    return advise(simulation, today, 0.5, 24)


def ratios(found: ExpiryAdvice) -> dict[float, float]:
    return {point.expire: point.hit_ratio for point in found.points}


def test_a_value_expires_after_its_load_and_not_after_its_last_call() -> None:
    found = ratios(advice(calls_of(1, [4.0 * n for n in range(100)]), today=10))
    assert found[2] == 0
    assert found[5] == pytest.approx(0.5), "loaded at 0, called at 4, loaded at 8"
    assert found[10] == pytest.approx(0.66), "loaded at 0, called at 4 and 8, loaded at 12"
    assert found[DAY] == pytest.approx(0.99)


def test_no_expiry_hides_an_invalidation() -> None:
    times = [60.0 * n for n in range(400)]
    found = advice(calls_of(1, times, [1 + n // 10 for n in range(400)]), today=HOUR)
    assert ratios(found)[HOUR] == ratios(found)[DAY] == pytest.approx(0.9)
    assert found.invalidated == pytest.approx(39 / 40)


def test_a_missing_generation_is_one_invalidation_and_not_two() -> None:
    times = [60.0 * n for n in range(400)]
    marks = [0 if n % 10 == 0 else 1 + n // 10 for n in range(400)]
    assert ratios(advice(calls_of(1, times, marks), HOUR))[DAY] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("gap", "every", "today", "suggested", "said"),
    [
        (300, 1000, 120, 2 * HOUR, "96% fewer loads at 2 h; more than 2 h gains little: the other"),
        (
            300,
            5,
            120,
            1800,
            "80% fewer loads at 30 min; more than 30 min gains little: most values are inv",
        ),
        (60, 5, HOUR, 300, "5 min does as well as today's; more than 5 min gains little: most"),
        (60, 5, 300, None, "nothing to gain"),
    ],
)
def test_the_suggestion_says_why(
    gap: float, every: int, today: float, suggested: float | None, said: str
) -> None:
    count = int(2 * DAY / gap)
    samples = calls_of(1, [gap * n for n in range(count)], [1 + n // every for n in range(count)])
    found = advice(samples, today)
    assert said in found.reason, found
    assert found.suggested == suggested


def test_few_calls_give_no_suggestion() -> None:
    found = advice(calls_of(1, [1.0, 2.0]), today=HOUR)
    assert (found.points, found.suggested) == ((), None)
    assert "only 2 calls were seen" in found.reason


def test_more_keys_than_the_limit_are_sampled() -> None:
    simulation = Simulation()
    random_ = random.Random(1)
    for batch in range(6):
        samples = [
            Sample(START + batch * 60 + n / 1e3, 1, random_.getrandbits(64), 1, 1, 0, ALL, 0)
            for n in range(KEYS)
        ]
        simulation.run([*samples, Sample(START + batch * 60 + 59, 1, 0, 0, KEYS, 0, ALL, 0)])
        assert len(simulation.keys) <= KEYS + HOT
    assert simulation.threshold < ALL / 3
    again = Simulation.unpack(simulation.pack())
    assert (again.threshold, again.pack()) == (simulation.threshold, simulation.pack())
    with pytest.raises(ValueError, match="cut short"):
        Simulation.unpack(simulation.pack()[:-1])


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(list(steady(20_000, 3_000, 0.9)), id="zipf"),
        pytest.param(sorted(tidal(20_000, 3_000, 0.8, 0.05)), id="tidal", marks=pytest.mark.slow),
    ],
)
def test_the_prediction_from_some_keys_holds_for_all(
    events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beaker_regions.telemetry.simulation.KEYS", 1000)
    curve, share = predicted(events)
    assert share < 0.7
    for expire in (10, HOUR, DAY):
        assert curve[expire] == pytest.approx(measured(events, expire), abs=0.02), expire


# -- from calls of a real function ------------------------------------------------------------


def looking_up(cache: CacheManager) -> Any:
    @cache.region("functions", tags=["even:{number}"])
    def look_up(number: int) -> int:
        return number

    return look_up


def predicted_for(cache: CacheManager, function: Any) -> ExpiryAdvice:
    folder = cache["functions"].metrics
    assert folder is not None
    metrics.bring_up_to_date(folder)
    return metrics.advise(folder, "functions", function.name, function.policy.expire)


@pytest.mark.parametrize("backend", ["file_manager", "memcached_manager"])
def test_calls_and_invalidations_of_all_processes_are_sampled(
    request: pytest.FixtureRequest, tmp_path: Path, backend: str
) -> None:
    make: Manager = request.getfixturevalue(backend)
    cache = make() if backend == "file_manager" else make(data_dir=tmp_path)
    look_up = looking_up(cache)
    folder = cache["functions"].metrics
    assert folder is not None

    def visit() -> None:
        for _ in range(20):
            for number in range(10):
                look_up(number)
        metrics.bring_up_to_date(folder)

    visit()
    assert statuses([fork(visit) for _ in range(3)]) == [0, 0, 0]
    before = predicted_for(cache, look_up)
    assert before.calls == 800
    assert ratios(before)[CANDIDATES[-1]] == pytest.approx(1 - 10 / 800)
    cache.invalidate_tags("even:4")
    visit()
    after = predicted_for(cache, look_up)
    assert after.calls == 1000
    assert ratios(after)[CANDIDATES[-1]] == pytest.approx(1 - 11 / 1000)


def test_the_prediction_knows_values_that_were_stored_before(file_manager: Manager) -> None:
    look_up = looking_up(file_manager())
    for number in range(10):
        look_up(number)
    cache = file_manager()
    folder = cache["functions"].metrics
    assert folder is not None
    metrics.bring_up_to_date(folder)
    (folder / "replays" / f"{function_id('functions', look_up.name):016x}").unlink()
    again = looking_up(cache)
    for _ in range(12):
        for number in range(10):
            again(number)
    assert ratios(predicted_for(cache, again))[HOUR] == 1.0


def test_a_damaged_log_loses_only_its_samples(file_manager: Manager) -> None:
    cache = file_manager()
    look_up = looking_up(cache)
    look_up(1)
    folder = cache["functions"].metrics
    assert folder is not None
    (folder / "samples").write_bytes(b"cut short")
    (folder / "replays").mkdir(exist_ok=True)
    for path in [*(folder / "replays").iterdir(), folder / "thresholds"]:
        path.write_bytes(b"\x00nothing")
    assert look_up(1) == 1
    assert predicted_for(cache, look_up).calls <= 2


def test_a_busy_function_is_sampled_by_fewer_keys(file_manager: Manager) -> None:
    cache = file_manager()
    look_up = looking_up(cache)
    stats = cache["functions"].stats.of(look_up.name)
    ends = time.monotonic() + 60
    while stats.threshold == ALL and time.monotonic() < ends:
        for number in range(500):
            look_up(number)
    assert stats.threshold < ALL
    found = predicted_for(cache, look_up)
    assert found.calls == stats.calls()
