import base64
import io
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.linalg import hadamard

from trueslice.copies.thumbnails import thumbnails
from trueslice.errors import UserError
from trueslice.patients import lookup as patients
from trueslice.patients.trace import Traced

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
NAMES = ["a", "b", "c"]


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Smooth pictures that differ: uint8 [count, 256, 256]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 24, 24), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(each).resize((256, 256), Image.Resampling.BICUBIC)) for each in coarse])


def resaved(picture: np.ndarray, size: int = 512, quality: int = 60) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def different_bits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    one, other = (patients.fingerprints(thumbnails(each)) for each in (a, b))
    return np.count_nonzero(one != other, axis=1)


def test_a_fingerprint_survives_another_size_and_quality_but_not_a_mirror_or_another_picture():
    own = pictures(20)
    assert different_bits(own, np.stack([resaved(picture) for picture in own])).max() <= patients.TOLERANCE / 2
    assert different_bits(own, own[:, :, ::-1]).min() > 4 * patients.TOLERANCE
    assert different_bits(own, np.roll(own, 1, axis=0)).min() > 4 * patients.TOLERANCE


def test_a_fingerprint_is_that_of_exact_whole_numbers():
    means = thumbnails(pictures(3))
    whole = np.rint(means.astype(np.float64) * 64).astype(int).reshape(3, 32, 2, 32, 2).sum(axis=(2, 4))
    waves = sorted(hadamard(32).tolist(), key=lambda wave: sum(a != b for a, b in itertools.pairwise(wave)))
    coefficients = np.array(waves) @ whole @ np.array(waves).T
    by_frequency = sorted(((row, column) for row in range(32) for column in range(32)), key=lambda place: sum(place))
    expected = [[values[place] > 0 for place in by_frequency[1:513]] for values in coefficients]
    assert patients.fingerprints(means).tolist() == expected


def test_a_fingerprint_is_read_as_it_was_written():
    bits = patients.fingerprints(thumbnails(pictures(1)))[0]
    text = patients.to_text(bits)
    assert len(text) == 86 and (patients.from_text(text) == bits).all()
    assert base64.urlsafe_b64decode(text + "==") == np.packbits(bits).tobytes()


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> np.ndarray:
    """A table in place of the shipped one, with three scans: their thumbnails."""
    means = thumbnails(pictures(3))
    texts = [patients.to_text(bits) for bits in patients.fingerprints(means)]
    rows = zip(NAMES, texts, CLASSES, strict=False)
    lines = [f"Training/x/{name}.jpg,{text},P{name},figshare,{label},axial\n" for name, text, label in rows]
    table = tmp_path / "shipped.csv"
    table.write_text("path,fingerprint,patient,source,source_class,plane\n" + "".join(lines))
    monkeypatch.setattr(patients, "SHIPPED", table)
    return means


def test_the_shipped_table_holds_where_name_and_picture_agree(shipped: np.ndarray):
    paths = ["other/folder/a.png", "b.jpg", "d.jpg", "c.jpg"]
    found = patients.read_shipped(paths, shipped[[0, 0, 0, 2]], CLASSES)
    assert found["patient"].tolist() == ["Pa", "", "", "Pc"]
    assert found["source"].tolist() == ["figshare", "", "", "figshare"]
    assert found["source_class"].tolist() == ["glioma", "", "", "notumor"]
    assert found["plane"].tolist() == ["axial", "", "", "axial"]


def test_the_shipped_table_says_nothing_of_classes_that_have_other_names(shipped: np.ndarray):
    found = patients.read_shipped(["a.jpg", "b.jpg"], shipped[:2], ("Glioma", "meningioma"))
    assert found["patient"].tolist() == ["Pa", "Pb"]
    assert found["source_class"].tolist() == ["", "meningioma"]


def test_the_shipped_table_says_nothing_of_other_scans():
    found = patients.read_shipped(
        ["Training/glioma/1.jpg", "Training/glioma/Tr-gl_0010.jpg"], thumbnails(pictures(2)), CLASSES
    )
    assert all(column.tolist() == ["", ""] for column in found.values())


def test_the_shipped_table_is_sound():
    table = Traced.read(patients.SHIPPED)
    stems = [Path(path).stem for path in table.path]
    assert len(table) == len(set(stems)) == 4750
    assert len(set(table.slice)) == 3064 and set(table.slice) == set(range(1, 3065))
    assert len(set(table.patient)) == 209 and len(set(table.source_id)) == 233
    assert all(re.fullmatch(r"MR\d+|\d+", patient) for patient in set(table.patient))
    assert len(set(zip(table.patient, table.source_class, strict=True))) == 209, "a patient has one kind of tumour"
    assert len(set(zip(table.slice, table.patient, strict=True))) == 3064
    assert {len(patients.from_text(text)) for text in table.fingerprint} == {patients.BITS}
    assert set(table.orientation) == {"near", "mirrored"} and table.correlation.min() > 0.998
    wrong = [path for path, label in zip(table.path, table.source_class, strict=True) if f"/{label}/" not in path]
    assert [Path(path).stem for path in wrong] == ["Te-piTr_0002", "Tr-pi_0043", "Tr-pi_0515", "Tr-pi_0520"]
    assert patients.SHIPPED.stat().st_size < 10**6


