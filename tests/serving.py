"""`trueslice serve` and `trueslice predict` as processes of their own, in a folder with a released model."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def started(released: Path, *arguments: str, before: str = "") -> subprocess.Popen:
    """Starts the command, after some statements that change its limits, if there are any."""
    program = ["-c", f"{before}\nfrom trueslice.commands.cli import main; main()"] if before else ["-m", "trueslice"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, *program, "serve", *arguments]
    return subprocess.Popen(command, cwd=released, env=ENVIRONMENT, text=True, **pipes)


def address(process: subprocess.Popen) -> str:
    """Where the page is, with its token, as the command says once it answers."""
    line = process.stdout.readline()
    assert " answers at http://127.0.0.1:" in line, line + process.stderr.read()
    return line.split()[-1]


@contextmanager
def serving(released: Path, *arguments: str) -> Iterator[str]:
    """Yields the address of the page."""
    with started(released, "--port", "0", *arguments) as process:
        try:
            yield address(process)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                _, err = process.communicate(timeout=60)
            finally:
                process.kill()
    assert (process.returncode, err) == (130, "")


def predicted(released: Path, scan: Path) -> dict:
    """What `trueslice predict` says of a scan."""
    command = [sys.executable, "-m", "trueslice", "predict", scan, "--format", "json"]
    done = subprocess.run(command, cwd=released, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
