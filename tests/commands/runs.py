"""Runs of a small pipeline that invents its predictions, and commands that read them."""

import contextlib
import io
import shlex
import shutil
from collections.abc import Mapping

from tests.conftest import Project
from trueslice.commands import cli


def invent(project: Project, program: str, sections: str, runs: Mapping[str, str]) -> Project:
    """Make `program` the pipeline; commit a run of it for each of these contents of params.yaml, tagged by its name.

    The first one is the head of the branch.
    """
    for old in ("plots", "dvc.lock"):
        shutil.rmtree(project.root / old, ignore_errors=True)
    (project.root / "predict.py").write_text(program)
    (project.root / "dvc.yaml").write_text(
        f"stages: {{predict: {{cmd: python predict.py, params: [{sections}], "
        "plots: [plots/predictions.csv: {cache: false}]}}\n"
    )
    project.run("git branch -m first", check=True)
    command = "dvc repro"
    for name, params in runs.items():
        (project.root / "params.yaml").write_text(params)
        project.run(f"{command} && git add -A && git commit -q -m {name} && git tag {name}", check=True)
        command = "git checkout -q --detach && python predict.py && dvc commit -q -f"
    project.run("git checkout -q first", check=True)
    return project


def trueslice(project: Project, arguments: str, status: int = 0) -> str:
    """Run the command in the project's folder, and give all that it says."""
    said, found = io.StringIO(), 0
    with contextlib.chdir(project.root), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            cli.main(shlex.split(arguments))
        except SystemExit as end:
            found = end.code
    assert found == status, said.getvalue()
    if status:
        assert said.getvalue().count("\n") == 1
    else:
        assert all(len(line) <= 80 for line in said.getvalue().splitlines())
    return said.getvalue()
