"""The end of a stage or a command whose process does nothing else: for what the user can mend, one line."""

import errno
import io
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, NoReturn, cast

from trueslice import startup
from trueslice.errors import UserError

OUTPUT = "standard output"
STOPPED = 130  # the exit status after Ctrl-C
RIGHTS = "change its rights, or take another place"
ADVICE = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), f"; {RIGHTS}"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "; free some space"),
    errno.EEXIST: "; give the name of a folder",
    errno.EFBIG: "; raise the limit on the size of a file (ulimit -f)",
    errno.EMFILE: "; raise the limit on open files (ulimit -n)",
    errno.EBADF: "; it is closed",
    errno.ENAMETOOLONG: "; take a shorter name",
    errno.ENOMEM: "; close other programs",
}


class _Output(io.FileIO):
    """Standard output, which is named by errors of writing to it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, OUTPUT) from None


def prepare() -> None:
    """Prepare this process: quick imports, no word of a library on stderr, and no standard stream that is closed."""
    startup.quick_start()
    logging.captureWarnings(True)
    logging.getLogger().addHandler(logging.NullHandler())
    for name, access in (("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            # Else the next file to be opened would take its place. What is written to standard output is to fail.
            stream = os.fdopen(os.open(os.devnull, access), "r" if name == "stdin" else "w")
            setattr(sys, name, stream)
    text = cast(io.TextIOWrapper, sys.stdout)
    raw = _Output(text.fileno(), "w", closefd=False)
    buffer = cast(BinaryIO, raw) if text.write_through else io.BufferedWriter(raw)
    errors = "backslashreplace" if text.errors == "strict" else text.errors  # for names in another encoding
    sys.stdout = io.TextIOWrapper(buffer, text.encoding, errors, None, text.line_buffering, text.write_through)


def check_folders() -> None:
    """Raise a FileNotFoundError without the folders that PyTorch and others would miss in their own words."""
    os.getcwd()
    tempfile.gettempdir()


def end_at_ctrl_c(line: str) -> None:
    """Make Ctrl-C print a line and end this process at once: while modules are imported an exception may get lost."""

    def end(*_: object) -> None:
        os.write(2, f"{line}\n".encode())
        os._exit(STOPPED)

    _at_ctrl_c(end)


def raise_at_ctrl_c() -> None:
    """Make Ctrl-C raise KeyboardInterrupt, as usual."""
    _at_ctrl_c(signal.default_int_handler)


def ignore_ctrl_c() -> None:
    """Ignore Ctrl-C, as all is done; Python may take a while to end."""
    _at_ctrl_c(signal.SIG_IGN)


def _at_ctrl_c(handler: Callable[..., object] | signal.Handlers) -> None:
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, handler)


def stop() -> NoReturn:
    """End at once after Ctrl-C: Python's own end could take a while, print a traceback and change the status."""
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(STOPPED)


def explain(error: Exception) -> str:
    """Say in one line what went wrong; an error that the user cannot mend is raised again."""
    from trueslice.files import printable

    if isinstance(error, UserError):
        return printable(str(error))
    if isinstance(error, MemoryError):
        return f"there is too little memory{ADVICE[errno.ENOMEM]}"
    if not isinstance(error, OSError) or error.errno is None:
        raise error
    if isinstance(error, FileNotFoundError) and not error.filename:  # of `check_folders`
        if "temporary" in str(error):
            return "there is no folder for temporary files with room in it; free some space, or set TMPDIR to another"
        return "the folder in which this was started is gone; start it in another"
    place = str(error.filename2 or error.filename or "").removeprefix(f"{os.getcwd()}{os.sep}")
    if place == OUTPUT:
        drop_output()
    return printable(f"{f'{place}: ' if place else ''}{error.strerror}{ADVICE.get(error.errno, '')}")


def drop_output() -> None:
    """Send what was not written to standard output nowhere; Python would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
