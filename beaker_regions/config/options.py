"""The options of a region, Beaker's and those of its type, and their checks.

Options that Beaker would ignore are errors: unknown names, values of a wrong type, folders and
servers that cannot be used.
"""

from __future__ import annotations

import math
import os
import pwd
import re
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from beaker_regions.config import isolation
from beaker_regions.config.addresses import cluster_nodes, redis_servers, servers, without_password
from beaker_regions.errors import ConfigurationError, nearest

Config = Mapping[str, Any]
Check = Callable[[Any], Any]

FOREIGN_TYPES = ("memory", "dbm", "ext:database", "ext:sqla")
"""Types of stock Beaker that a region may have. Beaker checks the options that only they have."""


# -- values -----------------------------------------------------------------------------------
# A check returns the value in the library's form, or raises ValueError that says what to write.


def seconds(value: Any) -> float:
    """Return seconds, 0 or more, of a number or a timedelta. None is no expiry: infinity. Raises
    ValueError."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "None":
        return math.inf
    if isinstance(value, bool):
        raise ValueError("give a number of seconds")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("give a number of seconds, such as 60 * 60") from None
    if not number >= 0 or math.isinf(number):
        raise ValueError("give a number of seconds that is not negative, or None for no expiry")
    return number


def lifetime(value: Any) -> float:
    """As `seconds`, but more than 0."""
    number = seconds(value)
    if number == 0:
        raise ValueError("give a number of seconds above 0; to turn a region off: enabled = False")
    return number


def eagerness(value: Any) -> float:
    """Return how eagerly values are loaded again before they expire. Raises ValueError."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number <= 10:
        raise ValueError("give a number from 0 (never early) to 10; 1 is best for most")
    return number


def _limit(value: Any) -> float:
    number = seconds(value)
    if not 0 < number < math.inf:
        raise ValueError("give a number of seconds above 0, such as 0.05")
    return number


