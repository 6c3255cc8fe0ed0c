"""Files and folders that are written completely or not at all, and JSON."""

import errno
import hashlib
import io
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import psutil

from trueslice.errors import UserError

# What operating systems leave in folders, in lower case; hidden files are litter too.
LITTER = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"}


class Upload(NamedTuple):
    """A file that is in memory only, by its name and content."""

    name: str
    content: bytes


def open_binary(file: Path | Upload) -> BinaryIO:
    """Open a file for reading, at its first byte."""
    return io.BytesIO(file.content) if isinstance(file, Upload) else file.open("rb")


def is_empty(file: Path | Upload) -> bool:
    """Return True if the file has no content."""
    with open_binary(file) as stream:
        return not stream.read(1)


def is_litter(name: str) -> bool:
    """Return True if a file or folder of this name is hidden, or was left there by an operating system."""
    return name.startswith(".") or name.lower() in LITTER


def printable(path: Path | str) -> str:
    """Return a path as text that can be printed; bytes that are not UTF-8 are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def files_in(folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """List the files under a folder, with forward slashes, and what cannot be read there, with the reason; no litter.

    Links to files are followed. Links to folders are not, as they may lead round in a circle.
    """
    files, others = [], []

    def refused(error: OSError) -> None:
        others.append((printable(os.path.relpath(error.filename, folder)), error.strerror or "it cannot be read"))

    for place, folders, names in os.walk(folder, onerror=refused):
        folders[:] = [name for name in folders if not is_litter(name)]
        for path in (Path(place, name) for name in [*folders, *names] if not is_litter(name)):
            inside = path.relative_to(folder).as_posix()
            if os.path.isfile(path):  # unlike Path's, it raises nothing
                files.append(inside)
            elif path.is_symlink() or not os.path.isdir(path):
                others.append((printable(inside), "it is neither a file nor a folder, or a link to a folder"))
    return sorted(files), sorted(others)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield an empty file to write to; it replaces what is at `path` only if the block succeeds."""
    with scratch_folder(path) as folder:
        new = folder / "new"
        new.touch()
        yield new
        new.chmod(0o644)
        # Without it a power cut after the rename can leave an empty file under the final name.
        flush(new)
        new.replace(path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it replaces what is at `path`, as a whole, only if the block succeeds."""
    with scratch_folder(path) as folder:
        new = folder / "new"
        new.mkdir()
        yield new
        if path.exists():
            path.rename(folder / "old")
        new.rename(path)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`, and delete it at the end, as well as those of killed processes.

    Raises:
        OSError: of `path`; also where a library says in other words that something cannot be written.
    """
    here = f"@{platform.node()}"  # other machines may share the disk
    start = f".{path.name}.partial-{os.getpid()}-"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".*.partial-*{here}"):
            if not psutil.pid_exists(int(left.name.rpartition(".partial-")[2].split("-")[0])):
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(here, start, path.parent, ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except Exception as error:
        number = system_error(error)
        if number is None or start not in str(getattr(error, "filename", None) or start):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def system_error(error: Exception) -> int | None:
    """Return the number of the system's error behind that of a library; None if there is none."""
    if isinstance(error, UserError):
        return None
    if re.fullmatch(r"\d+ requested and \d+ written", str(error)):  # by NumPy, which has lost the number
        return errno.ENOSPC
    found = re.search(r"\[Errno (\d+)\]|\(os error (\d+)\)", str(error))  # by Python, or by a library in Rust
    return int(found[1] or found[2]) if found else None


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Return a hash of the bytes of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def flush(path: Path) -> None:
    """Write the content of a file, or the names in a folder, to the disk, where it survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: Mapping) -> None:
    """Write `content` as indented JSON; a NaN or an infinity is an error, since JSON has neither."""
    text = json.dumps(content, indent=2, allow_nan=False)
    with whole_file(path) as new:
        new.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """Read a JSON file; an OSError or a ValueError if it cannot be read, or is no JSON."""
    return json.loads(path.read_text(encoding="utf-8"))
