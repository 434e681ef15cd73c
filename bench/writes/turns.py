"""The two processes of a contender: one writes, and the other reads and writes beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django
from django.conf import settings

from bench.contenders import PATIENCE
from bench.writes.contenders import CONTENDERS

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from bench.writes.contenders import Contender, Servers
    from bench.writes.questions import Reader

FRESH = "fresh"


def start(name: str, servers: Servers) -> tuple[Contender, Reader]:
    """Set up Django with the contender."""
    from settings.databases import database

    contender = CONTENDERS[name](servers)
    settings.configure(
        DATABASES={"default": database(f"sqlite:///{servers.folder / 'db.sqlite3'}")},
        INSTALLED_APPS=[
            "bench.writes",
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            *contender.apps,
        ],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        **contender.settings(),
    )
    django.setup()
    contender.start()
    from bench.writes.questions import QUESTIONS, Reader

    return contender, Reader({name: contender.cached(name) for name in QUESTIONS})


def beside(name: str, servers: Servers, writer: Connection) -> None:
    """Run the commands of the writing process, until it ends."""
    contender, reader = start(name, servers)
    from bench.writes.ways import commands

    runs = commands(contender, reader)
    while (command := writer.recv()) != "end":
        writer.send(runs[command]())


def write(name: str, servers: Servers, other: Connection, results: Any) -> None:
    """Write in every way; put the outcome of each, and the number of needless loads."""
    contender, reader = start(name, servers)
    from django.db import connection

    from bench.writes.models import Book, Loan, Owner, Shelf, Topic
    from bench.writes.questions import fill
    from bench.writes.ways import simple, with_readers

    with connection.schema_editor() as editor:
        for model in (Owner, Shelf, Topic, Book, Loan):
            editor.create_model(model)

    def elsewhere(command: str) -> Any:
        other.send(command)
        assert other.poll(PATIENCE), f"no answer to {command!r}"
        return other.recv()

    outcomes, needless = {}, {}
    for title, way in [*simple(), *with_readers(contender, reader, elsewhere)]:
        fill()
        contender.clear()
        # A process of ours that has not learned the tables of a function asks once more.
        for _ in range(2):
            elsewhere("read")
            loads = reader.read()
        assert not loads, f"{name} does not store {loads} answers"
        try:
            way()
        except Exception as error:
            outcomes[title] = f"fails: {type(error).__name__}: {error}"
            continue
        # First where nothing was written.
        there, needless[title] = elsewhere("judge")
        stale = sorted(there | reader.judge()[0])
        outcomes[title] = f"stale: {', '.join(stale)}" if stale else FRESH
    other.send("end")
    results.put((outcomes, needless))
