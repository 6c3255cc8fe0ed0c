"""What the paragraphs of the report and the card say, for every way of splitting scans."""

import re

import pytest

from tests.report.example_run import asking, changed, degenerate, example, promising
from trueslice.report.format import percent
from trueslice.report.run import Run
from trueslice.report.templates import passages

CHOICES = [
    *({"protocol": "official", "leaks": leaks} for leaks in ("drop_train", "drop_test", "keep", "drop_random")),
    *({"protocol": protocol} for protocol in ("grouped", "blocked", "patients")),
]


def statement(run: Run) -> dict[str, str]:
    return passages("statement.jinja", run)


def said(run: Run) -> str:
    return "\n".join(statement(run).values())


def whole_sentences(run: Run) -> None:
    for template in ("statement.jinja", "alt.jinja"):
        for paragraph in filter(None, passages(template, run).values()):
            assert paragraph.endswith(".")
            assert not re.search(r"None|nan|\{|\}|\.\.|  |\b0 of 0\b|<|\(\)", paragraph.replace("<b>", "b")), paragraph
            assert not re.search(r"\b1 ([a-z]+ )?(scans|files|repetitions|pairs|epochs)\b", paragraph), paragraph
            if template == "statement.jinja":
                longest = max(paragraph.split(". "), key=lambda sentence: len(sentence.split()))
                assert len(longest.split()) <= 40, longest


@pytest.mark.parametrize("leaked", [0, 1, 35])
@pytest.mark.parametrize("choices", CHOICES, ids=lambda choices: "-".join(choices.values()))
def test_every_way_of_splitting_has_whole_sentences(choices, leaked):
    for more in (
        {"conflicts": "keep"},
        {"patients": "none"},
        {"patients": "all", "folds": 4, "fold": 2, "copies": "one", "source": "phantom"},
        {"published": False},
    ):
        if more.get("patients") != "none" or choices.get("protocol") != "patients":
            whole_sentences(example(leaked=leaked, conflicting=leaked == 1, **choices, **more))


@pytest.mark.parametrize("name", degenerate())
def test_runs_in_which_something_is_missing_have_whole_sentences(name):
    whole_sentences(degenerate()[name])


def test_it_says_how_many_files_show_how_many_scans():
    run = example()
    data = run.data
    assert f"{data.decoded} files show {data.distinct_scans} distinct scans." in said(run)
    assert f"copy in the published Training folder: {data.leaked_test_scans} of {data.test_scans}." in said(run)
    assert f"The audit found no copies among {data.decoded} files." in said(example(leaked=0))
    assert "Left out because they cannot be read: 1 file." in said(changed(run, "data", unreadable_files=1))


@pytest.mark.parametrize(
    ("choices", "says", "inflated"),
    [
        ({"leaks": "drop_train"}, "The test set stays whole. The split dropped {split.dropped_as_leaked} train", False),
        ({"leaks": "drop_test"}, "It left {split.test} test scans. This is not the published test set.", False),
        ({"leaks": "keep"}, "Copies were kept as they are (split.leaks: keep).", True),
        ({"leaks": "drop_random"}, "split dropped {split.dropped_at_random} training scans at random, as", True),
        ({"protocol": "grouped"}, "a new split of all scans and ignores the published one.", False),
        ({"protocol": "blocked"}, "cut into 20 blocks of consecutive file names", False),
        ({"published": False}, "without a published test set. This run makes a new split of all scans.", False),
        ({"folds": 4, "fold": 2}, "The validation set is fold 2 of 4 of the training scans.", False),
        ({"protocol": "grouped", "folds": 4, "fold": 2}, "The test set is fold 2 of 4.", False),
        ({"copies": "one"}, "distinct scan and left out {split.dropped_as_repeated} repetitions.", False),
    ],
    ids=str,
)
def test_it_says_how_copies_were_treated_and_if_the_scores_are_inflated(choices, says, inflated):
    run = example(**choices)
    assert says.format(split=run.split) in statement(run)["copies"]
    assert ("Its scores on the test set are inflated." in said(run)) == inflated
    assert ("no test scan with a copy among the scans that the model was trained" in said(run)) != inflated


def test_a_test_set_from_which_nothing_was_dropped_is_the_published_one():
    assert "This is not the published test set." not in said(example(leaks="drop_test", leaked=0))


