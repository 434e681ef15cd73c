"""Thousands of small files over nginx, one, four and eight at once, beside curl and sha256sum."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from bench.imports import trees
from bench.imports.turns import Case, Import, by_curl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = 1, 4, 8
CONFIGURATION = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off; sendfile on; keepalive_requests 100000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@contextlib.contextmanager
def served(folder: Path, root: Path) -> Iterator[str]:
    """Let nginx serve ``root``; yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port, root=root))
    environ = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}
    nginx = subprocess.Popen(["nginx", "-c", configuration], env=environ, stderr=subprocess.DEVNULL)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert nginx.poll() is None, "nginx ends"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        nginx.terminate()
        nginx.wait()


def cases(folder: Path, files: int) -> Iterator[Case]:
    """Make the files and serve them; yield the work for each number of jobs."""
    root = folder / "served"
    size = trees.make(root, files)
    paths = trees.write_manifest(root)
    with served(folder, root) as url:
        for jobs in JOBS:
            yield Case(
                f"{files:,} small files over nginx, {jobs} at once",
                files,
                size,
                {
                    "curl, sha256sum": by_curl(url, paths, jobs),
                    "import_data": Import(f"{url}/SHA256SUMS", f"--jobs={jobs}"),
                },
                ("curl, sha256sum",),
            )
