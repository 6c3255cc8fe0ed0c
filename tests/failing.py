"""Stages and commands in surroundings that fail; run as a program, which imports them once and forks for each."""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import stages
from trueslice import ending
from trueslice.commands import cli

ROOT = Path(__file__).parents[1]
LARGEST = 2000  # bytes of a file on a full disk


class End(NamedTuple):
    """How a stage or a command ended."""

    name: str
    status: int
    out: str
    err: str


def ends(folder: Path, failure: str, commands: Sequence[str]) -> list[End]:
    """Run commands, or stages by `stages.NAME`, one after another in a folder, where `failure` strikes each."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    program = [sys.executable, "-m", "tests.failing", failure, *commands]
    done = subprocess.run(program, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [End(*each) for each in json.loads(done.stdout)]


def full_disk() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))


def no_right() -> None:
    """Be subject to the rights of files, also as root, and give them away in this folder."""
    for path in [Path(), *Path().rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    # No capability, by version 3 of their interface.
    assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0


def full_output() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def ctrl_c_at(event: str) -> Callable[[], None]:
    """Return what has Ctrl-C pressed at the first audit event of this name."""

    def watch() -> None:
        waiting = [event]

        def hook(name: str, _: tuple) -> None:
            if name in waiting:
                waiting.remove(name)
                signal.raise_signal(signal.SIGINT)

        sys.addaudithook(hook)

    return watch


FAILURES = {
    "full disk": full_disk,
    "no right": no_right,
    "full output": full_output,
    "ctrl-c at its first output": ctrl_c_at("tempfile.mkdtemp"),
}


def _fork(failure: str, command: str) -> End:
    out, err = (Path(f"../{name}.{os.getpid()}") for name in ("out", "err"))
    child = os.fork()
    if child == 0:
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        name, *arguments = command.split()
        sys.argv = ["trueslice", name, *arguments]
        FAILURES[failure]()
        if name.startswith("stages."):
            ending.prepare()
            stages.run(import_module(name).main)
        else:
            cli.main()
        sys.exit()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return End(command, status, out.read_text(), err.read_text())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted, *given = sys.argv[1:]
    for each in given:
        import_module(each.split()[0] if each.startswith("stages.") else f"trueslice.commands.{each.split()[0]}")
    print(json.dumps([_fork(wanted, each) for each in given]))
