"""``manage.py regions dependencies``: which tables functions read without a dependency."""

from __future__ import annotations

from argparse import _SubParsersAction
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from beaker_regions.django.cli import reports
from beaker_regions.django.cli.calls import Options, Output
from beaker_regions.django.models.reads import Finding
from beaker_regions.django.models.report import VARIABLE, Report, changed, folder_of
from beaker_regions.engine.region import all_regions


def add_parser(commands: _SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "dependencies", help="the tables that functions read without a dependency on them"
    )
    parser.add_argument("--clear", action="store_true", help="begin the report again")


def dependencies(options: Options) -> Iterator[Output]:
    folders = {folder for region in all_regions() if (folder := folder_of(region)) is not None}
    if not folders:
        raise CommandError("No region has a data_dir, so there is no report: give one to a region")
    if options["clear"]:
        for folder in folders:
            _clear(folder)
        yield {"cleared": True}, "The report is empty"
        return
    found = [Report.read(folder) for folder in sorted(folders)]
    findings = sorted(finding for report in found for finding, _ in report.findings.values())
    loaded = sorted({name for report in found for name in report.loaded})
    known = {
        each.name
        for each in reports.functions()
        if folder_of(each.region) in folders and each.policy.depends_on != "expiry"
    }
    unseen = sorted(name for name in known.difference(loaded) if not _is_own(name))
    data = {
        "findings": [finding._asdict() for finding in findings],
        "checked": loaded,
        "not_checked": unseen,
    }
    yield data, "\n".join(_lines(findings, len(loaded), unseen))


def _is_own(function: str) -> bool:
    return function.startswith("beaker_regions.")


def _lines(findings: list[Finding], checked: int, unseen: list[str]) -> Iterator[str]:
    if not checked and not findings:
        yield f"Nothing is recorded. Run processes with {VARIABLE}=record, and use the application."
        return
    for function, group in groupby(findings, key=lambda each: each.function):
        yield function
        for each in group:
            asked = f", {each.line}" if each.line else ""
            yield f"  {each.kind:<10} {each.table}{asked}"
            yield f"  {'':<10} {each.mend}"
    yield f"Functions, pages and fragments that were checked: {checked}"
    if not findings:
        yield "Nothing is missing"
    if unseen:
        yield f"Never loaded while the check was on: {', '.join(unseen)}"


def _clear(folder: Path) -> None:
    with changed(folder) as report:
        report.findings.clear()
        report.loaded.clear()
