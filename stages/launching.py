"""A stage that several processes carry out, and that ends when what started it ends."""

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading

import psutil

from stages import common
from tumorclip.errors import ParamsError, UserError

GRACE = 20  # seconds that the processes have to end when they are told to


def stop_with_parent() -> None:
    """Have this process end when what started it dies: DVC leaves a stage running when it is killed itself."""
    _die_with_parent()
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process().parent()
        if parent and parent.cmdline()[1:2] == ["-c"] and (starter := parent.parent()):
            # DVC starts a stage in a shell, which may stay between the two and outlive DVC.
            threading.Thread(target=_stop_after, args=[starter], daemon=True).start()


def _stop_after(starter: psutil.Process) -> None:
    starter.wait()
    os.kill(os.getpid(), signal.SIGTERM)


def _die_with_parent() -> None:
    """On Linux."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def needed(launcher: str) -> bool:
    """Whether this process still has to start those that do the work."""
    return bool(launcher.strip()) and common.REASON not in os.environ and "RANK" not in os.environ


def run(launcher: str, module: str) -> None:
    """Run `launcher -m module` to its end; environment variables in `launcher` are filled in.

    Raises:
        ParamsError: there is no such program.
        UserError: a process failed.
    """
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as reason:
        # One thread per process is also what torchrun sets, with a warning.
        env = {"OMP_NUM_THREADS": "1"} | os.environ | {common.REASON: reason.name}
        try:
            command = [*shlex.split(os.path.expandvars(launcher)), "-m", module]
            child = subprocess.Popen(command, env=env, preexec_fn=_die_with_parent)
        except ValueError as error:
            raise ParamsError(f"machine.launcher is {launcher!r}, which is no command: {error}") from None
        except (FileNotFoundError, PermissionError):
            raise ParamsError(
                f"machine.launcher starts {command[0]!r}, which is no program on the path; correct it, or empty it"
            ) from None
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            status = child.wait()
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                if child.poll() is None:
                    child.terminate()
                    child.wait(GRACE)
            if child.poll() is None:
                child.kill()
        if status:
            raise UserError(reason.read() or f"what machine.launcher started ended with status {status}; see above")
