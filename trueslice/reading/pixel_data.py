"""Pixel data of DICOM files: a frame is read from the file and decoded when it is asked for.

What a frame will take is checked before it is decoded, so that a small file cannot fill the memory.
"""

import os
import re
import struct
from collections.abc import Iterator
from importlib.util import find_spec
from math import ceil
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from trueslice.reading.display import named, reworded

INSTALL = "pip install -e '.[dicom]'"
UNDEFINED = 2**32 - 1  # the length of encapsulated pixel data
ITEM, NO_OFFSETS = b"\xfe\xff\x00\xe0", b"\xfe\xff\x00\xe0\0\0\0\0"
MOST_FRAGMENTS = 100_000
# Compressed noise is longer than its pixels, and there may be metadata beside it.
OVERHEAD = 2**20
JPEG_START, JPEG_END, JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
# The size of a JPEG is after one of these markers: baseline, extended, lossless, JPEG-LS. DICOM has no other kinds.
JPEG_SIZES = (0xC0, 0xC1, 0xC3, 0xF7)
ANY_SIZE = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xde\xf7]")
JPEG2000_SIZE = re.compile(rb"\xff\x4f\xff\x51.{4}(.{16}).{16}(..)", re.DOTALL)


class Place(NamedTuple):
    """Where the pixel data of a file are, and how they are encoded."""

    keyword: str
    vr: str | None
    start: int  # byte of the file
    length: int
    syntax: Any = None  # pydicom's UID


