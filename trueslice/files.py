"""Files and folders: the one way to find them, to name them, and to write them completely or not at all."""

import errno
import hashlib
import io
import json
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import psutil

from trueslice.errors import UserError

# What operating systems leave in folders, in lower case; hidden files are litter too.
LITTER = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"}
# In an output folder: SHA-256 and name of each file that was written there, as `sha256sum --check` reads them.
WRITTEN = ".trueslice.sha256"

LFS = b"version https://git-lfs.github.com/spec/"


class Upload(NamedTuple):
    """A file that is in memory only, by its name and content."""

    name: str
    content: bytes


def open_binary(file: Path | Upload) -> BinaryIO:
    """Open a file for reading, at its first byte; an OSError, without waiting, if it is a pipe or a device."""
    if isinstance(file, Upload):
        return io.BytesIO(file.content)
    if problem := why_no_file(file):
        raise OSError(errno.EINVAL, problem, str(file))
    return file.open("rb")


def is_empty(file: Path | Upload) -> bool:
    """Return True if the file has no content."""
    with open_binary(file) as stream:
        return not stream.read(1)


def is_litter(name: str) -> bool:
    """Return True if a file or folder of this name is hidden, or was left there by an operating system."""
    return name.startswith(".") or name.lower() in LITTER


def is_lfs_pointer(path: Path) -> bool:
    """Return True if a file is only the pointer that Git LFS keeps in its place."""
    with path.open("rb") as file:
        return file.read(len(LFS)) == LFS


def printable(text: object) -> str:
    r"""Return a text for people, on one line: what cannot be seen, or turns the direction of writing, is escaped.

    >>> print(printable("1.png\n2.png"))
    1.png\n2.png
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text))


def as_text(path: Path | str) -> str:
    """Return a path as text that any file can hold; bytes that are not UTF-8 are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def why_no_file(path: Path | str) -> str | None:
    """Say why a path is no file that can be read; None if it is one. Nothing is opened, as a pipe might wait."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return "it is a broken link" if os.path.islink(path) else error.strerror
    if not os.access(path, os.R_OK):
        return os.strerror(errno.EACCES)
    if stat.S_ISDIR(mode):
        return "it is a link to a folder" if os.path.islink(path) else "it is a folder"
    return None if stat.S_ISREG(mode) else "it is a pipe, a socket or a device"


def files_in(folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """List the files under a folder, with forward slashes, and what cannot be read there, with the reason; no litter.

    Links to files are followed. Links to folders are not, as they may lead round in a circle.
    """
    files, others = [], []

    def refused(error: OSError) -> None:
        others.append((os.path.relpath(error.filename, folder), error.strerror or "it cannot be read"))

    for place, folders, names in os.walk(folder, onerror=refused):
        folders[:] = [name for name in folders if not is_litter(name)]
        linked = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for path in (Path(place, name) for name in [*linked, *names] if not is_litter(name)):
            inside = path.relative_to(folder).as_posix()
            if problem := why_no_file(path):
                others.append((inside, problem))
            else:
                files.append(inside)
    return sorted(files), sorted(others)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield an empty file to write to; its content becomes that of `path` only if the block succeeds.

    Links are followed. A file is replaced by one with its owner and rights. What cannot be replaced is written into: a
    pipe, a device, standard output, a mounted file, and a file in a folder without the right to write.

    Raises:
        OSError: at the start, if `path` cannot be written, for example as it is a folder.
    """
    target, stream = Path(os.path.realpath(path)), _stream(path)
    with stream or nullcontext(), tempfile.TemporaryDirectory() if stream else scratch_folder(target) as folder:
        new = Path(folder, "new")
        new.touch()
        yield new
        if stream:
            try:
                _write_into(stream, new.read_bytes())
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from None
        else:
            _keep_rights(target, new)
            # Without it a power cut after the rename can leave an empty file under the final name.
            flush(new)
            new.replace(target)


