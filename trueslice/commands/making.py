"""Origins of runs of the pipeline: of runs that a command names, and of all others that are finished."""

import subprocess
from collections.abc import Iterable

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from trueslice.checkpoints.drawn import BUILDERS
from trueslice.commands.revisions import PREDICTING, PREDICTIONS, is_stale, opened, read_text
from trueslice.errors import UserError
from trueslice.evaluate.sides import Made, comparable
from trueslice.params import flat

OUTPUTS = ("data/", "metrics/", "models/", "plots/")


def read_made(revision: str) -> Made:
    """Read how a run was made, from its params.yaml and dvc.lock.

    Raises:
        UserError: as `read_predictions`; or params.yaml holds no parameters.
    """
    return _made(revision, read_text(revision, "params.yaml"), read_text(revision, "dvc.lock", missing=""))


def finished_runs() -> list[Made]:
    """Read how HEAD and all experiments were made that have predictions of their model."""
    with opened("workspace", "the experiments") as repo:
        experiments = repo.experiments.ls(all_commits=True).values()
        commits = {"HEAD": "HEAD"} | {name: commit for of_one in experiments for name, commit in of_one}
        found = [texts(repo.root_dir, path, commits.values()) for path in ("params.yaml", "dvc.lock", PREDICTIONS)]
    runs = zip(commits, *found, strict=True)
    return [_made(name, params, lock) for name, params, lock, has in runs if params and has and not is_stale(lock)]


def _made(name: str, params: str, lock: str) -> Made:
    try:
        settings = comparable(flat(YAML(typ="safe").load(params)))
    except (YAMLError, AttributeError):
        raise UserError(f"{name}: params.yaml holds no parameters; name another run") from None
    stages = YAML(typ="safe").load(lock)["stages"] if lock else {}
    deps = {dep["path"]: dep["md5"] for stage in PREDICTING for dep in stages.get(stage, {}).get("deps", [])}
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
