"""Notes the tables that queries read, for functions with ``depends_on="queries"``.

Such a value depends on the tags of the models of these tables. They are noted before the query
runs, with their generations (`beaker_regions.engine.reads`). Every write to a declared model
invalidates its tag. If the model is not declared, nothing does, and the value is not stored.

Nothing of this runs before a function asks for it.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from beaker_regions.django.coroutines import wrap_executions
from beaker_regions.django.models.declarations import declaration_of
from beaker_regions.django.models.tables import (
    LIBRARY,
    Models,
    is_understood,
    may_be_unwatched,
    models_read,
)
from beaker_regions.engine.reads import Reads, current_reads

logger = logging.getLogger("beaker_regions.django")

_DEFINED = re.compile(
    r"""\w+(?=["`]?\s*(?:\([\w\s,"`]*\)\s*)?\bAS\s+(?:(?:NOT\s+)?MATERIALIZED\s+)?\()""",
    re.IGNORECASE,
)
"""The names that a statement itself gives to common table expressions."""
_warned: set[tuple[str, str]] = set()


def note_queries() -> None:
    """Note the queries of every connection of this process from now on."""
    wrap_executions(_execute)


def _execute(execute: Any, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    noted = current_reads()
    if noted is not None:
        _note(noted, sql if isinstance(sql, str) else str(sql), context)
    return execute(sql, params, many, context)


def _note(noted: Reads, sql: str, context: dict[str, Any]) -> None:
    if not is_understood(sql, context):
        noted.give_up()
    tags: list[str] = []
    for table, models in models_read(sql, context).items():
        declared = [found.model_tag for each in models if (found := declaration_of(each))]
        tags += declared
        is_library = any(each.__module__.startswith(LIBRARY) for each in models)
        if not declared and not is_library and not may_be_unwatched(models):
            if not models and table in map(str.casefold, _DEFINED.findall(sql)):
                continue
            noted.give_up()
            if noted.function:
                _warn(noted.function, table, models)
    noted.note_tags(tags)


def _warn(function: str, table: str, models: Models) -> None:
    if (function, table) in _warned:
        return
    _warned.add((function, table))
    mend = (
        f"decorate {models[0]._meta.label} with @row_tags(), or name it to declare_row_tags()"
        if models
        else "it belongs to no model: name tags= instead"
    )
    logger.warning(
        '%s: depends_on="queries": no write to the table %s invalidates anything, so the value is '
        "not stored: %s",
        function,
        table,
        mend,
    )
