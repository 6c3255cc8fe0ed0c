"""Pixel data of DICOM files: a frame is read from the file and decoded when it is asked for.

What a frame will take is checked before it is decoded, so that a small file cannot fill the memory.
"""

import os
import struct
from importlib.util import find_spec
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from trueslice.reading import jpeg
from trueslice.reading.display import named, reworded

INSTALL = "pip install -e '.[dicom]'"
RLE = "RLE Lossless"
UNDEFINED = 2**32 - 1  # the length of encapsulated pixel data
ITEM, NO_OFFSETS = b"\xfe\xff\x00\xe0", b"\xfe\xff\x00\xe0\0\0\0\0"
MOST_FRAGMENTS = 100_000
# Compressed noise is longer than its pixels, and there may be metadata beside it.
OVERHEAD = 2**20


class Place(NamedTuple):
    """Place of the pixel data in a file, and their encoding."""

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
        self._place, self._syntax, self._options = place, place.syntax, options
        self._pixels = options["rows"] * options["columns"]
        # Of a frame that is not compressed.
        self._bits = self._pixels * options["samples_per_pixel"] * options["bits_allocated"]
        if self._syntax.is_encapsulated != (place.length == UNDEFINED):
            raise ValueError(f"{named('TransferSyntaxUID')} does not fit how its pixels are stored")
        size = stream.seek(0, os.SEEK_END)
        if self._syntax.is_encapsulated:
            self._frames = _frames(stream, place, declared)
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
        if not self._syntax.is_encapsulated:
            stream.seek(self._place.start)
            return self._decoded(self._syntax, stream, number_of_frames=self.count, index=number - 1)
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
        from pydicom.uid import ExplicitVRLittleEndian

        options = self._options
        size = options["columns"], options["rows"], options["samples_per_pixel"]
        with reworded(self._why_undecodable()):
            code = get_frame(source, 0, number_of_frames=1)
            is_rle = self._syntax.name == RLE
            planes = _unpacked(code, self._pixels, size[2], options["bits_allocated"] // 8) if is_rle else b""
            is_safe = is_rle or jpeg.is_safe(code, *size)
        if not is_safe:
            problem = "is not a complete JPEG of its Rows and Columns, or is of an odd kind"
            raise ValueError(f"{named('PixelData')} {problem}")
        if is_rle:
            return self._decoded(ExplicitVRLittleEndian, planes, planar_configuration=1)
        return self._decoded(self._syntax, source, decoding_plugin="pylibjpeg")

    def _decoded(self, syntax, source: BinaryIO | bytes, **options) -> tuple[np.ndarray, str]:
        from pydicom.pixels import get_decoder

        options = {"index": 0, "number_of_frames": 1} | self._options | options
        with reworded(self._why_undecodable()):
            values, found = get_decoder(syntax).as_array(source, raw=True, **options)
        return values, str(found["photometric_interpretation"])

    def _why_undecodable(self) -> str:
        if self._syntax.is_compressed and not is_installed("pylibjpeg"):
            return f"its pixels are compressed ({self._syntax.name}); install what decodes them: {INSTALL}"
        return f"its pixels are damaged, or cannot be decoded here ({self._syntax.name})"


def is_installed(name: str) -> bool:
    """Tell whether a package is installed."""
    return find_spec(name) is not None


def _frames(stream: BinaryIO, place: Place, declared: int) -> list[tuple[int, int]]:
    """Find where encapsulated frames begin and end, without the table of their offsets, which is often wrong."""
    fragments = _fragments(stream, place.start)
    if declared == 1:
        return [(fragments[0][0], fragments[-1][1])] if fragments else []
    if place.syntax.name == RLE or len(fragments) == declared:
        return fragments
    found, start = [], 0
    for first, end in fragments:
        start = start or first
        stream.seek(end - 10)
        if jpeg.END in stream.read(10):
            found.append((start, end))
            start = 0
    return found


def _fragments(stream: BinaryIO, start: int) -> list[tuple[int, int]]:
    """Find where the items of encapsulated pixels begin and end, but for the first, the table of offsets."""
    found: list[tuple[int, int]] = []
    while stream.seek(start) >= 0 and (header := stream.read(8))[:4] == ITEM and len(header) == 8:
        if len(found) > MOST_FRAGMENTS:
            raise ValueError(f"{named('PixelData')} has more than {MOST_FRAGMENTS} fragments")
        found.append((start, start + 8 + int.from_bytes(header[4:], "little")))
        start = found[-1][1]
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
