"""The disks that were mounted in a folder, or held it, when its files were imported.

A disk that is not mounted looks as if its files had been deleted: its folder is empty, or has the
files that somebody has put there since. The kernel's list of mount points tells the difference; it
costs no look at the folders. The numbers of devices do not: they change when a host is restarted.
"""

from __future__ import annotations

import os
import re
from functools import partial

from tasks.files.content import name_of, path_of
from tasks.importing.folders import is_within
from tasks.importing.index import patiently
from tasks.models import SourceMount


class Mounts:
    """The mount points of the folder of a source. Raises DatabaseError, InterfaceError."""

    def __init__(self, folder: str) -> None:
        """``folder``: absolute, without links."""
        self._folder = folder
        self._noted = SourceMount.objects.filter(root=path_of(folder))

    def note(self) -> None:
        """Add those that are there now, before rows of their files are written."""
        new = _of(self._folder, _mount_points()) - self._known()
        rows = [SourceMount(root=path_of(self._folder), point=path_of(each)) for each in new]
        patiently(partial(SourceMount.objects.bulk_create, rows))

    def away(self) -> list[str]:
        """Return those of former runs that are no mount points now, as `path_of` writes them."""
        return sorted(map(path_of, self._known() - _mount_points()))

    def forget_away(self) -> None:
        """Forget them: the operator has said that their files are really gone."""
        if away := self.away():
            patiently(self._noted.filter(point__in=away).delete)

    def _known(self) -> set[str]:
        found = patiently(partial(list[SourceMount], self._noted))
        # Some databases ignore case when they compare text, so compare again.
        root = path_of(self._folder)
        return {name_of(each.point) for each in found if each.root == root}


def _mount_points() -> set[str]:
    """Return the mount points that this process sees. Raises OSError."""
    with open("/proc/self/mountinfo", "rb") as file:
        return {os.fsdecode(_unescaped(line.split(b" ")[4])) for line in file}


def _unescaped(name: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda escape: bytes((int(escape[1], 8),)), name)


def _of(folder: str, points: set[str]) -> set[str]:
    """Return the mount points in a folder and the one that holds it, except that of the system."""
    holds = [each for each in points if is_within(folder, each)]
    inside = {each for each in points if is_within(each, folder)}
    return (inside | {max(holds, key=len, default="/")}) - {"/"}
