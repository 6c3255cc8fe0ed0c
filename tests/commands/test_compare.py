"""Commands over runs, on real DVC experiments of a small pipeline that invents its predictions."""

import csv
import re

import pytest

from tests.commands.runs import invent, trueslice
from trueslice.records.timing import Timing, TrainingTime
from trueslice.tables.predictions import Predictions

PREDICT = """
import csv, random
from pathlib import Path
from ruamel.yaml import YAML
params = YAML(typ="safe").load(Path("params.yaml"))
draw = random.Random(params["seed"])
names = ["glioma", "notumor"]
Path("plots").mkdir(exist_ok=True)
with open("plots/predictions.csv", "w", newline="") as file:
    writer = csv.writer(file)
    shares = [f"probability_{name}" for name in names]
    writer.writerow(["path", "pixel_hash", "group", "patient", "unit", "leaked", "exposure",
                     "y_true", "y_pred", *shares])
    for scan in range(params["scans"]):
        y_true = names[scan % 2]
        y_pred = y_true if draw.random() < params["skill"] else names[1 - scan % 2]
        share = 0.9 if y_pred == "glioma" else 0.1
        path = f"Testing/{y_true}/{scan:03}.jpg"
        # The first scans are of known patients, four of each.
        known = scan < params["known"]
        patient, unit = (f"P{scan // 4}", scan // 4) if known else ("", 1000 + scan)
        writer.writerow([path, f"{scan:032x}", scan, patient, unit, "", "unknown", y_true, y_pred, share, 1 - share])
"""
PARAMS = {"scans": 400, "known": 0, "skill": 0.8, "seed": 1}
RUNS = {
    "plain": {},
    "alike": {"seed": 2},
    "same-seed": {"skill": 0.8000001},
    "skilled-8": {"skill": 0.95, "seed": 8},
    "skilled-9": {"skill": 0.95, "seed": 9},
    "alike-3": {"seed": 3},
    "fewer": {"scans": 300, "seed": 4},
    "patients": {"known": 400, "seed": 5},
    "patients-skilled": {"known": 400, "seed": 6, "skill": 0.95},
    "some-patients": {"known": 200, "seed": 5},
    "some-patients-alike": {"known": 200, "seed": 6},
    "almost": {"skill": 0.81},
}


@pytest.fixture(scope="module")
def runs(make_project):
    """A project whose last commit is a run, with tagged runs of other skill and seeds, and an experiment."""
    params = {name: "".join(f"{key}: {value}\n" for key, value in (PARAMS | run).items()) for name, run in RUNS.items()}
    project = invent(make_project(), PREDICT, ", ".join(PARAMS), params)
    project.run("dvc exp run -q -n skilled -S skill=0.95 -S seed=7 && git checkout -q .", check=True)
    return project


@pytest.fixture(scope="module")
def more(make_project, runs):
    """The same with three more seeds."""
    project = make_project(like=runs)
    for name, seed in {"four": 4, "five": 5, "six": 6}.items():
        project.run(f"dvc exp run -q -n {name} -S seed={seed} && git checkout -q .", check=True)
    return project


def compare(project, arguments: str, status: int = 0) -> str:
    return trueslice(project, f"compare {arguments}", status)


def flat(said: str) -> str:
    """Paragraphs as one line each."""
    return " ".join(said.split())


def test_a_better_model_is_called_better_and_nothing_is_checked_out(runs):
    said = compare(runs, "HEAD skilled")
    found = re.search(
        r"B is better: B minus A is (\S+) points of accuracy, 95 % interval (\S+) to (\S+)\. This", flat(said)
    )
    difference, low, high = map(float, found.groups())
    assert 8 < difference < 22 and 0 < low < difference < high
    assert "This concerns trained models and not the methods behind them" in flat(said)
    assert "400 test scans in 400 groups of copies" in said
    assert "No patient is known." in flat(said)
    assert "McNemar's test, one scan per group" in said
    assert runs.run("git status --porcelain", check=True).stdout == ""


def test_parameters_that_have_not_run_are_not_compared(make_project, runs):
    project = make_project(like=runs)
    project.run("git checkout -q . && sed -i 's/^seed: .*/seed: 77/' params.yaml", check=True)
    assert "workspace: its parameters have changed since it ran" in compare(project, "HEAD workspace", status=1)


def test_runs_of_different_machines_are_named(make_project, runs):
    project = make_project(like=runs)
    assert "machines" not in compare(project, "HEAD skilled")
    training = TrainingTime(device="An old CPU, 2 threads", seconds=1.0, images_per_second=1.0, peak_memory_mb=1.0)
    (project.root / "metrics").mkdir()
    Timing(train=[training]).write(project.root / "metrics/timing.json")
    project.run("git add metrics && git commit -q -m timing && sed -i s/old/new/ metrics/timing.json", check=True)
    said = flat(compare(project, "HEAD workspace"))
    assert "HEAD on An old CPU, 2 threads; workspace on An new CPU, 2 threads." in said


