"""Values that were used last, in bounded memory."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A mapping that forgets what was not used for long, when it would take more than
    ``most_bytes``.

    Those that were used since the last time that half of the memory was full are in one dictionary,
    and those used before in another, which is then forgotten. So a hit changes nothing.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._recent: dict[K, tuple[V, int]] = {}
        self._older: dict[K, tuple[V, int]] = {}
        self._bytes = 0
        """Of the recent ones, about: threads may count at the same time."""

    def get(self, key: K) -> V | None:
        found = self._recent.get(key)
        if found is None:
            found = self._older.get(key)
            if found is None:
                return None
            self.put(key, *found)
        return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value, which takes ``size`` bytes together with its key, about."""
        former = self._recent.get(key)
        self._recent[key] = value, size
        self._older.pop(key, None)
        self._bytes += size - (former[1] if former is not None else 0)
        if self._bytes > self._most_bytes // 2:
            self._older, self._recent, self._bytes = self._recent, {}, 0
