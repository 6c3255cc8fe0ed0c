import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import trueslice
from tests.finished import files, predictions
from tests.released import release_again
from trueslice import Classifier
from trueslice.errors import UserError
from trueslice.inference.classifier import Prediction
from trueslice.inference.reading import Unreadable
from trueslice.patients import slices
from trueslice.patients.fingerprints import fingerprints, to_text
from trueslice.records.released import ReleasedModel
from trueslice.records.withheld import Promise


@pytest.fixture(scope="module")
def classifier(released) -> Classifier:
    return Classifier.load(released / "models/released", "cpu")


@pytest.fixture(scope="module")
def answers(released, classifier) -> list[Prediction]:
    return classifier.predict(files(released))


def kinds(prediction: Prediction) -> list[str]:
    return [warning.kind for warning in prediction.warnings]


def test_what_it_sees_are_the_pixels_of_the_pipeline(released, answers):
    pixels = np.load(released / "data/scans/pixels.npy")
    paths = (released / "data/scans/scans.csv").read_text().splitlines()[1:]
    rows = {line.split(",")[0]: row for row, line in enumerate(paths)}
    for path, each in zip(predictions(released).path, answers, strict=True):
        assert np.array_equal(each.pixels, pixels[rows[path]])


def test_every_test_scan_is_told_to_be_one_and_a_mirrored_copy_of_training_too(released, classifier, answers):
    assert all(each.copy and {"copy", "known"} & {*kinds(each)} for each in answers)
    assert {each.copy.split for each in answers} <= {"train", "val", "test"}
    scans = classifier.reference.scans
    row = int(np.flatnonzero(scans.split == "train")[0])
    scan = np.asarray(Image.open(released / "data/raw" / scans.path[row]))
    for kind, turned in {"near": scan, "mirrored": scan[:, ::-1], "upside_down": scan[::-1]}.items():
        (found,) = classifier.predict([np.ascontiguousarray(turned)])
        assert (found.copy.path, found.copy.split, found.copy.kind) == (scans.path[row], "train", kind)
        assert found.copy.similarity > 0.99


def test_a_slice_of_a_patient_of_training_is_told_and_one_of_another_patient_is_not(
    released, classifier, monkeypatch, tmp_path
):
    scans, pictures = classifier.reference.scans, classifier.reference.thumbnails
    train, tested = np.flatnonzero(scans.split == "train"), np.flatnonzero(scans.split == "test")
    rows = np.array([train[0], *tested[:2]])
    ids, none = np.array(["7", "7", "8"]), np.full(3, "")
    texts = np.array([to_text(bits) for bits in fingerprints(pictures[rows])])
    slices.Slices(np.arange(1, 4), ids, ids, none, none, texts).write(tmp_path / "slices.csv")
    monkeypatch.setattr(slices, "SHIPPED", tmp_path / "slices.csv")
    own = Classifier.load(released / "models/released", "cpu")
    found = own.predict([released / "data/raw" / path for path in scans.path[rows]])
    assert [each.copy.split for each in found] == ["train", "test", "test"]
    assert ["patient" in kinds(each) for each in found] == [False, True, False]


def test_a_known_scan_is_told_to_be_itself_and_under_another_name_to_be_a_copy(released, classifier, tmp_path):
    path = next(path for path, each in zip(files(released), classifier.predict(files(released)), strict=True)
                if each.copy.path.endswith(path.name))  # fmt: skip
    shutil.copy(path, tmp_path / "other.jpg")
    itself, other = classifier.predict([path, tmp_path / "other.jpg"])
    assert itself.copy.path == other.copy.path
    texts = [each.warnings[0].text.split(" Testing/")[0] for each in (itself, other)]
    assert texts == ["it is the test scan", "a copy of the test scan"]


def test_a_scan_that_is_not_known_is_not_called_a_copy(classifier):
    noise = np.random.default_rng(1).integers(0, 256, (96, 96), dtype=np.uint8)
    (found,) = classifier.predict([noise])
    assert found.copy is None and "copy" not in kinds(found)
    assert "unlike" in kinds(found)


def test_the_nearest_scans_are_of_training_and_a_training_scan_is_nearest_to_itself(released, classifier):
    scans = classifier.reference.scans
    path = str(scans.path[scans.split == "train"][3])
    (found,) = classifier.predict([released / "data/raw" / path])
    assert found.nearest[0].similarity == pytest.approx(1, abs=1e-5)
    assert len(found.nearest) == 5 and {each.split for each in found.nearest} == {"train"}
    similarities = [each.similarity for each in found.nearest]
    assert similarities == sorted(similarities, reverse=True)


