"""The lines of an import's progress."""

from __future__ import annotations

import pytest

from tasks.importing import reporting
from tasks.importing.reporting import LineReporter, Names


def test_bytes_that_were_not_read_count_for_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "INTERVAL", 0.0)
    lines: list[str] = []
    reporter = LineReporter(lines.append, Names(lines.append, lines.append))
    reporter.begin(2, 2 << 20)
    reporter.pass_over(1 << 20)
    assert "1.0 MB of 2.0 MB, 0 bytes/s" in lines[-1]
    reporter.advance(1 << 20)
    assert "2.0 MB of 2.0 MB, " in lines[-1]
    assert "0 bytes/s" not in lines[-1]
