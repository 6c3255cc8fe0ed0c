"""What holds for every stage script: it checks all of params.yaml before it does anything."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from tests.stages.running import ROOT, run

STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")
# Runs stages as `python -m` does, one after another, and tells how each ends.
PROGRAM = """
import contextlib, io, json, runpy, sys
ends = []
for name in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            runpy.run_module(f"stages.{name}", run_name="__main__")
        except SystemExit as end:
            status = end.code
    ends.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(ends))
"""


def ends(folder, *names: str) -> list[tuple[int, str, str]]:
    """Status, stdout and stderr of each stage."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, *names]
    return json.loads(subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_a_wrong_parameter_of_any_stage_ends_every_stage_in_one_line(tmp_path):
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["train"]["learning_rate"] = "fast"
    yaml.dump(params, tmp_path / "params.yaml")
    assert len(STAGES) == 12
    for status, out, err in ends(tmp_path, *STAGES):
        assert (status, out, err.count("\n")) == (2, "", 1) and err.startswith("error: "), err
        assert "train.learning_rate" in err
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.slow
def test_a_stage_that_runs_too_early_names_the_stages_before_it(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    missing = {
        "train": "models/pretrained/config.json",
        "predict": "models/finetuned",
        "release": "data/scans/thumbnails.npy",
    }
    for name, (status, _, err) in zip(missing, ends(tmp_path, *missing), strict=True):
        said = f"error: {missing[name]} is missing; run `dvc repro`, which also runs the stage that writes it\n"
        assert (status, err) == (1, said)


def test_a_failed_experiment_says_what_it_leaves_in_params_yaml_and_one_in_a_copy_leaves_nothing(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "first")):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    apply_overrides(tmp_path / "params.yaml", ["train.epochs=-1", "external=[]"])
    wrong = "error: params.yaml: train.epochs is -1; it must be greater than or equal to 1"
    left = "; params.yaml still has external=[], train.epochs=-1: `git restore params.yaml` undoes that"
    experiment = {"DVC_EXP_BASELINE_REV": "HEAD", "DVC_ROOT": str(tmp_path)}
    assert run("split", tmp_path, **experiment).stderr == f"{wrong}{left}\n"
    assert run("split", tmp_path, **experiment | {"DVC_ROOT": str(tmp_path.parent)}).stderr == f"{wrong}\n"
    assert run("split", tmp_path).stderr == f"{wrong}\n"
