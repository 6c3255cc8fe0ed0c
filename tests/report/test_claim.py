"""What the rows of the checklist say, and what they leave open."""

from dataclasses import replace

import pytest

from tests.report.example_run import degenerate, example
from trueslice.records.trained import Checkpoint
from trueslice.report.claim import UNKNOWN, claim


def answers(run) -> dict[int, str]:
    return {item.number: item.answer for item in claim(run)}


@pytest.mark.parametrize("name", degenerate())
def test_there_are_44_items_each_with_an_answer(name):
    items = claim(degenerate()[name])
    assert [item.number for item in items] == list(range(1, 45))
    assert all(item.part and item.asked and item.answer for item in items)
    assert not any("None" in item.answer for item in items)


def test_what_no_run_can_know_is_said_to_be_so():
    unavailable, unsaid = UNKNOWN
    found = answers(example())
    assert [number for number, answer in found.items() if answer == unavailable] == [11, 13, 15, 16, 17, 18, 36]
    assert [number for number, answer in found.items() if answer == unsaid] == [2, 4, 34, 41, 44]
    unknown = {item.number for item in claim(example()) if not item.known}
    assert unknown == {2, 4, 11, 13, 15, 16, 17, 18, 34, 36, 41, 44}


def test_of_phantoms_it_says_that_nobody_was_scanned():
    found = answers(example(source="phantom"))
    assert {number for number, answer in found.items() if answer == "nobody was scanned"} == {11, 13, 18, 36}
    assert found[14] == "the class that each scan was drawn as"
    assert answers(example())[14] == "the class folder of a file, taken as it comes"


def test_no_row_says_where_the_data_lie_on_a_machine():
    run = example(source="/home/someone/scans of 2026/collection.zip")
    assert answers(run)[7] == "files of collection.zip"
    assert "/home" not in str(claim(run))


def test_the_level_of_the_partition_is_named_with_what_is_wrong_with_it():
    shared = example().split.patients_in_train_and_test
    assert answers(example())[20] == f"Copies of a scan, not patients. Known patients on both sides: {shared}."
    assert answers(example(leaks="keep"))[20].startswith("Files, not patients.")
    assert answers(example(protocol="patients", patients="all"))[20] == "Patients. Every patient is known."
    assert "an approximation" in answers(example(protocol="patients"))[20]


def test_scores_come_with_their_intervals_and_failures_with_their_number():
    found = answers(example())
    assert found[37].startswith("accuracy 92.5 % (95 % interval ")
    assert found[38].startswith("tumour against notumor: AUROC 0.")
    assert found[39].startswith("most often glioma called notumor: 6 scans")
    assert answers(example(wrong=0))[39] == "no test scan is classified wrongly"


def test_the_checkpoint_has_its_revision_and_what_was_added_to_it():
    run = example()
    assert answers(run)[24] == "random, drawn with seed 0"
    checkpoint = Checkpoint(name="openai/clip-vit-base-patch32", revision="3d74acf")
    model = run.model.model_copy(update={"checkpoint": checkpoint, "wise_ft_alpha": 0.6})
    train = run.params.train.model_copy(update={"wise_ft": True})
    found = answers(replace(run, model=model, params=run.params.model_copy(update={"train": train})))
    assert found[24] == "pretrained: openai/clip-vit-base-patch32, revision 3d74acf"
    assert found[27] == "a mixture of tuned and original weights (alpha 0.6)"