def _stream(path: Path) -> io.FileIO | None:
    """Open what is at `path`, to write into it; None if there is nothing, or a file that can be replaced."""
    target = os.path.realpath(path)
    if not os.path.exists(path) and not os.path.islink(target):  # what is still a link leads round in a circle
        return None
    # Opened again, standard output would be written from its start.
    is_output = os.path.exists("/dev/stdout") and os.path.samefile(path, "/dev/stdout")
    stream = os.fdopen(os.dup(1) if is_output else os.open(path, os.O_WRONLY), "wb", buffering=0)
    is_fixed = os.path.ismount(target) or not os.access(os.path.dirname(target), os.W_OK)
    if is_output or is_fixed or not os.path.isfile(path):
        return stream
    stream.close()
    return None


def _write_into(stream: io.FileIO, content: bytes) -> None:
    with suppress(BrokenPipeError):
        print(end="", flush=True)  # what was printed before comes before
    rest = memoryview(content)
    while rest:
        rest = rest[stream.write(rest) :]
    with suppress(OSError):  # a pipe cannot be too long
        stream.truncate()


def _keep_rights(old: Path, new: Path) -> None:
    """Give a new file the owner, group, mode and access list of the one that it will replace, as far as allowed."""
    if os.path.exists(old):
        shutil.copystat(old, new)
        os.utime(new)
        for owner in (-1, old.stat().st_uid):
            with suppress(PermissionError):
                os.chown(new, owner, old.stat().st_gid)


@contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; only if the block succeeds, its files replace those of an earlier run in `path`.

    Links are followed, and hidden files stay.

    Raises:
        OSError: at the start, if `path` cannot be written to.
        UserError: it holds anything else than an earlier run has left there.
    """
    path = Path(os.path.realpath(path))
    with scratch_folder(path / "new") as new:
        _left_in(path)
        yield new
        lines = [f"{file_hash(new / name)}  {name}\n" for name in files_in(new)[0]]
        (new / WRITTEN).write_text("".join(lines), encoding="utf-8")
        old = _left_in(path)
        for name in old:
            if (new / name).exists():
                _keep_rights(path / name, new / name)
        # All old files go first: whenever this ends, no file is among those of another run.
        for name in old:
            (path / name).unlink()
            with suppress(OSError):
                os.removedirs((path / name).parent)
        for each in sorted(new.rglob("*")):
            target = path / each.relative_to(new)
            target.mkdir(exist_ok=True) if each.is_dir() else each.replace(target)


def _left_in(folder: Path) -> list[str]:
    """Return the files that an earlier run has left in a folder; UserError if it holds others that are not hidden."""
    if (folder / WRITTEN).is_file():
        listed = set((folder / WRITTEN).read_text(encoding="utf-8", errors="replace").split("\n"))
        files, unreadable = files_in(folder)
        others = [name for name, _ in unreadable]
        others += [
            name
            for name in files
            if (folder / name).is_symlink() or f"{file_hash(folder / name)}  {name}" not in listed
        ]
    else:
        files, others = [], [name for name in sorted(os.listdir(folder)) if not is_litter(name)]
    if others:
        problem = f"{folder} holds {others[0]}, which no earlier run has left there as it is now"
        raise UserError(f"{problem}; give a new folder, or move that away")
    return files


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it replaces all that is at `path`, which is ours, only if the block succeeds."""
    path = Path(os.path.realpath(path))
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
    start = f".{path.name[:40]}.partial-{os.getpid()}-"  # the name of a file may have 255 bytes
    made = [folder for folder in path.parents if not os.path.exists(folder)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".*.partial-*{here}"):
            process = left.name.rpartition(".partial-")[2].split("-")[0]
            if process.isdecimal() and not _is_running(int(process)):
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(here, start, path.parent, ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except Exception as error:
        number = system_error(error)
        if number is None or start not in str(getattr(error, "filename", None) or start):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        for empty in made:
            with suppress(OSError):  # it is not empty
                empty.rmdir()


def _is_running(process: int) -> bool:
    """Return True if there is a process of this number that has not ended; in a container it may never be reaped."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


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
