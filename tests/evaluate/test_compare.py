"""The comparison of experiments against independent computations: counted by brute force, drawn one by one."""

import itertools
from dataclasses import replace
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from made import one_hot, table
from sklearn.metrics import accuracy_score, f1_score

from tumorclip.errors import UserError
from tumorclip.evaluate import compare as comparison
from tumorclip.evaluate.intervals import group_confusions, resample_counts
from tumorclip.evaluate.metrics import accuracy, macro_f1
from tumorclip.tables import Predictions

CLASSES = ("glioma", "meningioma", "notumor")


def drawn(seed: int, scans: int = 60, groups: int = 25, runs: int = 2):
    """True classes, groups and the predictions of some runs: int [N], int [N] and int [N] each."""
    random = np.random.default_rng(seed)
    y_true = random.integers(0, 3, scans)
    # Every group occurs, and the numbers are those of a first appearance.
    group = np.concatenate([np.arange(groups), np.sort(random.integers(0, groups, scans - groups))])
    return (
        y_true,
        group,
        [np.where(random.random(scans) < 0.7, y_true, random.integers(0, 3, scans)) for _ in range(runs)],
    )


def predictions(y_true, group, y_pred, folder="Testing") -> Predictions:
    paths = [f"{folder}/{CLASSES[label]}/{number:03}.jpg" for number, label in enumerate(y_true)]
    hashes = [f"{number * 7919 % 1000:03}" for number in range(len(y_true))]
    return table(y_true, one_hot(y_pred, 3), group, path=np.array(paths), pixel_hash=np.array(hashes))


def same_pixels(paths, y_true, y_pred) -> Predictions:
    same = np.array(["same"] * len(paths))
    return table(y_true, one_hot(y_pred, 3), np.zeros(len(paths), int), path=np.array(paths), pixel_hash=same)


def paired(y_true, group, y_pred) -> dict[str, Predictions]:
    """Runs called a, b, c and so on, from the predictions of each."""
    return {name: predictions(y_true, group, each) for name, each in zip("abcdef", y_pred, strict=False)}


def confusions(y_true, group, y_pred) -> np.ndarray:
    """Confusion counts of runs, float [S, G, K, K], from the predictions of each."""
    return group_confusions([predictions(y_true, group, each) for each in y_pred], group)


# Pairing


def test_scans_in_another_order_and_folder_are_paired_by_their_pixels():
    y_true, group, (a, b) = drawn(0)
    shuffled = predictions(y_true, group + 100, b, folder="elsewhere/Testing")
    shuffled = shuffled.take(np.random.default_rng(1).permutation(60))
    both = comparison.pair({"a": predictions(y_true, group, a), "b": shuffled})
    order = np.array([int(path[-7:-4]) for path in both["a"].path])
    assert sorted(order) == list(range(60)) and list(order) != sorted(order)
    assert [path[-7:-4] for path in both["b"].path] == [path[-7:-4] for path in both["a"].path]
    for name, y_pred, numbers in (("a", a, group), ("b", b, group + 100)):
        assert np.array_equal(both[name].y_true, y_true[order])
        assert np.array_equal(both[name].y_pred, y_pred[order])
        assert np.array_equal(both[name].group, numbers[order])


def test_files_with_the_same_pixels_are_paired_by_class_and_path():
    a = same_pixels(["x.jpg", "y.jpg"], [0, 0], [0, 2])
    b = same_pixels(["y.jpg", "x.jpg"], [0, 0], [0, 1])
    both = comparison.pair({"a": a, "b": b})
    assert both["a"].path.tolist() == both["b"].path.tolist() == ["x.jpg", "y.jpg"]
    assert both["a"].y_pred.tolist() == [0, 2]
    assert both["b"].y_pred.tolist() == [1, 0]


def test_the_same_pixels_under_two_classes_are_paired_by_class_where_folders_were_renamed():
    a = same_pixels(["1/x.jpg", "2/x.jpg"], [0, 2], [0, 0])
    b = same_pixels(["91/x.jpg", "2/x.jpg"], [0, 2], [0, 0])
    both = comparison.pair({"a": a, "b": b})
    assert both["a"].y_true.tolist() == both["b"].y_true.tolist() == [0, 2]


def test_other_classes_are_refused_by_name():
    y_true, group, (a, b) = drawn(0)
    other = replace(predictions(y_true, group, b), class_names=("glioma", "healthy", "meningioma"))
    with pytest.raises(UserError, match="a and b know different classes: glioma, meningioma, notumor; glioma, healthy"):
        comparison.pair({"a": predictions(y_true, group, a), "b": other})


