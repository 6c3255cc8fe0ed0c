"""The whole pipeline under the real DVC, as a user runs it, on few phantoms."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.example_run import example, without_drawing
from trueslice.report.templates import passages

pytestmark = pytest.mark.slow

RESULTS = (
    "metrics/data.json",
    "metrics/split.json",
    "metrics/train.json",
    "metrics/summary.json",
    "metrics/test.json",
    "metrics/intervals.json",
    "metrics/baselines.json",
    "metrics/explain.json",
    "metrics/external.json",
    "metrics/embedding.json",
    "plots/embedding.csv",
    "plots/predictions.csv",
    "plots/report.html",
)
# Without examples of explanations: so small a model points at tumours no better than a fixed point does.
FIGURES = {*passages("alt.jinja", example())} - {"explanations"}


@pytest.fixture(scope="module")
def finished(make_project, finished_project):
    """A project whose pipeline has run once and whose results are committed, as in the repository."""
    return make_project(like=finished_project)


def digests(project, *names: str) -> dict[str, str]:
    return {name: hashlib.sha256(content(project.root / name)).hexdigest() for name in names}


def content(path: Path) -> bytes:
    """What is the same whenever the same run is made: of a report all but the section that says when and where."""
    return without_drawing(path.read_text("utf-8")).encode() if path.suffix == ".html" else path.read_bytes()


def test_everything_is_made_and_only_results_are_visible_to_git(finished):
    assert all((finished.root / name).exists() for name in RESULTS)
    assert {path.stem for path in (finished.root / "plots/figures").iterdir()} == FIGURES
    tracked = set(finished.run("git ls-files", check=True).stdout.split())
    assert {"dvc.lock", *RESULTS, "plots/figures/confusion_matrix.png"} <= tracked
    assert not any(name.startswith(("data/", "models/")) for name in tracked)


def test_a_second_run_runs_no_stage_also_on_other_machine_settings(finished):
    assert "Running stage" not in finished.run("dvc repro", check=True).stdout
    assert finished.run("git status --porcelain", check=True).stdout == ""
    finished.set("machine.workers", 1)
    assert "Running stage" not in finished.run("dvc repro", check=True).stdout
    finished.run("git checkout -q params.yaml", check=True)


def test_an_experiment_and_its_differences(finished):
    done = finished.run(
        "dvc exp run -n short -S train.epochs=1 -S train.learning_rate=1e-5 -S train.device=cpu evaluate"
    )
    assert done.returncode == 0, done.stdout
    assert "'verify' didn't change, skipping" in done.stdout
    assert json.loads((finished.root / "metrics/train.json").read_text())["steps"] < 10

    rows = json.loads(finished.run("dvc params diff --json", check=True).stdout)["params.yaml"]
    assert {name: (row["old"], row["new"]) for name, row in rows.items()} == {
        "train.epochs": (2, 1),
        "train.learning_rate": (1e-3, 1e-5),
    }
    assert finished.run("git diff --numstat params.yaml", check=True).stdout == "2\t2\tparams.yaml\n"
    metrics = json.loads(finished.run("dvc metrics diff --all --json", check=True).stdout)
    assert list(metrics) == ["metrics/summary.json"] and "accuracy" in metrics["metrics/summary.json"]
    assert "short" in finished.run("dvc exp show --csv", check=True).stdout
    finished.run("dvc plots diff", check=True)
    assert (finished.root / "dvc_plots/index.html").exists()
    finished.run("git checkout -q . && dvc checkout", check=True)


def test_an_impossible_value_ends_in_one_line_and_the_previous_results_come_back(finished):
    before = digests(finished, *RESULTS, "models/finetuned/model.safetensors")
    done = finished.run("dvc exp run -S train.device=cuda:7")
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    said = "error: train.device is 'cuda:7', but PyTorch finds"
    assert [line for line in done.stdout.splitlines() if line.startswith(said)], done.stdout
    assert "; params.yaml still has train.device=cuda:7: `git restore params.yaml` undoes that\n" in done.stdout
    finished.run("python -m trueslice restore", check=True)
    assert digests(finished, *RESULTS, "models/finetuned/model.safetensors") == before
    assert finished.run("git status --porcelain", check=True).stdout == ""


def test_the_fine_tuned_folder_stands_alone(finished, tmp_path):
    shutil.copytree(finished.root / "models/released", tmp_path / "model")
    program = """
import sys
from PIL import Image
from transformers import CLIPModel, pipeline
CLIPModel.from_pretrained("model")
classify = pipeline("zero-shot-image-classification", model="model")
print(classify(Image.new("L", (64, 64)), candidate_labels=["a glioma", "no tumour"], hypothesis_template="{}")[0])
assert not any(name.startswith(("trueslice", "stages")) for name in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "score" in done.stdout
    ours = json.loads((tmp_path / "model/trueslice.json").read_text())
    assert list(ours["classes"]) == ["glioma", "meningioma", "notumor", "pituitary"]
    assert ours["checkpoint"] == {"name": "tiny", "revision": None}


def test_the_same_seeds_give_the_same_bytes_also_in_a_folder_that_is_no_git_repository(finished, make_project):
    project = make_project(like=finished)
    shutil.rmtree(project.root / ".git")
    project.run("dvc config --local core.no_scm true", check=True)
    assert "Running stage" not in project.run("dvc repro", check=True).stdout
    project.run("dvc repro --force", check=True)
    names = (*RESULTS, "plots/steps.csv", "models/finetuned/model.safetensors", "models/finetuned/trueslice.json")
    assert digests(project, *names) == digests(finished, *names)
