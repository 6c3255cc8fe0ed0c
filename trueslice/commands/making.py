"""Origins of runs of the pipeline: of runs that a command names, and of all others that are finished."""

import subprocess
from collections.abc import Iterable, Mapping

from trueslice.checkpoints.drawn import BUILDERS
from trueslice.commands.revisions import PREDICTING, PREDICTIONS, StageRun, is_stale, opened, read_lock, read_text
from trueslice.errors import UserError
from trueslice.evaluate.sides import Made, comparable
from trueslice.params import flat, read_yaml

OUTPUTS = ("data/", "metrics/", "models/", "plots/")


def read_made(revision: str) -> Made:
    """Read how a run was made, from its params.yaml and dvc.lock.

    Raises:
        UserError: as `read_predictions`; or params.yaml holds no parameters.
    """
    lock = read_lock(revision, read_text(revision, "dvc.lock", missing=""))
    return _made(revision, read_text(revision, "params.yaml"), lock)


def finished_runs() -> list[Made]:
    """Read how HEAD and all experiments were made that have predictions of their model."""
    with opened("workspace", "the experiments") as repo:
        experiments = repo.experiments.ls(all_commits=True).values()
        commits = {"HEAD": "HEAD"} | {name: commit for of_one in experiments for name, commit in of_one}
        found = [texts(repo.root_dir, path, commits.values()) for path in ("params.yaml", "dvc.lock", PREDICTIONS)]
    runs = zip(commits, *found, strict=True)
    made = [(name, params, read_lock(name, lock)) for name, params, lock, has in runs if params and has]
    return [_made(name, params, lock) for name, params, lock in made if not is_stale(lock)]


def _made(name: str, params: str, lock: Mapping[str, StageRun]) -> Made:
    try:
        settings = comparable(flat(read_yaml(params)))
    except (ValueError, AttributeError):
        raise UserError(f"{name}: params.yaml holds no parameters; name another run") from None
    deps = {dep.path: dep.md5 for stage in PREDICTING if stage in lock for dep in lock[stage].deps}
    code = {path: md5 for path, md5 in deps.items() if not path.startswith(OUTPUTS)}
    is_drawn = settings.get("checkpoint.name") in BUILDERS  # with the seed
    return Made(name, settings, code, None if is_drawn else deps.get("models/pretrained"))


def texts(root: str, path: str, commits: Iterable[str]) -> list[str]:
    """Read a file of many commits at once; an empty text where there is none."""
    names = "".join(f"{commit}:./{path}\n" for commit in commits).encode()
    command = ["git", "cat-file", "--batch"]
    left, found = subprocess.run(command, cwd=root, input=names, capture_output=True, check=True).stdout, []
    while left:
        header, _, left = left.partition(b"\n")
        size = 0 if header.endswith(b" missing") else int(header.split()[-1]) + 1
        found.append(left[:size].decode("utf-8", "replace"))
        left = left[size:]
    return found
