import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scan_tables import pair_table, rows, scan_table
from trueslice.copies import groups
from trueslice.records.data import CopyKind


@settings(deadline=None)
@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_groups_are_the_connected_components_named_by_their_first_row(drawn):
    count, edges = drawn
    found = groups.group(count, pair_table(*((min(e), max(e), "near", 0.99) for e in edges)))
    reachable = np.eye(count, dtype=int)
    for a, b in edges:
        reachable[a, b] = reachable[b, a] = 1
    reachable = np.linalg.matrix_power(reachable.astype(object), count) > 0
    assert found.dtype == np.int64
    assert found.tolist() == [int(np.argmax(row)) for row in reachable]


def test_the_frames_of_a_file_are_one_unit_with_all_their_copies():
    path = np.array(["a.dcm, frame 1", "b.dcm, frame 1", "a.dcm, frame 10", "c.png", "b.dcm, frame 2", "d.png"])
    scans = scan_table(["train"] * 6, ["a"] * 6, [0, 1, 2, 2, 4, 5], path=path)
    assert groups.units(scans).tolist() == [0, 1, 0, 0, 1, 5]
    assert groups.files_and_copies(scans.group, path).tolist() == [0, 1, 0, 0, 1, 5]
    patient = np.array(["p", "", "", "", "p", ""])
    with_patients = scan_table(["train"] * 6, ["a"] * 6, scans.group, path=path, patient=patient)
    assert groups.units(with_patients).tolist() == [0, 0, 0, 0, 0, 5]


FILES = {"files": 9, "decoded": 9, "unreadable_files": 0, "colour_files": 0, "unreadable": []}
# Of a class's row, what has nothing to do with patients.
CLASS_KEYS = ("class", "scans", "train", "test", "distinct", "leaked")
SCANS = scan_table(
    ["train", "train", "train", "test", "test", "test", "test"],
    ["a", "a", "b", "a", "a", "b", "b"],
    [0, 1, 2, 0, 4, 0, 6],
    best_match=np.array([1, 0.9, 0.7999, 0.98, 0.984999, 0.98, 1]),
)


def test_a_test_scan_is_leaked_if_its_group_is_in_the_published_training_folder():
    assert groups.leaked(SCANS).tolist() == ["", "", "", "copy", "", "copy", ""]
    assert not groups.leaked(scan_table([""] * 7, SCANS.class_name, SCANS.group)).any()


# Training: p, p, q, none, r of class b   Testing: p's copy, p, none, a copy of row 7 and r's scan of class a, s, none
PATIENTS = scan_table(
    ["train"] * 5 + ["test"] * 6,
    ["a", "a", "a", "a", "b", "a", "b", "a", "a", "b", "b"],
    [0, 1, 2, 3, 4, 0, 6, 7, 7, 9, 10],
    patient=np.array(["p", "p", "q", "", "r", "p", "p", "", "r", "s", ""]),
    source_class=np.array(["a", "b", "", "", "b", "", "b", "", "", "", ""]),
)


def test_a_copy_leaks_before_a_patient_does_and_a_copy_of_a_patients_scan_is_the_patients():
    assert groups.leaked(PATIENTS)[5:].tolist() == ["copy", "patient", "patient", "patient", "", ""]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_units_are_the_components_of_copies_and_patients(seed):
    rng = np.random.default_rng(seed)
    group = groups.group(
        30, pair_table(*((min(pair), max(pair), "near", 0.99) for pair in rng.integers(30, size=(8, 2))))
    )
    patient = rng.choice(["", "", "p", "q", "r", "s", "t"], 30)
    found = groups.units(scan_table([""] * 30, ["a"] * 30, group, patient=patient))
    joined = (group[:, None] == group) | ((patient[:, None] == patient) & (patient != ""))
    reachable = np.linalg.matrix_power(joined.astype(object), 30) > 0
    assert found.tolist() == [int(np.argmax(row)) for row in reachable]


def test_a_class_that_the_source_contradicts_is_a_conflict_of_its_own_kind():
    assert np.flatnonzero(groups.conflicting(PATIENTS)).tolist() == [1]
    listed = groups.conflicts(PATIENTS)
    assert (listed.path.tolist(), listed.class_name.tolist(), listed.source_class.tolist()) == (
        ["train/a/1.png"], ["a"], ["b"],
    )  # fmt: skip
    summary = groups.summarise(PATIENTS, pair_table((0, 5, "exact", 1.0), (7, 8, "near", 0.99)), **FILES)
    assert (summary.label_conflicts, summary.source_conflicts) == (0, 1)