def test_it_says_how_much_of_the_test_scans_was_seen_and_the_accuracy_there():
    run = example(leaks="keep")
    words = statement(run)["exposure"]
    assert (
        f"The {run.test.scans} test scans: {run.exposed('copy')} (a copy was seen), {run.exposed('patient')}" in words
    )
    assert f"The model is right on {percent(run.exposures[0].accuracy)} where a copy was seen, " in words
    assert "do not say how well the model does on new patients" in words
    assert f"It is right on {percent(run.remembered['copy'])} where a copy was seen" in words
    assert "new patients" not in statement(example(protocol="patients"))["exposure"]
    assert "compare within a class" not in statement(example(patients="none"))["exposure"], "all are of one kind"


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({}, "Known patients: {data.patients}, in 200 of 400 files. Patients in both published folders: 16."),
        ({}, "in Training too: {data.test_scans_of_train_patients} of {data.test_scans}. An audit of copies alone"),
        ({}, "no setting removes the patients of a published test set from it."),
        ({}, "files with a known patient: {data.classes[0].train_of_other_patients} of glioma."),
        ({"protocol": "grouped"}, "Patients on both sides of this split: {split.patients_in_train_and_test}."),
        ({"protocol": "patients"}, "No patient and no copy is on two sides of the split (split.protocol: patients)."),
        ({"protocol": "patients"}, "assigned by blocks of file names: {split.placed_by_names} scans."),
        ({"patients": "none"}, "No patient of any scan is known (verify.patients)."),
        ({"source": "phantom", "patients": "all"}, "Some heads are in both folders on purpose"),
    ],
)
def test_it_says_which_patients_are_known_and_if_they_are_on_both_sides(choices, says):
    run = example(**choices)
    assert says.format(data=run.data, split=run.split) in statement(run)["patients"]


def test_patients_that_are_never_on_both_sides_are_not_said_to_stay():
    assert "These patients stay" not in said(changed(example(), "data", patients_in_both_folders=0))


@pytest.mark.parametrize(
    ("patients", "unit", "narrow"),
    [("all", "patient", False), ("some", "patient, or group of copies where none is known", True),
     ("none", "group of copies", True)],
)  # fmt: skip
def test_the_unit_of_the_intervals_is_named_and_if_they_are_too_narrow(patients, unit, narrow):
    run = example(patients=patients)
    words = statement(run)["intervals"]
    assert f"Its unit is the {unit}: {run.intervals.unit.count} in the test set." in words
    assert ("So the intervals are too narrow for new patients." in words) == narrow
    blocks = run.test.name_blocks
    assert (blocks is not None) == narrow
    assert not narrow or f"the interval of the accuracy is {percent(blocks.low)} to {percent(blocks.high)}, " in words
    assert "Intervals with the mark † are too narrow" in words


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({}, "No copies are under different classes, and no known source gives another class."),
        ({"conflicting": True}, "than one class: 1. Files under another class than in their source: 1."),
        ({"conflicting": True}, "The split left out 2 files (split.conflicts: drop). A published test set loses none"),
        ({"conflicting": True, "conflicts": "keep"}, "They were kept as they are (split.conflicts: keep)."),
    ],
)
def test_it_says_how_contradictory_labels_were_treated(choices, says):
    assert says in statement(example(leaked=0, **choices))["conflicts"]
    assert "A published" not in said(example(conflicting=True, protocol="grouped"))


def test_classes_with_few_distinct_scans_are_named():
    assert "Every class has at least 30 distinct test scans." in said(example())
    words = said(example(leaks="drop_test", leaked=51))
    assert "Classes with fewer than 30 distinct test scans: glioma (29) and notumor (29)." in words


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
    run = example()
    rows = list(run.baselines.baselines)
    difference = {"difference_low": low, "difference_high": high, "difference_reason": "one unit"}
    rows[2] = rows[2].model_copy(update={"accuracy": 0.999, "difference": 0.025} | difference)
    words = statement(changed(run, "baselines", baselines=rows))["baselines"]
    assert "The best of the baselines in the table below is the histogram of grey values alone." in words
    assert says in words


def calibration(**values) -> str:
    run = example()
    return statement(changed(run, "test", calibration=run.test.calibration.model_copy(update=values)))["calibration"]


def test_the_temperature_is_judged_by_the_paired_change_of_the_log_likelihood():
    change = {"nll_change": -0.006, "nll_change_low": -0.02, "nll_change_high": 0.01}
    words = calibration(verdict="did not help", nll_before=0.355, nll=0.349, **change)
    assert "from 0.355 to 0.349, a change of −0.006 (95 % interval −0.020 to +0.010): the temperature did not" in words
    assert "from 0.355 to 0.349: the temperature" in calibration(nll_before=0.355, nll=0.349, nll_change_low=None)


