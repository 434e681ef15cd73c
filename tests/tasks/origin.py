"""A real HTTP server of files: with ranges, validators and redirects, and faults on request."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

STEP = 64 * 1024
"""Bytes sent at a time."""


@dataclass
class Request:
    """A request, and its answer."""

    method: str
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0
    """Bytes of the body."""

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Fault:
    """The fault of one request."""

    status: int = 0
    """Sent instead of the content."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers that are added to the usual ones, or replace them."""
    cut_after: int | None = None
    """Bytes of the body after which the connection ends."""
    gate: threading.Event | None = None
    """The server waits for it after ``cut_after`` bytes, or before the first byte."""
    replace: Callable[[bytes], bytes] | None = None
    """Changes the body."""


class Origin:
    """Files in memory, by path, at a free port of this machine."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._address = address
        self.files: dict[str, bytes] = {}
        self.tags: dict[str, str | None] = {}
        """Entity tags that are not the content's digest; None: no tag."""
        self.dates: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.faults: dict[str, deque[Fault]] = {}
        self.ranges = True
        self.heads = True
        """Whether HEAD is answered."""
        self.lengths = True
        self.pace = 0.0
        """Seconds after each step of a body."""
        self.requests: list[Request] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.start()

    def start(self) -> None:
        """Listen at the same port as before."""
        origin = self

        class Handler(_Handler):
            served = origin

        self._server = _Server((self._address, self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Become unavailable: stop listening, and end all connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def url(self, path: str) -> str:
        return f"http://{self._address}:{self._port}/{path}"

    def fail(self, path: str, *faults: Fault) -> None:
        """Let the next requests of a file fail, one after the other."""
        self.faults.setdefault(path, deque()).extend(faults)

    def manifest(self, name: str = "SHA256SUMS") -> str:
        """Make a manifest of the files; return its URL."""
        lines = [
            f"{hashlib.sha256(content).hexdigest()}  {path}\n"
            for path, content in self.files.items()
            if path != name
        ]
        self.files[name] = "".join(lines).encode()
        return self.url(name)

    def asked(self, path: str) -> list[Request]:
        """Return the requests for a file, the first one first."""
        return [request for request in self.requests if request.path == path]

    def tag_of(self, path: str) -> str | None:
        usual = f'"{hashlib.sha256(self.files[path]).hexdigest()[:16]}"'
        return self.tags.get(path, usual)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that are killed: these tests kill them."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    served: Origin

    def log_message(self, *args: Any) -> None:
        """Requests are recorded in `Origin.requests`."""

    def do_HEAD(self) -> None:
        if self.served.heads:
            self.do_GET()
        else:
            self.send_error(405)

    def do_GET(self) -> None:
        origin = self.served
        path = unquote_to_bytes(self.path.partition("?")[0]).decode(errors="surrogateescape")[1:]
        request = Request(
            self.command, path, {name.lower(): value for name, value in self.headers.items()}
        )
        with origin._lock:
            origin.requests.append(request)
            origin.at_once += 1
            origin.most_at_once = max(origin.most_at_once, origin.at_once)
            waiting = origin.faults.get(path)
            fault = waiting.popleft() if waiting else Fault()
        try:
            self._answer(origin, path, request, fault)
        finally:
            with origin._lock:
                origin.at_once -= 1

    def _answer(self, origin: Origin, path: str, request: Request, fault: Fault) -> None:
        if fault.status:
            return self._send(request, fault.status, {"Content-Length": "0"}, b"", fault)
        if path in origin.redirects:
            headers = {"Location": origin.redirects[path], "Content-Length": "0"}
            return self._send(request, 302, headers, b"", fault)
        if path not in origin.files:
            return self._send(request, 404, {"Content-Length": "0"}, b"", fault)
        content = origin.files[path]
        tag = origin.tag_of(path)
        headers = {"Last-Modified": origin.dates.get(path, formatdate(0, usegmt=True))}
        if tag is not None:
            headers["ETag"] = tag
        if self._is_as_known(headers):
            return self._send(request, 304, headers, b"", fault)
        status, start = 200, 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and origin.ranges and self.headers.get("If-Range", tag) == tag:
            start = int(wanted[1])
            if start >= len(content):
                headers = {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"}
                return self._send(request, 416, headers, b"", fault)
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if origin.lengths:
            headers["Content-Length"] = str(len(content) - start)
        else:
            self.close_connection = True
            headers["Connection"] = "close"
        return self._send(request, status, headers, content[start:], fault)

    def _is_as_known(self, headers: dict[str, str]) -> bool:
        if "If-None-Match" in self.headers:
            return self.headers["If-None-Match"] == headers.get("ETag")
        return self.headers.get("If-Modified-Since") == headers["Last-Modified"]

    def _send(
        self, request: Request, status: int, headers: dict[str, str], body: bytes, fault: Fault
    ) -> None:
        request.status = status
        self.send_response(status)
        for name, value in {**headers, **fault.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault.replace is not None:
            body = fault.replace(body)
        end = len(body) if fault.cut_after is None else min(len(body), fault.cut_after)
        if fault.gate is not None and fault.cut_after is None:
            fault.gate.wait(60)
        while request.sent < end:
            chunk = body[request.sent : min(end, request.sent + STEP)]
            self.wfile.write(chunk)
            request.sent += len(chunk)
            time.sleep(self.served.pace)
        if fault.cut_after is not None:
            if fault.gate is not None:
                fault.gate.wait(60)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


def encrypted(folder: Path, server: socketserver.TCPServer | None) -> Path:
    """Let a server speak TLS from now on; return the certificate of its authority."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    if not certificate.exists():
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        names = ["-nodes", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
        out = ["-keyout", str(key), "-out", str(certificate), "-days", "2"]
        subprocess.run([*made, *names, *out], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    assert server is not None
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return certificate
