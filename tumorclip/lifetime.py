"""Processes that end with the one that started them."""

import contextlib
import ctypes
import os
import signal
import sys
import threading

import psutil


def start_worker() -> None:
    """Initialise a worker process: it leaves Ctrl-C to its parent, and ends when that dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()


def stop_with_parent() -> None:
    """Have this process end when what started it dies: DVC leaves a stage running when it is killed itself."""
    die_with_parent()
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process().parent()
        if parent and parent.cmdline()[1:2] == ["-c"] and (starter := parent.parent()):
            # DVC starts a stage in a shell, which may stay between the two and outlive DVC.
            threading.Thread(target=_stop_after, args=[starter], daemon=True).start()


def _stop_after(starter: psutil.Process) -> None:
    starter.wait()
    os.kill(os.getpid(), signal.SIGTERM)


def die_with_parent() -> None:
    """On Linux."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
