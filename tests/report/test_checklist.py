"""What the rows of the checklist say, and what they leave open."""

from dataclasses import replace

import pytest

from tests.report.example_run import degenerate, example
from trueslice.records.trained import Checkpoint
from trueslice.report.checklist import checklist


def answers(run) -> dict[str, str]:
    """The answers by item; those of an item with several rows as one."""
    found: dict[str, str] = {}
    for item in checklist(run):
        found[item.number] = "; ".join(filter(None, [found.get(item.number), item.answer]))
    return found


@pytest.mark.parametrize("name", degenerate())
def test_all_40_items_are_there_each_with_an_answer(name):
    items = checklist(degenerate()[name])
    parts = {"15": "abcd", "16": "abc", "17": "ab", "26": "ab", "40": "ab"}
    expected = [str(number) + part for number in range(1, 41) for part in parts.get(str(number), [""])]
    assert list(dict.fromkeys(item.number for item in items)) == expected and len(expected) == 48
    assert all(item.part and item.asked and item.answer for item in items)
    assert not any("None" in item.answer for item in items)


def test_what_no_run_can_know_is_said_to_be_so():
    unknown = {item.number: item.answer for item in checklist(example()) if not item.known}
    unavailable = [number for number, answer in unknown.items() if answer == "not available in this data set"]
    assert unavailable == ["6", "8", "9", "10", "12", "16b", "16c", "17b", "25", "26a", "26b", "27", "28"]
    unsaid = {number for number, answer in unknown.items() if answer == "for the authors of a study to say"}
    assert unsaid == {"1", "2", "4", "15d", "34", "35", "36", "38", "39"} == unknown.keys() - {*unavailable}


def test_of_phantoms_it_says_that_nobody_was_scanned():
    found = answers(example(source="phantom"))
    asked_of_people = {number for number, answer in found.items() if answer == "nobody was scanned"}
    assert asked_of_people == {"6", "8", "9", "10", "25", "26a", "26b", "27"}
    assert found["16a"] == "the class that each scan was drawn as"
    assert answers(example())["16a"] == "the class folder of a file, taken as it comes"


def test_no_row_says_where_the_data_lie_on_a_machine():
    run = example(source="/home/someone/scans of 2026/collection.zip")
    assert answers(run)["11"] == "files of collection.zip"
    assert "/home" not in str(checklist(run))


def test_the_level_of_the_partition_is_named_with_what_is_wrong_with_it():
    shared = example().split.patients_in_train_and_test
    assert answers(example())["15b"].endswith(
        f"copies of a scan, not patients. Known patients on both sides: {shared}."
    )
    assert "Apart: files, not patients." in answers(example(leaks="keep"))["15b"]
    assert answers(example(protocol="patients", patients="all"))["15b"].endswith("patients. Every patient is known.")
    assert "an approximation" in answers(example(protocol="patients"))["15b"]


def test_scores_come_with_their_intervals_and_failures_with_their_number():
    found = answers(example())
    assert found["31"].startswith("accuracy 92.5 % (95 % interval ")
    assert "; tumour against notumor: AUROC 0." in found["31"]
    assert found["23"].startswith("Errors: most often glioma called notumor: 6 scans")
    assert "no test scan is classified wrongly" in answers(example(wrong=0))["23"]


def test_the_checkpoint_has_its_revision_and_what_was_added_to_it():
    run = example()
    assert answers(run)["15b"].startswith("random, drawn with seed 0; ")
    checkpoint = Checkpoint(name="openai/clip-vit-base-patch32", revision="3d74acf")
    model = run.model.model_copy(update={"checkpoint": checkpoint, "wise_ft_alpha": 0.6})
    train = run.params.train.model_copy(update={"wise_ft": True})
    found = answers(replace(run, model=model, params=run.params.model_copy(update={"train": train})))
    assert found["15b"].startswith("pretrained: openai/clip-vit-base-patch32, revision 3d74acf; ")
    assert "; a mixture of tuned and original weights (alpha 0.6)" in found["15b"]


def test_of_other_data_sets_it_says_how_many_scans_are_of_known_patients():
    run = example()
    (row,) = run.external.sets
    known = run.external.model_copy(update={"sets": [row.model_copy(update={"of_known_patients": 5})]})
    said = f"other_scanner: {row.kept} new scans, 5 of known patients; left out as copies: {row.dropped_as_development}"
    assert answers(replace(run, external=known))["29"] == said
