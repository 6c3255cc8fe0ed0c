"""Saved states of a training, from which it resumes after an interruption."""

import contextlib
import hashlib
import shutil
import signal
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import filelock
import torch

from trueslice.files import whole_file

KEPT_RUNS = 8  # unfinished trainings whose states are kept
PACKAGES = ("torch", "transformers")


def fingerprint(*parts: object) -> str:
    """Hash all that a result may depend on: the code, the versions of PACKAGES, and the `repr` of `parts`."""
    digest = hashlib.sha256(repr([version(name) for name in PACKAGES]).encode())
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
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
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            signal.raise_signal(signal.SIGINT)


class States:
    """Latest state of one training, in its own folder; process 0 saves one every `interval` seconds."""

    def __init__(self, folder: Path, interval: float):
        self.folder = folder
        self.interval = interval
        self._lock = filelock.FileLock(folder.with_suffix(".lock"))
        self._saved_at = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except filelock.Timeout:
            print("train: another run trains the same right now; this one keeps no state to resume from")
        delete_oldest(folder.parent, KEPT_RUNS)

    def load(self) -> dict | None:
        """Return the latest state, on the CPU, or None."""
        found = sorted(self.folder.glob("step-*.pt"))
        if not self._lock.is_locked or not found:
            return None
        return torch.load(found[-1], map_location="cpu", weights_only=True)

    def due(self) -> bool:
        """Return True if `interval` seconds have passed since the last state."""
        return self._lock.is_locked and time.monotonic() - self._saved_at >= self.interval

    def save(self, state: dict) -> None:
        """Write `state`, a dict with the key `step`; an OSError if the disk is full, or fails."""
        path = self.folder / f"step-{state['step']:09d}.pt"
        with delayed_ctrl_c():
            try:
                with whole_file(path) as new, new.open("wb") as file:
                    torch.save(state, file)
            except RuntimeError as error:
                # PyTorch says that the file is incomplete, and hides the reason: a full disk.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise
            for other in set(self.folder.glob("step-*.pt")) - {path}:
                other.unlink()
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
