"""What the report of a run says, for every way of dividing scans."""

import re
from dataclasses import replace

import pytest

from tests.report.example_run import degenerate, example
from trueslice.report.run import Run
from trueslice.report.text import CALIBRATION, EXTERNAL, NO_COPY, PATIENTS, SEEN, TUMOURS, UNTUNED, statement


def said(run: Run) -> str:
    return "\n".join(statement(run).values())


CHOICES = [
    *({"protocol": "official", "leaks": leaks} for leaks in ("drop_train", "drop_test", "keep", "drop_random")),
    {"protocol": "grouped"},
    {"protocol": "blocked"},
    {"protocol": "patients"},
]


def whole_sentences(run: Run) -> None:
    for paragraph in statement(run).values():
        assert paragraph.endswith(".")
        assert not re.search(r"None|nan|\{|\}|\.\.|  |\b0 of 0\b", paragraph), paragraph
        assert not re.search(r"\b1 ([a-z]+ )?(scans|files|repetitions)\b", paragraph), paragraph
        longest = max(paragraph.split(". "), key=lambda sentence: len(sentence.split()))
        assert len(longest.split()) <= 35, longest


@pytest.mark.parametrize("conflicts", ["drop", "keep"])
@pytest.mark.parametrize("leaked", [0, 1, 35])
@pytest.mark.parametrize("choices", CHOICES, ids=lambda choices: "-".join(choices.values()))
def test_every_way_of_dividing_has_whole_sentences(choices, leaked, conflicts):
    for more in (
        {},
        {"patients": "none"},
        {"patients": "all", "folds": 4, "fold": 2, "copies": "one", "source": "phantom"},
        {"published": False},
    ):
        whole_sentences(example(leaked=leaked, conflicting=leaked == 1, conflicts=conflicts, **choices, **more))


@pytest.mark.parametrize("name", degenerate())
def test_runs_in_which_something_is_missing_have_whole_sentences(name):
    whole_sentences(degenerate()[name])


def test_it_says_how_many_files_are_how_many_scans_and_how_many_test_scans_have_a_copy():
    run = example()
    assert "400 files show 330 distinct scans. The audit found copies of 70 of these scans." in said(run)
    assert "The most frequent scan stands in 2 files." in said(run)
    assert "Published test scans with a copy in the published Training folder: 70 of 160." in said(run)
    assert "The audit found no copies among 400 files." in said(example(leaked=0))
    assert "Left out as unreadable: 1 file." in said(replace(run, data=run.data | {"unreadable_files": 1}))


@pytest.mark.parametrize(
    ("choices", "says", "inflated"),
    [
        ({"leaks": "drop_train"}, "The test set stays whole. The split dropped 70 training scans", False),
        ({"leaks": "drop_test"}, "It left 90 test scans. This is not the published test set.", False),
        ({"leaks": "keep"}, "Nothing was done about copies (split.leaks: keep).", True),
        ({"leaks": "drop_random"}, "The split dropped 70 training scans at random.", True),
        ({"protocol": "grouped"}, "divides all scans anew and ignores the published division", False),
        ({"protocol": "blocked"}, "cut into 20 blocks of consecutive file names", False),
        ({"published": False}, "The scans come without a published test set. This run divides all scans anew.", False),
        ({"leaks": "keep", "leaked": 0}, "copy in the published Training folder: 0 of 160.", False),
        ({"folds": 4, "fold": 2}, "Fold 2 of 4 of the training scans was the validation set.", False),
        ({"protocol": "grouped", "folds": 4, "fold": 2}, "Fold 2 of 4 was the test set.", False),
        ({"copies": "one"}, "kept one file of each distinct scan and left out 10 repetitions.", False),
    ],
    ids=str,
)
def test_it_says_what_was_done_about_copies_and_whether_the_scores_are_inflated(choices, says, inflated):
    run = example(**choices)
    assert says in said(run)
    assert ("Its scores on the test set are inflated." in said(run)) == inflated
    assert (NO_COPY in said(run)) != inflated


def test_a_test_set_from_which_nothing_was_dropped_is_the_published_one():
    assert "This is not the published test set." not in said(example(leaks="drop_test", leaked=0))


