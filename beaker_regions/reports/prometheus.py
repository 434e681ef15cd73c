"""The metrics of the regions for Prometheus. Every process of a host gives those of all of them.

This is a collector. The counters of prometheus_client, shared between processes, would cost three
times as much, and would keep a file for every process that ever ran.
"""

from __future__ import annotations

from beaker_regions.engine.region import all_regions
from beaker_regions.errors import ConfigurationError, StoreUnavailableError
from beaker_regions.reports import health, metrics

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise ConfigurationError(
        "beaker_regions.reports.prometheus needs prometheus_client: pip install prometheus_client"
    ) from error

from collections.abc import Iterator, Mapping

from prometheus_client import Metric

_COUNTERS = {
    "loads": ("loads", "Loads that did not raise"),
    "load_errors": ("load_errors", "Loads that raised"),
    "load_seconds": ("load_seconds", "Seconds that loads took"),
    "waits": ("waits", "Lookups by callers that waited for another caller's load"),
    "invalidations": ("invalidations", "Invalidations; those of tags are the region's"),
    "tag_invalidations": ("tag_invalidations", "Invalidations of tags that the function has"),
    "bypassed": ("bypassed", "Calls that looked nothing up, such as within a transaction"),
    "evictions": ("evictions", "Entries removed for lack of room"),
    "bytes_in": ("stored_bytes", "Bytes of contents and texts that were stored"),
    "bytes_out": ("served_bytes", "Bytes of records that were hits"),
}
_LABELS = ("region", "function", "by")
_SERVER_GAUGES = {
    "curr_items": ("items", "Items on the server"),
    "bytes": ("used_bytes", "Bytes that the items take"),
    "limit_maxbytes": ("limit_bytes", "Bytes that items may take"),
    "curr_connections": ("connections", "Open connections"),
}
_SERVER_COUNTERS = {
    "get_hits": ("get_hits", "Keys that were found"),
    "get_misses": ("get_misses", "Keys that were not found"),
    "evictions": ("evictions", "Items removed for lack of memory"),
}


_KINDS = ("memcached", "redis")


class RegionCollector(Collector):
    """The counters of every region of this process's managers, and of their servers."""

    def collect(self) -> Iterator[Metric]:
        by_origin = zip(("visitors", "imports"), metrics.apart(metrics.all_counts()), strict=True)
        activities = [
            (each, [each.region, each.function, origin])
            for origin, counts in by_origin
            for each in metrics.activities(counts)
        ]
        calls = CounterMetricFamily(
            "regions_calls", "Calls by outcome", labels=(*_LABELS, "outcome")
        )
        misses = CounterMetricFamily(
            "regions_misses", "Misses by reason", labels=(*_LABELS, "reason")
        )
        failures = CounterMetricFamily(
            "regions_failures", "Failures by kind", labels=(*_LABELS, "kind")
        )
        for each, labels in activities:
            if each.function:
                for outcome in ("hits", "stale", "misses"):
                    calls.add_metric([*labels, outcome], getattr(each, outcome))
            for reason, number in each.missed:
                misses.add_metric([*labels, reason], number)
            for kind, number in each.failures:
                failures.add_metric([*labels, kind], number)
        yield calls
        yield misses
        yield failures
        for field, (name, description) in _COUNTERS.items():
            family = CounterMetricFamily(f"regions_{name}", description, labels=_LABELS)
            for each, labels in activities:
                if number := getattr(each, field):
                    family.add_metric(labels, number)
            yield family
        yield from _servers()


def _servers() -> Iterator[Metric]:
    regions = {
        (health.kind_of(region), server): region
        for region in all_regions()
        for server in health.servers_of(region)
    }
    answers = health.statuses((region, server) for (_, server), region in regions.items())
    for kind in _KINDS:
        yield from _servers_of(
            kind,
            {
                server: answer
                for (region, server), answer in answers.items()
                if health.kind_of(region) == kind
            },
        )


def _servers_of(
    program: str, answers: Mapping[str, dict[str, str] | StoreUnavailableError]
) -> Iterator[Metric]:
    labels = ("server",)
    up = GaugeMetricFamily(f"regions_{program}_up", "Whether a server answers", labels=labels)
    statuses = {}
    for server, answer in answers.items():
        if isinstance(answer, StoreUnavailableError):
            up.add_metric([server], 0)
        else:
            up.add_metric([server], 1)
            statuses[server] = answer
    yield up
    for kind, families in (
        (GaugeMetricFamily, _SERVER_GAUGES),
        (CounterMetricFamily, _SERVER_COUNTERS),
    ):
        for field, (name, description) in families.items():
            family = kind(f"regions_{program}_{name}", description, labels=labels)
            for server, status in statuses.items():
                if field in status:
                    family.add_metric([server], float(status[field]))
            yield family


registry = CollectorRegistry(auto_describe=False)
"""The registry of the regions alone. An application may register a `RegionCollector` in its own."""
registry.register(RegionCollector())


def exposition(accept: str = "") -> tuple[bytes, str]:
    """Return the metrics and their content type, in the format that ``Accept`` asks for."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