def test_the_error_rate_is_that_of_test_scans_of_such_a_confidence(classifier, answers):
    rated = [each for each in answers if each.error_rate]
    assert rated and all("unlike" in kinds(each) for each in answers if not each.error_rate)
    for each in rated:
        fits = [row for row in classifier.settings.confidence if row.lower <= each.confidence <= row.upper]
        assert each.error_rate.scans in [row.scans for row in fits]
        assert each.error_rate.share in [row.error_rate for row in fits]


def test_colour_and_a_long_narrow_picture_are_named(classifier):
    colour = np.zeros((64, 200, 3), np.uint8)
    colour[:, 50:, 0] = 200
    (found,) = classifier.predict([colour])
    assert {"colour", "aspect"} <= {*kinds(found)}


def test_an_unreadable_file_keeps_its_place_and_the_others_are_answered(released, classifier, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    paths = files(released)
    found = list(classifier.stream([paths[0], tmp_path / "broken.png", tmp_path / "none.png", paths[1]]))
    assert [type(each) for each in found] == [Prediction, Unreadable, Unreadable, Prediction]
    assert found[2].reason == "No such file or directory"
    with pytest.raises(UserError, match=r"broken.png: it is not an image"):
        classifier.predict([tmp_path / "broken.png"])


def test_a_map_is_that_of_the_predicted_class(classifier, answers):
    found = classifier.explain(answers[0])
    side = classifier.encoder.image_size
    assert found.shape == (side, side) and found.dtype == np.float32
    assert found.min() >= 0 and found.max() == pytest.approx(1)
    other = next(name for name in classifier.class_names if name != answers[0].y_pred)
    assert not np.array_equal(classifier.explain(replace(answers[0], y_pred=other)), found)


def test_batches_are_answered_as_they_come(released, classifier, monkeypatch):
    from trueslice.inference import classifier as module

    monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(module, "AHEAD", 4)
    asked = []
    stream = classifier.stream(asked.append(path) or path for path in files(released))
    next(stream)
    assert len(asked) < len(files(released))
    stream.close()


def test_a_model_of_other_classes_answers_with_them(released, tmp_path):
    folder = shutil.copytree(released / "models/released", tmp_path / "model")
    release_again(folder, classes={"healthy": ["a healthy head"], "ill": ["an ill head"]})
    (found,) = Classifier.load(folder, "cpu").predict(files(released)[:1])
    assert list(found.probabilities) == ["healthy", "ill"]


def test_probabilities_are_calibrated_with_the_temperature(released, tmp_path, answers):
    folder = shutil.copytree(released / "models/released", tmp_path / "model")
    release_again(folder, temperature=ReleasedModel.read(folder / "trueslice.json").temperature / 2)
    (found,) = Classifier.load(folder, "cpu").predict(files(released)[:1])
    before, after = (torch.tensor(list(each.probabilities.values())).log() for each in (answers[0], found))
    assert after.exp().tolist() == pytest.approx((before * 2).softmax(dim=0).tolist(), abs=1e-5)


def test_a_model_with_a_promise_refers_the_scans_below_its_threshold_and_no_other(released, tmp_path, answers):
    folder = shutil.copytree(released / "models/released", tmp_path / "model")
    least = sorted(each.confidence for each in answers)[len(answers) // 2]
    release_again(folder, promise=Promise(max_error=0.1, holds_with=0.9, threshold=least, scans=100, independent=50))
    careful = Classifier.load(folder, "cpu")
    found = careful.predict(files(released))
    assert [each.refer for each in found] == [each.confidence < least for each in answers]
    assert 0 < sum(each.refer for each in found) < len(found)
    assert {each.to_dict()["refer"] for each in found} == {True, False} and {each.refer for each in answers} == {None}
    assert [(each.y_pred, each.confidence) for each in found] == [(each.y_pred, each.confidence) for each in answers]
    assert (
        f"It answers from {100 * least:.2f} % on" in careful.promise
        and "at most 10 % of its answers" in careful.promise
    )


def test_nothing_else_is_lazy():
    with pytest.raises(AttributeError, match="no attribute 'classify'"):
        trueslice.classify  # noqa: B018
