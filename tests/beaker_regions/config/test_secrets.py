"""The secret key: from the environment, or made once for all processes."""

from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import pytest

from beaker_regions import ConfigurationError
from beaker_regions.config.secrets import other_secret_keys, secret_key


def test_the_environment_wins(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert secret_key(path, {"SECRET_KEY": "given"}) == "given"
    assert not path.exists()


def test_a_key_is_made_once_and_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "key"
    key = secret_key(path, {})
    assert len(key) >= 50
    assert secret_key(path, {}) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["key"]


def _key(path: Path) -> str:
    return secret_key(path, {})


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        keys = pool.map(_key, [tmp_path / "key"] * 64, chunksize=1)
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    ("name", "message"), [("file/key", "Not a directory"), ("empty", "is empty; delete it")]
)
def test_a_file_that_cannot_be_used(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigurationError, match=message):
        secret_key(tmp_path / name, {})


@pytest.mark.parametrize(
    ("environ", "keys"),
    [
        ({}, []),
        ({"SECRET_KEY_FALLBACKS": ""}, []),
        ({"SECRET_KEY_FALLBACKS": "one"}, ["one"]),
        ({"SECRET_KEY_FALLBACKS": "one, two,"}, ["one", "two"]),
    ],
)
def test_other_keys_are_separated_by_commas(environ: dict[str, str], keys: list[str]) -> None:
    assert other_secret_keys(environ) == keys
