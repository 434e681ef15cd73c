"""The files in ``deploy/`` that no server reads here, checked by their own programs."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import get_commands, load_command_class
from ruamel.yaml import YAML

from tests.deploy.site import DEPLOY, PROGRAMS, ROOT, replaced
from tests.settings.test_settings import PRODUCTION

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.site import Nginx

UNITS = sorted(DEPLOY.glob("systemd/*"))


@pytest.fixture(scope="module")
def compose() -> Any:
    return YAML(typ="safe").load(DEPLOY / "compose.yaml")


def test_nginx_accepts_its_configuration(nginx: Nginx) -> None:
    assert "[warn]" not in nginx.check()
    assert "test is successful" in nginx.check()


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    assert len(UNITS) == 9
    for unit in UNITS:
        text = unit.read_text()
        if unit.suffix == ".service":
            folders = {"/srv/tasks/.venv/bin": str(PROGRAMS), "/srv/tasks": str(ROOT)}
            text = replaced(text, folders)
        (tmp_path / unit.name.replace("@", "@8001")).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, tmp_path.iterdir())], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", ["sweep", "sessions", "purge", "import"])
def test_every_timer_runs_an_existing_command(unit: str) -> None:
    service = (DEPLOY / f"systemd/tasks-{unit}.service").read_text()
    found = re.search(r"^ExecStart=\S+ manage\.py (.+)$", service, re.MULTILINE)
    assert found is not None
    assert (DEPLOY / f"systemd/tasks-{unit}.timer").exists()
    name, *arguments = found[1].split()
    command = load_command_class(get_commands()[name], name)
    command.create_parser("manage.py", name).parse_args(arguments)


def test_the_compose_file_is_valid_by_its_schema() -> None:
    done = subprocess.run(
        [
            str(PROGRAMS / "check-jsonschema"),
            *("--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_compose_file_of_valkey_is_valid_and_changes_every_application(compose: Any) -> None:
    path = DEPLOY / "compose.valkey.yaml"
    done = subprocess.run(
        [str(PROGRAMS / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    changed = YAML(typ="safe").load(path)["services"]
    applications = {name for name, each in compose["services"].items() if "env_file" in each}
    assert set(changed) - {"valkey"} == applications
    assert {changed[name]["environment"]["REDIS_URL"] for name in applications} == {
        "redis://valkey:6379/0"
    }


def test_everything_that_services_refer_to_exists(compose: Any) -> None:
    services = compose["services"]
    assert {"app1", "app2", "nginx", "mysql"} < set(services)
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        for awaited, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[awaited], awaited
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert source == "./tls" or (DEPLOY / source).exists(), source
            else:
                assert source in compose["volumes"], source
        for server in service.get("environment", {}).get("MEMCACHED_SERVERS", "").split(","):
            assert not server or server.partition(":")[0] in services
    upstream = re.findall(r"server (app\d):(\d+)", (DEPLOY / "nginx.conf").read_text())
    assert upstream == [
        (name, service["environment"]["PORT"])
        for name, service in services.items()
        if name.startswith("app")
    ]


def test_the_example_names_every_required_variable(compose: Any) -> None:
    example = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "env.example").read_text(), re.MULTILINE))
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    assert asked | set(PRODUCTION) <= set(example)
    assert example["SECRET_KEY"] == ""


def test_every_file_that_the_container_copies_exists() -> None:
    container = (DEPLOY / "Containerfile").read_text()
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", container, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert len(sources) > 5
    assert [source for source in sources if not (ROOT / source).exists()] == []
    modules = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert {"beaker_regions", "tasks", "project", "settings"} <= set(sources) & modules


def test_the_container_installs_the_tested_versions_by_digest() -> None:
    def versions(file: Path) -> dict[str, str]:
        found = re.findall(r"^([\w.-]+)==([\w.]+)", file.read_text(), re.MULTILINE)
        # If there are several versions, the one for the oldest Python.
        return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in reversed(found)}

    text = (DEPLOY / "requirements.txt").read_text()
    pinned, tested = versions(DEPLOY / "requirements.txt"), versions(ROOT / "requirements.txt")
    elsewhere = {"colorama", "tzdata"}  # on Windows only
    assert {"django", "beaker", "gunicorn", "mysqlclient", "setuptools"} <= set(pinned)
    assert {name: tested.get(name) for name in set(pinned) - elsewhere} == {
        name: version for name, version in pinned.items() if name not in elsewhere
    }
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pinned)
    assert all("--hash=sha256:" in entry for entry in entries)
    container = (DEPLOY / "Containerfile").read_text()
    assert "--require-hashes" in container
    for command in re.findall(r"pip install (.*?[^\\])\n", container, re.DOTALL):
        assert "--require-hashes" in command or "--no-deps" in command


def test_the_application_does_not_get_the_databases_root_password(compose: Any) -> None:
    assert "ROOT_PASSWORD" not in (DEPLOY / "env.example").read_text()
    for name, service in compose["services"].items():
        if "env_file" in service:
            assert not any("ROOT" in key for key in service["environment"]), name
    assert compose["services"]["mysql"]["environment"]["MYSQL_RANDOM_ROOT_PASSWORD"] == "yes"
