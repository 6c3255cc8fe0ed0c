"""Saved states of a training, from which it resumes after an interruption."""

import contextlib
import hashlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import filelock
import torch

from trueslice.files import file_hash, flush

KEPT_RUNS = 8  # unfinished trainings whose states are kept
# The code that a training depends on, as dvc.yaml lists it for the stage `train`.
CODE = (
    *("choices.py", "model", "records/base.py", "records/timing.py", "records/train.py"),
    *("records/trained.py", "tables/base.py", "tables/rows.py", "tables/splits.py", "tables/steps.py", "train"),
)
PACKAGES = ("torch", "transformers")


def code_files() -> list[Path]:
    """Return the files of CODE, in a fixed order."""
    paths = [Path(__file__).parents[1] / name for name in CODE]
    return [file for path in paths for file in (sorted(path.glob("*.py")) if path.is_dir() else [path])]


def fingerprint(*parts: object) -> str:
    """Hash all that a result depends on: CODE, the versions of PACKAGES, and the `repr` of `parts`."""
    digest = hashlib.sha256(repr([version(name) for name in PACKAGES]).encode())
    for path in code_files():
        digest.update(path.read_bytes())
    for part in parts:
        digest.update(hashlib.sha256(repr(part).encode()).digest())
    return digest.hexdigest()[:32]


def seed_of(seed: int, purpose: str, number: int) -> int:
    """Derive a seed, 0 to 2**56 - 1, for one purpose and number alone."""
    digest = hashlib.sha256(f"{seed} {purpose} {number}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def generator(seed: int, purpose: str, number: int) -> torch.Generator:
    """Return a generator on the CPU with the seed that `seed_of` gives."""
    return torch.Generator().manual_seed(seed_of(seed, purpose, number))


@contextlib.contextmanager
def delayed_ctrl_c() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block: inside `torch.save` it can make PyTorch abort the process."""
    pressed = False

    def press(*_: object) -> None:
        nonlocal pressed
        pressed = True

    before = signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            signal.raise_signal(signal.SIGINT)


class States:
    """Latest state of one training, in its own folder; process 0 saves one every `interval` seconds.

    A file has the hash of its bytes in its name, and the one before is deleted only once it is complete on the disk.
    """

    def __init__(self, folder: Path, interval: float):
        self.folder = folder
        self.interval = interval
        self._lock = filelock.FileLock(folder.with_suffix(".lock"))
        self._saved_at = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
            (folder / "writing.pt").unlink(missing_ok=True)
        except filelock.Timeout:
            print("train: another run trains the same right now; this one keeps no state to resume from")
        delete_oldest(folder.parent, KEPT_RUNS)

    def load(self) -> dict | None:
        """Return the latest undamaged state, on the CPU, or None. A damaged one is renamed and reported."""
        if not self._lock.is_locked:
            return None
        for path in sorted(self.folder.glob("step-*.pt"), reverse=True):
            if file_hash(path)[:16] == path.stem.split("-")[-1]:
                return torch.load(path, map_location="cpu", weights_only=True)
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            print(f"train: the saved state {aside} is damaged, and was set aside", file=sys.stderr)
        return None

    def due(self) -> bool:
        """Return True if `interval` seconds have passed since the last state."""
        return self._lock.is_locked and time.monotonic() - self._saved_at >= self.interval

    def save(self, state: dict) -> None:
        """Write `state`, a dict with the key `step`; an OSError if the disk is full, or fails."""
        before = list(self.folder.glob("step-*.pt"))
        writing = self.folder / "writing.pt"
        try:
            with delayed_ctrl_c():
                with writing.open("wb") as file:
                    torch.save(state, file)
                flush(writing)
                written = writing.replace(self.folder / f"step-{state['step']:09d}-{file_hash(writing)[:16]}.pt")
        except RuntimeError as error:
            # PyTorch says that the file is incomplete, and hides the reason: a full disk.
            if isinstance(hidden := error.__context__, OSError):
                raise OSError(hidden.errno, hidden.strerror, str(writing)) from None
            raise
        finally:
            writing.unlink(missing_ok=True)
        # Until then a power cut may undo the renaming, but not the deletions that follow.
        flush(self.folder)
        for path in set(before) - {written}:  # the same state again has the same name
            path.unlink()
        os.utime(self.folder)
        self._saved_at = time.monotonic()

    def finish(self) -> None:
        """Delete the states of a completed training."""
        if self._lock.is_locked:
            shutil.rmtree(self.folder, ignore_errors=True)
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()


def delete_oldest(folder: Path, keep: int) -> None:
    """Delete the folders in `folder`, except for the `keep` newest and locked ones."""
    found = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in found[:-keep]:
        with contextlib.suppress(filelock.Timeout), filelock.FileLock(path.with_suffix(".lock"), timeout=0):
            shutil.rmtree(path, ignore_errors=True)
