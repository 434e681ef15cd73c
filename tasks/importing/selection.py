"""Which files of a source are meant."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Selection:
    """Patterns as of a shell, over whole paths in the index: ``*`` stands for any text, "/"
    included, so that ``*.txt`` means the texts of all folders and ``in/*`` all below ``in``."""

    include: tuple[str, ...] = ()
    """One of them must match; none: every path is meant."""
    exclude: tuple[str, ...] = ()
    """None of them may match."""

    def __contains__(self, path: str) -> bool:
        included = not self.include or _matches(path, self.include)
        return included and not self.excludes(path)

    def excludes(self, path: str) -> bool:
        """Whether the path itself, whatever is below it, is not meant."""
        return _matches(path, self.exclude)


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
