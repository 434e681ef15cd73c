"""The selection of a source's files by patterns."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Selection:
    """Shell patterns for paths below the source. ``*`` matches any text, "/" included: ``*.txt``
    matches the texts of all folders, and ``in/*`` all files below ``in``. A pattern that matches a
    folder matches everything in it."""

    include: tuple[str, ...] = ()
    """At least one of them must match. If there are none, every path is included."""
    exclude: tuple[str, ...] = ()
    """None of them may match. One without "/" also matches a name at any depth."""
    _matched: set[str] = field(default_factory=set, compare=False, repr=False)
    """The patterns that have matched a path."""

    def __contains__(self, path: str) -> bool:
        if not (self.include or self.exclude):
            return True
        if self.excludes(path):
            return False
        return not self.include or self._matches(path, self.include)

    def excludes(self, path: str) -> bool:
        """Whether a pattern of ``exclude`` matches the path, or a folder above it."""
        return bool(self.exclude) and self._matches(path, self.exclude, at_any_depth=True)

    def unmatched(self) -> list[str]:
        """Return the patterns that have matched no path so far."""
        return [each for each in (*self.include, *self.exclude) if each not in self._matched]

    def _matches(self, path: str, patterns: tuple[str, ...], *, at_any_depth: bool = False) -> bool:
        found = False
        for pattern in patterns:
            if found and pattern in self._matched:
                continue
            if _is_match(path, pattern.removesuffix("/"), at_any_depth):
                self._matched.add(pattern)
                found = True
        return found


def _is_match(path: str, pattern: str, at_any_depth: bool) -> bool:
    names = path.split("/") if at_any_depth and "/" not in pattern else ()
    if any(fnmatchcase(name, pattern) for name in names):
        return True
    while path:
        if fnmatchcase(path, pattern):
            return True
        path = path.rpartition("/")[0]
    return False


def patterns_in(name: str) -> list[str]:
    """Return the patterns of a file, one a line. Empty lines and those that begin with # do not
    count. Raises OSError."""
    with open(name, encoding="utf-8", errors="backslashreplace") as file:
        lines = [line.rstrip("\n") for line in file]
    return [line for line in lines if line.strip() and not line.startswith("#")]
