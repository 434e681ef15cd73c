"""Errors of damaged archives: one kind of error instead of a dozen."""

from __future__ import annotations

import contextlib
import lzma
import struct
import tarfile
import zipfile
from typing import TYPE_CHECKING

from tasks.sources.archives.inflate import InflateErrors
from tasks.sources.source_file import SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Iterator


class ArchiveError(OSError):
    """An archive that cannot be read further. The files listed before may be whole."""


class StreamCutError(ArchiveError):
    """A compressed archive that ends too early, and shows no other damage."""


class MemberCutError(ArchiveError):
    """An archive that ends within the file that it listed last."""


class TooLargeError(ArchiveError):
    """An archive that would unpack to more than it may."""


class UntrustedError(ArchiveError):
    """A compressed archive that does not match its checksums. They cover all of it, so every file
    may be wrong."""


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
    *InflateErrors,
)
"""Errors that the modules of the formats raise for bytes that they cannot read."""


@contextlib.contextmanager
def damage(kind: type[ArchiveError] = ArchiveError) -> Iterator[None]:
    """Turn every error that bad bytes can cause into an error of this ``kind``."""
    try:
        yield
    except (ArchiveError, SourceChangedError):
        raise
    except OSError as error:
        # The system's errors have a number; those of gzip and bz2 do not.
        if error.errno is not None:
            raise
        raise kind(f"is damaged: {error}") from error
    except NotImplementedError as error:
        raise kind(f"cannot be read: {error}") from error
    except _DAMAGE as error:
        raise kind(f"is damaged: {error}") from error