def test_it_says_what_of_the_test_scans_the_model_had_seen_and_what_it_reaches_where():
    words = statement(example(leaks="keep"))[SEEN]
    assert "The 160 test scans by that: 70 (a copy was seen), 29 (only the patient was seen), 16 (neither" in words
    assert (
        "The model is right on 82.9 % where a copy was seen and 100.0 % where no copy seen, patient unknown." in words
    )
    assert "do not say how well the model does on new patients" in words
    assert "The nearest training scan, which shows what remembering is worth, is right on 99.0 %" in words
    assert "new patients" not in statement(example(protocol="patients"))[SEEN]
    assert "compare within a class" not in statement(example(patients="none"))[SEEN], "all are of one kind"


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({}, "34 patients are known, in 200 of 400 files. Patients in both published folders: 16."),
        ({}, "Published test scans of patients who are in Training too: 64 of 160. An audit of copies passes 29"),
        ({}, "no setting removes those of a published test set from it."),
        ({}, "Without them, Training would keep these numbers of files with a known patient: 56 of glioma."),
        ({"protocol": "grouped"}, "Patients on both sides of this split: 16."),
        ({"protocol": "patients"}, "No patient and no copy stands on two sides (split.protocol: patients)."),
        ({"protocol": "patients"}, "200 scans without a known patient went by blocks of file names."),
        ({"patients": "none"}, "No patient of any scan is known (verify.patients)."),
        (
            {"source": "phantom", "patients": "all"},
            "Heads stand in both folders on purpose, as patients do in the public",
        ),
    ],
)
def test_it_says_whose_scans_they_are_and_whether_patients_are_on_both_sides(choices, says):
    assert says in statement(example(**choices))[PATIENTS]


def test_patients_that_are_nowhere_on_both_sides_are_not_said_to_stay():
    run = example()
    rows = [row | {"patients_in_both": 0} for row in run.data["classes"]]
    run = replace(run, data=run.data | {"classes": rows, "patients_in_both_folders": 0})
    assert "These patients stay" not in said(run)


@pytest.mark.parametrize(
    ("patients", "unit", "narrow"),
    [("all", "the patient: 40", False), ("some", "patient, or group of copies where none is known: 100", True),
     ("none", "the group of copies: 160", True)],
)  # fmt: skip
def test_the_unit_of_the_intervals_is_named_and_whether_they_are_too_narrow(patients, unit, narrow):
    words = statement(example(patients=patients))["What the intervals cover"]
    assert f"{unit} in the test set." in words
    assert ("So the intervals are too narrow for new patients." in words) == narrow
    wider = "With runs of 10 neighbouring names as units, the interval of the accuracy is 85.0 % to 97.0 %, 1.4 times"
    assert (wider in words) == narrow
    assert "Intervals with the mark † are too narrow" in words


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({}, "No copies stand under different classes, and no known source gives another class."),
        ({"conflicting": True}, "Distinct scans under more than one class: 1. Files under another class than in the"),
        (
            {"conflicting": True},
            "The split left out 2 files (split.conflicts: drop). It changes nothing in a published",
        ),
        ({"conflicting": True, "conflicts": "keep"}, "They were kept as they are (split.conflicts: keep)."),
        ({"conflicting": True, "protocol": "grouped"}, "The split left out 2 files (split.conflicts: drop)."),
    ],
)
def test_it_says_what_was_done_about_copies_under_different_classes(choices, says):
    assert says in said(example(leaked=0, **choices))


def test_the_accuracy_comes_with_its_interval_per_file_and_per_distinct_scan():
    run = example()
    interval = "(95 % interval 87.5 % to 97.5 %)"
    assert f"The model is right on 92.5 % {interval} of 160 test scans, each file counted." in said(run)
    assert f"Then the model is right on 92.5 % {interval} of 160 distinct scans." in said(run)
    assert "Every class has at least 30 distinct test scans." in said(run)
    words = said(example(leaks="drop_test", leaked=51))
    assert "Classes with fewer than 30 distinct test scans: glioma (29) and notumor (29)." in words


