"""Frames of DICOM files, as a viewer shows them, in 8 bits.

Nothing is read but pixels and what says how to show them: no name, no number and no date of a patient.
"""

import logging
import os
import re
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from trueslice.files import Upload, is_empty, open_binary
from trueslice.reading import display
from trueslice.reading.images import Picture, to_picture
from trueslice.reading.limits import MAX_FRAMES, check_size
from trueslice.reading.pixel_data import INSTALL, PixelData, Place, is_installed

ENDINGS = (".dcm", ".dicom")
MAGIC_AT, MAGIC = 128, b"DICM"
# Where pixels are, and how many bits one may take there.
PIXELS = {"PixelData": (1, 8, 16, 32, 64), "FloatPixelData": (32,), "DoubleFloatPixelData": (64,)}
# The only parts of a file that are read.
TAGS = (
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept"),
    *("ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "PresentationLUTShape"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(f"{kind}PixelPadding{part}" for kind in ("", "Float", "DoubleFloat") for part in ("Value", "RangeLimit")),
    *(
        f"{name}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for name, part in ((colour, "Descriptor"), (colour, "Data"), (f"Segmented{colour}", "Data"))
    ),
)
# Bytes of a header, and those in it that pydicom takes up to 20 microseconds for: items, and between values of a tag.
HEADER, MOST_PARTS, PARTS = 2**24, 200_000, (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00", b"\\")
DEFLATED = 2**26
NO_PICTURE = "it is not a DICOM file that holds a picture"
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
        _set_up_pydicom()
        if is_empty(file):
            raise ValueError("the file is empty")
        self._file, self._header, place = _read(file)
        options = _options(self._header, place)
        self._shift = _shift(self._header, place.syntax, options)
        if self._shift:
            options["bits_stored"] += self._shift
        check_size(options["columns"], options["rows"], max_pixels)
        declared = display.number([self._header], "NumberOfFrames", 0)
        if declared < 0 or declared != int(declared):
            raise ValueError(f"{display.named('NumberOfFrames')} is not a whole number above 0")
        with open_binary(self._file) as stream:
            self._pixels = PixelData(stream, place, options, int(declared))
        self.count = self._pixels.count
        if self.count > MAX_FRAMES:
            raise ValueError(f"it holds more than {MAX_FRAMES} pictures; divide it into files")

    def picture(self, number: int) -> Picture:
        """Decode the frame of this number, from 1, and show it as a viewer does.

        Raises:
            ValueError: it cannot be decoded, or a tag cannot be used.
        """
        with open_binary(self._file) as stream:
            values, kind = self._pixels.frame(stream, number)
        if self._shift:
            values = values >> self._shift
        if kind in GREY:
            return Picture(Image.fromarray(display.greys(values, self._header, number)), "DICOM", False)
        if kind in PALETTE:
            colours = display.palette_colours(values, self._header)
        else:
            colours = display.colours(values, self._header, kind)
        return to_picture(Image.fromarray(colours))._replace(mode="DICOM")

    def close(self) -> None:
        """Do nothing: the file is no longer open."""


class _Head(BytesIO):
    """The start of a file, of which no more than `MOST_PARTS` parts are read."""

    left = MOST_PARTS

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self.left -= sum(map(content.count, PARTS))
        if self.left < 0:
            raise ValueError
        return content

    @contextmanager
    def parsed(self) -> Iterator[None]:
        """Say in our words why pydicom cannot read it; it raises many kinds."""
        try:
            yield
        except MemoryError:
            raise
        except Exception:
            raise ValueError("its header has too many items or values" if self.left < 0 else NO_PICTURE) from None


def _read(file: Path | Upload) -> tuple:
    """Return the file, inflated if it was deflated, its header and the place of its pixels.

    Raises:
        ValueError: there are no pixels, or the header is too long.
    """
    from pydicom import filereader, uid

    with open_binary(file) as stream:
        head = _Head(stream.read(HEADER))
        with head.parsed():
            filereader.read_preamble(head, force=True)
            meta = filereader.read_dataset(head, False, True, stop_when=lambda tag, *_: tag.group != 2)
            is_deflated = meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian
        if is_deflated:
            stream.seek(head.tell())
            file = Upload(file.name, _inflated(stream))
            head = _Head(file.content[:HEADER])
    places: list[Place] = []
    with head.parsed():
        header = _parsed(head, is_deflated, places)
        syntax = uid.ExplicitVRLittleEndian if is_deflated else _syntax(header)
    if not places and head.seek(0, os.SEEK_END) == HEADER:
        raise ValueError(f"its header is longer than {HEADER // 2**20} MB")
    if not places:
        raise ValueError(f"{display.named('PixelData')} is missing" if "Rows" in header else NO_PICTURE)
    if not syntax.is_transfer_syntax:
        raise ValueError(f"{display.named('TransferSyntaxUID')} is none that is known")
    return file, header, places[-1]._replace(syntax=syntax)


def _parsed(head: BytesIO, is_deflated: bool, places: list[Place]):
    """Return the header up to the pixels, and note their place."""
    from pydicom import filereader
    from pydicom.tag import Tag

    def is_at_pixels(tag, vr: str | None, length: int) -> bool:
        if keyword := pixels.get(tag):
            places.append(Place(keyword, vr, head.tell(), length))
        return bool(keyword)

    pixels = {Tag(keyword): keyword for keyword in PIXELS}
    options: dict = {"stop_when": is_at_pixels, "specific_tags": [Tag(keyword) for keyword in TAGS]}
    if is_deflated:
        return filereader.read_dataset(head, False, True, **options)
    head.seek(0)
    return filereader.read_partial(head, force=True, **options)


def _syntax(header):
    """Return the transfer syntax: the one that is named, or else the one in which the header is written."""
    from pydicom import uid

    is_implicit, is_little = header.original_encoding
    explicit = uid.ExplicitVRLittleEndian if is_little else uid.ExplicitVRBigEndian
    found = header.file_meta.get("TransferSyntaxUID") or (uid.ImplicitVRLittleEndian if is_implicit else explicit)
    return uid.UID(found)


def _inflated(stream: BinaryIO) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    with display.reworded("its deflated content is damaged"):
        content = inflater.decompress(stream.read(DEFLATED), DEFLATED)
    if not inflater.eof:
        raise ValueError(f"its deflated content is incomplete, or longer than {DEFLATED // 2**20} MB")
    return content


def _options(header, place: Place) -> dict:
    """Return what pydicom's decoders must know.

    Raises:
        ValueError: a tag is missing, or has a value that is not read here.
    """
    kind = display.value_of(header, "PhotometricInterpretation")
    if kind not in (*GREY, *PALETTE, *COLOUR):
        raise ValueError(f"{display.named('PhotometricInterpretation')} is missing, or none that is read here")
    samples = 3 if kind in COLOUR else 1
    if display.number([header], "SamplesPerPixel") != samples:
        raise ValueError(f"{display.named('SamplesPerPixel')} does not fit its Photometric Interpretation")
    options: dict = {"photometric_interpretation": kind, "samples_per_pixel": samples}
    options |= {"pixel_keyword": place.keyword, "pixel_vr": place.vr or "OW"}
    allowed: dict[str, Collection[int]] = {
        "Rows": range(1, 2**16),
        "Columns": range(1, 2**16),
        "BitsAllocated": PIXELS[place.keyword],
    }
    if samples > 1:
        allowed["PlanarConfiguration"] = (0, 1)
    if place.keyword == "PixelData":
        allowed |= {"BitsStored": range(1, 65), "PixelRepresentation": (0, 1) if samples == 1 else (0,)}
    for keyword, values in allowed.items():
        value = display.number([header], keyword)
        if value not in values:
            raise ValueError(f"{display.named(keyword)} is missing, or none that is read here")
        # The names of pydicom's options are those of the tags.
        options[re.sub("(?<=[a-z])(?=[A-Z])", "_", keyword).lower()] = int(value)
    if options.get("bits_stored", 0) > options["bits_allocated"]:
        raise ValueError(f"{display.named('BitsStored')} is greater than its Bits Allocated")
    return options


def _shift(header, syntax, options: dict) -> int:
    """Return how many bits stored values are too far to the left, of which pydicom takes no notice."""
    stored, high = options.get("bits_stored", 0), display.number([header], "HighBit")
    is_jpeg = syntax.is_compressed and syntax.name != "RLE Lossless"
    if is_jpeg or not 0 < stored <= high < options["bits_allocated"]:
        return 0
    return int(high) + 1 - stored


def _set_up_pydicom() -> None:
    if not is_installed("pydicom"):
        raise ValueError(f"DICOM files need pydicom; run: {INSTALL}")
    import pydicom

    # Both would quote values of the file, such as a name.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
