"""What the content of all origins has in common: the version and size that it should have."""

from __future__ import annotations

from beaker_regions import Resumable
from tasks.sources import versions
from tasks.sources.checks import Check, check_of, mismatch
from tasks.sources.fetching.errors import FetchError
from tasks.sources.fetching.trying import FEW_TRIES
from tasks.sources.progress import Progress


class Fetched(Resumable):
    """Content that is fetched in one version. `verify` raises an error if it is another."""

    def __init__(
        self,
        url: str,
        size: int | None,
        version: str,
        progress: Progress,
        *,
        tries: int = FEW_TRIES,
    ) -> None:
        """Expect ``size`` bytes (None: any) in ``version``, which may be the digest of a
        manifest. ``tries`` is how often a failed request is repeated."""
        self._url = url
        self._size = size
        self._version = version
        self._progress = progress
        self._tries = tries
        self._expected = versions.digest_of(version)
        self._check: Check | None = None

    def verify(self, size: int, digest: str) -> None:
        if self._check is not None:
            self._check.verify()
        elif self._expected is not None and digest != self._expected[1]:
            raise mismatch("sha256", digest, self._expected[1])
        if self._size not in (None, size):
            raise FetchError(f"is {size} bytes long, and should be {self._size}")

    def _begin(self) -> None:
        """Begin to check content from its first byte on."""
        self._check = check_of(self._expected)

    def _count(self, chunk: bytes) -> None:
        """Add a chunk to the progress, and to the digest that is checked."""
        self._progress.advance(len(chunk))
        if self._check is not None:
            self._check.update(chunk)
