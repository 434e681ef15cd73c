"""The selection of a source's files by patterns."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Selection:
    """Shell patterns for whole paths in the index. ``*`` matches any text, "/" included: ``*.txt``
    matches the texts of all folders, and ``in/*`` all files below ``in``."""

    include: tuple[str, ...] = ()
    """At least one of them must match. If there are none, every path is included."""
    exclude: tuple[str, ...] = ()
    """None of them may match."""

    def __contains__(self, path: str) -> bool:
        included = not self.include or _matches(path, self.include)
        return included and not self.excludes(path)

    def excludes(self, path: str) -> bool:
        """Whether a pattern of ``exclude`` matches the path itself."""
        return _matches(path, self.exclude)


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
