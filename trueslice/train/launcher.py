"""A stage that runs in several processes."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from trueslice.errors import REASON, ParamsError, UserError
from trueslice.lifetime import die_with_parent

GRACE = 20  # seconds for the processes to end after SIGTERM


def needed(launcher: str) -> bool:
    """Return True if this process has yet to start the processes that do the work."""
    return bool(launcher.strip()) and REASON not in os.environ and "RANK" not in os.environ


def run(launcher: str, module: str, output: Path) -> None:
    """Run `launcher -m module`, with environment variables filled in, to its end; one process must write `output`.

    Raises:
        UserError: a process failed; a ParamsError if there is no such program, or it did not run `module`.
    """
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as reason:
        # One thread per process is also what torchrun sets, with a warning.
        env = {"OMP_NUM_THREADS": "1"} | os.environ | {REASON: reason.name}
        try:
            command = [*shlex.split(os.path.expandvars(launcher)), "-m", module]
            child = subprocess.Popen(command, env=env, preexec_fn=die_with_parent)
        except ValueError as error:
            raise ParamsError(f"machine.launcher is {launcher!r}, which is not a command: {error}") from None
        except (FileNotFoundError, PermissionError):
            raise ParamsError(
                f"machine.launcher starts {command[0]!r}, which is not a program on the path; correct it, or empty it"
            ) from None
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            status = child.wait()
        finally:  # neither signal is sent to a process that has ended
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE)
            child.kill()
        if status:
            raise UserError(reason.read() or f"what machine.launcher started ended with status {status}; see above")
    if not output.exists():  # DVC deletes it before
        raise ParamsError(
            f"machine.launcher is {launcher!r}, which ended well but did not run {module}: no process wrote {output}; "
            "correct it, or empty it"
        )
