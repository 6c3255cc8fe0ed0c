"""SSH servers on 127.0.0.1 that let one key in: the distribution's sshd, and asyncssh's, which dvc-ssh brings."""

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import pytest

SSHD = shutil.which("sshd", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"]))


def make_keys(folder: Path) -> None:
    """Write a key pair of the server, `host`, and of its user, `user`."""
    folder.mkdir()
    for name in ("host", "user"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / name)
        key.write_public_key(folder / f"{name}.pub")
        (folder / name).chmod(0o600)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def sshd(keys: Path) -> Iterator[int]:
    """Run OpenSSH's server, and give its port."""
    if not SSHD:
        pytest.skip("no sshd is installed here; on Debian and Ubuntu: apt install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd asks for it, and only a service manager makes it
    port = free_port()
    (keys / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {keys}/host\nAuthorizedKeysFile {keys}/user.pub\n"
        "AuthenticationMethods publickey\nStrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\n"
    )
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", keys / "sshd_config"], stderr=subprocess.PIPE, text=True)
    try:
        started = process.stderr.readline()
        assert "listening" in started, started
        yield port
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


@contextmanager
def asyncssh_server(keys: Path) -> Iterator[int]:
    """Run asyncssh's server in a thread, and give its port."""
    loop = asyncio.new_event_loop()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[keys / "host"],
            authorized_client_keys=str(keys / "user.pub"),
            sftp_factory=True,
        )

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    # Not in this thread, where a browser of other tests may have a loop of its own.
    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(60)
    try:
        yield server.get_port()
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.close()


def write_client_config(home: Path, port: int, key: Path) -> None:
    """Make the server known to `home` as storage.example.org, as a user would in ~/.ssh/config."""
    (home / ".ssh").mkdir(parents=True, exist_ok=True)
    (home / ".ssh/config").write_text(
        f"Host storage.example.org\n  HostName 127.0.0.1\n  Port {port}\n"
        f"  User {getpass.getuser()}\n  IdentityFile {key}\n"
    )
