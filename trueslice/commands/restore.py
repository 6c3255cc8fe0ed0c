"""Bring a run back into the folder: its parameters and results from Git, its data and models from DVC's cache.

  trueslice restore            the run of the last commit
  trueslice restore NAME       the run of another commit, or an experiment

Nothing is lost: if the cache lacks a file of that run, all stays as it is. Results and parameters that neither the last
commit nor an experiment has are put into Git's stash. Code is left as it is.
"""

import argparse
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dvc.exceptions import DvcException

from trueslice.commands.revisions import opened, read_text
from trueslice.errors import UserError
from trueslice.files import printable
from trueslice.params import read_yaml

NAMED = 3  # files that a message names
STASH = ("stash", "push", "--include-untracked", "--message", "before trueslice restore", "--")
ADVICE = (
    "`dvc fetch` brings them, if somebody has pushed them. Otherwise make a run of your own the base: `dvc repro`, "
    'then `git commit -a -m "My base run"`'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("revision", metavar="RUN", nargs="?", default="HEAD", help="a commit or an experiment")


def run(options: argparse.Namespace) -> None:
    name = options.revision
    if name == "workspace":
        raise UserError("`workspace` is what is here now; name a commit or an experiment")
    with opened(name, "dvc.lock") as repo:
        commit = repo.get_rev()
        outputs = [out for out in repo.index.outs if out.hash_info]
        if not outputs:
            raise UserError(f"{name} has no results of a run; name another commit, or an experiment")
        missing = [out.def_path for out in outputs if out.use_cache and out.changed_cache()]
        results = ["params.yaml", "dvc.lock", *(out.def_path for out in outputs if not out.use_cache)]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        files = f"{', '.join(missing[:NAMED])}{more}"
        raise UserError(f"DVC's cache lacks {files} of {name}, so nothing was changed; {ADVICE}")
    try:
        read_yaml(read_text("workspace", "dvc.yaml"))
    except ValueError as error:
        raise UserError(f"dvc.yaml is {error}; nothing was changed") from None
    with opened("workspace", "dvc.yaml") as repo:
        _restore(repo.root_dir, commit, results)
        try:
            repo.checkout(allow_missing=True)
        except DvcException as error:
            problem = " ".join(str(error).split("\n")[1:])
            raise UserError(f"these files are nowhere else: {problem}; move them away, then: dvc checkout") from None
    print(f"{printable(name)} is back: its parameters and results, data and models.")


def _restore(root: str, commit: str, results: Sequence[str]) -> None:
    """Give `results`, files and folders, the content that they have in a commit; first keep what is in no other run."""
    # DVC leaves Git's index such that a file looks unchanged if another value of the same length came within a second.
    for path in (Path(root, name) for name in results):
        for file in path.rglob("*") if path.is_dir() else [path] * path.exists():
            os.utime(file, follow_symlinks=False)
    changed = _git(root, "ls-files", "--modified", "--others", "--exclude-standard", "-z", "--", *results).split("\0")
    unsaved = [name for name in set(changed) if os.path.isfile(Path(root, name)) and not _is_saved(root, name)]
    if unsaved == ["params.yaml"]:
        _git(root, *STASH, ":(literal)params.yaml")
        print("The params.yaml that was here is in Git's stash: `git stash pop`")
    elif unsaved:
        _git(root, *STASH, *(f":(literal){name}" for name in changed if name))
        print("The run that was here is in Git's stash: `git stash pop && dvc checkout`")
    _git(root, "restore", f"--source={commit}", "--staged", "--worktree", "--", *results)
    _git(root, "clean", "--force", "-d", "--quiet", "--", *results)


def _is_saved(root: str, name: str) -> bool:
    """Return True if a file is in the folder as in the last commit or in an experiment."""
    experiments = _git(root, "for-each-ref", "--format=%(objectname)", "refs/exps").split()
    names = "".join(f"{commit}:./{name}\n" for commit in ("HEAD", *experiments))
    return _git(root, "hash-object", name).strip() in _git(root, "cat-file", "--batch-check", names=names)


def _git(root: str, *arguments: str, names: str = "") -> str:
    done = subprocess.run(["git", *arguments], cwd=root, input=names, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise UserError(f"git {arguments[0]}: {' '.join(done.stderr.split())}")
    return done.stdout
