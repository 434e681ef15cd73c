"""The model in docs/scale.md: arithmetic that adds up."""

from __future__ import annotations

from dataclasses import fields, replace
from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from bench.scale import document, model
from bench.scale.model import Costs, Site

figures = st.floats(1e-7, 1e-2)
costs = st.builds(Costs, **{each.name: figures for each in fields(Costs)})
sites = st.builds(
    Site,
    hosts=st.integers(1, 1000),
    processes=st.integers(1, 16),
    threads=st.integers(1, 16),
    writes=st.just(0.0) | st.floats(1e-6, 0.5),
    servers=st.integers(1, 20),
)


@given(sites, costs, st.integers(2, 10))
def test_all_that_is_asked_grows_with_the_hosts(site: Site, costs: Costs, times: int) -> None:
    one, many = (
        model.demand(replace(site, hosts=site.hosts * factor), costs) for factor in (1, times)
    )
    for name in ("pages", "round_trips", "keys", "bytes_out", "processors", "connections"):
        assert isclose(getattr(many, name), times * getattr(one, name)), name
    for limit in model.LIMITS:
        assert isclose(many.limits[limit], times * one.limits[limit]), limit


@given(sites, costs, st.integers(2, 10))
def test_more_servers_share_the_reads_and_not_the_invalidations_nor_connections(
    site: Site, costs: Costs, times: int
) -> None:
    few, many = (
        model.demand(replace(site, servers=site.servers * factor), costs) for factor in (1, times)
    )
    assert isclose(few.round_trips, times * many.round_trips)
    # One server alone gets one message, each of several three.
    more = 3 if site.servers == 1 else 1
    assert (more * few.changes, few.connections) == (many.changes, many.connections)
    assert isclose(more * few.limits[model.INVALIDATIONS], many.limits[model.INVALIDATIONS])


@given(sites, costs)
def test_as_many_servers_as_are_needed_are_enough_and_one_less_is_not(
    site: Site, costs: Costs
) -> None:
    needed = model.servers_needed(site, costs)
    if needed is None:
        several = replace(site, servers=2)
        assert model.demand(several, costs).limits[model.INVALIDATIONS] >= model.MOST
        return

    def is_enough(servers: int) -> bool:
        used = model.demand(replace(site, servers=servers), costs).limits
        return all(
            share <= model.MOST + 1e-9 for limit, share in used.items() if limit != "connections"
        )

    assert is_enough(needed)
    assert needed == 1 or not is_enough(needed - 1)


@given(sites, costs, st.sampled_from(model.LIMITS))
def test_a_limit_is_reached_at_the_hosts_that_it_names(
    site: Site, costs: Costs, limit: str
) -> None:
    if limit == model.INVALIDATIONS and not site.writes:
        return
    hosts = model.hosts_at(limit, site, costs)
    used = model.demand(replace(site, hosts=1), costs).limits[limit]
    assert isclose(hosts * used, 1)


@given(costs, st.integers(1, 64), st.integers(1, 64))
def test_processes_are_bound_by_themselves_and_by_the_cores(
    costs: Costs, processes: int, cores: int
) -> None:
    done = model.throughput(costs, processes, cores)
    assert done <= model.throughput(costs, processes + 1, cores)
    assert done * (costs.hit_client + costs.hit_server) <= cores * (1 + 1e-9)


@given(st.integers(1, 50), st.integers(1, 200))
def test_a_multi_get_asks_no_more_servers_than_there_are_nor_than_it_has_entries(
    servers: int, entries: int
) -> None:
    asked = model.servers_asked(servers, entries)
    assert 1 - 1e-9 <= asked <= min(servers, entries) + 1e-9


def test_the_document_has_every_table_once() -> None:
    text = (document.DOCS / "scale.md").read_text()
    names = ("assumptions", "hosts", "limits", "servers", "checks")
    rows = {name: [{"what": name, "number": 1}] for name in names}
    filled = document.filled(text, rows)
    for name in names:
        assert filled.count(f"<!-- table: {name} -->\n\n| what") == 1
