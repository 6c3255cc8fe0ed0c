"""Decisions about labels and copies, and the runs of the pipeline after them."""

import pytest

from tests.conftest import SMALL
from trueslice.tables.decisions import Decision, append
from trueslice.tables.scans import Scans
from trueslice.tables.splits import Splits

pytestmark = pytest.mark.slow
MOVED, LEFT_OUT = "Training/glioma/Tr-gl_0000.jpg", "Training/glioma/Tr-gl_0001.jpg"


def test_a_decision_makes_dvc_verify_again_and_everything_after_it_obeys(project):
    for key, value in SMALL.items():
        project.set(key, value)
    project.run("dvc repro split", check=True)
    scans = Scans.read(project.root / "data/scans/scans.csv")
    assert {MOVED, LEFT_OUT} <= {*scans.path.tolist()}
    assert "Running stage" not in project.run("dvc repro split", check=True).stdout

    file = project.root / "decisions.csv"
    before = file.read_bytes()
    append(file, [Decision(MOVED, "", "wrong", "meningioma"), Decision(LEFT_OUT, "", "wrong", "")])
    said = project.run("dvc repro split", check=True).stdout
    assert "Running stage 'verify'" in said and "Running stage 'split'" in said
    assert "decisions.csv: 1 in another class, 1 left out" in said
    splits = Splits.read(project.root / "data/splits.csv")
    assert dict(zip(splits.path, splits.class_name, strict=True))[MOVED] == "meningioma"
    assert len(splits) == len(scans) - 1 and LEFT_OUT not in splits.path

    file.write_bytes(before)
    assert "decisions.csv" not in project.run("dvc repro split", check=True).stdout
    assert len(Splits.read(project.root / "data/splits.csv")) == len(scans)


def test_a_file_of_decisions_that_is_not_there_stops_dvc(project):
    project.set("verify.decisions", "nowhere.csv")
    done = project.run("dvc repro --single-item verify")
    assert done.returncode != 0 and "nowhere.csv" in done.stdout
