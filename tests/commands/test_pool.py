"""Pooling, on real DVC experiments of a small pipeline that invents its predictions."""

import re

import pytest

from tests.commands.runs import invent, trueslice

PREDICT = """
import csv, random
from pathlib import Path
from ruamel.yaml import YAML
params = YAML(typ="safe").load(Path("params.yaml"))
fold, folds, seed = params["split"]["fold"], params["split"]["folds"], params["seed"]
Path("plots").mkdir(exist_ok=True)
with open("plots/predictions.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["path", "pixel_hash", "group", "patient", "unit", "leaked", "exposure", "y_true", "y_pred"]
                    + ["probability_glioma", "probability_notumor"])
    for scan in range(600):
        if (scan // 2) % folds == fold - 1:
            draw = random.Random(f"{seed} {scan // 2}")
            y_true = ["glioma", "notumor"][scan // 2 % 2]
            share = draw.random() ** 3 * 0.8
            if y_true == "glioma":
                share = 1 - share
            y_pred = "glioma" if share >= 0.5 else "notumor"
            columns = [f"{scan:03}.jpg", f"{scan:032x}", scan // 2, f"P{scan // 12}", scan // 12, "", "neither"]
            writer.writerow([*columns, y_true, y_pred, share, 1 - share])
"""


@pytest.fixture(scope="module")
def runs(make_project):
    """A project with a run for every one of three folds and three seeds."""
    params = "seed: {}\nsplit: {{folds: 3, fold: {}}}\ntrain: {{epochs: 2}}\n"
    content = {f"s{seed}f{fold}": params.format(seed, fold) for seed in (0, 1, 2) for fold in (1, 2, 3)}
    return invent(make_project(), PREDICT, "seed, split, train", content)


def pool(project, arguments: str, status: int = 0) -> str:
    return trueslice(project, f"pool {arguments}", status)


def test_folds_and_seeds_are_pooled_and_nothing_is_checked_out(runs):
    said = pool(runs, "HEAD s0f2 s0f3 s1f1 s1f2 s1f3")
    assert said.startswith("3 folds, 2 seeds\n600 test scans of 50 patients\n")
    assert "Accuracy of single folds:" in said and "this is not a confidence interval" in said
    assert "Accuracy of single seeds:" in said and "standard deviation" in said
    assert "The 6 trained models are right on" in said
    assert runs.run("git status --porcelain", check=True).stdout == ""


def test_three_seeds_give_intervals_of_the_method(runs):
    said = pool(runs, "HEAD s0f2 s0f3 s1f1 s1f2 s1f3 s2f1 s2f2 s2f3")
    found = re.search(r"Their mean: (\S+), 95 % interval\n  over other seeds +(\S+) to (\S+)\n"
                      r"  over other seeds and patients +(\S+) to (\S+)\n", said)  # fmt: skip
    mean, *ends = map(float, found.groups())
    assert max(ends[0], ends[2]) < mean < min(ends[1], ends[3])
    assert "Their mean" not in pool(runs, "HEAD s0f2 s0f3 s1f1 s1f2 s1f3")


def test_one_seed_has_no_spread_over_seeds(runs):
    said = pool(runs, "HEAD s0f2 s0f3")
    assert said.startswith("3 folds, 1 seed\n600 test scans")
    assert "single seeds" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("HEAD s0f2", "with seed 0 split.fold 3 of 3 is missing; run: dvc exp run --queue"),
        ("HEAD HEAD s0f2", "HEAD is named twice"),
        ("HEAD nowhere", "nowhere: no such revision or experiment"),
        ("HEAD~1", "HEAD~1 has no plots/predictions.csv"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(runs, arguments, message):
    assert pool(runs, arguments, status=1).startswith(f"error: {message}")


def test_damaged_parameters_are_named(runs, make_project):
    project = make_project(like=runs)
    params, lock = project.root / "params.yaml", project.root / "dvc.lock"
    params.write_text("split: [")
    assert "error: workspace: params.yaml is not valid YAML" in pool(project, "workspace", status=1)
    params.write_text("split: {}")
    lock.unlink()  # it would tell that these parameters have not run
    assert "error: workspace: params.yaml lacks split.fold, split.folds or" in pool(project, "workspace", status=1)