def test_other_test_scans_are_refused_with_the_number_in_common():
    y_true, group, (a, b) = drawn(0)
    short = predictions(y_true, group, b).take(np.arange(50))
    with pytest.raises(UserError, match="long and short were tested on other scans: 60 and 50, 50 of them in common"):
        comparison.pair({"long": predictions(y_true, group, a), "short": short})


def test_a_copy_more_of_the_same_pixels_is_another_test_set():
    y_true, group, (a, b) = drawn(0)
    more = predictions(y_true, group, b)
    hashes = more.pixel_hash.copy()
    hashes[1] = hashes[0]
    with pytest.raises(UserError, match="60 and 60, 59 of them in common"):
        comparison.pair({"a": predictions(y_true, group, a), "b": replace(more, pixel_hash=hashes)})


def test_other_labels_are_refused_with_the_number_that_agree():
    y_true, group, (a, b) = drawn(0)
    other = y_true.copy()
    other[:4] = (other[:4] + 1) % 3
    with pytest.raises(UserError, match="other classes to the same scans: 56 of 60 agree"):
        comparison.pair({"a": predictions(y_true, group, a), "b": predictions(other, group, b)})


@pytest.mark.parametrize(("moved", "to", "alike"), [([0], 99, 57), ([0, 1, 2], 1, 54)])
def test_other_groups_are_refused_with_the_number_that_agree(moved, to, alike):
    y_true, _, (a, b) = drawn(0)
    group = np.repeat(np.arange(20), 3)
    other = group.copy()
    other[moved] = to
    with pytest.raises(UserError, match=f"{alike} of 60 scans have the same copies in both"):
        comparison.pair({"a": predictions(y_true, group, a), "b": predictions(y_true, other, b)})


def test_a_later_run_is_held_to_the_first_too():
    y_true, group, (a, b) = drawn(0)
    runs = {"a": predictions(y_true, group, a), "b": predictions(y_true, group, b)}
    runs["c"] = runs["b"].take(np.arange(1, 60))
    with pytest.raises(UserError, match="a and c"):
        comparison.pair(runs)


# The bootstrap


@pytest.mark.parametrize("seed", range(3))
def test_the_bootstrap_of_two_runs_is_scikit_learn_on_the_drawn_groups_scans(seed):
    y_true, group, y_pred = drawn(seed)
    sides = [confusions(y_true, group, [each]) for each in y_pred]
    differences = comparison.bootstrap_difference(*sides, [accuracy, macro_f1], resamples=50, seed=seed)
    assert differences.shape == (2, 50)
    for resample, counts in enumerate(resample_counts(25, 50, seed)):
        scans = np.concatenate(
            [np.tile(np.flatnonzero(group == mark), int(times)) for mark, times in enumerate(counts)]
        )
        a, b = (
            [
                accuracy_score(y_true[scans], each[scans]),
                f1_score(y_true[scans], each[scans], labels=[0, 1, 2], average="macro", zero_division=np.nan),
            ]
            for each in y_pred
        )
        assert differences[:, resample] == pytest.approx(np.subtract(b, a), abs=1e-9)


def test_several_runs_are_drawn_as_well_on_each_side_alone():
    y_true, group, y_pred = drawn(5, runs=5)
    sides = [confusions(y_true, group, side) for side in (y_pred[:2], y_pred[2:])]
    (differences,) = comparison.bootstrap_difference(*sides, [accuracy], resamples=4000, seed=1)
    counts = resample_counts(25, 4000, 1).astype(float)
    sizes = counts @ np.bincount(group)
    scores = [counts @ np.bincount(group, each == y_true) / sizes for each in y_pred]
    # Of two runs one is drawn; of three runs two are, with replacement.
    side_a = np.stack(scores[:2])
    side_b = np.stack([(scores[2 + i] + scores[2 + j]) / 2 for i in range(3) for j in range(i, 3)])
    possible = (side_b[:, None] - side_a[None]).reshape(-1, 4000)
    assert np.abs(possible - differences).min(axis=0) == pytest.approx(0, abs=1e-12)
    means = [np.mean(each == y_true) for each in y_pred]
    assert differences.mean() == pytest.approx(np.mean(means[2:]) - np.mean(means[:2]), abs=0.01)
    # Runs without groups: the variance of a mean of S runs is their sample variance over S.
    fixed = np.array([[[[right, 100 - right], [0, 0]]] for right in (60, 70, 80)], dtype=float)
    (over_seeds,) = comparison.bootstrap_difference(fixed[:1], fixed, [accuracy], resamples=20_000, seed=0)
    variance = np.var([0.6, 0.7, 0.8], ddof=1) / 3
    assert over_seeds.var() == pytest.approx(variance, rel=0.05)
    (over_both,) = comparison.bootstrap_difference(fixed, fixed, [accuracy], resamples=20_000, seed=0)
    assert over_both.var() == pytest.approx(2 * variance, rel=0.05)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [([1, 2, 3, 4], 2 / 5), ([-1, 1, 1, 1], 4 / 5), ([-1, -1, 1, 1], 1), ([0, 0, 0, 0], 1), ([-1] * 999, 2 / 1000)],
)
def test_the_bootstrap_p_value_by_hand(differences, expected):
    assert comparison.bootstrap_p_value(np.array(differences)) == pytest.approx(expected)


