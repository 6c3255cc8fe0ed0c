import re
from pathlib import Path

import numpy as np
import pytest

from tests.patients.test_fingerprints import heads
from trueslice.copies.thumbnails import thumbnails
from trueslice.errors import UserError
from trueslice.patients import lookup as patients
from trueslice.patients import slices
from trueslice.patients.fingerprints import BITS, fingerprints, from_text, to_text

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> np.ndarray:
    """A table in place of the shipped one, with three scans: their thumbnails."""
    means = thumbnails(heads(3))
    texts = np.array([to_text(bits) for bits in fingerprints(means)])
    labels, planes = np.array(["glioma", "meningioma", "pituitary"]), np.array(["axial", "", "coronal"])
    table = slices.Slices(np.arange(1, 4), np.array(["7B", "8", "9"]), np.array(["7", "8", "9"]), labels, planes, texts)
    table.write(tmp_path / "slices.csv")
    monkeypatch.setattr(slices, "SHIPPED", tmp_path / "slices.csv")
    return means


def test_the_shipped_table_holds_for_every_picture_in_it_and_no_other(shipped: np.ndarray):
    means = np.concatenate([shipped[::-1], shipped[:1, :, ::-1], thumbnails(heads(2, seed=1))])
    found = patients.read_shipped(means, CLASSES)
    assert found["patient"].tolist() == ["9", "8", "7", "7", "", ""]
    assert found["source"].tolist() == [*["figshare"] * 4, "", ""]
    assert found["source_class"].tolist() == ["pituitary", "meningioma", "glioma", "glioma", "", ""]
    assert found["plane"].tolist() == ["coronal", "", "axial", "axial", "", ""]
    assert slices.patients(means).tolist() == found["patient"].tolist()


def test_the_shipped_table_says_nothing_of_classes_that_have_other_names(shipped: np.ndarray):
    found = patients.read_shipped(shipped, ("Glioma_tumor", "pituitary_a", "pituitary_b"))
    assert found["patient"].tolist() == ["7", "8", "9"]
    assert found["source_class"].tolist() == ["Glioma_tumor", "", ""]


def test_a_scan_is_of_a_known_patient_only_if_another_scan_of_the_patient_is_known(monkeypatch, tmp_path):
    means, others = thumbnails(heads(3)), thumbnails(heads(2, seed=1))
    texts = np.array([to_text(bits) for bits in fingerprints(means)])
    ids, none = np.array(["7", "7", "8"]), np.full(3, "")
    slices.Slices(np.arange(1, 4), ids, ids, none, none, texts).write(tmp_path / "slices.csv")
    monkeypatch.setattr(slices, "SHIPPED", tmp_path / "slices.csv")
    known = np.concatenate([others[:1], means[:1]])

    def of_patients(seen: np.ndarray, known: np.ndarray) -> list[bool]:
        return slices.of_patients(seen, lambda: slices.patients(known)).tolist()

    assert of_patients(np.concatenate([means, others]), known) == [True, True, False, False, False]
    assert not any(of_patients(others, known)) and not any(of_patients(means, others))


def test_the_shipped_table_is_sound():
    table = slices.shipped()
    assert table.slice.tolist() == list(range(1, 3065))
    assert len(set(table.patient)) == 209 and len(set(table.source_id)) == 233
    assert all(re.fullmatch(r"MR\d+|\d+", patient) for patient in set(table.patient))
    assert all(own.rstrip("BCDEFGI") == patient for own, patient in zip(table.source_id, table.patient, strict=True))
    assert len(set(zip(table.patient, table.source_class, strict=True))) == 209, "a patient has one kind of tumour"
    assert {label: (table.source_class == label).sum() for label in set(table.source_class)} == {
        "meningioma": 708,
        "glioma": 1426,
        "pituitary": 930,
    }
    assert set(table.plane) == {"axial", "coronal", "sagittal", ""}
    assert {len(from_text(text)) for text in table.fingerprint} == {BITS}
    assert len(set(table.fingerprint)) == 3064
    assert slices.SHIPPED.stat().st_size < 10**6


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
