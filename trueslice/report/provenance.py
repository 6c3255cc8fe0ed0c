"""The origin of a report: the time, the commit that was checked out, and the changes on top of it."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trueslice.params import differences
from trueslice.records.timing import TrainingTime

# The outputs of a run are no changes on top of a commit.
WRITTEN = ("dvc.lock", "metrics", "plots")


@dataclass(frozen=True)
class Drawing:
    """All that can differ between two reports of the same run."""

    time: str  # of the drawing, in UTC
    commit: str | None  # the one that was checked out, if any
    files: tuple[str, ...]  # changed on top of it, without the outputs of a run
    settings: tuple[tuple[str, str, str], ...]  # that differ: key, value in that commit's params.yaml, value in the run
    training: TrainingTime  # from metrics/timing.json

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
        try:
            changes = {} if before is None else differences(before, after)
        except ValueError:  # what was committed is no YAML
            changes = {}
        settings = tuple((key, *values) for key, values in changes.items())
        return cls(time, commit.strip(), tuple(line[3:] for line in changed.splitlines()), settings, training)


def _git(root: Path, *arguments: str) -> str | None:
    """Return the output of a git command; None if it fails, or if there is no Git."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=root,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
