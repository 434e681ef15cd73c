"""``/metrics``: the permission to scrape, and the dashboard's queries."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.beaker_regions.conftest import make_manager
from tests.servers import Memcached

DASHBOARD = Path(__file__).parents[4] / "deploy" / "grafana-dashboard.json"


def scraped(token: str | None, client: Client | None = None) -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": token}
    response = (client or Client()).get("/metrics", headers=headers)
    return response.status_code, response.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wanted", "token", "status"),
    [
        ("of the tests", "Bearer of the tests", 200),
        ("of the tests", "bearer of the tests", 200),
        ("of the tests", "Bearer of the test", 403),
        ("of the tests", "Basic of the tests", 403),
        ("of the tests", "Bearer é", 403),
        ("of the tests", None, 403),
        ("", "Bearer ", 403),
        ("", None, 403),
    ],
)
def test_a_token_opens_the_metrics(
    settings: Any, wanted: str, token: str | None, status: int
) -> None:
    settings.METRICS_TOKEN = wanted
    found, content = scraped(token)
    assert found == status
    assert ("regions_calls_total" in content) is (status == 200)


@pytest.mark.django_db
def test_only_staff_may_see_the_metrics(settings: Any) -> None:
    settings.METRICS_TOKEN = "of the tests"
    for is_staff in (False, True):
        client = Client()
        client.force_login(User.objects.create_user(uuid4().hex, is_staff=is_staff))
        assert scraped(None, client)[0] == (200 if is_staff else 403)


@pytest.mark.django_db
def test_a_scrape_chooses_the_format_of_the_metrics(settings: Any) -> None:
    settings.METRICS_TOKEN = "t"
    headers = {"Authorization": "Bearer t", "Accept": "application/openmetrics-text;version=1.0.0"}
    response = Client().get("/metrics", headers=headers)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert "no-store" in response.headers["Cache-Control"]
    assert Client().post("/metrics", headers=headers).status_code == 405


@pytest.mark.django_db
def test_the_dashboard_uses_existing_metrics(
    settings: Any, memcached: Memcached, tmp_path: Path
) -> None:
    settings.METRICS_TOKEN = "t"
    cache = make_manager(
        "metered", type="ext:memcached", url=memcached.address, data_dir=tmp_path, secret="s"
    )
    cache.region("metered")(len)((1,))
    exposition = scraped("Bearer t")[1]
    exposed = set(re.findall(r"^# TYPE (\w+)", exposition, re.MULTILINE))
    dashboard = json.loads(DASHBOARD.read_text())
    asked = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
    ] + [variable["query"]["query"] for variable in dashboard["templating"]["list"][1:]]
    queried = {name for each in asked for name in re.findall(r"regions_\w+", each)}
    assert len(queried) > 15
    assert queried - exposed == set()
    labels = {name for each in asked for name in re.findall(r"(\w+)=~", each)}
    assert labels <= set(re.findall(r'(\w+)="', exposition))
    # No two panels overlap.
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
