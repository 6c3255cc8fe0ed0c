"""The model card: the hub accepts it, and it says what one must know before one uses or shares the model."""

import re

import pytest
from huggingface_hub import ModelCard, constants

from tests.made import released_model
from tests.report.example_run import changed, degenerate, example, promising
from tests.servers.hub import Account, problems
from trueslice.records.confidence import ConfidenceRange
from trueslice.records.ood import OodWarnings, WarningRate
from trueslice.records.trained import Checkpoint
from trueslice.report.card import card
from trueslice.report.format import with_interval
from trueslice.report.run import Run

REVISION = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"
ENDS = {"low": None, "high": None, "method": None, "reason": "no unit has two"}
RATES = [
    WarningRate(pictures="test scans", count=160, warned=0.0125, **ENDS),
    WarningRate(pictures="noise", count=200, warned=0.5, **ENDS),
]
CONFIDENCE = [
    ConfidenceRange(lower=0, upper=0.9, scans=80, error_rate=0.1, low=0.05, high=0.2, method="exact", reason=None),
    ConfidenceRange(lower=0.9, upper=1, scans=80, error_rate=0, **ENDS),
]


def written(run: Run) -> str:
    classes = {row.class_name: [f"a scan of {row.class_name}", "another caption"] for row in run.test.classes}
    ood = OodWarnings(threshold=0.5, rates=RATES)
    return card(run, released_model().model_copy(update={"classes": classes, "ood": ood, "confidence": CONFIDENCE}))


def started_from(name: str, revision: str | None = None, **choices) -> Run:
    run = example(**choices)
    return changed(run, "model", checkpoint=Checkpoint(name=name, revision=revision))


RUNS = {"usual": example(), "drawn": example(source="phantom"), **degenerate()}


@pytest.mark.parametrize("run", RUNS.values(), ids=list(RUNS))
def test_the_head_of_the_card_is_as_the_hub_wants_it(run):
    text = written(run)
    assert problems(text) == []
    assert ModelCard(text).data.to_dict()["pipeline_tag"] == "zero-shot-image-classification"


def test_the_hub_accepts_the_card_and_would_say_if_it_did_not(monkeypatch):
    with Account("somebody").running() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        ModelCard(written(example())).validate()
        with pytest.raises(ValueError, match="must be one of the known ones"):
            ModelCard(written(example()).replace("license: unknown", "license: none of all")).validate()


def test_the_score_stands_in_the_head_with_its_interval_and_its_unit():
    run = example()
    text = written(run)
    accuracy, macro_f1 = ModelCard(text).data.eval_results
    assert (accuracy.metric_type, macro_f1.metric_type) == ("accuracy", "f1")
    assert accuracy.metric_value == pytest.approx(run.test.accuracy, abs=1e-4)
    assert re.fullmatch(r"accuracy \(95 % interval [\d.]+ % to [\d.]+ %; unit: .+\)", accuracy.metric_name)
    assert run.intervals.unit.name in accuracy.metric_name
    assert re.search(r"^It is right on [\d.]+ % \(95 % interval .*\) of 160 test scans\.$", text, re.MULTILINE)


def test_no_score_stands_in_the_head_where_none_is_defined():
    run = RUNS["nothing is defined"]
    empty = changed(run, "intervals", intervals=[])
    assert ModelCard(written(empty)).data.eval_results is None and problems(written(empty)) == []


def test_the_same_run_gives_the_same_card():
    assert written(example()) == written(example())


def test_copies_and_patients_that_were_seen_are_told_before_anything_else():
    top = written(example(leaks="keep")).split("## Intended use")[0]
    assert "(a copy was seen)" in top and "Without any fine-tuning, the " in top


def test_a_card_about_drawn_scans_says_that_it_says_nothing_about_people():
    text = written(example(source="phantom"))
    assert "no score here says anything about people" in text and "They are drawings, so they may be shared." in text
    assert ModelCard(text).data.license == "mit"


def test_a_card_about_scans_of_people_says_what_the_folder_shows_of_them_and_promises_no_licence():
    text = " ".join(written(example()).split())
    assert "embeddings and thumbnails of 64 × 64 pixels, of" in text
    assert "Hand it to nobody to whom you may not give the scans." in text
    assert "CC0 in older listings, CC BY 4.0 in newer ones" in text
    assert ModelCard(written(example())).data.license == "unknown"


def test_scans_of_an_unknown_folder_have_an_unknown_licence():
    assert "This card does not know their licence." in written(example(source="some/folder", patients="none"))


def test_weights_of_openai_bring_their_licence_and_their_own_model_card():
    text = written(started_from("openai/clip-vit-base-patch32", REVISION))
    assert ModelCard(text).data.base_model == "openai/clip-vit-base-patch32"
    assert "calls every deployed use out of\nscope" in text and "which is under the MIT licence" in text
    assert f"revision {REVISION}" in text


def test_lite_is_told_as_an_image_tower_of_imagenet_and_not_as_a_clip():
    text = written(started_from("lite"))
    assert "EfficientNet-Lite0 with ImageNet weights (Apache 2.0)" in text and "It is not a CLIP." in text
    assert "text tower and projections: random, drawn with seed 0" in text


@pytest.mark.parametrize("name", ["/home/me/secret/clip", "secret/clip"])
def test_where_a_checkpoint_lies_on_a_machine_is_not_told(name):
    text = written(started_from(name))
    assert "secret" not in text and "The weights started from clip," in text
    assert ModelCard(text).data.base_model is None


def test_names_of_classes_are_no_markup():
    text = written(RUNS["names like keys and tags"])
    body = text.split("## Use it")[0] + text.split("## Scores")[1]
    assert r"\<b\>" in body and "<b>" not in body and r"\$a\_b\$" in body


def test_false_alarms_misses_and_error_rates_stand_in_tables():
    text = written(example())
    assert "| test scans | 160 | 1.2 % |\n| noise | 200 | 50.0 % |" in text
    assert "| 0.0 % to 90.0 % | 80 | 10.0 % | 5.0 % to 20.0 % |" in text
    assert "| 90.0 % to 100.0 % | 80 | 0.0 % | no unit has two |" in text


def test_heat_maps_stand_with_what_they_are_compared_with():
    run = example()
    text = written(run)
    assert f"Measured on {run.explain.scans} test scans whose tumour is outlined: {run.explain.reason}.\n" in text
    found = with_interval(run.pointing["explanation"])
    assert f"| heat map | {found} | " in text and "\n| no map: anywhere in the head | " in text


def test_no_heat_map_is_to_be_trusted_that_is_no_better_than_a_fixed_point_or_was_not_measured():
    assert "So none is shown, and none is to be trusted." in written(changed(example(), "explain", shown=False))
    assert "None was measured" in written(changed(example(), "explain", scans=0, rows=[]))


def test_a_card_tells_of_withheld_answers_only_where_the_model_withholds_some():
    assert "## Answers that are withheld" not in written(example())
    assert "It refers all other scans to a person." in written(promising()).split("## Answers that are withheld")[1]
