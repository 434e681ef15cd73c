"""The secret key: from the environment, or from a file that is made once.

The keys that authenticate stored records are derived from it (`beaker_regions.entries.records`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

from beaker_regions.errors import ConfigurationError


def secret_key(path: Path | str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the site's secret: ``SECRET_KEY`` of the environment, or the key in a file.

    The first call makes the file, readable by its owner only. If several processes make it at the
    same time, all return the same key.

    Args:
        path: The file. It may be a symbolic link to where a deployment keeps its secrets.
        environ: The environment variables.

    Returns:
        The key.

    Raises:
        ConfigurationError: The file is empty, or can neither be read nor made.

    Example:
        >>> from pathlib import Path
        >>> secret_key(Path("var/secret_key"), {"SECRET_KEY": "from the environment"})
        'from the environment'
    """
    if key := environ.get("SECRET_KEY"):
        return key
    path = Path(path)
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
    """Return the keys whose records are accepted too: ``SECRET_KEY_FALLBACKS``, split at commas.

    These are former keys. During a rotation, the next key may be among them as well, because some
    processes use it already.

    Args:
        environ: The environment variables.

    Returns:
        The keys.

    Example:
        >>> other_secret_keys({"SECRET_KEY_FALLBACKS": "of May, of April"})
        ['of May', 'of April']
    """
    keys = environ.get("SECRET_KEY_FALLBACKS", "").split(",")
    return [key.strip() for key in keys if key.strip()]


def _create(path: Path) -> str:
    path.parent.mkdir(0o770, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        # A hard link never replaces a file: the first process wins, with its complete key.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
    return path.read_text().strip()
