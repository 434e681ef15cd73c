"""The report of forgotten dependencies: what processes saw, in a file of the regions' data_dir.

``REGIONS_DEPENDENCIES`` switches it on in a process: ``record`` writes the report, ``warn`` also
logs each finding once, ``error`` also raises `DependencyError` for the query that is one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from beaker_regions.django.models import reads
from beaker_regions.django.models.reads import Finding
from beaker_regions.engine.region import Region
from beaker_regions.errors import ConfigurationError, DependencyError, nearest
from beaker_regions.runtime.atomic_write import read_file, write_file
from beaker_regions.runtime.flock import locked

logger = logging.getLogger("beaker_regions.django")

VARIABLE = "REGIONS_DEPENDENCIES"
MODES = ("record", "warn", "error")
FOLDER = ".dependencies"
"""The folder in data_dir; no region can have this name."""
MOST = 1000
"""Findings, and functions, in one report. The ones that were seen last are kept."""

Key = tuple[str, str, str]
"""Region, function and table."""


def switch_on_by_environment(environ: Mapping[str, str] = os.environ) -> None:
    """Switch the check on if the environment says so. Raises ConfigurationError."""
    mode = environ.get(VARIABLE, "").strip()
    if mode in ("", "off"):
        return
    if mode not in MODES:
        raise ConfigurationError(f"{VARIABLE}={mode}: {nearest(mode, (*MODES, 'off'))}")
    reads.switch_on(Recorder(mode))


class Report:
    """The report in one folder."""

    def __init__(self, findings: dict[Key, tuple[Finding, float]], loaded: dict[str, float]):
        self.findings = findings
        """Each with the time at which it was last seen, in seconds since the epoch."""
        self.loaded = loaded
        """The functions that were checked, with the time of a load."""

    @classmethod
    def read(cls, folder: Path) -> Report:
        """Return the report in a folder; an empty one if there is none, or it cannot be read."""
        try:
            stored = json.loads(read_file(folder / "report.json"))
            findings = {}
            for *values, seen in stored["findings"]:
                finding = Finding(*map(str, values))
                findings[key_of(finding)] = finding, float(seen)
            loaded = {str(name): float(seen) for name, seen in stored["loaded"].items()}
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            return cls({}, {})
        return cls(findings, loaded)

    def write(self, folder: Path) -> None:
        findings = sorted(self.findings.values(), key=lambda each: each[1])[-MOST:]
        loaded = sorted(self.loaded.items(), key=lambda each: each[1])[-MOST:]
        stored = {
            "findings": [[*finding, seen] for finding, seen in findings],
            "loaded": dict(loaded),
        }
        content = json.dumps(stored).encode()
        write_file(str(folder), str(folder / "report.json"), content, durable=False)


def key_of(finding: Finding) -> Key:
    return finding.region, finding.function, finding.table


def folder_of(region: Region) -> Path | None:
    """Return the folder of the report; None if the region has no data_dir."""
    return region.options.data_dir and region.options.data_dir / FOLDER


@contextlib.contextmanager
def changed(folder: Path) -> Iterator[Report]:
    """Change the report in a folder: no other process changes it in this block."""
    with locked(str(folder / "lock")):
        report = Report.read(folder)
        yield report
        report.write(folder)


class Recorder(reads.Check):
    """Writes the report of this process, each fact once."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._began = time.time()
        self._found: set[Key] = set()
        self._loaded: set[tuple[str, str]] = set()
        self._former: dict[Path, dict[Key, float]] = {}
        """The findings that were in a report when this process first used it."""

    def found(self, region: Region, finding: Finding) -> None:
        key = key_of(finding)
        if key not in self._found:
            self._found.add(key)
            self._change(
                region, lambda report: report.findings.update({key: (finding, time.time())})
            )
            if self._mode == "warn":
                logger.warning("%s", finding)
        if self._mode == "error":
            raise DependencyError(str(finding))

    def covered(self, region: Region, function: str, table: str) -> None:
        """Remove a finding of an earlier process that has been mended since."""
        key = (region.name, function, table)
        folder = folder_of(region)
        if folder is None or key in self._found:
            return
        if folder not in self._former:
            findings = Report.read(folder).findings.items()
            self._former[folder] = {key: seen for key, (_, seen) in findings}
        if self._former[folder].pop(key, self._began) < self._began:
            self._change(region, lambda report: report.findings.pop(key, None))

    def loaded(self, region: Region, function: str) -> None:
        if (region.name, function) not in self._loaded:
            self._loaded.add((region.name, function))
            self._change(region, lambda report: report.loaded.update({function: time.time()}))

    def _change(self, region: Region, change: Callable[[Report], Any]) -> None:
        folder = folder_of(region)
        if folder is None:
            return
        try:
            with changed(folder) as report:
                change(report)
        except OSError as error:
            logger.warning("%s: the report of dependencies cannot be written: %s", folder, error)
