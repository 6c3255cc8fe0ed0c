"""What is made of the source of the patients, on drawn heads whose slices stand in real .mat files."""

import io
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image, ImageOps

from research import correlation, figshare, masks, slices
from trueslice.copies.thumbnails import KINDS, ORIENTATIONS, thumbnails
from trueslice.errors import UserError
from trueslice.patients.fingerprints import from_text, nearest

LABELS = {label: code for code, label in figshare.LABELS.items()}
# Three slices of each head: class, id in the source.
HEADS = [("meningioma", "100360"), ("glioma", "MR051644"), ("glioma", "MR051644B"), ("pituitary", "MR049142")]


def head(seed: int, height: float) -> np.ndarray:
    """A slice of a head, float [192, 192] from 0 to 1: coarse structure that changes slowly with the height."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:192j, -1:1:192j]
    radius = np.hypot(x / 0.75, y / 0.9) ** 2 + height**2
    picture = 0.35 * (radius < 1)
    for _ in range(60):
        (cx, cy, cz), (rx, ry, rz), grey = rng.uniform(-0.6, 0.6, 3), rng.uniform(0.1, 0.3, 3), rng.uniform(0, 0.9)
        picture[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((height - cz) / rz) ** 2 < 1] = grey
    picture[(radius > 0.85) & (radius < 1)] = 0.8
    return picture


SLICES = {3 * seed + place + 1: head(seed, 0.1 * place) for seed in range(len(HEADS)) for place in range(3)}


def tumour(number: int) -> np.ndarray:
    """Where the source says that the tumour is in a slice, bool [192, 192], or [64, 64] in the smaller one."""
    side = 64 if number == 2 else 192
    mask = np.zeros((side, side), bool)
    mask[side // 4 : side // 2, side // 8 : side // 4 + 3 * (number % 3)] = True
    return mask


def mat(number: int) -> bytes:
    """The article's file of a slice, as MATLAB v7.3 writes it: HDF5 with all arrays transposed."""
    class_name, source_id = HEADS[(number - 1) // 3]
    image = np.rint(4000 * SLICES[number]).astype(np.int16)
    if number == 2:  # a few are smaller
        image = image.reshape(64, 3, 64, 3).mean(axis=(1, 3)).astype(np.int16)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=512) as file:
        content = file.create_group("cjdata")
        content["image"] = image.T
        content["label"] = np.array([[float(LABELS[class_name])]])
        content["tumorMask"] = tumour(number).T.astype(np.uint8)
        content["PID"] = np.array([[ord(letter)] for letter in source_id], np.uint16)
    return buffer.getvalue()