def test_a_table_of_the_user_fills_what_it_names(tmp_path: Path):
    table = tmp_path / "own.csv"
    table.write_text("plane,path,patient,more\naxial, b.png ,7,x\n,broken.png,8,\n,a.png,,\n", encoding="utf-8-sig")
    found = patients.read_own(table, ["a.png", "b.png", "c.png"], ["broken.png"], CLASSES)
    assert found["patient"].tolist() == ["", "7", ""] and found["plane"].tolist() == ["", "axial", ""]
    assert found["source"].tolist() == found["source_class"].tolist() == ["", "", ""]


def test_a_path_may_be_that_in_the_source_or_its_end(tmp_path: Path):
    table = tmp_path / "own.csv"
    paths = [
        "Testing/ill/1.png",
        "Training/ill/1.png",
        "Training/ill/2.png",
        "Training/well/3.png",
        "Validation/ill/4.dcm",
    ]
    table.write_text("path,patient\ntrain/ill/1.png,7\nTEST/ill/1.png,8\nill/2.png,9\n3.png,10\nval/ill/4.dcm,11\n")
    assert patients.read_own(table, paths, [], CLASSES)["patient"].tolist() == ["8", "7", "9", "10", "11"]
    table.write_text("path,patient\nill/1.png,7\n")
    with pytest.raises(
        UserError, match=r"names 'ill/1.png', which may be 'Testing/ill/1.png' or 'Training/ill/1.png' \(line 2"
    ):
        patients.read_own(table, paths, [], CLASSES)
    table.write_text("path,patient\n1.png,7\n")
    assert patients.read_own(table, ["1.png", "ill/1.png"], [], CLASSES)["patient"].tolist() == ["7", ""]


def test_a_path_may_be_written_as_on_windows(tmp_path: Path):
    table = tmp_path / "own.csv"
    table.write_text("path,patient\n.\\train\\ill\\1.png,7\n./Training//ill/2.png,8\nill\\3\\4.png,9\n")
    paths = ["Training/ill/1.png", "Training/ill/2.png", "Training/ill/3\\4.png"]
    assert patients.read_own(table, paths, [], CLASSES)["patient"].tolist() == ["7", "8", "9"]
    table.write_text("path,patient\na\\b.png,7\n")
    with pytest.raises(UserError, match=r"names 'a.+b.png', which may be 'a/b.png' or 'a.+b.png'"):
        patients.read_own(table, ["a/b.png", "a\\b.png"], [], CLASSES)


def test_a_row_for_a_file_holds_for_its_frames_but_for_those_with_a_row_of_their_own(tmp_path: Path):
    table = tmp_path / "own.csv"
    table.write_text('path,patient\na.dcm,7\n"a.dcm, frame 2",8\n')
    found = patients.read_own(table, [f"a.dcm, frame {number}" for number in (1, 2, 3)] + ["b.dcm"], [], CLASSES)
    assert found["patient"].tolist() == ["7", "8", "7", ""]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("path,who\na.png,1\n", "own.csv: its first line names 'path', 'who', but must name path and patient, divided"),
        ("path;patient\na.png;1\n", "its first line names 'path;patient', but must name path and patient, divided"),
        ("path,patient,patient\na.png,1,2\n", "its first line names the column 'patient' twice"),
        ("", "own.csv: it is empty"),
        ("path,patient\na.png,1\na.png,2\n", r"gives 'a.png' twice \(patients '1', '2'; line 3\); keep one"),
        ("path,patient\na.png,1\nx.png,2\n", "names 1 files that are not there: 'x.png'; remove them"),
        ("path,patient\nx\\a.png,1\n", "fits no file of these scans; paths are as in the folder of scans"),
        ("path,patient\n/home/me/a.png,1\n", "fits no file of these scans; paths are as in the folder of scans"),
        ("path,patient\n", "fits no file of these scans"),
        ("path,patient,source_class\na.png,1,gliom\n", "line 2: source_class 'gliom' is not under `classes:`"),
        ("path,patient\na.png\n", "line 2 has 1 fields, and the first line 2"),
        ("path,patient\na.png,1,2\n", "line 2 has 3 fields, and the first line 2"),
        (b"\xff\xfe\x00", "it is UTF-16 text; save it as CSV in UTF-8"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_table_of_the_user_that_is_wrong_is_told_in_one_line(tmp_path: Path, text: str | bytes | None, problem: str):
    table = tmp_path / "own.csv"
    if text is not None:
        table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=problem) as error:
        patients.read_own(table, ["a.png", "b.png"], [], CLASSES)
    assert "own.csv" in str(error.value) and "\n" not in str(error.value)
