"""Look at the regions, and after their files."""

from __future__ import annotations

import math
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from regions.backends import upkeep
from regions.backends.files import FileStore
from regions.errors import nearest
from regions.region import Region, all_regions, regions_named


class Command(BaseCommand):
    help = "Show the regions; with a subcommand, look after one."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", metavar="COMMAND")
        commands.add_parser("verify", help="check the digest of every file; take out what differs")
        commands.add_parser("sweep", help="remove what has expired and what nobody needs")
        commands.add_parser("clear", help="empty the region, for every process at once")
        for command in commands.choices.values():
            command.add_argument("region", metavar="REGION")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["command"] is None:
            self._show()
            return
        for region in self._named(options["region"]):
            getattr(self, options["command"])(region)

    def _named(self, name: str) -> list[Region]:
        found = regions_named(name)
        if not found:
            names = [region.name for region in all_regions()]
            raise CommandError(f"There is no region {name!r}; {nearest(name, names)}")
        return found

    def _show(self) -> None:
        rows: list[tuple[str, ...]] = [("region", "type", "expire", "entries", "size", "oldest")]
        for region in all_regions():
            rows.append((region.name, region.options.type, _duration(region.options.expire)))
            if isinstance(region.store, FileStore):
                entries, size, oldest = upkeep.usage(region.store)
                age = "" if oldest is None else _duration(time.time() - oldest)
                rows[-1] += (str(entries), filesizeformat(size).replace("\xa0", " "), age)
        widths = [max(map(len, column)) for column in zip(*map(_padded, rows), strict=True)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(_padded(row), widths, strict=True)]
            self.stdout.write("  ".join(cells).rstrip())

    def verify(self, region: Region) -> None:
        faults = 0
        for found, reason in upkeep.verify(self._files(region)):
            faults += 1
            self.stderr.write(f"{found.path}: {reason}")
        if faults:
            raise CommandError(f"Region {region.name}: {faults} entries were taken out")
        self.stdout.write(f"Region {region.name}: everything is as it was stored")

    def sweep(self, region: Region) -> None:
        entries, leftovers = upkeep.sweep(self._files(region), region.options.grace)
        self.stdout.write(
            f"Region {region.name}: removed {entries} expired entries, {leftovers} leftovers"
        )

    def clear(self, region: Region) -> None:
        region.invalidate_everything()
        if isinstance(region.store, FileStore):
            upkeep.clear(region.store)
        self.stdout.write(f"Region {region.name} is empty")

    def _files(self, region: Region) -> FileStore:
        if not isinstance(region.store, FileStore):
            raise CommandError(
                f"Region {region.name} is of type {region.options.type}, which has no files here"
            )
        return region.store


def _padded(row: tuple[str, ...]) -> tuple[str, ...]:
    return row + ("",) * (6 - len(row))


def _duration(seconds: float) -> str:
    """Return a duration for people, such as "5 d" or "1.5 h"."""
    if math.isinf(seconds):
        return "never"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
