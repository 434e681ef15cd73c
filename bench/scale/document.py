"""Writes what was measured into ``docs/scale.md`` and ``docs/scale.svg``.

The document's tables stand between comments that name them, and each full run writes them again:
they are what was measured last. The text around them is written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from bench import report
from bench.pages import WORKERS
from bench.scale import model, plot
from bench.scale.model import Site
from bench.scale.tables import HOSTS, about, tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.report import Row
    from bench.scale.tables import Measured

DOCS = Path(__file__).parents[2] / "docs"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def write(measured: Measured) -> None:
    """Write the document's tables and its plot again."""
    path = DOCS / "scale.md"
    path.write_text(filled(path.read_text(), tables(measured)))
    (DOCS / "scale.svg").write_text(drawn(measured))


def filled(text: str, tables: Mapping[str, Sequence[Row]]) -> str:
    """Return the text with those of ``tables`` that it names."""
    return _TABLE.sub(
        lambda found: (
            f"{found[1]}\n{report.table(tables[found[2]])}\n\n{found[3]}"
            if found[2] in tables
            else found[0]
        ),
        text,
    )


def drawn(measured: Measured) -> str:
    """Return the plot: measured at 1 to 8 processes, the model there, and up to 1,000 hosts."""
    costs, kept, site = measured.costs, measured.kept, Site()
    one = model.demand(site, costs).round_trips * site.servers

    def asked(number: float) -> plot.Point:
        # All is proportional to the hosts.
        return plot.Point(number * site.processes, number * one)

    ends = {limit: model.hosts_at(limit, site, costs) for limit in model.LIMITS}
    counts = [1 + at / 10 for at in range(10 * max(measured.hits) - 9)]
    return plot.svg(
        "Requests to memcached, against processes of the application",
        "Measured on one machine, and the model up to 1,000 hosts",
        plot.Axis(
            "Processes of the application",
            1,
            10_000,
            [(number * site.processes, f"{number:,}") for number in HOSTS],
            f"Hosts, of {site.processes} processes each",
        ),
        plot.Axis("Requests to memcached, a second", 100, 10_000_000),
        [
            plot.Series(
                f"hits in a loop, one machine of {measured.cores} cores: measured, and model",
                "#0b6bcb",
                [plot.Point(n, model.throughput(costs, n, measured.cores)) for n in counts],
                [plot.Point(number, hits.a_second) for number, hits in measured.hits.items()],
            ),
            plot.Series(
                f"kept pages under gunicorn, the same machine, {WORKERS} processes: measured",
                "#c2410c",
                points=[plot.Point(WORKERS, kept.a_second * kept.round_trips)],
            ),
            plot.Series(
                f"pages and changes, hosts {site.busy:.0%} busy: model, and where "
                f"{site.servers} memcached reach a limit",
                "#15803d",
                [asked(HOSTS[0]), asked(HOSTS[-1])],
                marks=[
                    plot.Mark(asked(number), f"{limit}: {about(number)} hosts")
                    for limit, number in ends.items()
                    if number <= 2 * HOSTS[-1]
                ],
            ),
        ],
    )