# The tests


def flipped_one_by_one(differences) -> float:
    sums = [sum(sign * size for sign, size in zip(signs, differences, strict=True))
            for signs in itertools.product([-1, 1], repeat=len(differences))]  # fmt: skip
    return sum(abs(each) >= abs(sum(differences)) for each in sums) / len(sums)


@pytest.mark.parametrize(
    "differences",
    [[1], [3, -1], [2, 2, 2], [1, 1, 1, 1, -1, 0, 0], [5, -5, 3], [26, 1, 1, -2, 1, 0, 1, 1, 1, 3], [6, -9, 12, 3, 3]],
)
def test_the_sign_flip_test_counts_every_flip(differences):
    assert comparison.sign_flip_test(np.array(differences)) == pytest.approx(flipped_one_by_one(differences), abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_the_sign_flip_test_on_random_groups(seed):
    random = np.random.default_rng(seed)
    differences = random.integers(-4, 6, random.integers(1, 12))
    assert comparison.sign_flip_test(differences) == pytest.approx(flipped_one_by_one(differences), abs=1e-12)


def test_the_sign_flip_test_over_many_groups_agrees_with_drawn_flips():
    random = np.random.default_rng(3)
    differences = random.choice([-3, -1, 0, 1, 2], 400, p=[0.05, 0.2, 0.45, 0.25, 0.05])
    flips = random.choice([-1, 1], (40_000, 400)) @ differences
    assert comparison.sign_flip_test(differences) == pytest.approx(
        np.mean(np.abs(flips) >= abs(differences.sum())), abs=0.01
    )


def test_single_scans_make_the_sign_flip_test_mcnemars():
    y_true, _, (a, b) = drawn(2)
    result = comparison.compare(paired(y_true, np.arange(60), [a, b]), ["a"], ["b"])
    p_value, only_a, only_b = comparison.mcnemar_test(a == y_true, b == y_true)
    assert only_a and only_b and result.mcnemar == (p_value, only_a, only_b)
    assert result.sign_flip == pytest.approx(p_value)


@pytest.mark.parametrize("seed", range(5))
def test_the_sign_flips_of_several_runs_are_those_of_the_differences_of_their_means(seed):
    y_true, group, y_pred = drawn(seed, groups=9, runs=5)
    differences = []
    for mark in range(9):
        here = group == mark
        a, b = (np.mean([np.sum(each[here] == y_true[here]) for each in side]) for side in (y_pred[:2], y_pred[2:]))
        differences.append(round(6 * (b - a)))
    result = comparison.compare(paired(y_true, group, y_pred), ["a", "b"], ["c", "d", "e"])
    assert result.sign_flip == pytest.approx(flipped_one_by_one(differences), abs=1e-12)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 1), (0, 9), (5, 5), (3, 11), (40, 22), (1, 200)])
def test_mcnemars_test_is_the_binomial_in_fractions(only_a, only_b):
    tosses = only_a + only_b
    tail = sum(Fraction(comb(tosses, count), 2**tosses) for count in range(min(only_a, only_b) + 1))
    right_a = np.array([True] * only_a + [False] * only_b + [True, False])
    right_b = np.array([False] * only_a + [True] * only_b + [True, False])
    p_value, *counted = comparison.mcnemar_test(right_a, right_b)
    assert counted == [only_a, only_b]
    assert p_value == pytest.approx(float(min(1, 2 * tail)), abs=1e-9)


def test_one_scan_of_every_group_each_equally_often():
    group = np.array([2, 0, 0, 1, 0])
    chosen = np.array([comparison.one_per_group(group, seed) for seed in range(3000)])
    assert np.array_equal(group[chosen], np.tile([0, 1, 2], (3000, 1)))
    assert np.bincount(chosen[:, 0], minlength=5) / 3000 == pytest.approx([0, 1 / 3, 1 / 3, 0, 1 / 3], abs=0.03)
    assert np.array_equal(comparison.one_per_group(group, 7), comparison.one_per_group(group, 7))


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 x 0.01; 2 x 0.03; max(1 x 0.04, 0.06)
        ([0.5, 0.5], [1, 1]),
        ([0.02, 0.02, 0.9, 0.001], [0.06, 0.06, 0.9, 0.004]),
    ],
)
def test_holm_by_hand(p_values, adjusted):
    assert comparison.holm(p_values) == pytest.approx(adjusted)


