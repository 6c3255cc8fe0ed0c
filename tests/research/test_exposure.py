import numpy as np
import pytest

from research.exposure import COPIES, IN, OUT, TRAININGS, by_arm, compare, design
from trueslice.tables.predictions import Predictions
from trueslice.tables.scans import Scans

CLASSES = ("glioma", "notumor")


@pytest.fixture
def scans() -> Scans:
    """Twenty patients with four slices each and twenty healthy scans, every one in two files."""
    slices = np.repeat(np.arange(100), 2)
    known = slices < 80
    text, zeros = np.full(200, ""), np.zeros(200, int)
    return Scans(
        path=np.array([f"{number}.png" for number in range(200)]),
        class_name=np.where(known, *CLASSES),
        official_split=text,
        width=zeros,
        height=zeros,
        mode=text,
        pixel_hash=np.array([f"{number:016x}" for number in range(200)]),
        group=slices * 2,
        patient=np.where(known, np.char.add("p", (slices // 4).astype(str)), ""),
        source=text,
        source_class=text,
        plane=text,
        best_match=np.ones(200),
    )


def test_every_unit_is_in_each_arm_equally_often_and_only_its_copies_arm_trains_on_a_copy(scans):
    plan = design(scans)
    parts = np.stack([plan.parts(training) for training in range(TRAININGS)])
    arms = np.stack([plan.arms(training) for training in range(TRAININGS)])
    assert {"val", "test", "copy", "other"} <= {*plan.role}
    for row in np.flatnonzero(plan.role == "test"):
        counts = [int((arms[:, row] == arm).sum()) for arm in (OUT, IN, COPIES)]
        assert counts == ([4, 4, 4] if plan.known[row] else [0, 6, 6])
        same = (scans.group == scans.group[row]) & (np.arange(len(scans)) != row)
        assert ((parts[:, same] == "train").any(axis=1) == (arms[:, row] == COPIES)).all()
        of_patient = plan.known & (plan.unit == plan.unit[row])
        assert not of_patient.any() or ((parts[:, of_patient] == "train").any(axis=1) == (arms[:, row] != OUT)).all()
    validated = np.isin(plan.unit, plan.unit[plan.role == "val"])
    assert not (parts[:, validated] == "train").any()


def test_a_model_that_knows_copies_alone_gains_all_by_them_and_nothing_by_other_slices(scans):
    plan = design(scans)
    tested = np.flatnonzero((plan.role == "test") & plan.known)
    arms = [plan.arms(training)[tested] for training in range(TRAININGS)]
    runs = [answers(scans, plan, tested, arm == COPIES) for arm in arms]
    out, inside, copies = (by_arm(runs, arms, arm) for arm in (OUT, IN, COPIES))
    assert compare([out, inside], None)["difference"] == 0
    assert compare([inside, copies], None)["difference"] == 1


def answers(scans: Scans, plan, rows: np.ndarray, right: np.ndarray) -> Predictions:
    y_true = np.array([CLASSES.index(name) for name in scans.class_name[rows]])
    y_pred = np.where(right, y_true, 1 - y_true)
    return Predictions(
        class_names=CLASSES,
        path=scans.path[rows],
        pixel_hash=scans.pixel_hash[rows],
        group=scans.group[rows],
        patient=scans.patient[rows],
        unit=plan.unit[rows],
        leaked=np.full(len(rows), ""),
        exposure=np.full(len(rows), "neither"),
        y_true=y_true,
        y_pred=y_pred,
        probabilities=np.eye(2)[y_pred],
    )
