"""Real storage servers: S3 (moto) and SFTP (asyncssh)."""

from __future__ import annotations

import asyncio
import getpass
import sys
from pathlib import Path

import asyncssh

from tests.servers import Server


class S3Server(Server):
    """An S3 server, which keeps everything in memory."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]


class SftpServer(Server):
    """An SFTP server of this host's files, which lets its client in with a key."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.home = folder / "home"
        """The home folder of the client, which knows the server."""
        keys = self.home / ".ssh"
        keys.mkdir(parents=True, mode=0o700)
        for name in (folder / "host_key", keys / "id_ed25519"):
            key = asyncssh.generate_private_key("ssh-ed25519")
            key.write_private_key(str(name))
            key.write_public_key(f"{name}.pub")
        self.known_hosts = keys / "known_hosts"
        host_key = (folder / "host_key.pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {host_key}")

    def command(self) -> list[str]:
        return [sys.executable, "-m", __name__, str(self._folder), str(self.port)]

    def url(self, path: Path) -> str:
        return f"sftp://{getpass.getuser()}@127.0.0.1:{self.port}{path}"


async def serve(folder: Path, port: int) -> None:
    """Be the SFTP server."""
    await asyncssh.listen(
        "127.0.0.1",
        port,
        server_host_keys=[str(folder / "host_key")],
        authorized_client_keys=str(folder / "home" / ".ssh" / "id_ed25519.pub"),
        sftp_factory=True,
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
