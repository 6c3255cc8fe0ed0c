"""Files that appear whole or not at all, and JSON."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor

# What operating systems leave in folders, in lower case; hidden files are litter too.
LITTER = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"}


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or left there by an operating system."""
    return name.startswith(".") or name.lower() in LITTER


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield an empty file beside `path` to write to; it takes the name `path` only if the block succeeds."""
    with _partial(path, _make_file) as beside:
        yield beside
        beside.chmod(0o644)
        _flush(beside)
        beside.replace(path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; it takes the name `path` only if the block succeeds.

    A folder that is already at `path` stays as it is until then and is replaced as a whole.
    """
    with _partial(path, tempfile.mkdtemp) as workplace:
        beside = workplace / "new"
        beside.mkdir()
        yield beside
        if path.exists():
            path.rename(workplace / "old")
        beside.rename(path)


@contextmanager
def _partial(path: Path, make: Callable[..., str]) -> Iterator[Path]:
    """Make a file or folder beside `path`, and delete it in the end; also delete what killed processes left there.

    What a living process works on is locked. The system releases the lock when that process ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as until_end:
        # While the parent is locked, no other process takes what is made here, and not yet locked, for abandoned.
        with _locked(path.parent, blocking=True):
            for left in path.parent.glob(".*.partial-*"):
                with _locked(left, blocking=False) as is_abandoned:
                    if is_abandoned:
                        _delete(left)
            partial = Path(make(prefix=f".{path.name}.partial-", dir=path.parent))
            until_end.callback(_delete, partial)
            until_end.enter_context(_locked(partial, blocking=True))
        yield partial


@contextmanager
def _locked(path: Path, blocking: bool) -> Iterator[bool]:
    """Lock a file or folder, and yield whether it is locked: some disks have no locks."""
    with ExitStack() as until_end:
        is_locked = False
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            until_end.callback(os.close, handle)
            is_locked = lock_descriptor(handle, blocking=blocking)
        yield is_locked


def _make_file(prefix: str, dir: Path) -> str:
    handle, name = tempfile.mkstemp(prefix=prefix, dir=dir)
    os.close(handle)
    return name


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def write_json(path: Path, content: Mapping) -> None:
    """Write `content` as indented JSON; a NaN or an infinity is an error, since JSON has neither."""
    text = json.dumps(content, indent=2, allow_nan=False)
    with whole_file(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _flush(path: Path) -> None:
    # Without it a power cut after the rename can leave an empty file under the final name.
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Have the names in a folder on the disk: until then a power cut may undo a rename that was followed by others."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
