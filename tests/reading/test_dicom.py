"""DICOM files, as a viewer shows them."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, RLELossless

from tests.dicom_files import SECRETS, write
from trueslice.commands import cli
from trueslice.inference.reading import read
from trueslice.reading import dicom

SETTINGS = {"image_size": 32, "colour": False, "max_pixels": 10_000}
VALUES = np.tile(np.arange(32) * 100, (32, 1))  # 0 to 3100


def shown(path: Path, frame=None) -> list[float]:
    """The middle row as a viewer shows it."""
    (found,) = read(path, SETTINGS, frame)
    return found.pixels[16].tolist()


def grey(shares: np.ndarray) -> list[float]:
    return pytest.approx(255 * np.clip(shares, 0, 1), abs=1)


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "scan.dcm"


def test_without_a_window_the_whole_range_is_shown(file):
    assert shown(write(file, VALUES.astype(np.uint16))) == grey(VALUES[0] / 3100)


def test_a_window_is_applied_as_the_standard_says(file):
    values = VALUES.astype(np.uint16)
    write(file, values, WindowCenter=1500, WindowWidth=1001)
    assert shown(file) == grey((VALUES[0] - 1499.5) / 1000 + 0.5)
    write(file, values, WindowCenter=1500, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")
    assert shown(file) == grey((VALUES[0] - 1500) / 1000 + 0.5)
    write(file, values, WindowCenter=1500, WindowWidth=1000, VOILUTFunction="SIGMOID")
    assert shown(file) == grey(1 / (1 + np.exp(-4 * (VALUES[0] - 1500) / 1000)))
    write(file, values, WindowCenter=[1500, 9], WindowWidth=[1001, 9])
    assert shown(file) == grey((VALUES[0] - 1499.5) / 1000 + 0.5)


def test_the_window_is_of_rescaled_values(file):
    write(file, VALUES.astype(np.uint16), RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=1500, WindowWidth=1001)
    assert shown(file) == grey((2 * VALUES[0] - 1000 - 1499.5) / 1000 + 0.5)


def test_monochrome1_is_white_where_values_are_low(file):
    write(file, VALUES.astype(np.uint16), PhotometricInterpretation="MONOCHROME1")
    assert shown(file) == grey(1 - VALUES[0] / 3100)


def test_windows_of_frames_are_their_own(file):
    frames = np.stack([VALUES, VALUES]).astype(np.uint16)
    groups = []
    for centre in (1000, 2000):
        window, group = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 1001
        group.FrameVOILUTSequence = [window]
        groups.append(group)
    write(file, frames, PerFrameFunctionalGroupsSequence=groups)
    assert shown(file, 1) == grey((VALUES[0] - 999.5) / 1000 + 0.5)
    assert shown(file, 2) == grey((VALUES[0] - 1999.5) / 1000 + 0.5)
    assert read(file, SETTINGS)[0].reason.startswith("it holds 2 frames; choose one")
    assert [each.name[-7:] for each in read(file, SETTINGS, "all")] == ["frame 1", "frame 2"]


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_pixels_are_the_same(file, tmp_path, syntax):
    plain = shown(write(tmp_path / "plain.dcm", VALUES.astype(np.uint16)))
    assert shown(write(file, VALUES.astype(np.uint16), syntax)) == plain


def test_colour_is_colour(file):
    colour = np.zeros((32, 32, 3), np.uint8)
    colour[..., 0] = 200
    (found,) = read(write(file, colour), SETTINGS | {"colour": True})
    assert found.has_colour and found.pixels[16, 16].tolist() == [200, 0, 0]


def without(path: Path, *names: str) -> Path:
    scan = pydicom.dcmread(path)
    for name in names:
        delattr(scan, name)
    scan.save_as(path)
    return path


def test_files_without_a_picture_are_named_in_one_line(file):
    write(file, VALUES.astype(np.uint16))
    said = "its pixels are missing or cannot be decoded (Explicit VR Little Endian)"
    assert read(without(file, "PixelData"), SETTINGS)[0].reason == said
    assert read(without(file, "Rows"), SETTINGS)[0].reason == "it is not a DICOM file that holds a picture"
    file.write_bytes(b"nothing of the kind" * 20)
    assert read(file, SETTINGS)[0].reason == "it is not a DICOM file that holds a picture"
    file.write_bytes(b"")
    assert read(file, SETTINGS)[0].reason == "the file is empty"
    write(file, np.zeros((200, 200), np.uint16))
    assert read(file, SETTINGS)[0].reason == "200 x 200 pixels are more than verify.max_pixels (10000)"


def test_a_missing_extra_is_named_with_the_command_that_brings_it(file, monkeypatch):
    write(file, VALUES.astype(np.uint16), RLELossless)
    monkeypatch.setattr(dicom, "_is_installed", lambda name: name != "pylibjpeg")
    monkeypatch.setattr("pydicom.pixels.pixel_array", None)
    said = "its pixels are compressed (RLE Lossless); install what decodes them: pip install -e '.[dicom]'"
    assert read(file, SETTINGS)[0].reason == said
    monkeypatch.setattr(dicom, "_is_installed", lambda name: False)
    assert read(file, SETTINGS)[0].reason == "DICOM files need pydicom; run: pip install -e '.[dicom]'"


def test_nothing_of_the_patient_is_ever_written(tmp_path, released, monkeypatch, capfd):
    write(tmp_path / "good.dcm", VALUES.astype(np.uint16))
    write(tmp_path / "many.dcm", np.stack([VALUES, VALUES]).astype(np.uint16))
    # Values that do not fit their kind make pydicom warn, and quote them.
    write(tmp_path / "odd.dcm", VALUES.astype(np.uint16), StudyTime="20200304", PatientAge="19700102")
    without(write(tmp_path / "none.dcm", VALUES.astype(np.uint16)), "PixelData")
    monkeypatch.chdir(released)
    for arguments in (["--format", "json"], ["--format", "csv", "--frame", "all"], []):
        with pytest.raises(SystemExit):
            cli.main(["predict", str(tmp_path), *arguments])
        said = capfd.readouterr()
        assert "good.dcm" in said.out and "none.dcm" in said.err
        assert not [secret for secret in SECRETS if secret in said.out + said.err]
