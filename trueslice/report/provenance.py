"""The origin of a report: the time, the commit that was checked out, and the changes on top of it."""

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ruamel.yaml import YAML

from trueslice.records.timing import TrainingTime

# The outputs of a run are no changes on top of a commit.
WRITTEN = ("dvc.lock", "metrics", "plots")


@dataclass(frozen=True)
class Drawing:
    """All that can differ between two reports of the same run.

    Attributes:
        time: of the drawing, in UTC.
        commit: the commit that was checked out; None where there is none.
        files: those that were changed on top of it, without the outputs of a run.
        settings: key, value in that commit's params.yaml and value in the run, for each setting that differs.
        training: seconds, device and memory of the training, from metrics/timing.json.
    """

    time: str
    commit: str | None
    files: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]
    training: TrainingTime

    @classmethod
    def now(cls, root: Path, training: TrainingTime) -> "Drawing":
        """Return the state of a folder with a params.yaml, which may be in a Git repository."""
        time = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        commit = _git(root, "rev-parse", "HEAD")
        if commit is None:
            return cls(time, None, (), (), training)
        kept = [f":(exclude){name}" for name in WRITTEN]
        changed = _git(root, "status", "--porcelain", "--", ".", *kept) or ""
        before, after = _git(root, "show", "HEAD:./params.yaml"), (root / "params.yaml").read_text(encoding="utf-8")
        settings = () if before is None else tuple(_changed(before, after))
        return cls(time, commit.strip(), tuple(line[3:] for line in changed.splitlines()), settings, training)


def _git(root: Path, *arguments: str) -> str | None:
    """Return the output of a git command; None if it fails, or if there is no Git."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments], cwd=root, capture_output=True, text=True, encoding="utf-8"
        )
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _changed(before: str, after: str) -> Iterable[tuple[str, str, str]]:
    """Yield key and both values of each setting that differs in two texts of params.yaml; a dash for none."""
    old, new = (dict(flat(YAML(typ="safe").load(text))) for text in (before, after))
    for key in sorted({*old, *new}):
        if old.get(key, flat) != new.get(key, flat):  # `flat` is no value of a setting
            before, after = (str(values[key]) if key in values else "–" for values in (old, new))
            yield key, before, after


def flat(settings: Mapping, prefix: str = "") -> Iterable[tuple[str, object]]:
    """Yield the dotted keys of nested settings, each with its value."""
    for key, setting in settings.items():
        if isinstance(setting, Mapping):
            yield from flat(setting, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", setting
