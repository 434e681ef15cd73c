"""The content of a URL in one version, however often its transfer breaks off."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from beaker_regions import Resumable
from tasks.sources.fetching import client, versions
from tasks.sources.fetching.client import FetchError, Temporary
from tasks.sources.fetching.trying import Tries, until_done
from tasks.sources.progress import Progress
from tasks.sources.source_file import SourceChanged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3 import BaseHTTPResponse

TRIES = 5
"""How often an import tries once more what fails in passing, before a file has failed; bytes that
come give a download all its tries again."""
FEW_TRIES = 1
"""The same, where somebody waits for a page."""


class _Answer(NamedTuple):
    """An answer that has content."""

    response: BaseHTTPResponse
    start: int
    """The position of its first byte in the content."""
    size: int | None
    """Bytes of the whole content, if that is known."""


class Download(Resumable):
    """The content of a URL, or an error: when it is of another version or another size, or its
    server is away for longer than it is waited for."""

    def __init__(
        self,
        url: str,
        size: int | None,
        version: str,
        progress: Progress,
        *,
        tries: int = FEW_TRIES,
        response: BaseHTTPResponse | None = None,
    ) -> None:
        """Of ``size`` bytes (None: not known) and of ``version`` (`versions`); ``response`` is
        what the server has answered already, not yet read."""
        self._url = url
        self._size = size
        self._version = version
        self._progress = progress
        self._tries = tries
        self._response = response
        # What a manifest describes has no tag before it is asked for; but a digest, at its end.
        self._tag = versions.strong_tag({"ETag": version})

    def pieces(self, have: int) -> Iterator[tuple[int, bytes]]:
        position, furthest = have, have
        tries = Tries(self._tries)
        while position != self._size or not position:
            try:
                answer = self._ask(position)
                with closing(answer.response):
                    if answer.start != position:
                        position = 0
                        yield 0, b""
                    for chunk in client.body(answer.response):
                        if answer.size is not None and position + len(chunk) > answer.size:
                            raise FetchError(f"is longer than the {answer.size} bytes it should be")
                        self._progress.advance(len(chunk))
                        yield position, chunk
                        position += len(chunk)
                if position < (answer.size or 0):
                    raise Temporary(f"broke off after {position} of {answer.size} bytes")
                return
            except Temporary as error:
                if position > furthest:
                    furthest, tries = position, Tries(self._tries)
                tries.pause(error, self._progress)

    def verify(self, size: int, digest: str) -> None:
        expected = versions.digest_of(self._version)
        if expected is not None and digest != expected:
            raise FetchError(f"has the SHA-256 {digest}, and should have {expected}")
        if self._size not in (None, size):
            raise FetchError(f"is {size} bytes long, and should be {self._size}")

    def _ask(self, position: int) -> _Answer:
        """Ask for the content from a position on; the answer may begin at 0 all the same."""
        if position > (self._size or position) or not self._can_continue():
            position = 0
        answer = self._answer(position)
        if answer is None and position:
            # The answer is of other content, or of another part: start again at 0.
            answer = self._answer(0)
        if answer is None:
            raise FetchError("is answered with a part of it that was not asked for")
        return answer

    def _can_continue(self) -> bool:
        """Whether what is there is known, or will be shown, to belong to what comes."""
        return self._tag is not None or versions.digest_of(self._version) is not None

    def _answer(self, position: int) -> _Answer | None:
        response, self._response = self._response, None
        if response is not None and position:
            response.close()
        if response is None or position:
            headers = {"Range": f"bytes={position}-"} if position else {}
            if position and self._tag is not None:
                headers["If-Range"] = self._tag
            response = client.get(self._url, headers)
        try:
            answer = self._accepted(response, position)
        except BaseException:
            response.close()
            raise
        if answer is None:
            response.close()
        return answer

    def _accepted(self, response: BaseHTTPResponse, position: int) -> _Answer | None:
        """Return what to make of an answer; None for a part that is not the one asked for."""
        tag = versions.strong_tag(response.headers)
        start: int | None = None
        size: int | None = None
        if response.status == 206:
            start, size = _content_range(response.headers.get("Content-Range", ""))
            if start != position or (self._tag is not None and tag not in (None, self._tag)):
                return None
        elif response.status == 200:
            if not versions.is_of(self._version, response.headers):
                raise SourceChanged("has changed at its origin; import it again")
            start = 0
            size = client.length_of(response)
        if start is None:
            return None
        if self._size is not None and size not in (None, self._size):
            raise FetchError(f"is {size} bytes long, and should be {self._size}")
        if versions.digest_of(self._version) is not None:
            self._tag = tag
        if self._size is None and size is not None:
            self._progress.expect(size)
        return _Answer(response, start, size if size is not None else self._size)


def text_of(
    url: str, headers: dict[str, str], limit: int, tries: int, progress: Progress
) -> tuple[BaseHTTPResponse, bytes]:
    """Return the answer for a URL and its whole content, of ``limit`` bytes at the most. Raises
    OSError."""

    def request() -> tuple[BaseHTTPResponse, bytes]:
        content = bytearray()  # to which thousands of short pieces can be added
        with closing(client.get(url, headers)) as response:
            for chunk in client.body(response):
                content += chunk
                if len(content) > limit:
                    raise FetchError(f"is longer than {limit} bytes")
        return response, bytes(content)

    return until_done(request, tries, progress)


def _content_range(value: str) -> tuple[int | None, int | None]:
    """Return the start of a part and the size of the whole; None for what the header leaves out."""
    told = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", value.strip())
    if told is None:
        return None, None
    return client.number(told[1]), client.number(told[2])
