"""Downloads the content of a URL in one version, and continues broken transfers."""

from __future__ import annotations

import re
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from tasks.sources import versions
from tasks.sources.fetching import client
from tasks.sources.fetching.errors import FetchError, SlowError, TemporaryError
from tasks.sources.fetching.fetched import Fetched
from tasks.sources.fetching.trying import FEW_TRIES, Tries, until_done
from tasks.sources.progress import Progress
from tasks.sources.source_file import SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.sources.fetching.answers import Answer
    from tasks.sources.fetching.connections import Request


class _Part(NamedTuple):
    """An answer that has content."""

    response: Answer
    start: int
    """The position of its first byte in the content."""
    size: int | None
    """Bytes of the whole content, if that is known."""


class Download(Fetched):
    """The content of a URL. It raises an error if the version or the size is another, or if the
    server does not answer in time."""

    def __init__(
        self,
        url: str,
        size: int | None,
        version: str,
        progress: Progress,
        *,
        tries: int = FEW_TRIES,
        response: Answer | None = None,
    ) -> None:
        """Expect ``size`` bytes (None: not known) and ``version`` (`versions`). ``response`` is an
        earlier answer of the server that is not read yet."""
        super().__init__(url, size, version, progress, tries=tries)
        self._response = response
        self._begun: Request | None = None
        self._failure: FetchError | None = None
        # A file of a manifest has no tag before the first answer; its digest is checked at its end.
        self._tag = versions.strong_tag({"etag": version})

    def begin(self) -> None:
        """Ask for the content from its start, and do not wait."""
        if self._response is not None:
            return
        with suppress(FetchError):  # it is raised by the next try
            self._begun = client.begin(self._url)

    def arrives(self, most: int) -> bool:
        """Wait for the answer to this request; return whether all of the content is in memory now,
        and is at most ``most`` bytes. An error is raised when the content is read."""
        begun, self._begun = self._begun, None
        try:
            if self._response is None:
                self._response = client.get(self._url, {}, begun)
        except FetchError as error:
            self._failure = error
            return False
        is_short = (client.length_of(self._response) or 0) <= most
        self.is_whole = is_short and self._response.arrives(most)
        return self.is_whole

    def close(self) -> None:
        """Give up an answer that was not read."""
        if self._response is not None:
            self._response.close()

    def pieces(self, have: int) -> Iterator[tuple[int, bytes]]:
        self._begin()
        if self._check is not None:
            have = 0  # Of the bytes of a former run only the SHA-256 is known.
        position = have
        tries = Tries(self._url, self._tries, position)
        while position != self._size or not position:
            try:
                answer = self._ask(position)
                with closing(answer.response):
                    if answer.start != position:
                        position = 0
                        self._begin()
                        yield 0, b""
                    for chunk in client.body(answer.response):
                        if answer.size is not None and position + len(chunk) > answer.size:
                            raise FetchError(f"is longer than the {answer.size} bytes it should be")
                        self._count(chunk)
                        yield position, chunk
                        position += len(chunk)
                if position < (answer.size or 0):
                    raise TemporaryError(f"broke off after {position} of {answer.size} bytes")
                return
            except TemporaryError as error:
                if not isinstance(error, SlowError):
                    tries.reached(position)
                tries.pause(error, self._progress)

    def _ask(self, position: int) -> _Part:
        """Ask for the content from a position on. The answer may still begin at 0."""
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
        """Whether a tag or a digest proves that the received bytes belong to the next ones."""
        return self._tag is not None or self._expected is not None

    def _answer(self, position: int) -> _Part | None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        response, self._response = self._response, None
        self.is_whole = False
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

    def _accepted(self, response: Answer, position: int) -> _Part | None:
        """Return an answer with its start and size; None if it is not the requested part."""
        tag = versions.strong_tag(response.headers)
        start: int | None = None
        size: int | None = None
        if response.status == 206:
            start, size = _content_range(response.headers.get("content-range", ""))
            if start != position or (self._tag is not None and tag not in (None, self._tag)):
                return None
        elif response.status == 200:
            if self._expected is None and not versions.is_of(self._version, response.headers):
                raise SourceChangedError("has changed at its origin; import it again")
            start = 0
            size = client.length_of(response)
        if start is None:
            return None
        if self._size is not None and size not in (None, self._size):
            raise FetchError(f"is {size} bytes long, and should be {self._size}")
        if self._expected is not None:
            self._tag = tag
        if self._size is None and size is not None:
            self._progress.expect(size)
        return _Part(response, start, size if size is not None else self._size)


def text_of(
    url: str, headers: dict[str, str], limit: int, progress: Progress
) -> tuple[Answer, bytes]:
    """Return the answer for a URL and its whole content, at most ``limit`` bytes. Raises
    OSError."""

    def request() -> tuple[Answer, bytes]:
        content = bytearray()  # to which thousands of short pieces can be added
        with closing(client.get(url, headers)) as response:
            for chunk in client.body(response):
                content += chunk
                if len(content) > limit:
                    raise FetchError(f"is longer than {limit} bytes")
        return response, bytes(content)

    return until_done(url, request, progress)


def _content_range(value: str) -> tuple[int | None, int | None]:
    """Return the start of a part and the size of the whole; None for a number that is missing."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", value.strip())
    if match is None:
        return None, None
    return client.number(match[1]), client.number(match[2])