def _size(value: Any) -> int | None:
    """Return a number of bytes. None: no limit. Raises ValueError."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return None
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(value, bool) or number <= 0:
        raise ValueError("give a number of bytes, such as 20 * 1024**3, or 'none' for no limit")
    return number


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    named = {"true": True, "yes": True, "on": True, "1": True}
    named |= {"false": False, "no": False, "off": False, "0": False}
    try:
        return named[str(value).strip().lower()]
    except KeyError:
        raise ValueError("give True or False") from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("give a text that is not empty")
    return value


def _prefix(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.-]{1,64}", value, re.ASCII):
        raise ValueError("give 1 to 64 letters, digits, dots, hyphens and underscores")
    return value


def _secrets(value: Any) -> tuple[str, ...]:
    secrets = (value,) if isinstance(value, str) else value
    if (
        not isinstance(secrets, list | tuple)
        or not secrets
        or not all(isinstance(secret, str) and secret for secret in secrets)
    ):
        raise ValueError("give a secret text, or a list of them, the current one first")
    return tuple(secrets)


def _folder(value: Any) -> Path:
    """Return an absolute folder that exists and takes files. Only its owner, and perhaps its group,
    can write to it. A folder made here is closed to others; the umask decides about its group."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError("give the path of a folder")
    path = Path(value).absolute()
    try:
        path.mkdir(0o770, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(f"{error.strerror}: give a folder this process can write to") from error
    _refuse_if_open(path)
    return path


def _refuse_if_open(path: Path) -> None:
    """Raise ValueError for a folder in which other users could put files that are trusted here."""
    found = path.stat()
    if found.st_mode & stat.S_IWOTH:
        raise ValueError(f"every user can write to it: chmod o-w {path}, or give one within it")
    if found.st_uid not in (0, os.geteuid()) and not found.st_mode & stat.S_IWGRP:
        raise ValueError(
            f"it belongs to the user {_name_of(found.st_uid)}, and this process runs as "
            f"{_name_of(os.geteuid())}: run it as that user, or let both share the folder by its "
            f"group (chmod g+ws {path}, and a umask of 007)"
        )


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _readable(value: Any) -> str:
    try:
        with open(value, "rb"):
            return str(value)
    except (OSError, TypeError) as error:
        raise ValueError(f"give the path of a file that can be read: {error}") from error


def _cluster(value: Any) -> RegionOptions:
    if not isinstance(value, RegionOptions):
        raise ValueError(f"name a region of type {SERVER_TYPES_TEXT} of the same configuration")
    return value


def _anything(value: Any) -> Any:
    return value


def checked(subject: str, option: str, check: Check, value: Any) -> Any:
    """Return what a check makes of a value. Raises ConfigurationError, which names the subject and
    the option."""
    try:
        return check(value)
    except ValueError as error:
        shown = "" if option in ("secret", "password") else f" = {without_password(repr(value))}"
        raise ConfigurationError(f"{subject}: {option}{shown}: {error}") from error


# -- regions ----------------------------------------------------------------------------------

COMMON: dict[str, Check] = {
    "type": _text,
    "expire": lifetime,
    "grace": seconds,
    "early": eagerness,
    "lease": _limit,
    "enabled": _flag,
    "secret": _secrets,
    "prefix": _prefix,
    "data_dir": _folder,
    # Options of Beaker's that this library's stores do not use: lock files, keys in clear, and
    # client libraries of memcached.
    "lock_dir": _anything,
    "key_length": _anything,
    "log_file": _anything,
    "memcache_module": _anything,
}
_REDIS: dict[str, Check] = {
    "url": redis_servers,
    "username": _text,
    "password": _text,
    "ca_file": _readable,
    "timeout": _limit,
    "retry": _limit,
}
BUILTIN_TYPES: dict[str, dict[str, Check]] = {
    "ext:memcached": {
        "url": servers,
        "username": _text,
        "password": _text,
        "timeout": _limit,
        "retry": _limit,
    },
    "ext:redis": _REDIS,
    "ext:valkey": _REDIS,
    "ext:rediscluster": {**_REDIS, "url": cluster_nodes},
    "file": {
        "file_dir": _folder,
        "digest_filenames": _flag,
        "size_limit": _size,
        "durable": _flag,
        "verify_reads": _flag,
        "cluster": _cluster,
    },
}
"""The types that this library implements, with the options that only they have."""


REDIS_TYPES = ("ext:redis", "ext:valkey", "ext:rediscluster")
"""Those of Redis and Valkey; the first two are names of one type."""
SERVER_TYPES = ("ext:memcached", *REDIS_TYPES)
"""Those whose entries, or generations, are on servers."""
SERVER_TYPES_TEXT = f"{', '.join(map(repr, SERVER_TYPES[:-1]))} or {SERVER_TYPES[-1]!r}"
ATOMIC_TYPES_TEXT = f"'file', {SERVER_TYPES_TEXT}"
"""For messages: the types that hosts can share, and the types whose changes are atomic."""

_MAY_BE_NONE = (lifetime, _secrets, _size)
"""The checks that see None. Any other option that is None counts as not given."""


@dataclass(frozen=True, slots=True)
class RegionOptions:
    """The checked options of one region."""

    name: str
    type: str
    expire: float = math.inf
    """Seconds."""
    grace: float = 0.0
    """Seconds after ``expire`` for which the stale value is served while one caller loads."""
    early: float = 0.0
    """How eagerly a value is loaded again before it expires. 0: never; 1: best for most."""
    lease: float = 10.0
    """Seconds for which other callers wait for a load before they load themselves."""
    enabled: bool = True
    secret: tuple[str, ...] = ()
    """The current secret, then former ones."""
    prefix: str = ""
    """Distinguishes the region's entries from another site's on the same servers or in the same
    folder."""
    data_dir: Path | None = None
    backend: tuple[tuple[str, Any], ...] = ()
    """The options that only its type has, sorted."""

    @property
    def memcached(self) -> dict[str, Any]:
        """The memcached options of the region, or of its cluster. Without ``url`` if it uses no
        server."""
        backend = dict(self.backend)
        return dict(backend["cluster"].backend) if "cluster" in backend else backend


def shared_by(shared: Config, own: Config) -> dict[str, Any]:
    """Return a region's options together with the shared options that its type has."""
    type_ = own.get("type", shared.get("type", "memory"))
    fitting = {*COMMON, *BUILTIN_TYPES.get(type_, {})}
    return {"type": type_, **{k: v for k, v in shared.items() if k in fitting}, **own}


def check(name: str, options: Config) -> RegionOptions:
    """Check one region's options. Raises ConfigurationError with the region, the option, its value
    and what to write instead."""
    if isolated := isolation.folder():
        # The configured folders are not even made.
        here = {key: str(isolated) for key in ("data_dir", "file_dir") if options.get(key)}
        options = {**options, **here}
    type_ = options.get("type", "memory")
    if type_ not in BUILTIN_TYPES and type_ not in FOREIGN_TYPES:
        mend = nearest(str(type_), {*BUILTIN_TYPES, *FOREIGN_TYPES})
        raise _error(name, f"type = {type_!r}", mend)
    checks = COMMON | BUILTIN_TYPES.get(type_, {})
    values = {}
    for option, value in options.items():
        if option not in checks and type_ in BUILTIN_TYPES:
            # Its value may be a password under a wrong name.
            raise _error(name, option, f"no such option; {nearest(option, checks)}")
        if value is None and checks.get(option) not in _MAY_BE_NONE:
            continue
        values[option] = checked(f"region {name!r}", option, checks.get(option, _anything), value)
    _require(name, type_, values)
    common = {key: values[key] for key in _FIELDS if key in values}
    backend = {key: value for key, value in values.items() if key not in COMMON}
    found = RegionOptions(name=name, **common, backend=tuple(sorted(backend.items())))
    return found if isolated is None else _isolated(found, isolated)


def _isolated(options: RegionOptions, folder: Path) -> RegionOptions:
    """Return the options of a region in a test run (`beaker_regions.config.isolation`)."""
    kept = {"size_limit", "digest_filenames", "verify_reads"}
    backend = tuple((key, value) for key, value in options.backend if key in kept)
    place, secret = _folder(folder), (folder.name,)
    return replace(options, type="file", data_dir=place, secret=secret, backend=backend)


_FIELDS = ("type", "expire", "grace", "early", "lease", "enabled", "secret", "prefix", "data_dir")


def _require(name: str, type_: str, values: Config) -> None:
    if type_ == "ext:memcached":
        if "url" not in values:
            raise _error(name, "url", "name the servers, such as 127.0.0.1:11211")
        signed_in = {"username", "password"} & values.keys()
        if signed_in and len(signed_in) < 2:
            raise _error(name, "username", "username and password go together")
    if type_ in REDIS_TYPES:
        if "url" not in values:
            raise _error(name, "url", "name the servers, such as redis://127.0.0.1:6379")
        if find_spec("redis") is None:
            mend = "redis is not installed: pip install 'redis[hiredis]'"
            raise _error(name, f"type = {type_!r}", mend)
    if type_ == "file" and not {"data_dir", "file_dir"} & values.keys():
        raise _error(name, "data_dir", "name the folder that holds the entries")


def _error(name: str, option: str, mend: str) -> ConfigurationError:
    return ConfigurationError(f"region {name!r}: {option}: {mend}")
