"""Finds forgotten dependencies: tables that a value was made of, and whose tags it does not have.

While a value is loaded, the queries of its load are read. A table of a model that is declared
(`beaker_regions.django.models.declarations`), and none of whose tags the entry has, is a *missing*
dependency. A table of a model that is not declared is an *unwatched* one. A query counts for every
load around it, with three exceptions. A page depends on its fragments itself, so their queries are
not the page's. A function that says ``depends_on="expiry"`` may be old, and the functions that call
it take its value as it is. One that says ``depends_on="queries"`` needs no tag of a declared model.

A hit makes no query. So a hit within a load counts as the queries that this process saw when the
function was loaded.

Context variables carry the loads: to coroutines, and to the threads that asgiref starts for them.
Nothing here runs unless the check is switched on.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NamedTuple

from beaker_regions.django.coroutines import unwrap_executions, wrap_executions
from beaker_regions.django.models.call_site import application_line, current_task
from beaker_regions.django.models.declarations import Declaration, declaration_of
from beaker_regions.django.models.tables import (
    LIBRARY,
    Models,
    forget_models,
    may_be_unwatched,
    models_read,
)
from beaker_regions.engine import loading
from beaker_regions.engine.region import Region
from beaker_regions.entries.entry import Entry, family_scope, tag_scope
from beaker_regions.entries.freshness import QUERIES, Policy
from beaker_regions.telemetry import tracing


class Finding(NamedTuple):
    """A table that a function read without a dependency on it."""

    function: str
    region: str
    table: str
    model: str
    """Its label."""
    kind: str
    """"missing" or "unwatched"."""
    line: str
    """The line of the application that asked."""
    mend: str

    def __str__(self) -> str:
        what = "a missing dependency" if self.kind == "missing" else "an unwatched table"
        asked = f" ({self.line})" if self.line else ""
        return f"{self.function} reads {self.table}, {what}{asked}: {self.mend}"


class Check:
    """Gets what is seen in this process."""

    def found(self, region: Region, finding: Finding) -> None:
        """Take a finding; each query of each load is reported."""

    def covered(self, region: Region, function: str, table: str) -> None:
        """A function read a table, and has a tag that belongs to it."""

    def loaded(self, region: Region, function: str) -> None:
        """A function was loaded."""


class Collector(Check):
    """Collects what is found, each finding once."""

    def __init__(self) -> None:
        self._findings: dict[tuple[str, str, str], Finding] = {}

    def found(self, region: Region, finding: Finding) -> None:
        key = (finding.region, finding.function, finding.table)
        self._findings.setdefault(key, finding)

    def take(self) -> list[Finding]:
        """Return the findings since the last call."""
        findings, self._findings = self._findings, {}
        return list(findings.values())


class _Load:
    """One value that is being loaded."""

    def __init__(
        self, region: Region, entry: Entry, policy: Policy, is_made_of_parts: bool, outer: Any
    ) -> None:
        self.region = region
        self.function = entry.function
        self.scopes = frozenset(entry.scopes)
        # The library's own functions invalidate by themselves.
        self.may_be_old = policy.depends_on == "expiry" or self.function.startswith(LIBRARY)
        self.depends_on_queries = policy.depends_on == QUERIES
        self.is_made_of_parts = is_made_of_parts and not self.depends_on_queries
        """Whether it is a page or a fragment, which depends on the fragments in it."""
        self.outer: _Load | None = outer
        self.is_open = True
        self.task: asyncio.Task[Any] | None = current_task()


_current: ContextVar[_Load | None] = ContextVar("_current", default=None)
_check: Check | None = None
_known: dict[str, tuple[bool, set[Models]]] = {}
"""The tables that functions read when this process loaded them, and whether they are pages or
fragments."""


def switch_on(check: Check) -> None:
    """Check every load of this process from now on."""
    global _check
    _check = check
    loading.observe_loads(_observe)
    tracing.watch(_watch)
    wrap_executions(_execute)


def switch_off() -> None:
    """Check nothing any more."""
    global _check
    _check = None
    loading.observe_loads(None)
    tracing.unwatch(_watch)
    unwrap_executions(_execute)
    _known.clear()
    forget_models()


# -- loads and queries -------------------------------------------------------------------------


@contextmanager
def _observe(
    region: Region, entry: Entry, policy: Policy, is_made_of_parts: bool
) -> Iterator[None]:
    load = _Load(region, entry, policy, is_made_of_parts, _open_load())
    token = _current.set(load)
    try:
        yield
    finally:
        load.is_open = False
        with suppress(ValueError):  # a coroutine that was closed in another context
            _current.reset(token)
    if _check is not None and not load.may_be_old:
        _check.loaded(region, load.function)


def _open_load() -> _Load | None:
    """Return the innermost load; a task that outlives the load that it began in is in none."""
    load = _current.get()
    while load is not None and not load.is_open:
        load = load.outer
    return load


def _execute(execute: Any, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    load = _open_load()
    if load is not None and isinstance(sql, str):
        models = [
            found
            for found in models_read(sql, context).values()
            if found and not found[0].__module__.startswith(LIBRARY)
        ]
        if models:
            _note(load, models)
    return execute(sql, params, many, context)


@contextmanager
def _watch(call: tracing.Call) -> Iterator[None]:
    load = _open_load()
    yield
    if load is not None and (call.hits or call.stale) and call.function in _known:
        is_part, models = _known[call.function]
        _note(load, tuple(models), is_in_part=is_part)


def _note(load: _Load, read: Iterable[Models], *, is_in_part: bool = False) -> None:
    """Note that tables were read within a load."""
    around: _Load | None = load
    while around is not None:
        if around.may_be_old:
            return
        _known.setdefault(around.function, (around.is_made_of_parts, set()))[1].update(read)
        if not (around.is_made_of_parts and is_in_part):
            for models in read:
                _judge(around, models, load.task)
        is_in_part = is_in_part or around.is_made_of_parts
        around = around.outer


# -- what is missing ---------------------------------------------------------------------------


def _judge(load: _Load, models: Models, task: asyncio.Task[Any] | None) -> None:
    check, table = _check, models[0]._meta.db_table
    if check is None:
        return
    declared = [made for model in models if (made := declaration_of(model)) is not None]
    has_tag = any(not load.scopes.isdisjoint(_scopes(each)) for each in declared)
    if has_tag or (declared and load.depends_on_queries):
        check.covered(load.region, load.function, table)
        return
    if not declared and may_be_unwatched(models):
        return
    labels = [model._meta.label for model in models]
    if declared:
        tags = " or ".join(dict.fromkeys(tag for each in declared for tag in _tags(each)))
        kind, mend = "missing", f"add the tag {tags}"
    else:
        kind = "unwatched"
        mend = f"declare the tags of the rows of {labels[0]}"
        if not load.depends_on_queries:
            mend += ", and give it one of them"
    mend += ', or depends_on="expiry" if it may be old'
    line = application_line(task)
    finding = Finding(load.function, load.region.name, table, labels[0], kind, line, mend)
    check.found(load.region, finding)


@functools.cache
def _scopes(declaration: Declaration) -> frozenset[str]:
    """Return scopes: an entry that has one of them is invalidated by a write to the model."""
    families = map(family_scope, declaration.families)
    return frozenset((*families, *map(tag_scope, declaration.fixed)))


def _tags(declaration: Declaration) -> Iterator[str]:
    """Yield the tags of a model's rows, as an application writes them."""
    for template in declaration.templates:
        fields = [f"{{{source.lookup}}}" for source in template.sources]
        try:
            yield f'"{template.text.format(*fields)}"'
        except ValueError:  # a format for numbers
            yield f'"{template.family}{fields[0]}"'
    yield from (f'"{tag}"' for tag in declaration.fixed)
