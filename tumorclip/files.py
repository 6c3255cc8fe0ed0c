"""Files that appear whole or not at all, and the two small formats that stages exchange."""

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# What operating systems leave in folders, in lower case; hidden files are litter too.
LITTER = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"}


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or left there by an operating system."""
    return name.startswith(".") or name.lower() in LITTER


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the name `path` only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.partial-", dir=path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        beside.chmod(0o644)
        _flush(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; it takes the name `path` only if the block succeeds.

    A folder that is already at `path` stays as it is until then and is replaced as a whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{path.name}.partial-", dir=path.parent))
    beside, old = workplace / "new", workplace / "old"
    beside.mkdir()
    try:
        yield beside
        if path.exists():
            path.rename(old)
        beside.rename(path)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def write_json(path: Path, content: Mapping) -> None:
    """Write `content` as indented JSON; a NaN or an infinity is an error, since JSON has neither."""
    text = json.dumps(content, indent=2, allow_nan=False)
    with whole_file(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def write_csv(path: Path, columns: list[str], rows: Iterable[Mapping]) -> None:
    """Write `rows` with exactly these `columns`; a row with a missing or an unknown one is an error."""
    with whole_file(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            if missing := set(columns) - set(row):
                raise ValueError(f"{path.name}: a row lacks {sorted(missing)}")
            writer.writerow(row)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


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
