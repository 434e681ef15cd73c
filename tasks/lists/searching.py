"""Finding text without regard to case, in a time that grows with the length of the text alone.

Django's ``icontains`` does not fold all letters on SQLite, and its ``iregex`` compares at each
position of the text as far as it is equal: for a long search in a long path, a million letters.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField, Lookup, TextField
from django.db.models.lookups import IRegex

MOST_WORDS = 8
"""Words of a search that are looked for; each is looked for in every name."""


class ContainsFolded(Lookup):
    """``name__contains_folded="text"``: the text is part of it, in either case of letters."""

    lookup_name = "contains_folded"
    prepare_rhs = False

    def as_sqlite(self, compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, Any]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"contains_folded({column}, %s)", (*parameters, str(self.rhs).casefold())

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, Any]:
        # Not LIKE, which on MySQL takes letters with accents for those without.
        return IRegex(self.lhs, re.escape(str(self.rhs))).as_sql(compiler, connection)


def is_shortened(search: str) -> bool:
    """Whether a search has more words than are looked for."""
    return len(set(search.split())) > MOST_WORDS


def words_of(search: str) -> list[str]:
    """Return the words that a search looks for, each once."""
    return list(dict.fromkeys(search.split()))[:MOST_WORDS]


def install() -> None:
    """Make the lookup known to Django. Each connection to SQLite gets its function as it opens
    (`add_function`)."""
    for field in (CharField, TextField):
        field.register_lookup(ContainsFolded)


def add_function(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """A receiver of connection_created."""
    if connection.vendor == "sqlite":
        opened: sqlite3.Connection = connection.connection
        opened.create_function("contains_folded", 2, _contains_folded, deterministic=True)


def _contains_folded(text: str | None, folded: str) -> bool:
    return text is not None and folded in text.casefold()
