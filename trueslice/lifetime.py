"""Processes that end when the process that started them ends for any reason."""

import contextlib
import ctypes
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import psutil

from trueslice.errors import UserError


@functools.cache
def stop_with_parent() -> None:
    """End this process when the one that started it is killed; DVC would leave its stages running."""
    with contextlib.suppress(psutil.Error):
        for parent in psutil.Process().parents():
            _terminate_after(parent.wait)
            # DVC starts a stage in a shell, which may stay between the two and outlive DVC.
            if "-c" not in parent.cmdline():
                break


def start_worker() -> None:
    """Initialise a process of a pool: it ignores Ctrl-C, which its parent handles, and ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent := multiprocessing.parent_process():
        _terminate_after(parent.join)


@contextlib.contextmanager
def pool(workers: int, initializer: Callable[[], None] = start_worker) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of this number of processes, one per CPU core for 0; a UserError if one of them is killed."""
    try:
        with ProcessPoolExecutor(workers or os.cpu_count(), initializer=initializer) as executor:
            yield executor
    except BrokenProcessPool:
        problem = "one of the processes that share the work was killed, probably as memory ran out"
        raise UserError(f"{problem}; have fewer of them, by machine.workers, or --workers of a command") from None


def _terminate_after(wait: Callable[[], object]) -> None:
    def run() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=run, daemon=True).start()


def die_with_parent() -> None:
    """Make Linux end this process with its parent, even after it becomes another program (exec)."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
