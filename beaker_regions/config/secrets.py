"""The secret key: from the environment, or a local one made once.

From it derive the keys that authenticate stored records (`beaker_regions.entries.records`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from typing import TYPE_CHECKING

from beaker_regions.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def secret_key(path: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Return ``SECRET_KEY`` of the environment, else the key kept in the file ``path``.

    The file is made at the first call, readable by its owner only; of any number of processes
    that make it at once, all return the same key. Raises ConfigurationError when the file can
    neither be read nor made. ``path`` may be a symbolic link: a deployment may keep its secrets
    elsewhere.
    """
    if key := environ.get("SECRET_KEY"):
        return key
    try:
        try:
            key = path.read_text().strip()
        except FileNotFoundError:
            key = _create(path)
    except OSError as error:
        raise ConfigurationError(
            f"the secret key file {path} cannot be used ({error.strerror}); "
            f"set SECRET_KEY in the environment or make its folder writable"
        ) from error
    if not key:
        raise ConfigurationError(
            f"the secret key file {path} is empty; delete it, or set SECRET_KEY"
        )
    return key


def other_secret_keys(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the keys in ``SECRET_KEY_FALLBACKS``, separated by commas: accepted, not used.

    Former ones; or, while a site changes over, the next one, which some of its processes use.
    """
    keys = environ.get("SECRET_KEY_FALLBACKS", "").split(",")
    return [key.strip() for key in keys if key.strip()]


def _create(path: Path) -> str:
    path.parent.mkdir(0o770, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        # A link never replaces: the first process to make it wins, whole.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
    return path.read_text().strip()
