import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tumorclip.data import groups as audit


def test_each_exact_copy_is_paired_with_the_first():
    assert audit.exact_copies(["x", "y", "x", "z", "y", "x"]) == [
        (0, 2, "exact", 1.0),
        (1, 4, "exact", 1.0),
        (0, 5, "exact", 1.0),
    ]


def test_a_copy_of_a_copy_is_in_the_same_group():
    pairs = [audit.Pair(3, 5, "near", 0.99), audit.Pair(1, 3, "mirrored", 0.98), audit.Pair(0, 4, "exact", 1.0)]
    assert audit.group(6, pairs).tolist() == [0, 1, 2, 1, 0, 1]


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_groups_are_the_connected_components_named_by_their_first_row(drawn):
    count, edges = drawn
    groups = audit.group(count, [audit.Pair(min(e), max(e), "near", 0.99) for e in edges])
    reachable = np.eye(count, dtype=int)
    for a, b in edges:
        reachable[a, b] = reachable[b, a] = 1
    reachable = np.linalg.matrix_power(reachable.astype(object), count) > 0
    assert groups.tolist() == [int(np.argmax(row)) for row in reachable]


SPLITS = np.array(["train", "train", "train", "test", "test", "test", "test"])
CLASSES = np.array(["a", "a", "b", "a", "a", "b", "b"])
GROUPS = np.array([0, 1, 2, 0, 4, 0, 6])


def test_a_test_scan_is_leaked_if_its_group_is_in_the_published_training_folder():
    assert audit.leaked(SPLITS, GROUPS).tolist() == [False, False, False, True, False, True, False]
    assert not audit.leaked(np.array([""] * 7), GROUPS).any()


def test_groups_that_span_classes_conflict():
    assert audit.conflicting(CLASSES, GROUPS).tolist() == [True, False, False, True, False, True, False]


def test_summary_counts_what_the_table_holds():
    pairs = [audit.Pair(0, 3, "exact", 1.0), audit.Pair(0, 5, "mirrored", 0.99)]
    assert audit.summarise(SPLITS, CLASSES, GROUPS, pairs) == {
        "scans": {"train": {"total": 3, "a": 2, "b": 1}, "test": {"total": 4, "a": 2, "b": 2}},
        "distinct_scans": {"total": 5, "a": 3, "b": 3},
        "copy_pairs": {"total": 2, "exact": 1, "mirrored": 1},
        "copy_groups": 1,
        "largest_copy_group": 3,
        "label_conflicts": 1,
        "leaked_test_scans": {"total": 2, "a": 1, "b": 1},
    }
    alone = audit.summarise(np.array(["", ""]), np.array(["a", "b"]), np.array([0, 1]), [])
    assert alone["scans"] == {"all": {"total": 2, "a": 1, "b": 1}} and alone["copy_pairs"] == {"total": 0, "exact": 0}


def test_examples_show_every_kind_and_class_and_one_pair_of_a_group():
    splits = np.array(["train"] * 6 + ["test"] * 6)
    classes = np.array(["a", "a", "a", "b", "b", "c"] * 2)
    pairs = [audit.Pair(row, row + 6, kind, 0.99 + row / 1000) for row, kind in enumerate("xxxxyz")]
    pairs += [audit.Pair(0, 7, "y", 0.98), audit.Pair(8, 9, "x", 0.98)]  # of a shown group; within test
    groups = audit.group(12, pairs[:6])
    shown = audit.examples(pairs, splits, classes, groups, 4)
    assert [(pair.a, pair.b, pair.kind) for pair in shown] == [
        (8, 2, "x"), (7, 1, "x"), (10, 4, "y"), (11, 5, "z"),
    ]  # fmt: skip
    assert len(audit.examples(pairs, splits, classes, groups, 99)) == 6
    assert audit.examples(pairs[-1:], splits, classes, groups, 4) == []


def test_examples_of_a_source_without_a_test_set_are_any_pairs():
    pair = audit.Pair(0, 2, "near", 0.99)
    nowhere, groups = np.array([""] * 3), np.array([0, 1, 0])
    assert audit.examples([pair], nowhere, np.array(["a", "b", "a"]), groups, 8) == [pair]
