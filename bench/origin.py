"""A quick HTTP server of a folder's files, for measurements: sendfile, ranges, entity tags."""

from __future__ import annotations

import os
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote


class Origin:
    """Serves a folder at a free port of an address of this machine, and counts."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.folder = folder
        self.rate = 0.0
        """Bytes in a second to all, about; 0: as quickly as it goes."""
        self.sent = 0
        """Bytes of content."""
        self.requests = self.partial = 0
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"origin": self})
        server = _Server((address, 0), handler)
        self.url = f"http://{address}:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 8192
    origin: Origin

    def log_message(self, *args: Any) -> None:
        """It is not read."""

    def do_GET(self) -> None:
        origin = self.origin
        try:
            file = open(origin.folder / unquote(self.path).lstrip("/"), "rb")  # noqa: SIM115
        except OSError:
            self.send_error(404)
            return
        with file:
            found = os.fstat(file.fileno())
            tag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
            part = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(part[1]) if part and self.headers.get("If-Range", tag) == tag else 0
            with origin.lock:
                origin.requests += 1
                origin.partial += start > 0
            if self.headers.get("If-None-Match") == tag:
                self.send_response(304)
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("ETag", tag)
            self.send_header("Content-Length", str(found.st_size - start))
            if start:
                span = f"bytes {start}-{found.st_size - 1}/{found.st_size}"
                self.send_header("Content-Range", span)
            self.end_headers()
            self.wfile.flush()
            self._send(file, start, found.st_size)

    def _send(self, file: Any, start: int, end: int) -> None:
        origin = self.origin
        while start < end:
            step = min(end - start, 256 * 1024 if origin.rate else end - start)
            sent = self.connection.sendfile(file, start, step)
            start += sent
            with origin.lock:
                origin.sent += sent
                pause = sent / origin.rate if origin.rate else 0.0
                # Under the lock: the rate is that of all together.
                time.sleep(pause)
