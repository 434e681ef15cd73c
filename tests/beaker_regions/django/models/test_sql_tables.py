"""The tables that a statement reads."""

from __future__ import annotations

import pytest

from beaker_regions.django.models.sql_tables import tables_read


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT EXTRACT(MONTH FROM `t`.`made`), b FROM `t`, u", ("t", "u")),
        ("SELECT a FROM t WHERE EXTRACT(YEAR FROM made) IN (SELECT y FROM u)", ("t", "u")),
        ("SELECT TRIM(BOTH 'x' FROM name), (SELECT 1 FROM u) FROM t", ("u", "t")),
        ("SELECT SUBSTRING((SELECT n FROM u) FROM 2) FROM t", ("u", "t")),
        ("((SELECT a FROM t) UNION (SELECT b FROM u))", ("t", "u")),
        ("WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", ("t", "d")),
    ],
)
def test_from_in_a_function_names_no_table(sql: str, tables: tuple[str, ...]) -> None:
    assert tables_read(sql) == tables
