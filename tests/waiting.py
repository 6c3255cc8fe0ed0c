"""Waiting for what other processes do."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import psutil

SECONDS = 300  # for what comes at once on a machine with nothing else to do


def living(folder: Path) -> list[psutil.Process]:
    """All processes that are at work in a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"{what} did not come within {SECONDS} seconds"
        time.sleep(0.005)
