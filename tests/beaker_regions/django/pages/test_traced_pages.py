"""Traced calls of pages and fragments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from beaker_regions.telemetry import tracing

if TYPE_CHECKING:
    from django.test import Client

    from tests.beaker_regions.django.pages.conftest import Site


@pytest.fixture(autouse=True)
def _nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "watchers", ())


def test_a_page_and_the_fragments_in_it_are_calls(site: Site, browser: Client) -> None:
    site.show("{% region 'functions' 1 %}{{ renders }}{% endregion %}")
    with tracing.collecting() as first:
        browser.get("/page/")
    page, fragment = first.calls
    assert (page.outcome, fragment.outcome) == ("miss", "miss")
    assert fragment.outer is page
    assert (first.hits, first.misses, first.seconds) == (0, 2, page.seconds)
    with tracing.collecting() as second:
        browser.get("/page/")
    assert [each.outcome for each in second.calls] == ["hit"]
    assert (second.hits, second.misses) == (1, 0)
