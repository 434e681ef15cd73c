"""The lines of an import's progress."""

from __future__ import annotations

import re

import pytest

from tasks.importing import reporting
from tasks.importing.reporting import LineReporter, Names


def test_bytes_that_were_not_read_count_for_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "INTERVAL", 0.0)
    lines: list[str] = []
    reporter = LineReporter(lines.append, Names(lines.append, lines.append))
    reporter.begin(2, 2 << 20)
    reporter.pass_over(1 << 20)
    assert lines[-1].startswith("0 of 2 files, 1.0 MB of 2.0 MB, 0 s left")
    reporter.advance(1 << 20)
    assert re.search(r"2\.0 MB of 2\.0 MB, [1-9].*/s", lines[-1])


def test_the_time_left_is_said_once_there_is_something_to_go_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reporting, "INTERVAL", 0.0)
    lines: list[str] = []
    reporter = LineReporter(lines.append, Names(lines.append, lines.append))
    reporter.begin(3000, 10_000)
    reporter.advance(1)
    assert "left" not in lines[-1], "one byte says nothing of 3000 files"
    reporter.done("a.txt", "new")
    assert lines[-1].endswith(" s left")
