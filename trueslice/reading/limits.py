"""Limits of image files, checked before Pillow reads them: a small file may take gigabytes or minutes.

With them, reading a file takes at most 1 GB of memory and some seconds. tests/reading/test_limits.py measures it.
"""

import io
import struct
from pathlib import Path
from typing import BinaryIO

from trueslice.files import Upload, open_binary
from trueslice.reading.jpeg import depths, is_finely_divided

# The value of verify.max_pixels in params.yaml. The formats take up to 24 bytes a pixel, JPEG 2000 and WebP most.
MAX_PIXELS = 25_000_000
MAX_BYTES = 200 * 2**20  # of a file: some formats are read as a whole
MAX_BYTES_JPEG2000 = 64 * 2**20  # which takes 0.12 s to decode for each MB; others take a tenth of it
MAX_FRAMES = 2_000  # pictures of a file
ALL_FRAMES = 10  # all pictures of a file together have at most this many times `max_pixels`
# Pieces in which Pillow reads a file, some of one pixel, and those of its header: each is a step of a loop in Python.
MAX_READS, MAX_HEADER_READS = 2_000_000, 1_000
MAX_PARTS = 1_000  # parts of a file that are no pixels, such as texts, which are unpacked and kept
MAX_VALUES = 100_000  # numbers in a tag of a TIFF, such as where its strips are
MAX_SCANS = 100  # passes over the pixels of a progressive JPEG
JPEG2000 = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
PNG, TIFF = b"\x89PNG", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
NUMBERS = (3, 4, 5, 8, 9, 10, 11, 12, 13, 16)  # types of TIFF tags that are not text and bytes


class PictureError(ValueError):
    """A file holds no picture that can be read, with the reason in our words."""


class Counted(io.BufferedIOBase, BinaryIO):
    """A file that may be read from `left` times; `pictures` is their number, where that is known."""

    left = MAX_HEADER_READS
    pictures: int | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes, as of any file; PictureError after too many reads."""
        self.left -= 1
        if self.left < 0:
            raise PictureError("it is stored in too many pieces; save it again as PNG")
        return super().read(size)


class _Disk(Counted, io.BufferedReader): ...


class _Memory(Counted, io.BytesIO): ...


def open_checked(file: Path | Upload) -> Counted:
    """Open an image file for Pillow: its header may be read, and what follows once `left` is MAX_READS.

    Raises:
        OSError: it cannot be opened.
        PictureError: it is empty, or beyond a limit.
    """
    with open_binary(file) as stream:
        size = stream.seek(0, io.SEEK_END)
        if not size:
            raise PictureError("the file is empty")
        stream.seek(0)
        start = stream.read(16)
        most = MAX_BYTES_JPEG2000 if start.startswith(JPEG2000) else MAX_BYTES
        if size > most:
            raise PictureError(f"the file is larger than {most // 2**20} MB; divide it, or save it smaller")
        pictures = None
        if start.startswith(PNG):
            _check_png(stream)
        elif start.startswith(TIFF):
            pictures = _check_tiff(stream, start)
    opened = _Memory(file.content) if isinstance(file, Upload) else _Disk(io.FileIO(file))
    opened.pictures = pictures
    return opened


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise PictureError if a picture has more than `max_pixels` pixels, or none."""
    if width * height > max_pixels:
        raise PictureError(f"{width} x {height} pixels are more than verify.max_pixels ({max_pixels})")
    if not width * height:
        raise PictureError("it has no pixels")


def check_frames(count: int, width: int, height: int, max_pixels: int) -> None:
    """Raise PictureError if a file holds too many pictures of this size."""
    most = min(MAX_FRAMES, max(1, ALL_FRAMES * max_pixels // (width * height)))
    if count > most:
        raise PictureError(f"it holds more than {most} pictures of {width} x {height} pixels; divide it into files")


def check_scans(stream: Counted) -> None:
    """Raise PictureError if a progressive JPEG goes over its pixels too often."""
    place = stream.tell()
    stream.seek(0)
    if stream.read().count(b"\xff\xda") > MAX_SCANS:
        raise PictureError("it is a JPEG of too many passes; save it again as PNG")
    stream.seek(place)


def check_jpeg2000(stream: Counted) -> None:
    """Raise PictureError if a JPEG 2000 is divided into tiny blocks, each of which takes some hundred bytes.

    So is one that Pillow shows wrongly: white is grey in fewer than 8 bits, and black in colours of more.
    """
    place = stream.tell()
    stream.seek(0)
    code = stream.read()
    if is_finely_divided(code):
        raise PictureError("it is a JPEG 2000 of too many blocks; save it again as PNG")
    stream.seek(place)
    bits = depths(code)
    if any(each < 8 or (each > 8 and len(bits) > 1) for each in bits):
        raise PictureError("it is a JPEG 2000 of fewer than 8 bits, or of colours of more; save it as PNG with 8 bits")


def _check_png(stream: BinaryIO) -> None:
    parts = 0
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        parts += head[4:] not in (b"IDAT", b"fdAT", b"fcTL")
        _check_parts(parts)
        stream.seek(int.from_bytes(head[:4]) + 4, io.SEEK_CUR)


def _check_tiff(stream: BinaryIO, start: bytes) -> int:
    """Count the pictures."""
    order = "<" if start[:1] == b"I" else ">"
    at, place_of, count_of, entry_of = (8, "Q", "Q", "HHQQ") if 43 in start[2:4] else (4, "L", "H", "HHLL")

    def unpacked(kind: str) -> int:
        return struct.unpack(order + kind, stream.read(struct.calcsize(order + kind)))[0]

    directories: set[int] = set()
    try:
        stream.seek(at)
        while (place := unpacked(place_of)) and place not in directories:
            directories.add(place)
            if len(directories) > MAX_FRAMES:
                raise PictureError(f"it holds more than {MAX_FRAMES} pictures; divide it into files")
            stream.seek(place)
            count = unpacked(count_of)
            _check_parts(count)
            entries = stream.read(count * struct.calcsize(order + entry_of))
            for _, kind, length, _ in struct.iter_unpack(order + entry_of, entries):
                if kind in NUMBERS and length > MAX_VALUES:
                    raise PictureError("it is a TIFF of too many strips or tiles; save it again")
    except (struct.error, OverflowError):
        pass  # it is cut off or damaged, as Pillow finds too
    return len(directories)


def _check_parts(count: int) -> None:
    if count > MAX_PARTS:
        raise PictureError("it holds too many parts that are no pixels; save it again")