def save(path: Path, picture: np.ndarray, change=lambda image: image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    change(Image.fromarray(np.rint(255 * picture).astype(np.uint8))).save(path)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Half of the slices in a zip, half as files; what else the article holds lies beside them."""
    folder = tmp_path_factory.mktemp("source")
    with zipfile.ZipFile(folder / "1-6.zip", "w") as archive:
        for number in range(1, 7):
            archive.writestr(f"{number}.mat", mat(number))
    (folder / "more").mkdir()
    for number in range(7, 13):
        (folder / f"more/{number}.mat").write_bytes(mat(number))
    with h5py.File(folder / "cvind.mat", "w") as file:
        file["cvind"] = np.zeros((1, 12))
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """Slices as they are, mirrored, recompressed, in a wrong class folder; and scans of other heads."""
    folder = tmp_path_factory.mktemp("scans")
    save(folder / "Training/Glioma_tumor/1.jpg", SLICES[4])
    save(folder / "Training/Glioma_tumor/2.jpg", SLICES[7], ImageOps.mirror)
    save(folder / "Training/Glioma_tumor/3.jpg", head(50, 0))
    save(folder / "Testing/Glioma_tumor/4.png", SLICES[5], lambda image: image.resize((512, 512)))
    save(folder / "Training/pituitary/5.jpg", SLICES[2])
    save(folder / "Training/pituitary/6.jpg", SLICES[12])
    save(folder / "Training/no/7.jpg", head(51, 0))
    return folder


def test_the_table_has_a_row_for_every_slice(source: Path):
    table = slices.table(source, {4: "coronal"})
    expected = [(3 * seed + place + 1, *HEADS[seed][::-1]) for seed in range(len(HEADS)) for place in range(3)]
    assert list(zip(table.slice.tolist(), table.source_id, table.source_class, strict=True)) == expected
    assert table.patient.tolist() == [each.removesuffix("B") for each in table.source_id]
    assert table.plane.tolist() == ["coronal" if number == 4 else "" for number in table.slice]
    drawn = thumbnails(np.stack([np.rint(255 * picture).astype(np.uint8) for picture in SLICES.values()]))
    rows, kinds, differences = nearest(drawn, np.stack([from_text(text) for text in table.fingerprint]))
    assert rows.tolist() == list(range(12)) and set(kinds) == {"near"} and differences.max() < 20


def test_the_correlation_traces_every_scan_of_the_source_and_no_other(source: Path, scans: Path):
    table, sizes, best_rejected = correlation.trace(scans, source, {"Training/pituitary/6.jpg": "coronal"})
    expected = [
        ("Testing/Glioma_tumor/4.png", 5, "near", "MR051644", "MR051644", "glioma", ""),
        ("Training/Glioma_tumor/1.jpg", 4, "near", "MR051644", "MR051644", "glioma", ""),
        ("Training/Glioma_tumor/2.jpg", 7, "mirrored", "MR051644B", "MR051644", "glioma", ""),
        ("Training/pituitary/5.jpg", 2, "near", "100360", "100360", "meningioma", ""),
        ("Training/pituitary/6.jpg", 12, "near", "MR049142", "MR049142", "pituitary", "coronal"),
    ]
    names = ("path", "slice", "orientation", "source_id", "patient", "source_class", "plane")
    assert list(zip(*(getattr(table, name).tolist() for name in names), strict=True)) == expected
    assert set(table.source) == {"figshare"} and table.correlation.min() > 0.985
    assert len(sizes) == 7 and sizes["Testing/Glioma_tumor/4.png"] == (512, 512)
    assert 0 < best_rejected < 0.98


def test_the_best_of_all_slices_is_found_however_many_scans_are_compared_at_once(monkeypatch: pytest.MonkeyPatch):
    pixels = np.stack([np.rint(255 * picture).astype(np.uint8) for picture in SLICES.values()])
    means, turned = thumbnails(pixels), np.rot90(pixels, axes=(1, 2))
    for size in (5, 1000):
        monkeypatch.setattr(correlation, "AT_ONCE", size)
        rows, kinds, correlations = correlation.match(thumbnails(turned), means)
        assert rows.tolist() == list(range(len(means)))
        assert set(kinds) == {"quarter_turn_left"} and correlations.tolist() == [1] * len(means)
    assert correlation.most_alike(means[:3], means[1:2])[0].tolist() == [0, 0, 0], "fewer slices than candidates"


def spoiled(content: str) -> bytes:
    """A file that opens as HDF5, but lacks something, or holds something else."""
    buffer = io.BytesIO(mat(1))
    with h5py.File(buffer, "a") as file:
        if content == "group":
            del file["cjdata"]
        else:
            del file[f"cjdata/{content}"]
            if content == "label":
                file["cjdata/label"] = np.array([[4.0]])
            if content == "image":
                file["cjdata/image"] = np.zeros((2, 3, 4), np.int16)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"MATLAB 5.0 MAT-file", b"", mat(1)[:3000], *map(spoiled, ("group", "PID", "label", "image"))],
    ids=["older", "empty", "cut", "group", "PID", "label", "image"],
)
def test_a_file_that_is_no_slice_is_told(content: bytes, source: Path, tmp_path: Path):
    folder = tmp_path / "source"
    shutil.copytree(source, folder)
    (folder / "more/8.mat").write_bytes(content)
    with pytest.raises(UserError, match=r"more/8\.mat is no slice of the figshare article \("):
        figshare.read_source(folder)


def test_what_holds_no_slices_is_told(tmp_path: Path):
    with pytest.raises(UserError, match=r"holds no 1\.mat, 2\.mat, … and no \.zip of them"):
        figshare.read_source(tmp_path)
    (tmp_path / "1-6.zip").write_bytes(b"PK\3\4 not really")
    with pytest.raises(UserError, match=r"1-6\.zip is not a \.zip archive, or is damaged"):
        figshare.read_source(tmp_path)


def test_masks_lie_over_the_scans_as_the_slices_do(source: Path, scans: Path, tmp_path: Path):
    masks.write_masks(scans, source, tmp_path)
    table, *_ = correlation.trace(scans, source, {})
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert written == [f"{path}.png" for path in table.path]
    for path, number, orientation in zip(table.path, table.slice, table.orientation, strict=True):
        with Image.open(tmp_path / f"{path}.png") as mask, Image.open(scans / path) as scan:
            assert mask.size == scan.size
            expected = Image.fromarray(tumour(number)).convert("L").resize(scan.size)
            expected = np.asarray(ImageOps.mirror(expected) if orientation == "mirrored" else expected) > 127
            assert (np.asarray(mask) == expected).mean() > 0.99, path


@pytest.mark.parametrize("orientation", KINDS)
@pytest.mark.parametrize(("width", "height"), [(96, 96), (96, 60), (50, 96)])
def test_a_mask_is_turned_and_cut_as_the_scan_is(orientation: str, width: int, height: int):
    mask = np.zeros((64, 64), np.uint8)
    mask[20:34, 26:32] = 255
    laid = masks.place_mask(mask, orientation, width, height)
    assert laid.shape == (height, width)
    whole = np.asarray(Image.fromarray(ORIENTATIONS[orientation](mask)).resize((96, 96), Image.Resampling.BICUBIC))
    top, left = (96 - height) // 2, (96 - width) // 2
    assert (laid == (whole[top : top + height, left : left + width] >= 128)).mean() > 0.99 and laid.any()
