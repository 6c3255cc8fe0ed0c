"""Pooled scores are those of the pooled predictions; runs that don't belong together are refused."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, f1_score, matthews_corrcoef, recall_score

from tests.made import table
from trueslice.errors import UserError
from trueslice.evaluate.compare import difference
from trueslice.evaluate.pool import PooledRun, pool
from trueslice.tables.predictions import Predictions

CLASSES = ("glioma", "meningioma", "notumor")
COPIES = 4


def predictions(scans: range, seed: int, skill: float = 0.8) -> Predictions:
    """Predictions for some of a series of scans, four copies in each group, that succeed or fail together."""
    groups = np.array(scans) // COPIES
    probabilities = []
    for group in groups:
        random = np.random.default_rng([seed, group])
        shares = random.dirichlet(np.ones(3))
        y_true, best = group % 3, shares.argmax()
        if random.random() < skill - 1 / 3:
            shares[[best, y_true]] = shares[[y_true, best]]
        probabilities.append(shares)
    paths, hashes = ([form.format(scan) for scan in scans] for form in ("{:04}.jpg", "{:032x}"))
    return table(groups % 3, probabilities, groups, path=np.array(paths), pixel_hash=np.array(hashes))


def run(fold: int, seed: int, scans: range, folds: int | None = 2) -> PooledRun:
    params = {
        "seed": seed,
        "split": {"protocol": "grouped", "folds": folds, "fold": fold, "seed": 0},
        "train": {"epochs": 3, "device": "cpu"},
        "machine": {"workers": fold},
    }
    return PooledRun(f"fold-{fold}-seed-{seed}", params, predictions(scans, seed))


@pytest.fixture
def folds() -> list[PooledRun]:
    return [run(fold, seed, range(240) if fold == 1 else range(240, 400)) for fold in (1, 2) for seed in (0, 1)]


def share_right(run: PooledRun) -> float:
    return np.mean(run.predictions.y_true == run.predictions.y_pred)


def test_out_of_fold_scores_are_those_of_scikit_learn_on_all_predictions_meaned_over_seeds(folds):
    pooled = pool(folds)
    expected: dict[str, list[float]] = {}
    for seed in (0, 1):
        every = Predictions.concatenate([run.predictions for run in folds if run.params["seed"] == seed])
        y_true, y_pred = every.y_true, every.y_pred
        for name, value in (
            ("accuracy", np.mean(y_true == y_pred)),
            ("balanced accuracy", balanced_accuracy_score(y_true, y_pred)),
            ("macro F1", f1_score(y_true, y_pred, average="macro")),
            ("MCC", matthews_corrcoef(y_true, y_pred)),
            ("Cohen's kappa", cohen_kappa_score(y_true, y_pred)),
            *zip(map("sensitivity, {}".format, CLASSES), recall_score(y_true, y_pred, average=None), strict=True),
        ):
            expected.setdefault(name, []).append(value)
    scores = pooled.scores
    assert pooled.out_of_fold and len(pooled.predictions) == 400
    for name, values in expected.items():
        assert scores[name].value == pytest.approx(np.mean(values), abs=1e-9)
        assert scores[name].interval.low < scores[name].value < scores[name].interval.high
    assert pooled.by_seed == pytest.approx(dict(enumerate(expected["accuracy"])), abs=1e-9)
    # All copies of a scan agree, so one vote each changes nothing.
    assert scores["accuracy per distinct scan"].value == pytest.approx(scores["accuracy"].value, abs=1e-9)


def test_folds_are_given_apart_each_the_mean_of_its_seeds(folds):
    pooled = pool(folds)
    first = [share_right(run) for run in folds[:2]]
    assert pooled.by_fold[1] == pytest.approx(np.mean(first), abs=1e-9)
    assert set(pooled.by_fold) == {1, 2}


def test_the_order_of_runs_and_of_their_rows_changes_nothing(folds):
    turned = [
        run._replace(predictions=run.predictions.take(np.arange(len(run.predictions))[::-1])) for run in folds[::-1]
    ]
    assert pool(turned).scores["macro F1"] == pool(folds).scores["macro F1"]


def test_the_interval_counts_units_once(folds):
    alone = []
    for number, run in enumerate(folds[::2]):
        apart = 1000 * number + np.arange(len(run.predictions))
        alone.append(run._replace(predictions=replace(run.predictions, group=apart, unit=apart)))
    widths = [
        (lambda interval: interval.high - interval.low)(pool(runs).scores["accuracy"].interval)
        for runs in (folds[::2], alone)
    ]
    assert widths[0] > 1.6 * widths[1]


def test_runs_over_the_same_scans_are_repeats():
    repeats = [run(1, seed, range(200), folds=None) for seed in (0, 1, 2)]
    pooled = pool(repeats)
    shares = [share_right(each) for each in repeats]
    assert not pooled.out_of_fold and len(pooled.predictions) == 200
    assert pooled.scores["accuracy"].value == pytest.approx(np.mean(shares), abs=1e-9)
    assert list(pooled.by_seed.values()) == pytest.approx(shares, abs=1e-9)


def test_from_three_seeds_on_there_are_intervals_of_the_method():
    repeats = [run(1, seed, range(200), folds=None) for seed in (0, 1, 2, 3)]
    pooled = pool(repeats)
    shares = [share_right(each) for each in repeats]
    over_seeds = stats.t.interval(0.95, 3, np.mean(shares), stats.sem(shares))
    assert pooled.over_seeds[:2] == pytest.approx(over_seeds)
    # The same as against a method that is always right.
    sides = [[each.predictions for each in repeats], [each.predictions for each in repeats]]
    sides[1] = [replace(each, y_pred=each.y_true) for each in sides[1]]
    against = difference(*sides).interval
    assert (1 - pooled.over_both.high, 1 - pooled.over_both.low) == pytest.approx(against[:2])
    assert pool(repeats[:2]).over_seeds is pool(repeats[:2]).over_both is None


def test_folds_that_chose_the_validation_set_alone_are_repeats():
    repeats = [run(fold, seed, range(200)) for fold in (1, 2) for seed in (0, 1)]
    pooled = pool(repeats)
    assert not pooled.out_of_fold and len(pooled.predictions) == 200
    assert pooled.scores["accuracy"].value == pytest.approx(np.mean(list(pooled.by_fold.values())), abs=1e-9)
    assert pooled.scores["accuracy"].value == pytest.approx(np.mean(list(pooled.by_seed.values())), abs=1e-9)


def test_a_class_without_test_scans_has_no_value():
    every = run(1, 0, range(200), folds=None)
    some = every.predictions.take(every.predictions.y_true != 2)
    scores = pool([every._replace(predictions=some)]).scores
    assert np.isnan(scores["sensitivity, notumor"].value) and scores["sensitivity, notumor"].interval.reason
    assert np.isnan(scores["balanced accuracy"].value) and scores["balanced accuracy"].interval.reason


def changed(runs: list[PooledRun], place: int, section: str, **values) -> list[PooledRun]:
    params = copy.deepcopy(runs[place].params)
    params[section] |= values
    return [*runs[:place], runs[place]._replace(params=params), *runs[place + 1 :]]


def test_runs_that_differ_in_more_than_fold_seed_and_device_are_refused(folds):
    assert pool(changed(folds, 3, "train", device="cuda"))
    with pytest.raises(UserError, match=r"fold-1-seed-0 and fold-2-seed-1 differ in train.epochs: 3 and 4"):
        pool(changed(folds, 3, "train", epochs=4))
    with pytest.raises(UserError, match=r"differ in split.folds: 2 and 3"):
        pool(changed(folds, 3, "split", folds=3))
    with pytest.raises(UserError, match=r"differ in split.seed: 0 and 1"):
        pool(changed(folds, 3, "split", seed=1))
    with pytest.raises(UserError, match=r"differ in train.ema: None and 0.9"):
        pool(changed(folds, 3, "train", ema=0.9))
    with pytest.raises(UserError, match=r"differ in train.ema: 0.9 and None"):
        pool(changed(folds, 0, "train", ema=0.9))


def test_a_missing_fold_is_named_with_the_command_that_runs_it(folds):
    with pytest.raises(UserError, match=r"with seed 1 split.fold 2 of 2 is missing; .*-S split.fold=2 -S seed=1"):
        pool(folds[:3])


def test_the_same_fold_and_seed_twice_is_refused(folds):
    with pytest.raises(UserError, match="fold-1-seed-0 and again are the same fold, 1, with the same seed, 0"):
        pool([*folds, folds[0]._replace(name="again")])


def test_folds_that_share_some_test_scans_are_refused(folds):
    overlapping = [run(1, 0, range(240)), run(2, 0, range(230, 400))]
    with pytest.raises(UserError, match="fold-1-seed-0 and fold-2-seed-0 share test scans \\(10\\)"):
        pool(overlapping)


def test_a_group_of_copies_in_two_folds_is_refused():
    torn = [run(1, 0, range(238)), run(2, 0, range(238, 400))]
    with pytest.raises(UserError, match="share groups of copies \\(1\\)"):
        pool(torn)


def test_seeds_that_were_tested_on_other_scans_are_refused(folds):
    shorter = folds[1]._replace(predictions=folds[1].predictions.take(np.arange(4, 240)))
    with pytest.raises(UserError, match="fold-1-seed-0 and fold-1-seed-1 were tested on other scans: 240 and 236"):
        pool([folds[0], shorter, *folds[2:]])


def test_runs_that_know_other_classes_are_refused(folds):
    other = replace(folds[3].predictions, class_names=("glioma", "healthy", "meningioma"))
    with pytest.raises(UserError, match="fold-1-seed-0 and fold-2-seed-1 know different classes"):
        pool([*folds[:3], folds[3]._replace(predictions=other)])
