"""The folders of SASL's mechanisms: without them pylibmc cannot sign in to a server."""

from __future__ import annotations

import os
import sys
import sysconfig
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDERS = (
    "/usr/lib64/sasl2",  # Red Hat, and where pylibmc's wheel looks
    f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}/sasl2",  # Debian
    "/usr/lib/sasl2",  # Alpine, Arch
)


@contextmanager
def mechanisms() -> Iterator[None]:
    """Let a library that is imported in this block find SASL's mechanisms.

    The libsasl2 in pylibmc's wheel searches for them once, when pylibmc is first imported. It
    searches Red Hat's folder, unless the environment names another one. On Debian they are in the
    package libsasl2-modules.
    """
    # Only for the first import: threads that connect later leave the environment alone.
    if "SASL_PATH" in os.environ or "pylibmc" in sys.modules:
        yield
        return
    os.environ["SASL_PATH"] = ":".join(_FOLDERS)
    try:
        yield
    finally:
        # Another thread may have removed it already.
        os.environ.pop("SASL_PATH", None)
