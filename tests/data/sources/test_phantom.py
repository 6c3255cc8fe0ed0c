import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tumorclip.data.sources import phantom


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def grey(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image, dtype=float)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    phantom.draw(folder, seed=3, train_per_class=50, test_per_class=20, workers=2)
    return folder


def test_folders_hold_the_asked_number_of_grey_jpegs(drawn: Path):
    counts = Counter(path.parent.relative_to(drawn).as_posix() for path in drawn.rglob("*.jpg"))
    assert counts == {f"{s}/{c}": n for s, n in (("Training", 50), ("Testing", 20)) for c in phantom.CLASSES}
    with Image.open(drawn / "Testing/pituitary/Te-pi_0003.jpg") as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "L", (phantom.SIZE, phantom.SIZE))


def test_same_seed_gives_the_same_bytes_with_any_number_of_processes(tmp_path: Path):
    for name, seed, workers in (("one", 5, 1), ("three", 5, 3), ("other", 6, 1)):
        phantom.draw(tmp_path / name, seed, 4, 2, workers)
    assert digests(tmp_path / "one") == digests(tmp_path / "three")
    assert not set(digests(tmp_path / "one").values()) & set(digests(tmp_path / "other").values())


def test_planted_copies_are_the_documented_ones(drawn: Path):
    files = list(phantom.plan(3, 400, 100))
    assert len(files) == 2000
    assert Counter(file.copy for file in files if file.copy) == {"exact": 52, "near": 52, "mirrored": 52}
    assert all(file.drawing.class_name == file.place.class_name for file in files)
    drawings = {file.place for file in files if not file.copy}
    assert {file.drawing for file in files} == drawings
    originals = len(set(digests(drawn).values()))
    assert originals == 4 * 70 - 4 * 2  # one exact copy in each class of either folder


@pytest.mark.parametrize("split", ["Training", "Testing"])
def test_copies_show_what_they_are_made_from(drawn: Path, split: str):
    for file in phantom.plan(3, 50, 20):
        if file.place.split != split or not file.copy:
            continue
        copy, original = grey(drawn / file.place.path), grey(drawn / file.drawing.path)
        if file.copy == "exact":
            assert np.array_equal(copy, original)
            continue
        assert not np.array_equal(copy, original)
        straight, mirrored = correlation(copy, original), correlation(copy[:, ::-1], original)
        assert (mirrored if file.copy == "mirrored" else straight) > 0.97
        assert (straight if file.copy == "mirrored" else mirrored) < 0.97


def test_a_copy_is_planted_only_where_its_original_is_drawn():
    assert not [file for file in phantom.plan(0, 10, 60) if file.copy]


@pytest.fixture
def tumour_alone(monkeypatch: pytest.MonkeyPatch):
    """What full visibility adds to a scan, without noise and distractors: float [SIZE, SIZE]."""
    for name, value in (("FAINT_SHARE", 0), ("NOISE", (0, 0)), ("BIAS", 0)):
        monkeypatch.setattr(phantom, name, value)

    monkeypatch.setattr(phantom, "CONTRAST_SHARES", (1, 0, 0))

    def difference(class_name: str, index: int) -> np.ndarray:
        pictures = []
        for visibility in (0, 1):
            monkeypatch.setattr(phantom, "CLEAR_VISIBILITY", (visibility, visibility))
            pictures.append(phantom.render(phantom.Scan(1, "Training", class_name, index))[0])
        return pictures[1] - pictures[0]

    return difference


def test_each_class_has_the_tumour_of_its_name(tumour_alone):
    rows, columns = np.mgrid[-1 : 1 : phantom.SIZE * 1j, -1 : 1 : phantom.SIZE * 1j]
    assert not tumour_alone("notumor", 0).any()
    area, off_midline = {}, {}
    for class_name in ("glioma", "meningioma", "pituitary"):
        seen = [np.abs(tumour_alone(class_name, index)) > 0.08 for index in range(12)]
        assert min(picture.sum() for picture in seen) > 20
        area[class_name] = np.mean([picture.mean() for picture in seen])
        off_midline[class_name] = np.mean([np.hypot(columns[p].mean(), rows[p].mean()) for p in seen])
    assert area["pituitary"] < area["meningioma"] < area["glioma"] < 0.2
    assert off_midline["pituitary"] < 0.5 * off_midline["meningioma"]


def test_meningiomas_are_bright(tumour_alone):
    added = [tumour_alone("meningioma", index) for index in range(12)]
    assert np.mean([picture[np.abs(picture) > 0.08].mean() for picture in added]) > 0.15
