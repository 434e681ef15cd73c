"""Users and their tasks in SQLite: cached queries, and changes that invalidate them.

An invalidation follows the commit: one before it would let a reader in between keep the old rows.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caching import VAR, cache
from werkzeug.security import check_password_hash, generate_password_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT UNIQUE, password TEXT);
CREATE TABLE IF NOT EXISTS tasks (
    id INTEGER PRIMARY KEY, owner INTEGER REFERENCES users, name TEXT, done INTEGER DEFAULT 0
);
CREATE INDEX IF NOT EXISTS tasks_of_owner ON tasks (owner, done);
"""
NOBODY = generate_password_hash("nobody's")
"""Checked where there is no user, so that how long it takes does not tell that."""


@dataclass(frozen=True, slots=True)
class Task:
    id: int
    name: str
    done: bool


@contextlib.contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """A connection and its transaction: committed at the end, or rolled back by an error."""
    with contextlib.closing(sqlite3.connect(VAR / "tasks.sqlite3")) as connection, connection:
        yield connection


def prepare() -> None:
    """Make the tables that are not there yet."""
    with database() as db:
        db.executescript(SCHEMA)


# -- queries ----------------------------------------------------------------------------------


@cache.region("queries")  # Flask-Caching: @cache.memoize()
def tasks_of(owner: int) -> tuple[Task, ...]:
    """Return a user's tasks, open ones first."""
    query = "SELECT id, name, done FROM tasks WHERE owner = ? ORDER BY done, id"
    with database() as db:
        return tuple(Task(id_, name, bool(done)) for id_, name, done in db.execute(query, [owner]))


def totals() -> tuple[int, int]:
    """Return how many tasks there are of all users, and how many of them are done. Not cached:
    the pages that show it are."""
    with database() as db:
        count, done = db.execute("SELECT count(*), total(done) FROM tasks").fetchone()
    return count, int(done)


# -- changes ----------------------------------------------------------------------------------


def _changed(owner: int) -> None:
    tasks_of.invalidate(owner)  # Flask-Caching: cache.delete_memoized(tasks_of, owner)
    cache.invalidate_tags("totals")  # of every page and snippet that shows them


def add(owner: int, name: str) -> None:
    with database() as db:
        db.execute("INSERT INTO tasks (owner, name) VALUES (?, ?)", [owner, name])
    _changed(owner)


def tick(owner: int, task: int, done: bool) -> bool:
    """Mark a task as done, or as open; return whether the user has such a task."""
    with database() as db:
        change = "UPDATE tasks SET done = ? WHERE id = ? AND owner = ?"
        found = db.execute(change, [done, task, owner]).rowcount > 0
    _changed(owner)
    return found


def delete(owner: int, task: int) -> bool:
    """Delete a task; return whether the user had it."""
    with database() as db:
        change = "DELETE FROM tasks WHERE id = ? AND owner = ?"
        found = db.execute(change, [task, owner]).rowcount > 0
    _changed(owner)
    return found


# -- users ------------------------------------------------------------------------------------


def log_in(name: str, password: str) -> int | None:
    """Return the user's id, or None where name and password do not belong together."""
    with database() as db:
        row = db.execute("SELECT id, password FROM users WHERE name = ?", [name]).fetchone()
    id_, known = row or (None, NOBODY)
    return id_ if check_password_hash(known, password) else None


def sign_up(name: str, password: str) -> int | None:
    """Return the new user's id, or None where the name is taken."""
    insert = "INSERT INTO users (name, password) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING id"
    with database() as db:
        row = db.execute(insert, [name, generate_password_hash(password)]).fetchone()
    return row[0] if row else None
