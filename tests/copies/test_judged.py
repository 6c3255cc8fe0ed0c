"""Decisions about pairs, on pairs of copies that a search has found."""

import numpy as np
import pytest

from trueslice.copies.groups import group
from trueslice.copies.judged import Judged, obey, read
from trueslice.errors import UserError
from trueslice.tables.decisions import Decision, append
from trueslice.tables.scans import Pairs

PATHS = ["a", "b", "c", "d", "e"]
# A chain a - b - c - d whose weakest link is in its middle; e is alone.
ROWS = [(0, 1, 0.999), (0, 2, 0.98), (1, 2, 0.981), (2, 3, 0.99)]
MEANS = np.random.default_rng(0).normal(size=(5, 64, 64)).astype(np.float32)


def pairs() -> Pairs:
    a, b, correlation = zip(*ROWS, strict=True)
    return Pairs(np.array(a), np.array(b), np.full(len(a), "near"), np.array(correlation))


def groups_after(**decided) -> tuple[list[int], list[tuple[str, ...]]]:
    judged = Judged(**{"classes": {}, "left_out": [], "same": [], "different": [], "strangers": []} | decided)
    found, contradicted = obey(pairs(), MEANS, PATHS, judged)
    assert (np.lexsort((found.b, found.a)) == np.arange(len(found))).all()
    return group(len(PATHS), found).tolist(), contradicted


def test_without_decisions_about_pairs_nothing_changes():
    assert groups_after() == ([0, 0, 0, 0, 4], [])


def test_scans_judged_different_are_apart_and_the_group_breaks_at_its_weakest_links():
    # Also without a pair of the two themselves.
    assert groups_after(different=[("a", "d")]) == ([0, 0, 2, 2, 4], [])
    assert groups_after(different=[("a", "b")]) == ([0, 1, 1, 1, 4], [])


def test_scans_judged_the_same_are_copies_and_keep_a_doubtful_link():
    assert groups_after(same=[("d", "e")]) == ([0, 0, 0, 0, 0], [])
    assert groups_after(same=[("b", "c")], different=[("a", "d")]) == ([0, 0, 0, 3, 4], [])


def test_decisions_that_contradict_each_other_are_told_and_the_scans_stay_apart():
    found, contradicted = groups_after(same=[("a", "b"), ("b", "e")], different=[("a", "e")])
    assert found[0] != found[4] and contradicted == [("b", "e")]


def test_a_pair_with_a_scan_that_is_left_out_is_passed_over():
    assert groups_after(same=[("a", "left out")], different=[("left out", "b")]) == ([0, 0, 0, 0, 4], [])


def test_many_scans_are_joined_in_a_moment():
    count = 20_000
    chain = Pairs(np.arange(count - 1), np.arange(1, count), np.full(count - 1, "near"), np.full(count - 1, 0.99))
    paths = [str(row) for row in range(count)]
    judged = Judged({}, [], [], [("0", str(count - 1))], [])
    found, _ = obey(chain, np.zeros((count, 2, 2), np.float32), paths, judged)
    assert len(found) == count - 2


def test_decisions_are_sorted_by_what_they_ask_for_and_strangers_are_named(tmp_path):
    file = tmp_path / "decisions.csv"
    append(file, [
        Decision("a", "", "wrong", "glioma"), Decision("b, frame 2", "", "wrong", ""), Decision("c", "", "right", ""),
        Decision("a", "c", "same", ""), Decision("b, frame 1", "c", "different", ""), Decision("z", "", "wrong", "x"),
        Decision("a", "y", "same", ""),
    ])  # fmt: skip
    judged = read(file, ["a", "b", "c"], ["glioma", "notumor"])
    assert judged == Judged({"a": "glioma"}, ["b, frame 2"], [("a", "c")], [("b, frame 1", "c")], ["z", "y"])
    assert str(judged) == "1 in another class, 1 left out, 1 pairs the same, 1 pairs different"


def test_a_class_that_does_not_exist_is_refused(tmp_path):
    append(tmp_path / "decisions.csv", [Decision("a", "", "wrong", "gliom")])
    with pytest.raises(UserError, match=r"gives 'a' the class 'gliom', which is not under `classes:`"):
        read(tmp_path / "decisions.csv", ["a"], ["glioma"])