@pytest.mark.parametrize("slope", [{"slope": 812.0, "slope_low": 640.0}, {"slope": 0.4, "slope_low": -1.3}])
def test_a_slope_of_probabilities_that_tell_nothing_apart_has_no_number(slope):
    words = calibration(**slope)
    assert "has no meaning here" in words and "The intercept is " in words
    assert f"{slope['slope']:.3f}" not in words
    usual = {"slope": 0.93, "slope_low": 0.8, "slope_high": 1.1, "slope_covers": None}
    assert "the calibration slope is 0.930 (95 % interval 0.800 to 1.100) and the intercept" in calibration(**usual)


def test_scores_of_tumours_confidence_and_orientation_come_with_their_reason_or_interval():
    run = example()
    words = statement(run)
    assert "A tumour is any class but notumor" in words["tumour"] and "chosen on the validation" in words["tumour"]
    assert (
        f"the {percent(run.half_covered.coverage)} of the scans with the highest confidence, it errs" in words["risk"]
    )
    assert "not defined: evaluate.negative_class is null." in statement(example(negative=None))["tumour"]


def test_other_data_sets_come_with_the_number_of_copies_and_next_to_the_internal_test():
    run = example()
    (other,) = run.external.sets
    words = statement(run)["external"]
    assert f"Of {other.files} files in other_scanner, {other.dropped_as_development} were copies of dev" in words
    assert f"On {other.kept} scans that were kept, the accuracy is {percent(other.accuracy)} (95 % interval" in words
    assert f"On the internal test set it is {percent(run.test.accuracy)}." in words
    assert "other contrast, noise and field of view" not in words
    assert "other contrast, noise and field of view" in statement(example(source="phantom"))["external"]
    assert "tested on no other data set" in said(changed(run, "external", sets=[]))
    none_new = other.model_copy(update={"kept": 0, "accuracy": None, "low": None, "reason": "no scan counts"})
    assert "not defined (no scan counts)" in said(changed(run, "external", sets=[none_new]))


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


def test_nothing_is_said_of_withheld_answers_unless_they_are_asked_for():
    assert statement(example())["withheld"] == ""


def test_a_promise_that_cannot_be_made_is_told_with_what_is_lacking():
    run = asking(changed(example(), "withheld", reason="the 224 validation scans count as 30 independent ones"))
    said = "Every scan is answered, without a promise: the 224 validation scans count as 30 independent ones."
    assert statement(run)["withheld"] == said
    whole_sentences(run)


def test_a_promise_is_told_with_the_answers_it_leaves_and_where_it_is_broken():
    told = statement(promising())["withheld"]
    assert "The model answers from a confidence of 81.23 % on." in told
    assert (
        "answers 80.0 % (95 % interval 70.0 % to 90.0 %) of the test scans; 6.0 % (95 % interval 3.0 % to 12.0 %)"
        in told
    )
    assert "at most 10 % of the answers on new patients are wrong. It holds with 90 of 100 validation sets" in told
    assert "Nothing is promised of other scanners. On elsewhere, 80.0 %" in told
    assert told.endswith(
        "32.0 % (95 % interval 20.0 % to 45.0 %) of these answers are wrong. The promise is broken there."
    )
    whole_sentences(promising())


def test_scores_per_patient_are_named_an_ensemble_or_missing_with_the_reason():
    none, some, every = (statement(example(patients=known))["per_patient"] for known in ("none", "some", "all"))
    assert none == "No patient of a test scan is known, so nothing is scored per patient."
    assert "an ensemble of up to 4" in some and "of 20 patients" in some
    assert "no patient of notumor is known" in some and "thresholds" not in some
    assert "of 40 patients" in every and "is known" not in every and "and thresholds are fitted" in every


def test_a_number_of_scans_that_tells_a_class_is_warned_of():
    run = example(patients="all")
    assert "The number of a patient" not in statement(run)["per_patient"]
    scores = [
        score.model_copy(update={"value": 0.8, "low": 0.7, "high": 0.9}) if score.score == "auroc_of_number" else score
        for score in run.patients.scores
    ]
    warned = statement(changed(run, "patients", scores=scores))["per_patient"]
    assert "scans alone tells glioma (AUROC 0.800, 0.700 to 0.900) and notumor (AUROC" in warned
