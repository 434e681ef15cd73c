"""The deployed site, for the tests: Gunicorn and uWSGI behind nginx, with one imported file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.site import Nginx, where_to_download
from tests.deploy.stack import Stack, deployed

NAME = "grün & <gelb> 100% “x”.txt"
CONTENT = "".join(f"{number:07}\n" for number in range(10_000)).encode()


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("deployed")
    source = folder / "source"
    source.mkdir()
    (source / NAME).write_bytes(CONTENT)
    with deployed(folder, ("gunicorn", "uwsgi"), source) as stack:
        yield stack


@pytest.fixture(scope="package")
def nginx(stack: Stack) -> Nginx:
    return stack.nginx


@pytest.fixture(scope="package")
def where(nginx: Nginx) -> str:
    """The address of the imported file."""
    return where_to_download(nginx)
