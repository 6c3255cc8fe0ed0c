"""Frames of DICOM files, as a viewer shows them, in 8 bits.

Nothing is read but pixels and what says how to show them: no name, no number and no date of a patient.
"""

import logging
from pathlib import Path

import numpy as np
from PIL import Image

from trueslice.files import Upload, is_empty, open_binary
from trueslice.reading.images import Picture, check_size, to_picture

ENDINGS = (".dcm", ".dicom")
MAGIC_AT, MAGIC = 128, b"DICM"
INSTALL = "pip install -e '.[dicom]'"
# The only parts of a file that are read apart from its pixels.
TAGS = (
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PixelRepresentation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelPaddingValue", "RescaleSlope", "RescaleIntercept"),
    *("ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(
        f"{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for part in ("Descriptor", "Data")
    ),
)


def is_dicom(file: Path | Upload) -> bool:
    """Tell whether a file is DICOM, by its ending or its first bytes."""
    if Path(file.name).suffix.lower() in ENDINGS:
        return True
    try:
        with open_binary(file) as stream:
            return stream.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC
    except OSError:
        return False


class DicomFrames:
    """The pictures of a DICOM file.

    Attributes:
        count: number of pictures.

    Raises:
        ValueError: it holds no picture, or one of more than `max_pixels` pixels; or pydicom is not installed.
    """

    def __init__(self, file: Path | Upload, max_pixels: int):
        pydicom = _pydicom()
        if is_empty(file):
            raise ValueError("the file is empty")
        self._file = file
        try:
            with open_binary(file) as stream:
                self._header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(TAGS), force=True)
            width, height = int(self._header.Columns), int(self._header.Rows)
        except OSError:
            raise
        except Exception:  # pydicom raises many kinds, and a message may quote what the file says of a patient
            raise ValueError("it is not a DICOM file that holds a picture") from None
        check_size(width, height, max_pixels)
        self.count = int(self._header.get("NumberOfFrames") or 1)

    def picture(self, number: int) -> Picture:
        """Decode the frame of this number, from 1: rescaled, in its window, MONOCHROME1 inverted.

        Raises:
            ValueError: there are no pixels, or they cannot be decoded.
        """
        from pydicom.pixels import pixel_array

        try:
            with open_binary(self._file) as stream:
                values = pixel_array(stream, index=number - 1)
        except OSError:
            raise
        except Exception:
            raise ValueError(self._why_undecodable()) from None
        kind = self._header.PhotometricInterpretation
        if values.ndim == 3 or kind == "PALETTE COLOR":
            return to_picture(Image.fromarray(self._colours(values, kind)))._replace(mode="DICOM")
        shares = self._shown(values.astype(np.float64), number)
        shares = 1 - shares if kind == "MONOCHROME1" else shares
        return Picture(Image.fromarray(np.rint(shares * 255).astype(np.uint8)), "DICOM", False)

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""

    def _shown(self, values: np.ndarray, number: int) -> np.ndarray:
        """Convert stored values, float64 [H, W], to shares of white."""
        from pydicom.pixels import apply_modality_lut, apply_voi

        header = self._header
        is_padding = values == header.get("PixelPaddingValue", np.nan)
        rescale = _of_frame(header, "PixelValueTransformationSequence", number)
        if "ModalityLUTSequence" in header:
            values = apply_modality_lut(values.astype(np.int64), header).astype(np.float64)
        else:
            values = values * float(rescale.get("RescaleSlope", 1)) + float(rescale.get("RescaleIntercept", 0))
        window = _of_frame(header, "FrameVOILUTSequence", number)
        if "VOILUTSequence" in header:
            values = apply_voi(values.astype(np.int64), header).astype(np.float64)
        elif window.get("WindowWidth"):
            return _windowed(values, window)
        # Without a window the whole range is shown, as of other deep files.
        inside = values[~is_padding] if (~is_padding).any() else values
        low, high = inside.min(), inside.max()
        return (np.clip(values, low, high) - low) / max(high - low, np.finfo(np.float64).tiny)

    def _colours(self, values: np.ndarray, kind: str) -> np.ndarray:
        from pydicom.pixels import apply_color_lut

        bits = self._header.BitsStored
        if kind == "PALETTE COLOR":
            values = apply_color_lut(values, self._header)
            bits = 8 * values.itemsize
        return (values >> max(bits - 8, 0)).astype(np.uint8)

    def _why_undecodable(self) -> str:
        syntax = self._header.file_meta.get("TransferSyntaxUID") if hasattr(self._header, "file_meta") else None
        if syntax is not None and syntax.is_compressed and not _is_installed("pylibjpeg"):
            return f"its pixels are compressed ({syntax.name}); install what decodes them: {INSTALL}"
        return f"its pixels are missing or cannot be decoded{f' ({syntax.name})' if syntax else ''}"


def _windowed(values: np.ndarray, window) -> np.ndarray:
    """Return the shares of white in a window: DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3; of several windows, the first."""
    centre, width = (float(np.atleast_1d(window[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
    function = window.get("VOILUTFunction", "LINEAR")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    return np.clip((values - centre) / max(width, np.finfo(np.float64).tiny) + 0.5, 0, 1)


def _of_frame(header, name: str, number: int):
    """Return the part of a header about one frame: a file with several describes each frame, or all; another itself."""
    frames, shared = header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")
    for group in [*(frames[number - 1 : number] if frames else []), *(shared or [])]:
        if group.get(name):
            return group[name].value[0]
    return header


def _pydicom():
    if not _is_installed("pydicom"):
        raise ValueError(f"DICOM files need pydicom; run: {INSTALL}")
    import pydicom

    # Both would quote values of the file, such as a name.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    return pydicom


def _is_installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
