"""Files in storage that fsspec knows: s3, gs, az, sftp, ftp, smb, webdav and the like.

Keys, passwords and endpoints come from the environment alone: from the variables of each kind of
storage, such as ``AWS_ACCESS_KEY_ID``, and from fsspec's, such as ``FSSPEC_SFTP_PASSWORD``.
"""

from __future__ import annotations

import contextlib
import os
import re
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tasks.sources import versions
from tasks.sources.fetching.errors import FetchError, TemporaryError
from tasks.sources.fetching.fetched import Fetched
from tasks.sources.fetching.trying import Tries
from tasks.sources.fetching.urls import BadUrlError, archive_and_path, has_scheme, is_url
from tasks.sources.pace import at_once
from tasks.sources.source_file import SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Iterator

Info = dict[str, Any]
"""What fsspec says of a file."""

_LOCAL = {
    *("arrow_hdfs", "async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "dask"),
    *("data", "dir", "dvc", "file", "filecache", "generic", "git", "jlab", "jupyter", "libarchive"),
    *("local", "memory", "pyscript", "reference", "simplecache", "tar", "zip"),
}
"""Schemes of fsspec that read this host, or what other schemes name."""
_BLOCK = 4 * 1024 * 1024
"""Bytes that are asked for at once."""
_TAGS = ("ETag", "etag", "generation")
_TIMES = (
    "mtime",
    "LastModified",
    "last_modified",
    "modified",
    "updated",
    "last_write_time",
    "modify",
)
"""The keys under which the kinds of storage have a version, or the time of the last change."""


def is_remote(name: str) -> bool:
    """Whether an absolute name is one for fsspec."""
    return has_scheme(name) and not is_url(name) and archive_and_path(name) is None


def checked_remote(url: str) -> str:
    """Return a URL for fsspec, without a slash at its end. Raises BadUrlError."""
    scheme = url.partition("://")[0].lower()
    if scheme in _LOCAL:
        raise BadUrlError(f"has the scheme {scheme!r}, which names no server")
    try:
        user = urlsplit(url).netloc.rpartition("@")[0]
    except ValueError:
        raise BadUrlError("is no URL") from None
    if ":" in user:
        raise BadUrlError(
            "has a password in it, which would end in the index; set it in the environment "
            f"(FSSPEC_{scheme.upper()}_PASSWORD)"
        )
    if not url.isprintable():
        raise BadUrlError("is no URL")
    return url.rstrip("/")


def open_storage(url: str) -> tuple[Any, str]:
    """Return the file system of fsspec for a URL, and the URL's path in it. Each thread has its
    own. Raises FetchError."""
    scheme = url.partition("://")[0]
    try:
        from fsspec import get_filesystem_class
        from fsspec.config import conf
    except ImportError:
        raise FetchError(f"needs the package fsspec for {scheme}://: pip install fsspec") from None
    options: dict[str, Any] = {}
    with _readable():
        if scheme in ("sftp", "ssh") and "host_key_policy" not in conf.get("sftp", {}):
            options["host_key_policy"] = _known_hosts()
        # Not url_to_fs(), for which two colons in a name begin another URL.
        kind = get_filesystem_class(scheme)
        path = kind._strip_protocol(url)
        if "?" in url and not path.endswith(url.rpartition("/")[2]):
            raise FetchError("has a name that a URL of its kind cannot have")
        return kind(**kind._get_kwargs_from_urls(url), **options), path


def info_of(url: str) -> Info:
    """Return what its storage says of a file or a folder now. Raises FetchError."""
    fs, path = open_storage(url)
    with _readable(fs):
        fs.invalidate_cache()
        found: Info = fs.info(path)
        return found


def listed(url: str, folder: str) -> list[Info]:
    """Return what a folder of a storage holds, by name. ``folder`` is its path there. Raises
    FetchError."""
    fs, _ = open_storage(url)
    with _readable(fs):
        found: list[Info] = sorted(fs.ls(folder, detail=True), key=lambda info: info["name"])
        fs.invalidate_cache()  # it would keep all listings in memory
        return found


def text_at(url: str) -> bytes:
    """Return the content of a small file. Raises FetchError."""
    fs, path = open_storage(url)
    with _readable(fs):
        return bytes(fs.cat_file(path))


def version_of(info: Info) -> str:
    """Return the version of a file: its tag, or the time of its last change."""
    for keys, kind in ((_TAGS, "tag"), (_TIMES, "changed")):
        for key in keys:
            value = info.get(key)
            text = value.isoformat() if isinstance(value, date) else str(value or "").strip('"')
            if 0 < len(text) < 200 and text.isprintable():
                return f"{kind}:{text}"
    return versions.of_answer({})


def is_current_remote(url: str, size: int | None, version: str) -> bool:
    """Return whether a storage still has this version of a file. Raises FetchError."""
    info = info_of(url)
    return version_of(info) == version and size in (None, info.get("size"))


class RemoteFile(Fetched):
    """The content of a file in one version (`version_of`, or the digest of a manifest). It raises
    an error if the file changes."""

    def pieces(self, have: int) -> Iterator[tuple[int, bytes]]:
        self._begin()
        # A time of change may be equal for two contents.
        is_exact = self._expected is not None or self._version.startswith("tag:")
        position = have if is_exact and self._check is None else 0
        if position != have:
            yield 0, b""
        tries = Tries(self._url, self._tries, position)
        while True:
            try:
                for chunk in self._chunks(position):
                    self._count(chunk)
                    yield position, chunk
                    position += len(chunk)
                return
            except TemporaryError as error:
                tries.reached(position)
                tries.pause(error, self._progress)

    def _chunks(self, position: int) -> Iterator[bytes]:
        """Yield the content from a position on. Raises TemporaryError if another try may help."""
        size = self._compare()
        fs, path = open_storage(self._url)
        with contextlib.ExitStack() as stack:
            with _readable(fs):
                file = stack.enter_context(fs.open(path, "rb", block_size=_BLOCK))
                file.seek(position)
            while position < size:
                with _readable(fs):
                    most = min(at_once(_BLOCK), size - position)
                    if hasattr(file, "readv"):  # sftp answers many requests at once
                        chunk = b"".join(file.readv([(position, most)]))
                    else:
                        chunk = file.read(most)
                if not chunk:
                    raise TemporaryError(f"broke off after {position} of {size} bytes")
                yield chunk
                position += len(chunk)
        self._compare()

    def _compare(self) -> int:
        """Return the size of the file. Raises SourceChangedError if it has another version."""
        info = info_of(self._url)
        version, size = version_of(info), info.get("size")
        is_known = self._expected is not None or self._version.startswith("fetched:")
        if not is_known and version != self._version:
            raise SourceChangedError("has changed at its origin; import it again")
        if size is None or self._size not in (None, size):
            raise SourceChangedError(f"is {size} bytes long, and should be {self._size}")
        self._progress.expect(size)
        return int(size)


@contextlib.contextmanager
def _readable(fs: Any = None) -> Iterator[None]:
    """Turn the errors of fsspec and its packages into FetchError, or TemporaryError. After one,
    the file system is connected again."""
    try:
        yield
    except FetchError:
        raise
    except Exception as error:
        if fs is not None:
            with contextlib.suppress(Exception):
                type(fs).clear_instance_cache()
        raise _error(error) from error


def _error(error: Exception) -> FetchError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return FetchError(os.strerror(error.errno or 2))
    if isinstance(error, ImportError):
        return FetchError(f"needs a package that is not installed: {reason}")
    if isinstance(error, ValueError) and "Protocol not known" in reason:
        return FetchError("has a scheme that neither the import nor fsspec knows")
    lasting = (PermissionError, IsADirectoryError, NotADirectoryError)
    if isinstance(error, (OSError, EOFError)) and not isinstance(error, lasting):
        return TemporaryError(reason)
    return FetchError(re.sub(r"\s+", " ", reason))


@cache
def _known_hosts() -> Any:
    """Return paramiko's policy that accepts only servers whose keys are in the known_hosts files of
    ssh. fsspec's own accepts each server, and sends the password to it."""
    import paramiko

    class KnownHosts(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
        def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
            known = paramiko.HostKeys()
            for name in ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"):
                with contextlib.suppress(FileNotFoundError):
                    known.load(os.path.expanduser(name))
            if not known.check(hostname, key):
                raise paramiko.SSHException(
                    f"the key of {hostname} is not in ~/.ssh/known_hosts; connect once with ssh, "
                    "and compare it"
                )

    return KnownHosts()