class PixelData:
    """The frames of a file.

    Attributes:
        count: number of frames.

    Raises:
        ValueError: there is none, or fewer than `declared`, or they do not fit the header.
    """

    def __init__(self, stream: BinaryIO, place: Place, options: dict, declared: int):
        """Find the frames: `declared` of them, or all if that is 0. `options` are those of pydicom's decoders."""
        self._place, self._options = place, options
        # Of a frame that is not compressed.
        self._bits = options["rows"] * options["columns"] * options["samples_per_pixel"] * options["bits_allocated"]
        if place.syntax.is_encapsulated != (place.length == UNDEFINED):
            raise ValueError(f"{named('TransferSyntaxUID')} does not fit how its pixels are stored")
        size = stream.seek(0, os.SEEK_END)
        if place.syntax.is_encapsulated:
            self._frames = list(_frames(stream, place, declared))
            found = len(self._frames) if self._frames and self._frames[-1][1] <= size else 0
        else:
            found = self._count(8 * (min(place.start + place.length, size) - place.start), declared)
        if not found:
            raise ValueError(f"{named(place.keyword)} is incomplete")
        self.count = declared or found
        if self.count > found:
            raise ValueError(f"{named('NumberOfFrames')} is greater than the frames that it holds")

    def frame(self, stream: BinaryIO, number: int) -> tuple[np.ndarray, str]:
        """Return stored values [H, W], or [H, W, 3] of colours, of a frame from 1; and the kind of colours.

        Raises:
            ValueError: it cannot be decoded, or does not fit the header.
        """
        if not self._place.syntax.is_encapsulated:
            stream.seek(self._place.start)
            if self._options["bits_allocated"] == 1:
                return self._packed(stream, number), self._options["photometric_interpretation"]
            return self._decoded(self._place.syntax, stream, number_of_frames=self.count, index=number - 1)
        start, end = self._frames[number - 1]
        if end - start > 2 * self._bits // 8 + OVERHEAD:
            raise ValueError(f"{named('PixelData')} is longer than a frame would be without compression")
        stream.seek(start)
        return self._decompressed(NO_OFFSETS + stream.read(end - start))

    def _count(self, bits: int, declared: int) -> int:
        """Return how many frames that are not compressed fit in so many bits."""
        is_subsampled = self._options["photometric_interpretation"] == "YBR_FULL_422"
        found = bits // (self._bits // 3 * 2 if is_subsampled else self._bits)
        if is_subsampled and bits >= self._bits * (declared or found) > 0:
            raise ValueError(f"{named('PhotometricInterpretation')} does not fit the length of its pixels")
        return found

    def _decompressed(self, source: bytes) -> tuple[np.ndarray, str]:
        from pydicom.encaps import get_frame
        from pydicom.uid import ExplicitVRLittleEndian, RLELossless

        options = self._options
        columns, rows, samples = (options[name] for name in ("columns", "rows", "samples_per_pixel"))
        with reworded(self._why_undecodable()):
            code = get_frame(source, 0, number_of_frames=1)
            if self._place.syntax == RLELossless:
                source = _unpacked(code, columns * rows, samples, options["bits_allocated"] // 8)
            else:
                sizes = _sizes(code)
        if self._place.syntax == RLELossless:
            return self._decoded(ExplicitVRLittleEndian, source, planar_configuration=1)
        if sizes != {(columns, rows, samples)}:
            raise ValueError(f"{named('Rows')} or {named('Columns')[4:]} does not fit its compressed pixels")
        return self._decoded(self._place.syntax, source, decoding_plugin="pylibjpeg")

    def _decoded(self, syntax, source: BinaryIO | bytes, **options) -> tuple[np.ndarray, str]:
        from pydicom.pixels import get_decoder

        options = {"index": 0, "number_of_frames": 1} | self._options | options
        with reworded(self._why_undecodable()):
            values, found = get_decoder(syntax).as_array(source, raw=True, **options)
        return values, str(found["photometric_interpretation"])

    def _packed(self, stream: BinaryIO, number: int) -> np.ndarray:
        """Read a frame of single bits, which begins anywhere in a byte."""
        first = (number - 1) * self._bits
        stream.seek(first // 8, os.SEEK_CUR)
        packed = np.frombuffer(stream.read(ceil((first % 8 + self._bits) / 8)), np.uint8)
        bits = np.unpackbits(packed, bitorder="little")[first % 8 :][: self._bits]
        return bits.reshape(self._options["rows"], self._options["columns"])

    def _why_undecodable(self) -> str:
        syntax = self._place.syntax
        if syntax.is_compressed and not is_installed("pylibjpeg"):
            return f"its pixels are compressed ({syntax.name}); install what decodes them: {INSTALL}"
        return f"its pixels are damaged, or cannot be decoded here ({syntax.name})"


def is_installed(name: str) -> bool:
    """Tell whether a package is installed."""
    return find_spec(name) is not None


def _frames(stream: BinaryIO, place: Place, declared: int) -> Iterator[tuple[int, int]]:
    """Find where encapsulated frames begin and end, without the table of their offsets, which is often wrong."""
    fragments = _fragments(stream, place.start)
    is_whole = place.syntax.name == "RLE Lossless" and declared != 1  # each fragment is a frame
    if is_whole or len(fragments) == declared:
        yield from fragments
        return
    first = fragments[0][0] if fragments else 0
    for _, end in fragments[:-1] if declared != 1 else ():
        stream.seek(end - 10)
        if JPEG_END in stream.read(10):
            yield first, end
            first = end
    if fragments:
        yield first, fragments[-1][1]


def _fragments(stream: BinaryIO, start: int) -> list[tuple[int, int]]:
    """Find where the items of encapsulated pixels begin and end, but for the first, the table of offsets."""
    found: list[tuple[int, int]] = []
    while stream.seek(start) is not None and (header := stream.read(8))[:4] == ITEM and len(header) == 8:
        if len(found) > MOST_FRAGMENTS:
            raise ValueError(f"{named('PixelData')} has more than {MOST_FRAGMENTS} fragments")
        end = start + 8 + int.from_bytes(header[4:], "little")
        found.append((start, end))
        start = end
    return found[1:]


def _unpacked(code: bytes, pixels: int, samples: int, size: int) -> bytes:
    """Decode RLE (DICOM PS3.5, annex G) to planes of samples of `size` bytes. Pillow stops at the last pixel."""
    count, *starts = struct.unpack("<16L", code[:64])
    if count != samples * size:
        raise ValueError("a frame has too few segments, or too many")
    ends = [*starts[1:count], len(code)]
    parts = [
        np.frombuffer(Image.frombytes("L", (pixels, 1), code[start:end], "packbits", "L").tobytes(), np.uint8)
        for start, end in zip(starts[:count], ends, strict=True)
    ]
    # The highest byte is first in the file.
    return b"".join(np.stack(parts[at : at + size][::-1], axis=-1).tobytes() for at in range(0, count, size))


def _sizes(code: bytes) -> set[tuple[int, int, int]]:
    """Return what a JPEG of any kind says of its columns, rows and samples, which should be said once."""
    if code[:2] != JPEG_START:
        areas = [(struct.unpack(">4L", area), samples) for area, samples in JPEG2000_SIZE.findall(code)]
        return {(x1 - x0, y1 - y0, int.from_bytes(samples)) for (x1, y1, x0, y0), samples in areas}
    found: set[tuple[int, int, int]] = set()
    at = 2
    while code[at + 1] != JPEG_SCAN:
        if code[at + 1] in JPEG_SIZES:
            rows, columns, samples = struct.unpack(">HHB", code[at + 5 : at + 10])
            found.add((columns, rows, samples))
        at += 2 + int.from_bytes(code[at + 2 : at + 4])
    return set() if ANY_SIZE.search(code, at) else found
