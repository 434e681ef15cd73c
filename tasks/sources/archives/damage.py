"""What damaged archives do to those who read them: one kind of error instead of a dozen."""

from __future__ import annotations

import contextlib
import lzma
import struct
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING

from tasks.sources.source_file import SourceChanged

if TYPE_CHECKING:
    from collections.abc import Iterator


class ArchiveError(OSError):
    """An archive that cannot be read further. What it listed before is as good as it seems."""


class StreamCut(ArchiveError):
    """A compressed archive that ends too early, and shows no other damage."""


class MemberCut(ArchiveError):
    """An archive that ends within the file that it listed last."""


class TooLarge(ArchiveError):
    """An archive that would unpack to more than it may."""


class Untrusted(ArchiveError):
    """A compressed archive that does not match its checksums, which cover all of it: whatever it
    listed may be wrong."""


_DAMAGE = (
    EOFError,
    LookupError,
    OverflowError,
    RuntimeError,  # headers nested too deep, among others
    ValueError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the modules of the standard library raise for bytes that make no sense to them."""


@contextlib.contextmanager
def damage(kind: type[ArchiveError] = ArchiveError) -> Iterator[None]:
    """Raise an error of this ``kind`` for whatever bad bytes lead to."""
    try:
        yield
    except (ArchiveError, SourceChanged):
        raise
    except OSError as error:
        # Those of the system have a number; those of gzip and bz2 have none.
        if error.errno is not None:
            raise
        raise kind(f"is damaged: {error}") from error
    except NotImplementedError as error:
        raise kind(f"cannot be read: {error}") from error
    except _DAMAGE as error:
        raise kind(f"is damaged: {error}") from error