def test_models_that_do_not_differ_are_not_called_different(runs):
    said = compare(runs, "HEAD alike")
    assert "No difference is shown" in said and "better" not in said


def test_the_same_predictions_disagree_on_no_scan(runs):
    said = compare(runs, "HEAD same-seed")
    assert (
        "They disagree on no scan." in said
        and "No difference is shown: B minus A is +0.0 points of accuracy.\n" in said
    )
    assert "none: all units say the same" in said


def test_the_first_disagreements_are_listed_and_all_on_demand(runs):
    said = compare(runs, "HEAD skilled")
    count = int(re.search(r"They disagree on (\d+) scans; the first 10:", said).group(1))
    listed = re.findall(r"^(\w+) +(\w+) +(\w+) +(Testing/.*)$", said, re.MULTILINE)
    assert len(listed) == 10
    assert all(a != b and f"/{y_true}/" in path for y_true, a, b, path in listed)
    everything = compare(runs, "HEAD skilled --all")
    assert len(re.findall("^.*Testing/", everything, re.MULTILINE)) == count > 10


def test_several_seeds_per_side_say_something_about_methods(runs):
    said = compare(runs, "HEAD,alike,alike-3 skilled,skilled-8,skilled-9")
    assert "B is better: B minus A is +" in said
    assert "A and B differ in seed (1, 7), skill (0.8, 0.95)." in said
    assert "This concerns two methods, with 3 and 3 seeds." in said
    assert "McNemar" not in said and "t-test over seeds and groups of copies" in said
    assert re.search(r"^glioma +\w+ [23]/3 +\w+ [23]/3 +Testing/", said, re.MULTILINE)


def test_fewer_than_three_seeds_on_a_side_say_nothing_about_methods(runs):
    said = compare(runs, "HEAD,alike skilled,skilled-8,skilled-9")
    assert "Methods need 3 runs or more on both sides, one per seed. So this concerns several trained models" in flat(
        said
    )
    assert "t-test" not in said and "two methods" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("HEAD,alike,almost skilled,skilled-8,skilled-9", "HEAD and almost differ in skill. So this concerns several"),
        ("HEAD,alike,alike-3 four,five,six", "This concerns the same method twice, with 3 and 3 seeds."),
    ],
)
def test_runs_that_are_no_two_methods_are_not_called_so(more, arguments, said):
    output = flat(compare(more, arguments))
    assert said in output and "two methods" not in output
    assert ("t-test" in output) == ("twice" in said)


def test_finished_runs_of_a_method_that_are_left_out_are_named(make_project, runs):
    project = make_project(like=runs)
    project.run("dvc exp run -q -n collapsed -S skill=0.95 -S seed=10", check=True)
    project.run("git checkout -q . && dvc exp run -q --queue -n waiting -S skill=0.95 -S seed=11", check=True)
    sides = "HEAD,alike,alike-3 skilled,skilled-8,skilled-9"
    said = flat(compare(project, sides))
    assert "Finished runs of the same method are left out, so the best may have been chosen: collapsed. So" in said
    assert "t-test" not in said
    assert "This concerns two methods, with 3 and 4 seeds." in flat(compare(project, f"{sides},collapsed"))


def test_patients_are_the_unit_where_they_are_known(runs):
    said = compare(runs, "patients patients-skilled")
    assert "400 test scans of 100 patients\n" in said and "Sign-flip test over patients " in said
    assert "McNemar's test, one scan per patient " in said and "not known" not in said
    said = compare(runs, "some-patients some-patients-alike")
    assert "400 test scans in 250 units: 50 patients and 200 groups of copies\n" in said
    assert "The patients of 200 scans are not known." in flat(said)


def test_few_units_that_differ_are_said_to_be_few(runs):
    said = compare(runs, "HEAD almost")
    assert re.search(r"Few groups of copies differ \((\d|1[01])\)", flat(said))
    assert re.search(r"They disagree on (\d|1[01]) scans?:", said)
    assert "Few groups" not in flat(compare(runs, "HEAD alike"))


def test_several_comparisons_are_adjusted(runs):
    said = compare(runs, "HEAD alike skilled")
    assert "B minus A" in said and "C is better: C minus A is +" in said
    (alone,) = re.findall("Sign-flip.* p = (.*)", compare(runs, "HEAD alike"))
    assert re.findall(r"Adjusted for 2 comparisons \(Holm\) +p = (.*)", said)[0] == alone  # the larger of two: times 1


