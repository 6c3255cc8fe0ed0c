"""Where a report comes from: the commit at which it was drawn, what was changed on top of it, and when."""

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ruamel.yaml import YAML

from trueslice.records.timing import TrainingTime

# What a run writes itself is not a change on top of a commit.
WRITTEN = ("dvc.lock", "metrics", "plots")


@dataclass(frozen=True)
class Drawing:
    """What differs between two drawings of the same run.

    Attributes:
        time: when it was drawn, in UTC.
        commit: the commit that was checked out; None where there is none.
        files: what was changed on top of it, but for what a run writes.
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
        """Describe a drawing made now, in a folder with a params.yaml, perhaps in a Git repository."""
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
    """Return the output of a git command; None where it fails, or where there is no Git."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments], cwd=root, capture_output=True, text=True, encoding="utf-8"
        )
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _changed(before: str, after: str) -> Iterable[tuple[str, str, str]]:
    """Key and both values of all that differs between two texts of params.yaml; a dash where it has none."""
    old, new = (dict(flat(YAML(typ="safe").load(text))) for text in (before, after))
    for key in sorted({*old, *new}):
        if old.get(key, flat) != new.get(key, flat):  # `flat` stands for what no value can be
            yield key, *(str(values[key]) if key in values else "–" for values in (old, new))


def flat(settings: Mapping, prefix: str = "") -> Iterable[tuple[str, object]]:
    """Yield the dotted keys of settings within settings, each with its value."""
    for key, setting in settings.items():
        if isinstance(setting, Mapping):
            yield from flat(setting, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", setting
