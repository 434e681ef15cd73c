"""``manage.py regions``: show the regions, tune them, and maintain their files."""

from __future__ import annotations

import math
from argparse import SUPPRESS
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from beaker_regions.django.cli import dependencies, reports, terminal, tuning, warming
from beaker_regions.engine.region import Region, all_regions, regions_named
from beaker_regions.errors import nearest
from beaker_regions.stores.files import maintenance
from beaker_regions.stores.files.store import FileStore
from beaker_regions.telemetry import units

COMMANDS = {**tuning.COMMANDS, "warm": warming.warm, "dependencies": dependencies.dependencies}
"""Subcommands that yield their output, as data and as text."""
COLUMNS: dict[str, Callable[[Any], str]] = {
    "region": str,
    "type": str,
    "expire": units.duration,
    "entries": str,
    "size": units.size,
    "oldest": units.duration,
    "evictions": str,
}
"""Of the regions, with how each is written."""


class Command(BaseCommand):
    help = "Show the regions and the activity of their functions."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", metavar="COMMAND")
        commands.add_parser("verify", help="check every file's digest; remove those that differ")
        commands.add_parser("sweep", help="remove expired and invalidated entries")
        commands.add_parser("clear", help="empty the region for all processes at once")
        for name, command in commands.choices.items():
            if name == "sweep":
                command.add_argument(
                    "region", nargs="?", metavar="REGION", help="(all regions of files)"
                )
            else:
                command.add_argument("region", metavar="REGION")
        tuning.add_parsers(commands)
        warming.add_parser(commands)
        dependencies.add_parser(commands)
        parser.add_argument("--json", action="store_true", help="print JSON")
        for command in commands.choices.values():
            command.add_argument("--json", action="store_true", default=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        reports.load_functions()
        self.json = options["json"]
        if options["command"] is None:
            self._show()
        elif options["command"] in COMMANDS:
            for report, text in COMMANDS[options["command"]](options):
                self._print(report, text)
                self.stdout.flush()
        else:
            for region in self._named(options["region"]):
                getattr(self, options["command"])(region)

    def _print(self, report: Any, text: str) -> None:
        self.stdout.write(tuning.as_json(report) if self.json else text)

    def _named(self, name: str | None) -> list[Region]:
        if name is None:
            return [region for region in all_regions() if isinstance(region.store, FileStore)]
        found = regions_named(name)
        if not found:
            names = [region.name for region in all_regions()]
            raise CommandError(f"There is no region {name!r}; {nearest(name, names)}")
        return found

    def _show(self) -> None:
        found = reports.regions()
        if self.json:
            self._print({"regions": found, "functions": reports.activity()}, "")
            return
        self.stdout.write(terminal.table([self._row(region) for region in found], COLUMNS))
        _, text = tuning.functions()
        self.stdout.write(f"\n{text}")
        for finding in tuning.outbox():
            if finding.level == "error":
                self.stderr.write(tuning.as_line(finding))

    def _row(self, found: dict[str, Any]) -> dict[str, Any]:
        name, cluster = found["region"], found["cluster"]
        if found["type"] == "file" and found["entries"] is None:
            self.stderr.write(f"Region {name} cannot be read; manage.py regions check says why")
        kind = f"{found['type']} through {cluster}" if cluster else found["type"]
        expire = math.inf if found["expire"] is None else found["expire"]  # "never"
        return found | {"type": kind, "expire": expire}

    def verify(self, region: Region) -> None:
        faults = []
        for path, reason in maintenance.verify(self._files(region)):
            faults.append({"path": str(path), "reason": reason})
            self.stderr.write(f"{path}: {reason}")
        if not faults or self.json:
            self._print(
                {"region": region.name, "removed": faults},
                f"Region {region.name}: every file is whole",
            )
        if faults:
            files = "1 file was" if len(faults) == 1 else f"{len(faults)} files were"
            raise CommandError(f"Region {region.name}: {files} removed")

    def sweep(self, region: Region) -> None:
        entries, leftovers = maintenance.sweep(self._files(region), region.longest_grace())
        self._print(
            {"region": region.name, "entries": entries, "leftovers": leftovers},
            f"Region {region.name}: removed {entries} entries, {leftovers} leftovers",
        )

    def clear(self, region: Region) -> None:
        region.invalidate_everything()
        if isinstance(region.store, FileStore):
            maintenance.clear(region.store)
        self._print({"region": region.name, "cleared": True}, f"Region {region.name} is empty")

    def _files(self, region: Region) -> FileStore:
        if not isinstance(region.store, FileStore):
            raise CommandError(
                f"Region {region.name} is of type {region.options.type}, which has no files here"
            )
        return region.store
