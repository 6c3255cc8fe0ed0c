"""Frames of DICOM files, as a viewer shows them, in 8 bits.

Nothing is read but pixels and what says how to show them: no name, no number and no date of a patient.
"""

import logging
from pathlib import Path

import numpy as np
from PIL import Image

from trueslice.files import Upload, is_empty, open_binary
from trueslice.reading import display
from trueslice.reading.images import Picture, check_size, to_picture

ENDINGS = (".dcm", ".dicom")
MAGIC_AT, MAGIC = 128, b"DICM"
INSTALL = "pip install -e '.[dicom]'"
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# The only parts of a file that are read.
TAGS = (
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept"),
    *("ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(f"{kind}PixelPadding{part}" for kind in ("", "Float", "DoubleFloat") for part in ("Value", "RangeLimit")),
    *PIXELS,
    *(
        f"{name}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for name, part in ((colour, "Descriptor"), (colour, "Data"), (f"Segmented{colour}", "Data"))
    ),
)
GREY, PALETTE = ("MONOCHROME1", "MONOCHROME2"), ("PALETTE COLOR",)
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


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
        try:
            with open_binary(file) as stream:
                self._header = pydicom.dcmread(stream, specific_tags=list(TAGS), force=True)
            width, height = int(self._header.Columns), int(self._header.Rows)
        except (OSError, MemoryError):
            raise
        except Exception:  # pydicom raises many kinds, and a message may quote what the file says of a patient
            raise ValueError("it is not a DICOM file that holds a picture") from None
        check_size(width, height, max_pixels)
        count = display.number([self._header], "NumberOfFrames", 1) or 1
        if count < 1 or count != int(count):
            raise ValueError(f"{display.named('NumberOfFrames')} is not a whole number above 0")
        if count > max(1, *(len(self._header.get(name) or b"") for name in PIXELS)):
            raise ValueError(f"{display.named('NumberOfFrames')} is greater than the number of its pixels")
        self.count = self._header.NumberOfFrames = int(count)
        _complete(self._header)

    def picture(self, number: int) -> Picture:
        """Decode the frame of this number, from 1, and show it as a viewer does.

        Raises:
            ValueError: there are no pixels, or they cannot be decoded, or a tag cannot be used.
        """
        header = self._header
        kind = header.get("PhotometricInterpretation")
        if kind not in (*GREY, *PALETTE, *COLOUR):
            raise ValueError(f"{display.named('PhotometricInterpretation')} is missing, or none that is read here")
        values = self._stored(number)
        if values.shape[2:] != ((3,) if kind in COLOUR else ()):
            raise ValueError(f"{display.named('SamplesPerPixel')} does not fit its Photometric Interpretation")
        if kind in GREY:
            shares = display.shares_of_white(values, header, number)
            shares = np.nan_to_num(1 - shares if kind == "MONOCHROME1" else shares)
            return Picture(Image.fromarray(np.rint(shares * 255).astype(np.uint8)), "DICOM", False)
        if kind in PALETTE:
            colours = display.colours(values, header)
        else:
            colours = (values >> max(header.BitsStored - 8, 0)).astype(np.uint8)
        return to_picture(Image.fromarray(colours))._replace(mode="DICOM")

    def close(self) -> None:
        """Do nothing: the file is no longer open."""

    def _stored(self, number: int) -> np.ndarray:
        """Return stored values: [H, W], or [H, W, 3] of colours."""
        from pydicom.pixels import pixel_array
        from pydicom.uid import RLELossless

        header, shift = self._header, _shift(self._header)
        options: dict = {"bits_stored": header.BitsStored + shift} if shift else {}
        if header.file_meta.TransferSyntaxUID == RLELossless:
            options["decoding_plugin"] = "pydicom"  # pylibjpeg's panics on damaged files, which ends the process
        try:
            values = pixel_array(header, index=number - 1, **options)
        except MemoryError:
            raise
        except Exception:
            raise ValueError(_why_undecodable(header.file_meta.TransferSyntaxUID)) from None
        return values >> shift if shift else values


def _complete(header) -> None:
    """Name the encoding of a file that does not, and drop what may lead to the wrong frames."""
    from pydicom import uid

    if not header.file_meta.get("TransferSyntaxUID"):
        is_implicit, is_little = header.original_encoding
        explicit = uid.ExplicitVRLittleEndian if is_little else uid.ExplicitVRBigEndian
        header.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if is_implicit else explicit
    if not header.file_meta.TransferSyntaxUID.is_transfer_syntax:
        raise ValueError(f"{display.named('TransferSyntaxUID')} is none that is known")
    if header.file_meta.TransferSyntaxUID.is_encapsulated and header.get("PixelData"):
        # Tables of offsets are often wrong. Without one, pydicom finds the frames itself.
        start, length = header.PixelData[:4], int.from_bytes(header.PixelData[4:8], "little")
        header.PixelData = start + bytes(4) + header.PixelData[8 + length :]


def _shift(header) -> int:
    """Return how many bits stored values stand too far to the left, which pydicom takes no notice of."""
    stored, high, allocated = (display.number([header], name) for name in ("BitsStored", "HighBit", "BitsAllocated"))
    is_plain = not header.file_meta.TransferSyntaxUID.is_encapsulated
    return int(high + 1 - stored) if is_plain and stored <= high < allocated else 0


def _why_undecodable(syntax) -> str:
    if syntax.is_compressed and not _is_installed("pylibjpeg"):
        return f"its pixels are compressed ({syntax.name}); install what decodes them: {INSTALL}"
    return f"its pixels are missing or cannot be decoded ({syntax.name})"


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
