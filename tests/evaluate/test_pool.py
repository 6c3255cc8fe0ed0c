"""Pooled scores are those of the pooled predictions; runs that don't belong together are refused."""

import copy

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, f1_score, matthews_corrcoef, recall_score

from tumorclip.errors import UserError
from tumorclip.evaluate.pool import Run, pool

CLASSES = ["glioma", "meningioma", "notumor"]
COPIES = 4


def rows(scans: range, seed: int, skill: float = 0.8) -> list[dict[str, str]]:
    """Predictions for some of a series of scans, four copies in each group, that succeed or fail together."""
    found = []
    for scan in scans:
        group = scan // COPIES
        random = np.random.default_rng([seed, group])
        actual = group % 3
        probabilities = random.dirichlet(np.ones(3))
        right = probabilities.argmax() == actual or random.random() < skill - 1 / 3
        order = np.argsort(probabilities)[::-1]
        if right and order[0] != actual:
            probabilities[[order[0], actual]] = probabilities[[actual, order[0]]]
        found.append(
            {"path": f"{scan:04}.jpg", "pixel_hash": f"{scan:032x}", "group": str(group), "leaked": "0"}
            | {"actual": CLASSES[actual], "predicted": CLASSES[probabilities.argmax()]}
            | {f"probability_{name}": str(share) for name, share in zip(CLASSES, probabilities, strict=True)}
        )
    return found


def run(fold: int, seed: int, scans: range, folds: int | None = 2) -> Run:
    params = {
        "split": {"protocol": "grouped", "folds": folds, "fold": fold, "seed": 0},
        "train": {"seed": seed, "epochs": 3, "device": "cpu"},
        "machine": {"workers": fold},
    }
    return Run(f"fold-{fold}-seed-{seed}", params, rows(scans, seed))


@pytest.fixture
def folds() -> list[Run]:
    return [run(fold, seed, range(240) if fold == 1 else range(240, 400)) for fold in (1, 2) for seed in (0, 1)]


def by_name(pooled) -> dict:
    return {score.name: score for score in pooled.scores}


def test_out_of_fold_scores_are_those_of_scikit_learn_on_all_predictions_meaned_over_seeds(folds):
    pooled = pool(folds, CLASSES)
    expected: dict[str, list[float]] = {}
    for seed in (0, 1):
        every = [row for run in folds if run.params["train"]["seed"] == seed for row in run.rows]
        actual, predicted = ([row[key] for row in every] for key in ("actual", "predicted"))
        for name, value in (
            ("accuracy", np.mean(np.array(actual) == predicted)),
            ("balanced accuracy", balanced_accuracy_score(actual, predicted)),
            ("macro F1", f1_score(actual, predicted, average="macro")),
            ("MCC", matthews_corrcoef(actual, predicted)),
            ("Cohen's kappa", cohen_kappa_score(actual, predicted)),
            *zip(map("sensitivity, {}".format, CLASSES), recall_score(actual, predicted, average=None), strict=True),
        ):
            expected.setdefault(name, []).append(value)
    scores = by_name(pooled)
    assert pooled.out_of_fold and (pooled.scans, pooled.groups) == (400, 100)
    for name, values in expected.items():
        assert scores[name].value == pytest.approx(np.mean(values), abs=1e-9)
        assert scores[name].interval.low < scores[name].value < scores[name].interval.high
    assert pooled.by_seed == pytest.approx(dict(enumerate(expected["accuracy"])), abs=1e-9)
    # All copies of a scan agree, so one vote each changes nothing.
    assert scores["accuracy per distinct scan"].value == pytest.approx(scores["accuracy"].value, abs=1e-9)


def test_folds_are_given_apart_each_the_mean_of_its_seeds(folds):
    pooled = pool(folds, CLASSES)
    first = [np.mean([row["actual"] == row["predicted"] for row in run.rows]) for run in folds[:2]]
    assert pooled.by_fold[1] == pytest.approx(np.mean(first), abs=1e-9)
    assert set(pooled.by_fold) == {1, 2}


def test_the_order_of_runs_and_of_their_rows_changes_nothing(folds):
    turned = [run._replace(rows=run.rows[::-1]) for run in folds[::-1]]
    assert by_name(pool(turned, CLASSES))["macro F1"] == by_name(pool(folds, CLASSES))["macro F1"]


