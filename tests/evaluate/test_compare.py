"""The comparison of experiments against independent computations: counted by brute force, drawn one by one."""

import itertools
from dataclasses import replace
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score

from tests.made import one_hot, table
from trueslice.errors import UserError
from trueslice.evaluate import compare as comparison
from trueslice.evaluate.metrics import accuracy, macro_f1
from trueslice.tables.predictions import Predictions

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


def test_other_patients_are_refused_with_the_number_that_agree():
    y_true, group, (a, b) = drawn(0)
    first = predictions(y_true, group, a)
    other = replace(predictions(y_true, group, b), unit=np.where(group < 2, 0, group))
    alike = int((group >= 2).sum())
    with pytest.raises(UserError, match=f"scans as of one patient: {alike} of 60 scans have the same unit in both"):
        comparison.pair({"a": first, "b": other})


def test_a_later_run_is_held_to_the_first_too():
    y_true, group, (a, b) = drawn(0)
    runs = {"a": predictions(y_true, group, a), "b": predictions(y_true, group, b)}
    runs["c"] = runs["b"].take(np.arange(1, 60))
    with pytest.raises(UserError, match="a and c"):
        comparison.pair(runs)


# The jackknife and what follows from it


@pytest.mark.parametrize("seed", range(3))
def test_the_jackknife_is_scikit_learn_without_each_unit_in_turn(seed):
    y_true, unit, y_pred = drawn(seed)
    runs = [predictions(y_true, unit, each) for each in y_pred]
    for ours, theirs in (
        (accuracy, accuracy_score),
        (macro_f1, lambda *x: f1_score(*x, labels=[0, 1, 2], average="macro")),
    ):
        values, errors = comparison.jackknife(runs, unit, ours)
        without = np.array([[theirs(y_true[unit != u], each[unit != u]) for u in range(25)] for each in y_pred])
        assert values == pytest.approx([theirs(y_true, each) for each in y_pred])
        assert errors == pytest.approx(np.sqrt(24 / 25) * (without - without.mean(axis=1, keepdims=True)), abs=1e-9)


def test_over_single_scans_the_error_is_that_of_a_mean():
    y_true, _, (a, b) = drawn(1)
    _, (error_a, error_b) = comparison.jackknife([predictions(y_true, np.arange(60), each) for each in (a, b)],
                                                 np.arange(60), accuracy)  # fmt: skip
    differences = (b == y_true).astype(float) - (a == y_true)
    error, _ = comparison.model_error(error_b - error_a)
    assert error == pytest.approx(differences.std(ddof=1) / np.sqrt(60))


def test_the_degrees_of_freedom_are_those_that_the_spread_of_the_variance_has():
    random = np.random.default_rng(0)
    errors = random.exponential(size=(4000, 2000)) - 1
    variances = (errors**2).sum(axis=1)
    _, freedom = comparison.model_error(errors)
    assert np.median(freedom) == pytest.approx(2 * variances.mean() ** 2 / variances.var(), rel=0.1)


def test_few_units_that_differ_leave_few_degrees_of_freedom_and_never_more_than_units():
    one_of_100 = np.r_[1.0, np.zeros(99)]
    assert comparison.model_error(one_of_100 - 0.01)[1] == pytest.approx(2, abs=0.1)
    assert comparison.model_error(np.tile([1.0, -1.0], 50))[1] == 99


def by_hand(values, errors) -> tuple[float, float]:
    """Obuchowski and Rockette's variance, with every covariance computed alone, and its degrees of freedom."""

    def mean_covariance(side, other):
        pairs = [(i, j) for i in range(len(side)) for j in range(len(other)) if side is not other or i != j]
        return np.mean([np.sum(side[i] * other[j]) for i, j in pairs])

    (a, b), (of_a, of_b) = values, errors
    seeds = [np.var(side, ddof=1) / len(side) for side in (a, b)]
    units = mean_covariance(of_a, of_a) + mean_covariance(of_b, of_b) - 2 * mean_covariance(of_a, of_b)
    units = max(units, 0)
    difference = of_b.mean(axis=0) - of_a.mean(axis=0)
    kurtosis = len(difference) * np.sum(difference**4) / np.sum(difference**2) ** 2
    freedom = min(len(difference) - 1, 2 * len(difference) / (kurtosis - 1))
    terms = [(seeds[0], len(a) - 1), (seeds[1], len(b) - 1), (units, freedom)]
    variance = sum(term for term, _ in terms)
    return np.sqrt(variance), variance**2 / sum(term**2 / of for term, of in terms)


