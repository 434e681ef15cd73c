"""Serves the task list on this machine: ``python scripts/serve.py PORT``."""

import errno
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
THREADS = 8


def main() -> None:
    port = port_of(sys.argv[1:])
    os.chdir(ROOT)
    # Other users of this machine must not read the database, the sessions and the secret key.
    os.umask(0o077)
    if (ROOT / "var").is_dir():
        (ROOT / "var").chmod(0o700)
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")
    prepare()
    print(f"The task list is at http://{HOST}:{port}/ (Ctrl-C stops it)", flush=True)
    os.execv(
        sys.executable,
        [
            *(sys.executable, "-m", "gunicorn", "project.wsgi:application"),
            *("--bind", f"{HOST}:{port}"),
            *("--workers", str(max(2, os.cpu_count() or 2))),
            *("--worker-class", "project.gathering.GatheringWorker", "--threads", str(THREADS)),
            *("--graceful-timeout", "10"),  # seconds; a starting process needs a few
            # By default, gunicorn believes SCRIPT_NAME headers of any client on this machine.
            *("--forwarder-headers", ""),
            "--no-control-socket",
            *("--config", "scripts/reloading.py"),
            *("--log-level", "warning"),
        ],
    )


def port_of(arguments: list[str]) -> int:
    """Return the port. Ends the program if it is not free."""
    text = arguments[0] if arguments else "8000"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        stop(f"PORT={text} is not the number of a port; such as: make run PORT=8001")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, int(text)))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                stop(
                    f"Port {text} is in use; choose another: make run PORT={int(text) % 65535 + 1}"
                )
            stop(f"Port {text} cannot be used: {error.strerror}")
    return int(text)


def prepare() -> None:
    """Bring the database and the static files up to date."""
    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import call_command
    from django.db import DatabaseError

    from beaker_regions import CacheError

    try:
        django.setup()
        call_command("migrate", interactive=False, verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
    except (CacheError, ImproperlyConfigured) as error:
        stop(str(error))
    except DatabaseError as error:
        stop(f"The database cannot be used: {error}")


def stop(message: str) -> NoReturn:
    sys.exit(message)


if __name__ == "__main__":
    main()
