"""What one counter costs, in nanoseconds, and what counting and sampling add to a call.

Run it with ``python -m bench.counters``.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import timeit
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from beaker_regions import CacheManager, parse_cache_config_options
from bench.report import Row, arguments, report, spread

NUMBER = 20_000


def locked_counter() -> Callable[[], None]:
    """A lock and a dictionary: what is simplest."""
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def count() -> None:
        with lock:
            counts["hits"] += 1

    return count


def ours(folder: Path) -> dict[str, Callable[[], object]]:
    config = {"type": "file", "data_dir": folder, "secret": "of the bench", "expire": 3600}
    cache = CacheManager(
        **parse_cache_config_options(
            {"cache.regions": "bench", **{f"cache.bench.{k}": v for k, v in config.items()}}
        )
    )

    @cache.region("bench")
    def load(number: int) -> int:
        return number

    load(1)
    load(2)
    region = cache["bench"]
    entry, other = load.entry(1), load.entry(2)
    found = region.lookup(entry)
    assert found is not None
    assert found.record is not None
    sampled, unsampled = region.stats.of("sampled"), region.stats.of("unsampled")
    unsampled._sampler.use(1, frozenset((other.address[:8],)))
    return {
        "regions: one counter": lambda: sampled.count("waits"),
        "regions: a hit (two counters), not sampled": lambda: unsampled.hit(entry, found, 1),
        "regions: a hit, sampled": lambda: sampled.hit(entry, found, 1),
        "a whole hit on files": lambda: load(1),
    }


def prometheus(folder: Path) -> dict[str, Callable[[], object]]:
    # Read when the package is imported.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    from prometheus_client import CollectorRegistry
    from prometheus_client import Counter as PrometheusCounter

    shared = PrometheusCounter(
        "bench", "bench", ["region", "function"], registry=CollectorRegistry()
    )
    kept = shared.labels("bench", "load")
    return {
        "prometheus_client, shared, labels looked up": lambda: shared.labels("bench", "load").inc(),
        "prometheus_client, shared, labels kept": kept.inc,
    }


def main() -> None:
    given = arguments(__doc__)
    repeat = 5 if given.quick else 30
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        multiprocess = Path(name) / "prometheus"
        multiprocess.mkdir()
        calls: dict[str, Callable[[], object]] = {
            "nothing (the lambda)": lambda: None,
            "a lock and a dictionary, not shared": locked_counter(),
            **prometheus(multiprocess),
            **ours(Path(name)),
        }
        samples: dict[str, list[float]] = {what: [] for what in calls}
        for _ in range(repeat):
            for what, call in calls.items():
                samples[what].append(timeit.timeit(call, number=NUMBER) / NUMBER * 1e9)
    rows: list[Row] = [
        {
            "what": what,
            "ns": round(statistics.median(taken)),
            "ns, least": round(min(taken)),
            "ns, 80 %": spread(taken),
        }
        for what, taken in samples.items()
    ]
    report("counters", given, {"rounds": repeat, "calls a round": NUMBER}, rows)


if __name__ == "__main__":
    main()