# All together


@pytest.mark.parametrize("seed", range(3))
def test_the_scores_are_scikit_learns(seed):
    y_true, group, (y_a, y_b) = drawn(seed)
    result = comparison.compare(paired(y_true, group, [y_a, y_b]), ["a"], ["b"])
    for name, score in {"accuracy": accuracy_score, "macro F1": lambda *x: f1_score(*x, average="macro")}.items():
        a, b = (score(y_true, y_pred) for y_pred in (y_a, y_b))
        found = result.scores[name]
        assert (found.a, found.b, found.difference) == pytest.approx((a, b, b - a), abs=1e-9)
        assert found.interval.low < found.difference < found.interval.high
    assert result.p_value == result.sign_flip
    assert np.array_equal(result.disagree, np.flatnonzero(y_a != y_b))


def test_other_numbers_for_the_same_groups_change_nothing():
    y_true, group, y_pred = drawn(1)
    here = comparison.compare(paired(y_true, group, y_pred), ["a"], ["b"])
    there = comparison.compare(paired(y_true, 1000 - 7 * group, y_pred), ["a"], ["b"])
    assert here.scores == there.scores and here.sign_flip == there.sign_flip and here.mcnemar == there.mcnemar


def test_changing_sides_changes_signs_alone():
    both = paired(*drawn(1))
    there, back = comparison.compare(both, ["a"], ["b"]), comparison.compare(both, ["b"], ["a"])
    for name in there.scores:
        assert there.scores[name].difference == -back.scores[name].difference
        assert there.scores[name].interval.low == pytest.approx(-back.scores[name].interval.high, abs=1e-12)
    assert there.sign_flip == back.sign_flip
    assert there.mcnemar[0] == back.mcnemar[0] and there.mcnemar[1:] == back.mcnemar[:0:-1]


def test_seeds_widen_the_interval_and_decide():
    random = np.random.default_rng(0)
    y_true, group = np.zeros(600, dtype=int), np.arange(600)
    # Two methods alike, whose runs reach 80 to 95 %: the models differ, the methods do not.
    levels = [0.80, 0.95, 0.88, 0.95, 0.86, 0.95]
    both = paired(y_true, group, [(random.random(600) > level).astype(int) for level in levels])
    models = comparison.compare(both, ["a"], ["b"])
    methods = comparison.compare(both, list("abc"), list("def"))
    assert models.sign_flip < 1e-6 and methods.sign_flip < 0.01
    assert methods.mcnemar is None
    assert methods.p_value > 0.05
    assert methods.scores["accuracy"].interval.low < 0 < methods.scores["accuracy"].interval.high


def test_of_several_runs_the_majority_speaks():
    both = paired([0, 0, 1], np.arange(3), [[0, 0, 1], [0, 1, 1], [0, 0, 1], [0, 1, 1]])
    result = comparison.compare(both, ["a", "b", "c"], ["d"])
    assert result.disagree.tolist() == [1]
    assert result.votes[0].tolist() == [[3, 0, 0], [2, 1, 0], [0, 3, 0]]
    assert result.votes[1].tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("a", "b", "group", "difference", "sign_flip", "mcnemar"),
    [
        ([0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 2, 2], 0, 1, (1, 0, 0)),  # no disagreement
        ([0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 2, 2], 0, 1, None),  # they disagree within one group alone
        ([1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 2, 3], 1, 1 / 8, (1 / 8, 0, 4)),  # A all wrong, B all right
        ([1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], 1, 1, (1, 0, 1)),  # one group
    ],
)
def test_degenerate_predictions(a, b, group, difference, sign_flip, mcnemar):
    result = comparison.compare(paired([0, 0, 1, 1], np.array(group), [a, b]), ["a"], ["b"])
    assert result.scores["accuracy"].difference == difference
    assert result.sign_flip == pytest.approx(sign_flip)
    if mcnemar:
        assert result.mcnemar == pytest.approx(mcnemar)


@pytest.mark.filterwarnings("error")
def test_one_class_alone_and_one_scan():
    one = {name: table([0], [[1]]) for name in "ab"}
    result = comparison.compare(one, ["a"], ["b"])
    assert all((score.difference, *score.interval[:2]) == (0, 0, 0) for score in result.scores.values())
    # A class that nobody has or predicts has no F1, so there is no macro F1; the accuracy stays.
    result = comparison.compare({name: table([0], [[1, 0]]) for name in "ab"}, ["a"], ["b"])
    assert result.scores["accuracy"].difference == 0
    assert all(np.isnan(result.scores["macro F1"][:3]))
    assert result.scores["macro F1"].interval.reason
