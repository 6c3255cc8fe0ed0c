"""What holds for every stage script: it checks all of params.yaml before it does anything."""

import shutil
import subprocess

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from tests.stages.running import ROOT, run

STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_a_wrong_parameter_of_any_stage_ends_it_in_one_line(name, tmp_path):
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["train"]["learning_rate"] = "fast"
    yaml.dump(params, tmp_path / "params.yaml")
    done = run(name, tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert "train.learning_rate" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("train", "models/pretrained/config.json"),
        ("predict", "models/finetuned/config.json"),
        ("release", "data/scans/thumbnails.npy"),
    ],
)
def test_a_stage_that_runs_too_early_names_the_stages_before_it(name, missing, tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    done = run(name, tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"error: {missing} is missing; run `dvc repro`, which also runs the stage that writes it\n"


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
