"""The site of ``deploy/`` on this machine: its files, with other ports and folders."""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import pwd
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path

from tests.servers import Server, free_port

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROGRAMS = Path(sys.executable).parent

# Debian's nginx.conf around the site's file, without the lines that need root.
AROUND = """
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
error_log {folder}/errors;
events {{}}
http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site;
}}
"""


def replaced(text: str, replacements: dict[str, str]) -> str:
    """Return a text with other ports and folders. Each given text must occur in it."""
    for old, new in replacements.items():
        assert old in text, f"{old!r} is gone"
        text = text.replace(old, new)
    return text


class Nginx(Server):
    """An nginx with deploy/nginx.conf, before two application servers, content and static files.

    ``tls_port`` answers; ``port`` redirects to it.
    """

    def __init__(self, folder: Path, ports: tuple[int, int], environment: dict[str, str]) -> None:
        super().__init__()
        folder.mkdir()
        self.tls_port = free_port()
        self._folder = folder
        # Otherwise its user could not read the tests' folders.
        user = f"user {pwd.getpwuid(0).pw_name};" if os.getuid() == 0 else ""
        (folder / "configuration").write_text(AROUND.format(user=user, folder=folder))
        site = replaced(
            (DEPLOY / "nginx.conf").read_text(),
            {
                "server app1:8001": f"server 127.0.0.1:{ports[0]}",
                "server app2:8002": f"server 127.0.0.1:{ports[1]}",
                "server_name tasks.example.org;": "server_name localhost;",
                "listen 80 default_server": f"listen 127.0.0.1:{self.port} default_server",
                "listen 80;": f"listen 127.0.0.1:{self.port};",
                "listen 443 ssl": f"listen 127.0.0.1:{self.tls_port} ssl",
                "/etc/nginx/tls/": f"{folder}/",
                "/srv/tasks/var/static/": f"{environment['STATIC_ROOT']}/",
                "/srv/tasks/var/regions/": f"{environment['REGIONS_DATA_DIR']}/",
            },
        )
        (folder / "site").write_text(site)
        self._make_certificate()

    def _make_certificate(self) -> None:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
                *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost"),
                *("-keyout", "privkey.pem", "-out", "fullchain.pem"),
            ],
            cwd=self._folder,
            check=True,
            capture_output=True,
        )

    @functools.cached_property
    def tls(self) -> ssl.SSLContext:
        """The TLS settings of a client that trusts this nginx's certificate."""
        return ssl.create_default_context(cafile=str(self._folder / "fullchain.pem"))

    def command(self) -> list[str]:
        return ["nginx", "-e", f"{self._folder}/errors", "-c", f"{self._folder}/configuration"]

    def check(self) -> str:
        """Return the output of nginx about the configuration."""
        return subprocess.run([*self.command(), "-t"], capture_output=True, text=True).stderr


class Application(Server):
    """Gunicorn or uWSGI, with its file in deploy/."""

    def __init__(self, program: str, environment: dict[str, str]) -> None:
        super().__init__()
        self.program = program
        self.environment = environment | {"PORT": str(self.port)}

    def command(self) -> list[str]:
        options = {
            "gunicorn": ["--config", str(DEPLOY / "gunicorn.conf.py")],
            "uwsgi": [str(DEPLOY / "uwsgi.ini")],
        }
        return [str(PROGRAMS / self.program), *options[self.program], "--chdir", str(ROOT)]

    def stop(self) -> None:
        # uWSGI misses a signal while its processes start. The last one starts after the first one
        # answers, so repeat the signal.
        for _ in range(8):
            if self.process is None or self.program != "uwsgi":
                break
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                break
        super().stop()

    def kill(self) -> None:
        """End the main process and all of its processes at once."""
        assert self.process is not None
        main = self.process.pid
        self.pause()  # the main process would replace them
        for child in Path(f"/proc/{main}/task/{main}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        super().kill()


class Answer:
    """The site's answer to one request."""

    def __init__(self, nginx: Nginx, path: str, method: str = "GET", **headers: str) -> None:
        connection = http.client.HTTPSConnection(
            "localhost", nginx.tls_port, timeout=60, context=nginx.tls
        )
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=sent)
        answer = connection.getresponse()
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()
        connection.close()


def where_to_download(nginx: Nginx) -> str:
    """Return the address of the content of the first listed file."""
    found = re.search(r'href="(/files/\d+/)"', Answer(nginx, "/files/").body.decode())
    assert found is not None
    return f"{found[1]}download/"
