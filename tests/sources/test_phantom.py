import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trueslice.sources import phantom


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
        phantom.draw_other_scanner(tmp_path / name / "elsewhere", seed, 2, workers)
    one, other = digests(tmp_path / "one"), digests(tmp_path / "other")
    assert one == digests(tmp_path / "three")
    assert len(set(one.values())) == len(one) == 4 * (4 + 2 + 2) + 3 * (4 + 2) + 1
    assert not {one[path] for path in one if not path.endswith("csv")} & set(other.values())


def mask_of(folder: Path, scan: Path) -> np.ndarray | None:
    path = folder / "masks" / f"{scan.as_posix()}.png"
    return grey(path) > 0 if path.exists() else None


def test_a_mask_lies_on_every_tumour_and_on_nothing_else(drawn: Path):
    brighter = []
    for file in phantom.plan(3, 50, 20):
        mask = mask_of(drawn, file.place.path)
        assert (mask is None) == (file.place.class_name == "notumor")
        if mask is not None:
            assert mask.shape == (phantom.SIZE, phantom.SIZE) and 0.005 < mask.mean() < 0.2
            scan = grey(drawn / file.place.path)
            near = np.roll(mask, (20, 20), (0, 1)) | np.roll(mask, (-20, -20), (0, 1))
            brighter.append(scan[mask].mean() > scan[near & ~mask].mean())
    assert len(brighter) == 3 * 70 and np.mean(brighter) > 0.9
    assert len(list((drawn / "masks").rglob("*.png"))) == len(brighter)


def test_the_mask_of_a_copy_is_that_of_the_scan_turned_as_the_scan_is(drawn: Path):
    kinds = Counter()
    for file in phantom.plan(3, 50, 20):
        if file.copy and file.place.class_name != "notumor":
            own, there = mask_of(drawn, file.place.path), mask_of(drawn, file.drawing.path)
            assert (own == (there[:, ::-1] if file.copy == "mirrored" else there)).all()
            kinds[file.copy] += 1
    assert kinds == {"exact": 9, "near": 9, "mirrored": 9}


def test_planted_copies_are_the_documented_ones(drawn: Path):
    files = list(phantom.plan(3, 400, 100))
    assert len(files) == 2000
    assert Counter(file.copy for file in files if file.copy) == {"exact": 72, "near": 72, "mirrored": 72}
    assert all(file.drawing.class_name == file.place.class_name for file in files)
    drawings = {file.place for file in files if not file.copy}
    assert {file.drawing for file in files} == drawings
    pictures = [digest for path, digest in digests(drawn).items() if path.endswith("jpg")]
    assert len(set(pictures)) == 4 * 70 - 4 * 3  # exact copies in each class: one in Training, two in Testing


@pytest.mark.parametrize("split", ["Training", "Testing"])
def test_copies_show_what_they_are_made_from(drawn: Path, split: str):
    for file in phantom.plan(3, 50, 20):
        if file.place.split == split and file.copy:
            assert_copy(drawn / file.place.path, drawn / file.drawing.path, file.copy)


def assert_copy(path: Path, of: Path, kind: str) -> None:
    copy, original = grey(path), grey(of)
    if kind == "exact":
        assert np.array_equal(copy, original)
        return
    assert not np.array_equal(copy, original)
    straight, mirrored = correlation(copy, original), correlation(copy[:, ::-1], original)
    assert (mirrored if kind == "mirrored" else straight) > 0.97
    assert (straight if kind == "mirrored" else mirrored) < 0.97


def test_a_copy_is_planted_only_where_its_original_is_drawn():
    assert not [file for file in phantom.plan(0, 7, 60) if file.copy]


def test_patients_are_planted_on_both_sides_and_on_one():
    files = list(phantom.plan(0, 400, 100))
    class_of = {file.drawing.patient: file.place.class_name for file in files}
    assert all(class_of[file.drawing.patient] == file.place.class_name for file in files), "one class per patient"
    training = Counter(file.drawing.patient for file in files if file.place.split == "Training")
    assert min(training.values()) >= 2, "several slices of each"
    exposure = Counter(
        (file.place.class_name, "copy" if file.copy else file.drawing.patient in training)
        for file in files
        if file.place.split == "Testing"
    )
    expected = {"copy": 30, True: 40, False: 30}
    assert exposure == {(name, kind): n for name in phantom.CLASSES for kind, n in expected.items()}


def test_patients_csv_says_whose_scans_the_files_are(drawn: Path):
    table = phantom.Patients.read(drawn / "patients.csv")
    assert sorted(table.path) == sorted(path.relative_to(drawn).as_posix() for path in drawn.rglob("*.jpg"))
    drawing = {file.place.path.as_posix(): file.drawing for file in phantom.plan(3, 50, 20)}
    assert [drawing[path].patient for path in table.path] == table.patient.tolist()
    assert set(table.plane) == {"axial", "coronal", "sagittal"}


@pytest.mark.parametrize("class_name", phantom.CLASSES)
def test_slices_of_one_head_are_more_alike_than_heads_and_no_copies(class_name: str):
    scans = [phantom.Scan(2, "Training", class_name, 5 * head + place) for head in range(4) for place in range(5)]
    scans += [phantom.Scan(2, "Testing", class_name, 10 * head + place) for head in range(4) for place in range(4)]
    assert len({(scan.head, scan.level) for scan in scans}) == len(scans), "each slice at a height of its own"
    pictures = np.stack([phantom.render(scan)[0].reshape(64, 3, 64, 3).mean(axis=(1, 3)).ravel() for scan in scans])
    alike = np.corrcoef(pictures)
    np.fill_diagonal(alike, -1)
    heads = np.array([scan.head for scan in scans])
    same = heads[:, None] == heads
    nearest = same[np.arange(len(scans)), alike.argmax(axis=1)]
    assert len(set(heads)) == len(scans) / phantom.SLICES, "Training and Testing show the same heads"
    assert nearest.mean() > 0.7
    assert alike[same].max() < 0.98


def test_another_scanner_sees_other_heads_and_a_few_copies(drawn: Path, tmp_path: Path):
    phantom.draw_other_scanner(tmp_path, seed=3, per_class=10, workers=2)
    files = list(phantom.plan_elsewhere(3, 10))
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.jpg"))
    assert written == sorted(file.place.path for file in files)
    assert Counter(path.parent.name for path in written) == dict.fromkeys(phantom.CLASSES, 10)
    for file in files:
        with Image.open(tmp_path / file.place.path) as image:
            assert (image.mode, image.size) == ("L", (256, 256))
            image.resize((phantom.SIZE, phantom.SIZE)).save(tmp_path / "small.png")
        if file.drawing.split == "Training":
            assert_copy(tmp_path / "small.png", drawn / file.drawing.path, file.copy)
    assert Counter((file.copy, file.drawing.split) for file in files) == {
        (None, "Elsewhere"): 28, ("near", "Training"): 4, ("mirrored", "Training"): 4, ("near", "Elsewhere"): 4,
    }  # fmt: skip
