"""The command `tumorclip serve` as a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


def started(workspace: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tumorclip", "serve", *arguments],
        cwd=workspace,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def address(process: subprocess.Popen) -> str:
    """Where the page is, as the command says once it answers."""
    line = process.stdout.readline()
    assert " answers at http://127.0.0.1:" in line, line + process.stderr.read()
    return line.split()[-1]


@contextmanager
def serving(workspace: Path) -> Iterator[str]:
    """Yields the address of the page."""
    with started(workspace, "--port", "0") as process:
        try:
            yield address(process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=20)
