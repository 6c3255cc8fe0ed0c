"""What the report of a run says, for every way of dividing scans."""

import re
from dataclasses import replace

import pytest
from report.example_run import degenerate, example

from tumorclip.report.text import NO_COPY, Run, statement


def said(run: Run) -> str:
    return "\n".join(statement(run).values())


CHOICES = [
    *({"protocol": "official", "leaks": leaks} for leaks in ("drop_train", "drop_test", "keep", "drop_random")),
    {"protocol": "grouped"},
    {"protocol": "blocked"},
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
    for more in ({}, {"folds": 4, "fold": 2, "copies": "one", "source": "phantom"}, {"published": False}):
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


def test_scans_with_a_copy_are_held_against_those_without_only_where_both_are_enough():
    words = said(example(leaks="keep"))
    assert (
        "and as many without: glioma and notumor. There, the mean sensitivity is 82.9 % on scans with a copy" in words
    )
    assert "No class has at least 30 distinct scans with a copy" in said(example(leaks="keep", leaked=29))


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({}, "No copies stand under different classes."),
        ({"conflicting": True}, "Distinct scans under more than one class: 1, in 2 files."),
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
    assert f"Then the model is right on 92.5 % {interval} of 160." in said(run)
    assert "Every class has at least 30 distinct test scans." in said(run)
    words = said(example(leaks="drop_test", leaked=51))
    assert "Classes with fewer than 30 distinct test scans: glioma (29) and notumor (29)." in words


def baselines_of(accuracy: float) -> Run:
    run = example()
    rows = [dict(row) for row in run.baselines["baselines"]]
    rows[2]["accuracy"] = accuracy
    return replace(run, baselines={"baselines": rows})


def test_the_model_is_held_against_the_best_baseline_and_is_never_said_to_exceed_it():
    words = statement(baselines_of(0.9))["What needs no fine-tuning"]
    assert "The best of the baselines in the table below is the histogram of grey values alone." in words
    assert "It reaches an accuracy of 90.0 % (95 % interval 25.0 % to 35.0 %)." in words
    assert "The model reaches 92.5 % (95 % interval 87.5 % to 97.5 %)." in words
    assert "exceed" not in words
    assert "only a paired comparison tells" in words
    assert "The model does not exceed it." in said(baselines_of(0.925))


@pytest.mark.parametrize(
    ("nll", "says"),
    [
        (0.29, "it got better, from 0.355 to 0.290."),
        (0.372, "it got worse, from 0.355 to 0.372: the temperature did not help."),
        (0.35501, "it stayed at 0.355: the temperature did not help."),
    ],
)
def test_the_temperature_is_judged_by_the_log_likelihood_of_the_test_scans(nll, says):
    run = example()
    run = replace(run, test=run.test | {"calibration": run.test["calibration"] | {"nll": nll}})
    assert says in said(run)


def test_limits_differ_between_people_and_phantoms():
    assert "Slices of one patient are very probably on both sides of the split." in said(example())
    blocked = said(example(protocol="blocked"))
    assert "some may still be" in blocked
    assert "This is an approximation." in blocked
    for run in (example(source="phantom"), example(source="phantom", protocol="blocked")):
        assert "patient" not in said(run)
        assert "The scans are phantoms" in said(run)
    for run in (example(), example(source="phantom")):
        assert "not for clinical use" in said(run)


def test_what_is_not_defined_is_said_with_its_reason():
    assert "is not defined: evaluate.negative_class is null." in said(example(negative=None))