@pytest.mark.parametrize("seed", range(4))
def test_the_error_of_methods_is_obuchowskis_and_rockettes(seed):
    random = np.random.default_rng(seed)
    values = random.normal(size=3), random.normal(size=4)
    shared, of_b = random.normal(size=(2, 50)) * [[1], [seed]]  # with and without what sets the methods apart
    errors = shared + random.normal(size=(3, 50)), shared + of_b + random.normal(size=(4, 50))
    errors = tuple(side - side.mean(axis=1, keepdims=True) for side in errors)
    assert comparison.method_error(values, errors) == pytest.approx(by_hand(values, errors))


def test_where_units_say_nothing_it_is_welchs_test():
    a, b = np.array([0.8, 0.85, 0.82]), np.array([0.9, 0.84, 0.95, 0.91])
    error, freedom = comparison.method_error((a, b), (np.zeros((3, 9)), np.zeros((4, 9))))
    welch = stats.ttest_ind(b, a, equal_var=False)
    assert ((b.mean() - a.mean()) / error, freedom) == pytest.approx((welch.statistic, welch.df))


def test_where_runs_are_alike_it_is_the_error_of_one_run():
    y_true, unit, (a, b) = drawn(4)
    sides = [[predictions(y_true, unit, each)] for each in (a, b)]
    models, methods = comparison.difference(*sides), comparison.difference(sides[0] * 3, sides[1] * 3)
    assert methods.interval.low == pytest.approx(models.interval.low)


def test_it_is_units_that_count_and_not_groups_of_copies():
    y_true, group, y_pred = drawn(3, scans=200, groups=200)
    apart = paired(y_true, group, y_pred)
    joined = {name: replace(run, unit=group // 20) for name, run in apart.items()}
    narrow, wide = (comparison.compare(runs, ["a"], ["b"]) for runs in (apart, joined))
    assert wide.mcnemar[1] + wide.mcnemar[2] <= 10 < narrow.mcnemar[1] + narrow.mcnemar[2]
    assert wide.differ <= 10 < narrow.differ
    assert wide.sign_flip != narrow.sign_flip
    assert wide.scores["accuracy"].interval != narrow.scores["accuracy"].interval


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
    chosen = np.array([comparison.one_per_unit(group, seed) for seed in range(3000)])
    assert np.array_equal(group[chosen], np.tile([0, 1, 2], (3000, 1)))
    assert np.bincount(chosen[:, 0], minlength=5) / 3000 == pytest.approx([0, 1 / 3, 1 / 3, 0, 1 / 3], abs=0.03)
    assert np.array_equal(comparison.one_per_unit(group, 7), comparison.one_per_unit(group, 7))


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
        assert (found.p_value < 0.05) == (found.interval.low > 0 or found.interval.high < 0)
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
    assert methods.p_value == methods.scores["accuracy"].p_value > 0.05
    assert methods.scores["accuracy"].interval.low < 0 < methods.scores["accuracy"].interval.high


@pytest.mark.parametrize(("a", "b"), [("a", "b"), ("ab", "cd"), ("abc", "de"), ("a", "bcd")])
def test_fewer_than_three_runs_on_a_side_say_nothing_about_methods(a, b):
    y_true, group, y_pred = drawn(6, runs=5)
    result = comparison.compare(paired(y_true, group, y_pred), list(a), list(b))
    assert not result.of_methods and result.p_value == result.sign_flip
    assert comparison.compare(paired(*drawn(6, runs=6)), list("abc"), list("def")).of_methods


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
    assert all(score.difference == 0 and score.interval.reason for score in result.scores.values())
    # A class that nobody has or predicts has no F1, so there is no macro F1; the accuracy stays.
    result = comparison.compare({name: table([0], [[1, 0]]) for name in "ab"}, ["a"], ["b"])
    assert result.scores["accuracy"].difference == 0
    assert all(np.isnan([*result.scores["macro F1"][:3], result.scores["macro F1"].p_value]))
    assert result.scores["macro F1"].interval.reason
