"""Where the mechanisms of SASL are, without which pylibmc cannot sign in to a server."""

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
    """Within this, a library that starts up finds SASL's mechanisms.

    The libsasl2 in pylibmc's wheel looks for them once, when pylibmc is first imported, and where
    Red Hat has them, unless the environment says where they are. Debian's are in the package
    libsasl2-modules.
    """
    # Only for the first import: threads that connect later leave the environment alone.
    if "SASL_PATH" in os.environ or "pylibmc" in sys.modules:
        yield
        return
    os.environ["SASL_PATH"] = ":".join(_FOLDERS)
    try:
        yield
    finally:
        # Another thread that found it missing as well may be through already.
        os.environ.pop("SASL_PATH", None)