def test_the_interval_counts_copies_once(folds):
    alone = [
        run._replace(rows=[row | {"group": str(scan)} for scan, row in enumerate(run.rows, 1000 * number)])
        for number, run in enumerate(folds[::2])
    ]
    widths = [
        (lambda interval: interval.high - interval.low)(by_name(pool(runs, CLASSES))["accuracy"].interval)
        for runs in (folds[::2], alone)
    ]
    assert widths[0] > 1.6 * widths[1]


def test_runs_over_the_same_scans_are_repeats():
    repeats = [run(1, seed, range(200), folds=None) for seed in (0, 1, 2)]
    pooled = pool(repeats, CLASSES)
    shares = [np.mean([row["actual"] == row["predicted"] for row in each.rows]) for each in repeats]
    assert not pooled.out_of_fold and pooled.scans == 200
    assert by_name(pooled)["accuracy"].value == pytest.approx(np.mean(shares), abs=1e-9)
    assert list(pooled.by_seed.values()) == pytest.approx(shares, abs=1e-9)


def test_folds_that_chose_the_validation_set_alone_are_repeats():
    repeats = [run(fold, seed, range(200)) for fold in (1, 2) for seed in (0, 1)]
    pooled = pool(repeats, CLASSES)
    assert not pooled.out_of_fold and pooled.scans == 200
    assert by_name(pooled)["accuracy"].value == pytest.approx(np.mean(list(pooled.by_fold.values())), abs=1e-9)
    assert by_name(pooled)["accuracy"].value == pytest.approx(np.mean(list(pooled.by_seed.values())), abs=1e-9)


def test_a_class_without_test_scans_has_no_value():
    some = [row for row in rows(range(200), 0) if row["actual"] != "notumor"]
    scores = by_name(pool([run(1, 0, range(200), folds=None)._replace(rows=some)], CLASSES))
    assert np.isnan(scores["sensitivity, notumor"].value) and scores["sensitivity, notumor"].interval.reason
    assert np.isnan(scores["balanced accuracy"].value) and scores["balanced accuracy"].interval.reason


def changed(runs: list[Run], place: int, section: str, **values) -> list[Run]:
    params = copy.deepcopy(runs[place].params)
    params[section] |= values
    return [*runs[:place], runs[place]._replace(params=params), *runs[place + 1 :]]


def test_runs_that_differ_in_more_than_fold_seed_and_device_are_refused(folds):
    assert pool(changed(folds, 3, "train", device="cuda"), CLASSES)
    with pytest.raises(UserError, match="fold-1-seed-0 and fold-2-seed-1 differ in train.epochs: 3 and 4"):
        pool(changed(folds, 3, "train", epochs=4), CLASSES)
    with pytest.raises(UserError, match="differ in split.seed: 0 and 1"):
        pool(changed(folds, 3, "split", seed=1), CLASSES)
    with pytest.raises(UserError, match="differ in train.ema: None and 0.9"):
        pool(changed(folds, 3, "train", ema=0.9), CLASSES)
    with pytest.raises(UserError, match="differ in train.ema: 0.9 and None"):
        pool(changed(folds, 0, "train", ema=0.9), CLASSES)


def test_a_missing_fold_is_named_with_the_command_that_runs_it(folds):
    with pytest.raises(UserError, match=r"with train.seed 1 split.fold 2 of 2 is missing; .*-S split.fold=2 -S train"):
        pool(folds[:3], CLASSES)


def test_the_same_fold_and_seed_twice_is_refused(folds):
    with pytest.raises(UserError, match="fold-1-seed-0 and again are the same fold, 1, with the same train.seed, 0"):
        pool([*folds, folds[0]._replace(name="again")], CLASSES)


def test_folds_that_share_some_test_scans_are_refused(folds):
    overlapping = [run(1, 0, range(240)), run(2, 0, range(230, 400))]
    with pytest.raises(UserError, match="fold-1-seed-0 and fold-2-seed-0 share test scans \\(10\\)"):
        pool(overlapping, CLASSES)


def test_a_group_of_copies_in_two_folds_is_refused():
    torn = [run(1, 0, range(238)), run(2, 0, range(238, 400))]
    with pytest.raises(UserError, match="share groups of copies \\(1\\)"):
        pool(torn, CLASSES)


def test_seeds_that_were_tested_on_other_scans_are_refused(folds):
    shorter = folds[1]._replace(rows=folds[1].rows[4:])
    with pytest.raises(UserError, match="fold-1-seed-0 and fold-1-seed-1 were tested on other scans: 240 and 236"):
        pool([folds[0], shorter, *folds[2:]], CLASSES)