def test_predictions_that_are_older_than_their_model_are_refused(runs):
    lock = """schema: '2.0'
stages:
  train:
    cmd: python -m stages.train
    outs: [{path: models/finetuned, md5: 1c00.dir}]
  predict:
    cmd: python -m stages.predict
    deps: [{path: models/finetuned, md5: MODEL}]
"""
    try:
        (runs.root / "dvc.lock").write_text(lock.replace("MODEL", "320a.dir"))
        said = compare(runs, "HEAD workspace", status=1)
        assert said == (
            "error: workspace: plots/predictions.csv is older than its model; run that experiment to its end\n"
        )
        (runs.root / "dvc.lock").write_text(lock.replace("MODEL", "1c00.dir"))
        assert "They disagree on no scan." in compare(runs, "HEAD workspace")
    finally:
        runs.run("git checkout -q .", check=True)


def test_the_workspace_a_commit_a_branch_and_an_experiment_are_read_alike(runs):
    runs.run("git branch -f somewhere HEAD", check=True)
    sha = runs.run("git rev-parse --short HEAD", check=True).stdout.strip()
    said = {
        name: compare(runs, f"{name} skilled").split("\n", 1)[1] for name in ("HEAD", "somewhere", sha, "workspace")
    }
    assert len(set(said.values())) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("HEAD:README.md HEAD", "error: 'HEAD:README.md' cannot be a revision or experiment"),
        ("HEAD^{tree} HEAD", "error: 'HEAD^{tree}' cannot be a revision or experiment"),
        (f"{'a' * 300} HEAD", f"error: '{'a' * 50}' cannot be a revision or experiment"),
        ("\udcff HEAD", "error: '\\udcff' cannot be a revision or experiment"),
        ("HEAD nonsense", "error: nonsense: no such revision or experiment; `trueslice runs` names them"),
        ("HEAD HEAD~1", "error: HEAD~1 has no plots/predictions.csv; run the pipeline there, and commit what it wrote"),
        ("HEAD fewer", "error: HEAD and fewer were tested on other scans: 400 and 300, 300 of them in common;"),
        ("HEAD,HEAD skilled", "error: HEAD is named twice"),
        ("HEAD,workspace skilled", "error: HEAD and workspace are the same run; name it once"),
        ("HEAD,alike workspace", "error: HEAD and workspace are the same run; name it once"),
        ("HEAD,,alike skilled", "error: a name of a run is empty"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(runs, arguments, said):
    output = compare(runs, arguments, status=1)
    assert output.startswith(said) and output.count("\n") == 1


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace(b"pixel_hash", b"hash", 1), "it has no column pixel_hash"),
        (lambda text: text.splitlines(keepends=True)[0], "it holds no scan"),
        (lambda text: text.replace(b"000.jpg", b"002.jpg", 1), "a path is in it twice"),
        (lambda text: b"\xff\xfe\x00" + text, "it is not text"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(runs, damage, said):
    file = runs.root / "plots/predictions.csv"
    whole = file.read_bytes()
    try:
        file.write_bytes(damage(whole))
        output = compare(runs, "workspace skilled", status=1)
    finally:
        file.write_bytes(whole)
    assert output.startswith("error: workspace: plots/predictions.csv cannot be used: ") and said in output
    assert output.count("\n") == 1


def test_a_name_that_two_experiments_have_belongs_to_the_one_from_head(make_project, runs):
    project = make_project(like=runs)
    project.run("git commit -q --allow-empty -m later && dvc exp run -q -n skilled -S skill=0.5", check=True)
    project.run("git checkout -q .", check=True)
    assert "B is worse: B minus A is -" in compare(project, "HEAD skilled")
    project.run("git commit -q --allow-empty -m 'later still'", check=True)
    output = compare(project, "HEAD skilled", status=1)
    assert output == "error: skilled: several experiments have this name; give the commit (dvc exp list)\n"


def test_a_project_in_a_subfolder_of_a_git_repository(make_project, runs):
    project = make_project(like=runs)
    project.run("rm -rf .git && mkdir inner && git init -q && git config user.name T && git config user.email t@e.org")
    project.run("mv .dvc .dvcignore .gitignore trueslice *.yaml *.py dvc.lock plots inner", check=True)
    project.run("git add -A && git commit -q -m results && cd inner && dvc exp run -q -n other -S seed=2", check=True)
    project.run("git checkout -q .", check=True)
    project.root /= "inner"
    assert "400 test scans" in compare(project, "HEAD other")
    assert "400 test scans" in compare(project, "workspace other")


def test_without_git_there_is_only_the_workspace(make_project, runs):
    project = make_project(like=runs)
    project.run("rm -rf .git && dvc config --local core.no_scm true", check=True)
    output = compare(project, "workspace HEAD", status=1)
    assert output == "error: HEAD: without Git there is only `workspace`, the files as they are now\n"


def test_the_file_that_is_read_is_the_pipelines(runs):
    # So that the invented pipeline above can't drift away from the real one.
    with (runs.root / "plots/predictions.csv").open() as file:
        columns = next(csv.reader(file))
    table = Predictions.read(runs.root / "plots/predictions.csv")
    assert sorted(columns) == sorted(table.text().split("\n")[0].split(","))
