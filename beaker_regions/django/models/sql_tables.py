"""The tables that a statement of SQL reads, found in its text.

Names count where SQL expects a table: after FROM and JOIN, and after a comma between them. So
columns and aliases that are called as a table is do not count. Subqueries, common table expressions
and statements that an application wrote itself have the same form.
"""

from __future__ import annotations

import functools
import re

_SKIPPED = r"--[^\n]* | /\*.*?\*/ | \$(\w*)\$.*?\$\1\$ | %s | %\(\w+\)s | {string}"
_NAMED = r"""
    (?P<quoted> "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[\w[\w ]*\] )
  | (?P<word> [^\W\d][\w$]* )
  | (?P<mark> [(),.;] )
"""


def _pattern(string: str) -> re.Pattern[str]:
    return re.compile(f"{_SKIPPED.format(string=string)} | {_NAMED}", re.VERBOSE | re.DOTALL)


_TOKENS = _pattern(r"'[^']*'")
_TOKENS_OF_MYSQL = _pattern(r"'(?:[^'\\]|\\.)*' | \#[^\n]*")

_READS = frozenset(("SELECT", "WITH", "TABLE"))
_READS_NOTHING = frozenset(
    (
        *("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "BEGIN", "START", "COMMIT", "ROLLBACK"),
        *("SAVEPOINT", "RELEASE", "SET", "PRAGMA", "SHOW", "LOCK", "UNLOCK"),
    )
)
_BEFORE_TABLES = frozenset(("FROM", "JOIN", "STRAIGHT_JOIN"))
_STILL_BEFORE = frozenset(("ONLY", "LATERAL"))
_AFTER_TABLES = frozenset(
    (
        *("SELECT", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "FETCH", "FOR"),
        *("WINDOW", "UNION", "INTERSECT", "EXCEPT", "MINUS", "SET", "VALUES", "RETURNING", "WITH"),
    )
)


def table_name(db_table: str) -> str:
    """Return the name by which `tables_read` knows a model's table: without its schema, and
    small."""
    if db_table[0] in '"`[':  # quoted by the application: it names a schema
        *_, db_table = (token[0] for token in _TOKENS.finditer(db_table) if token["mark"] is None)
    return _unquoted(db_table).casefold()


@functools.lru_cache(maxsize=4096)
def tables_read(sql: str, *, is_mysql: bool = False) -> tuple[str, ...]:
    """Return the names of the tables that a statement reads, without their schemas, and small. A
    statement that writes reads none."""
    tokens = _tokens(sql, is_mysql)
    return _Reader(tokens).names() if _kind(tokens) in _READS else ()


@functools.lru_cache(maxsize=4096)
def is_understood(sql: str, *, is_mysql: bool = False) -> bool:
    """Whether `tables_read` knows such statements; it does not know CALL or EXPLAIN."""
    return _kind(_tokens(sql, is_mysql)) in _READS | _READS_NOTHING


def _tokens(sql: str, is_mysql: bool) -> list[tuple[str, str]]:
    return [
        ("" if token["word"] is None else token["word"].upper(), token[0])
        for token in (_TOKENS_OF_MYSQL if is_mysql else _TOKENS).finditer(sql)
        if token.lastgroup is not None
    ]


def _kind(tokens: list[tuple[str, str]]) -> str:
    """Return the first word of a statement, in capitals."""
    return next((word for word, _ in tokens if word), "")


class _Reader:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        """Of each token, its text, and before it the word in capitals; empty: no plain word."""
        self._is_list = False
        """Whether a comma separates tables here."""
        self._expects = False
        """Whether a table comes next."""
        self._is_statement = True
        """Whether FROM comes before tables here. It does not in ``EXTRACT(YEAR FROM made)``."""
        self._around: list[tuple[bool, bool]] = []
        """`_is_list` and `_is_statement` of each parenthesis around."""

    def names(self) -> tuple[str, ...]:
        found: dict[str, None] = {}
        at = 0
        while at < len(self._tokens):
            word, text = self._tokens[at]
            if text in ("(", ")", ",", ".", ";"):
                self._mark(text)
            elif word in _BEFORE_TABLES:
                # IS DISTINCT FROM compares.
                if word != "FROM" or (
                    self._is_statement and (at == 0 or self._tokens[at - 1][0] != "DISTINCT")
                ):
                    self._is_list = self._expects = True
            elif word == "TABLE":
                self._expects = True
            elif word in _AFTER_TABLES:
                self._is_list = self._expects = False
                self._is_statement = self._is_statement or word == "SELECT"
            elif word == "DELETE":
                self._is_statement = True
            elif word in ("ON", "USING"):
                self._expects = False
            elif self._expects and word not in _STILL_BEFORE:
                while at + 2 < len(self._tokens) and self._tokens[at + 1][1] == ".":
                    at += 2
                found[_unquoted(self._tokens[at][1]).casefold()] = None
                self._expects = False
            at += 1
        return tuple(found)

    def _mark(self, mark: str) -> None:
        if mark == "(":
            self._around.append((self._is_list, self._is_statement))
            self._is_list, self._is_statement = self._expects, False
        elif mark == ")":
            self._is_list, self._is_statement = (
                self._around.pop() if self._around else (False, True)
            )
            self._expects = False
        elif mark == ",":
            self._expects = self._is_list
        elif mark == ";":
            self._is_list = self._expects = False
            self._is_statement = True
            self._around.clear()


def _unquoted(name: str) -> str:
    quote = name[0]
    if quote == "[":
        return name[1:-1]
    return name[1:-1].replace(2 * quote, quote) if quote in '"`' else name
