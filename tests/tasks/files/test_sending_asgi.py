"""Sending imported files under ASGI, with little of them in memory."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from django.core.asgi import get_asgi_application

from tests.tasks.files.conftest import address

if TYPE_CHECKING:
    from tests.tasks.files.conftest import Import

pytestmark = pytest.mark.django_db(transaction=True)

SIZE = 32 * 1024 * 1024
CONTENT = bytes(range(256)) * (SIZE // 256)


class Answer:
    """The answer of an ASGI server. Its bytes are counted and hashed, but not kept. The client
    disconnects after ``leave_after`` bytes."""

    def __init__(self, path: str, leave_after: int | None = None, **headers: str) -> None:
        self.status, self.size = 0, 0
        self.headers: dict[str, str] = {}
        self._digest = hashlib.sha256()
        self._leave_after = leave_after
        async_to_sync(self._ask)(path, headers)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    async def _ask(self, path: str, headers: dict[str, str]) -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [
                (b"host", b"localhost"),
                *((name.lower().encode(), value.encode()) for name, value in headers.items()),
            ],
        }
        asked = iter([{"type": "http.request", "body": b"", "more_body": False}])
        self._gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            for event in asked:
                return event
            await self._gone.wait()
            return {"type": "http.disconnect"}

        await get_asgi_application()(scope, receive, self._send)

    async def _send(self, event: Any) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            self.headers = {name.decode(): value.decode() for name, value in event["headers"]}
            return
        body = event.get("body", b"")
        self.size += len(body)
        self._digest.update(body)
        if self._leave_after is not None and self.size >= self._leave_after:
            self._gone.set()
            await asyncio.sleep(0.1)


def test_a_large_download_is_in_memory_chunk_by_chunk(imported: Import) -> None:
    imported({"large.bin": CONTENT})
    where = address("large.bin", "download/")
    Answer(where, Range="bytes=0-9")  # load the modules that are loaded once
    tracemalloc.start()
    try:
        answer = Answer(where)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (answer.status, answer.size) == (200, SIZE)
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.digest == hashlib.sha256(CONTENT).hexdigest()
    assert peak < SIZE / 8


def test_the_requested_part_is_sent(imported: Import) -> None:
    imported({"a.txt": b"0123456789"})
    answer = Answer(address("a.txt", "download/"), Range="bytes=2-4")
    assert (answer.status, answer.size) == (206, 3)
    assert answer.headers["Content-Range"] == "bytes 2-4/10"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.digest == hashlib.sha256(b"234").hexdigest()


def test_a_client_that_disconnects_is_sent_no_more(imported: Import) -> None:
    imported({"large.bin": CONTENT})
    answer = Answer(address("large.bin", "download/"), leave_after=SIZE // 4)
    assert answer.size < SIZE // 2