def baselines_of(accuracy: float) -> Run:
    run = example()
    rows = [dict(row) for row in run.baselines["baselines"]]
    rows[2]["accuracy"] = accuracy
    return replace(run, baselines={"baselines": rows})


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.01, 0.04, "The model exceeds it: +2.5 points (95 % interval +1.0 to +4.0)."),
        (-0.01, 0.06, "The model is not shown to differ from it: +2.5 points (95 % interval −1.0 to +6.0)."),
        (-0.06, -0.01, "The model falls behind it: +2.5 points (95 % interval −6.0 to −1.0)."),
        (None, None, "The model differs from it by +2.5 points. No interval: one unit."),
    ],
)
def test_the_model_exceeds_the_best_baseline_only_by_the_paired_interval(low, high, says):
    run = baselines_of(0.9)
    best = run.baselines["baselines"][2]
    best |= {"difference": 0.025, "difference_low": low, "difference_high": high, "difference_reason": "one unit"}
    words = statement(run)[UNTUNED]
    assert "The best of the baselines in the table below is the histogram of grey values alone." in words
    assert "It reaches an accuracy of 90.0 % (95 % interval 25.0 % to 35.0 %)." in words
    assert says in words


def with_calibration(**values) -> str:
    run = example()
    return said(replace(run, test=run.test | {"calibration": run.test["calibration"] | values}))


def test_the_temperature_is_judged_by_the_paired_change_of_the_log_likelihood():
    words = with_calibration(
        verdict="did not help", nll=0.349, nll_change=-0.006, nll_change_low=-0.02, nll_change_high=0.01
    )
    assert (
        "from 0.355 to 0.349, a change of −0.006 (95 % interval −0.020 to +0.010): the temperature did not help."
        in words
    )
    assert "from 0.355 to 0.310: the temperature helped." in with_calibration(nll_change_low=None)
    assert "0.024 on average by chance, and up to 0.041 in 95 of 100 cases (p = 0.240)." in words
    assert "slope is 0.930 (95 % interval 0.800 to 1.100) and the intercept −0.200 (95 % interval −0.500 to" in words


def test_tumours_are_told_from_healthy_scans_at_thresholds_of_validation():
    words = statement(example())[TUMOURS]
    assert "A tumour is any class but notumor" in words
    assert "The AUROC is 0.952 (95 % interval 0.910 to 0.980)." in words
    assert "chosen on the validation scans" in words


def test_the_most_confident_half_is_named_with_its_errors():
    words = statement(example())["Leaving out what the model is unsure of"]
    assert "On the 50.0 % that it is most confident of, it errs on 1.5 %." in words
    assert "the area under the curve, is 0.021 (95 % interval 0.011 to 0.034)." in words


def test_other_data_sets_come_with_what_was_left_out_and_beside_the_internal_test():
    words = statement(example())[EXTERNAL]
    assert "Of 100 files in other_scanner, 9 were copies of development scans." in words
    assert "On 90 scans that were kept, the accuracy is 70.0 % (95 % interval 65.0 % to 75.0 %)." in words
    assert "On the internal test set it is 92.5 %." in words
    assert "other contrast, noise and field of view" in words
    run = example()
    assert "tested on no other data set" in said(replace(run, external={"sets": []}))
    ours = run.settings | {"external": [{"name": "other_scanner", "source": "scans.zip", "classes": None}]}
    words = said(replace(run, settings=ours))
    assert "The intervals there know of no patients." in words
    assert "Phantoms of another scanner" not in words


def test_limits_differ_between_people_and_phantoms():
    assert "Slices of one patient are very probably on both sides of the split." in said(example())
    blocked = said(example(protocol="blocked"))
    assert "some may still be" in blocked
    assert "This is an approximation." in blocked
    assert "very probably" not in said(example(patients="all"))
    for run in (example(source="phantom"), example(source="phantom", protocol="blocked")):
        assert "very probably" not in said(run)
        assert "The scans are phantoms" in said(run)
    for run in (example(), example(source="phantom")):
        assert "not for clinical use" in said(run)


def test_what_is_not_defined_is_said_with_its_reason():
    assert "is not defined: evaluate.negative_class is null." in said(example(negative=None))


@pytest.mark.parametrize("slope", [{"slope": 812.0, "slope_low": 640.0}, {"slope": 0.4, "slope_low": -1.3}])
def test_a_slope_of_probabilities_that_tell_nothing_apart_has_no_number(slope):
    run = example()
    calibration = run.test["calibration"] | slope
    text = statement(replace(run, test=run.test | {"calibration": calibration}))[CALIBRATION]
    assert "The calibration slope for tumour against healthy is not meaningful" in text
    assert "812" not in text and "The intercept is −0.200" in text
    assert "the calibration slope is 0.930" in statement(run)[CALIBRATION]
