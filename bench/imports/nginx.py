"""Thousands of small files over nginx, one, four and eight at once, beside curl and sha256sum."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from bench.imports import trees
from bench.imports.turns import Case, Command, Import

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
CURL = "curl --no-progress-meter --fail --create-dirs --parallel --parallel-max {jobs} -K -"


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


@contextlib.contextmanager
def cases(folder: Path, files: int) -> Iterator[list[Case]]:
    """Make the files and serve them; yield the work for each number of jobs."""
    root = folder / "served"
    size = trees.make(root, files)
    paths = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    digests = {path: hashlib.sha256((root / path).read_bytes()).hexdigest() for path in paths}
    (root / "SHA256SUMS").write_text(
        "".join(f"{digest}  {path}\n" for path, digest in digests.items())
    )
    with served(folder, root) as url:
        config = "".join(
            f'url = "{url}/{path}"\noutput = "{path}"\n' for path in ["SHA256SUMS", *paths]
        )
        yield [
            Case(
                f"over nginx, {jobs} at once",
                files,
                size,
                {
                    "curl, sha256sum": Command(
                        "sh",
                        "-c",
                        f"{CURL.format(jobs=jobs)} && sha256sum --quiet -c SHA256SUMS",
                        text=config,
                    ),
                    "import_data": Import(f"{url}/SHA256SUMS", f"--jobs={jobs}"),
                },
                "curl, sha256sum",
            )
            for jobs in JOBS
        ]
