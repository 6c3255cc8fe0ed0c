"""Every file of pydicom's wheel and of pydicom-data that SimpleITK reads too, held against its values."""

from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest

from trueslice.reading.dicom import is_dicom
from trueslice.reading.pictures import read_pictures

pytestmark = pytest.mark.slow
sitk = pytest.importorskip("SimpleITK")
FOLDERS = [Path(module.__file__).parent for module in (pydicom.data, pytest.importorskip("data_store"))]
FILES = {path.name: path for folder in FOLDERS for path in folder.rglob("*") if path.is_file() and is_dicom(path)}
LOSSY = ("JPEG Baseline (Process 1)", "JPEG Extended (Process 2 and 4)")
ROUNDING = 5  # grey levels between decoders of lossy JPEG
# Files that are refused here, and why.
REFUSED = {
    "badVR.dcm": "its number of frames is 1A",
    "JPEG-lossy.dcm": "its scan has parameters that its kind of JPEG does not have",
}
# SimpleITK takes the bytes of these in another order. Both agree on the same picture in another file.
TWINS = {
    "SC_rgb_rle_16bit.dcm": "SC_rgb_16bit.dcm",
    "SC_rgb_rle_16bit_2frame.dcm": "SC_rgb_16bit_2frame.dcm",
    "SC_rgb_rle_32bit.dcm": "SC_rgb_32bit.dcm",
    "SC_rgb_rle_32bit_2frame.dcm": "SC_rgb_32bit_2frame.dcm",
    "rtdose_expb.dcm": "rtdose.dcm",
}


def ours(path: Path) -> list[np.ndarray] | None:
    """Return the pictures, or None if one cannot be read."""
    try:
        frames = [picture for _, picture in read_pictures(path, "", 50_000_000, "all")]
    except ValueError:
        return None
    return None if str in map(type, frames) else [np.asarray(picture.image) for picture in frames]


def theirs(path: Path) -> np.ndarray | None:
    """Return rescaled values [F, H, W], or [F, H, W, 3] of colours; None if it cannot be read."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError:
        return None
    values = sitk.GetArrayFromImage(image)
    return values[None] if image.GetDimension() == 2 else values


def expected(values: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Apply the window of a header, or the range of the values, to what SimpleITK read."""
    if values.ndim == 3:
        return values if values.dtype == np.uint8 else (values >> (8 * values.itemsize - 8)).astype(np.uint8)
    slope, intercept = float(header.get("RescaleSlope", 1)), float(header.get("RescaleIntercept", 0))
    values = values.astype(np.float64)
    is_inverse = header.PhotometricInterpretation == "MONOCHROME1"
    if is_inverse:  # SimpleITK inverts stored values
        values = (2**header.BitsStored - 1) * slope + 2 * intercept - values
    groups = [group for name in ("PerFrame", "Shared") for group in header.get(f"{name}FunctionalGroupsSequence", [])]
    windows = [window for group in groups for window in group.get("FrameVOILUTSequence", [])]
    centre, width = (
        np.atleast_1d([*windows, header][0].get(name, np.nan))[0] for name in ("WindowCenter", "WindowWidth")
    )
    is_padding = np.zeros(values.shape, bool)
    if np.isnan(float(centre)):
        is_padding = values == header.get("PixelPaddingValue", np.nan) * slope + intercept
        low, high = np.percentile(values[~is_padding], (1, 99))
        if low == high:
            low, high = values.min(), values.max()
    else:
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    shares = np.clip((values - low) / (high - low or 1), 0, 1)
    shares = 1 - shares if is_inverse else shares
    return np.rint(255 * np.where(is_padding, 0, shares)).astype(np.uint8)


def apart(shown: list[np.ndarray], values: np.ndarray, header: pydicom.Dataset) -> int:
    """Return the most grey levels between a file's pictures and what they should be."""
    assert len(shown) == len(values)
    pairs = zip(shown, values, strict=True)
    return max(int(np.abs(picture.astype(int) - expected(value, header)).max()) for picture, value in pairs)


def test_files_are_shown_as_simpleitk_reads_them():
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    distances, refused = {}, set()
    for name, path in FILES.items():
        same = FILES[TWINS.get(name, name)]
        shown, values = ours(path), theirs(same)
        if values is None:
            continue
        if shown is None:
            refused.add(name)
            continue
        header = pydicom.dcmread(same, force=True)
        syntax = getattr(header.file_meta.get("TransferSyntaxUID"), "name", "")
        distances[name] = max(0, apart(shown, values, header) - (ROUNDING if syntax in LOSSY else 0))
    assert refused == set(REFUSED)
    assert {name: distance for name, distance in distances.items() if distance} == {}
    assert len(distances) > 150