def test_patients_are_counted_by_folder_and_class():
    summary = groups.summarise(PATIENTS, pair_table((0, 5, "exact", 1.0), (7, 8, "near", 0.99)), **FILES)
    assert {key: value for key, value in summary if "patient" in key} == {
        "patients": 4,
        "patients_in_both_folders": 2,
        "scans_without_patient": 3,
        "patient_leaked_test_scans": 3,
        "test_scans_of_train_patients": 3,
    }
    assert summary.leaked_test_scans == 1
    assert [each.model_dump(by_alias=True) for each in summary.classes] == [
        {
            "class": "a", "scans": 7, "distinct": 5, "train": 4, "test": 3, "leaked": 1, "source_conflicts": 1,
            "patients": 3, "patients_train": 2, "patients_test": 2, "patients_in_both": 2, "without_patient": 2,
            "patient_leaked": 2, "test_of_train_patients": 2, "train_of_other_patients": 1,
        },
        {
            "class": "b", "scans": 4, "distinct": 4, "train": 1, "test": 3, "leaked": 0, "source_conflicts": 0,
            "patients": 3, "patients_train": 1, "patients_test": 2, "patients_in_both": 1, "without_patient": 1,
            "patient_leaked": 1, "test_of_train_patients": 1, "train_of_other_patients": 0,
        },
    ]  # fmt: skip


def test_groups_that_span_classes_conflict():
    assert groups.conflicting(SCANS).tolist() == [True, False, False, True, False, True, False]
    listed = groups.conflicts(scan_table(["test"] * 5, ["a", "b", "b", "a", "c"], [0, 1, 0, 1, 4]))
    assert list(zip(listed.group.tolist(), listed.class_name.tolist(), strict=True)) == [
        (0, "a"), (0, "b"), (1, "b"), (1, "a"),
    ]  # fmt: skip


def test_summary_counts_what_the_tables_hold():
    summary = groups.summarise(SCANS, pair_table((0, 3, "exact", 1.0), (0, 5, "mirrored", 0.99)), **FILES)
    matches = summary.best_matches
    summary = summary.model_dump(by_alias=True, exclude={"best_matches", *FILES})
    summary = {key: value for key, value in summary.items() if "patient" not in key}
    summary["classes"] = [{key: row[key] for key in CLASS_KEYS} for row in summary["classes"]]
    assert summary == {
        "distinct_scans": 5,
        "copy_pairs": 2,
        "copy_groups": 1,
        "largest_copy_group": 3,
        "label_conflicts": 1,
        "source_conflicts": 0,
        "test_scans": 4,
        "leaked_test_scans": 2,
        "classes": [
            {"class": "a", "scans": 4, "train": 2, "test": 2, "distinct": 3, "leaked": 1},
            {"class": "b", "scans": 3, "train": 1, "test": 2, "distinct": 3, "leaked": 1},
        ],
        "copy_kinds": [{"kind": "exact", "pairs": 1}, {"kind": "mirrored", "pairs": 1}],
        "examples": [{"a": 3, "b": 0, "kind": "exact", "correlation": 1.0, "class": "a"}],
    }
    assert [tuple(dict(row).values()) for row in matches if row.copies or row.others] == [
        (-1, 0.8, 0, 1), (0.9, 0.905, 0, 1), (0.98, 0.985, 2, 1), (0.995, 1, 1, 1),
    ]  # fmt: skip
    assert len(matches) == 41


def test_summary_of_a_source_without_copies_and_without_a_test_set():
    summary = groups.summarise(scan_table(["", ""], ["a", "b"], [0, 1]), pair_table(), **FILES)
    found = summary.classes[1].model_dump(by_alias=True)
    assert [found[key] for key in CLASS_KEYS] == ["b", 1, 0, 0, 1, 0]
    assert summary.copy_kinds == [CopyKind(kind="exact", pairs=0)]
    assert (summary.copy_pairs, summary.test_scans, summary.examples) == (0, 0, [])


def test_examples_show_every_kind_and_class_and_one_pair_of_a_group():
    splits = ["train"] * 6 + ["test"] * 6
    pairs = [(row, row + 6, kind, 0.99 + row / 1000) for row, kind in enumerate("xxxxyz")]
    group = groups.group(12, pair_table(*pairs))
    scans = scan_table(splits, ["a", "a", "a", "b", "b", "c"] * 2, group)
    pairs += [(0, 7, "y", 0.98), (8, 9, "x", 0.98)]  # of a shown group; within test
    shown = groups.examples(pair_table(*pairs), scans, 4)
    assert [row[:3] for row in rows(shown)] == [(8, 2, "x"), (7, 1, "x"), (10, 4, "y"), (11, 5, "z")]
    assert len(groups.examples(pair_table(*pairs), scans, 99)) == 6
    across = groups.summarise(
        scan_table(["test", "train"], ["b", "a"], [0, 0]), pair_table((0, 1, "near", 0.99)), **FILES
    )
    assert across.examples[0].class_name == "b / a"
    assert len(groups.examples(pair_table(pairs[-1]), scans, 4)) == 0


def test_examples_of_a_source_without_a_test_set_are_any_pairs():
    pair = (0, 2, "near", 0.99)
    assert rows(groups.examples(pair_table(pair), scan_table([""] * 3, ["a", "b", "a"], [0, 1, 0]))) == [pair]
