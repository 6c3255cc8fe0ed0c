"""What a JPEG, JPEG-LS or JPEG 2000 says of itself: a small one may take gigabytes or minutes to decode."""

import struct
from collections.abc import Iterator

START, END, START_2000 = b"\xff\xd8", b"\xff\xd9", b"\xff\x4f\xff\x51"
# Markers before a size: of the kinds that DICOM uses (baseline, extended, lossless, JPEG-LS), and of JPEG 2000.
SIZES, SIZE_2000 = (0xFFC0, 0xFFC1, 0xFFC3, 0xFFF7), 0xFF51
SCAN, NEXT_SCAN, TILE_PART, TILE_DATA = 0xFFDA, b"\xff\xda", 0xFF90, b"\xff\x93"
# Markers before how a JPEG 2000 is divided, for all samples or for one, and where that begins.
STYLES = {0xFF52: 5, 0xFF53: 2}
MOST_SEGMENTS = 200_000
# OpenJPEG takes some hundred bytes for each block of pixels and each precinct, and time for each layer.
LEAST_AREA, LEAST_SIDE, MOST_LAYERS = 8, 4, 100  # the first two are powers of 2


def is_safe(code: bytes, columns: int, rows: int, samples: int) -> bool:
    """Tell whether a JPEG is complete, has this size, and takes no more to decode than its size says.

    Raises:
        struct.error, ValueError, IndexError: it is damaged.
    """
    sizes, scans = [], 0
    for marker, segment in _segments(code):
        if marker in SIZES:
            sizes.append(struct.unpack(">xHHB", segment[:6]))
        elif marker == SIZE_2000:
            width, height, left, top = struct.unpack(">4L", segment[2:18])
            sizes.append((height - top, width - left, *struct.unpack(">H", segment[34:36])))
        elif marker == SCAN:
            scans = 1 + segment.count(NEXT_SCAN)
    is_complete = sizes == [(rows, columns, samples)] and END in code[-10:]
    return is_complete and scans <= samples and not is_finely_divided(code)


def is_finely_divided(code: bytes) -> bool:
    """Tell whether a JPEG 2000 is divided into blocks, precincts or layers of too few pixels."""
    return any(marker in STYLES and _is_fine(segment, STYLES[marker]) for marker, segment in _segments(code))


def depths(code: bytes) -> list[int]:
    """Return the bits of each channel of a JPEG 2000."""
    return next(([1 + (bits & 127) for bits in part[36::3]] for mark, part in _segments(code) if mark == SIZE_2000), [])


def _segments(code: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield markers and what follows each, but for the pixels of JPEG 2000 and the markers between scans of others."""
    start = 0 if code.startswith(START) else code.index(START_2000)
    at, part = start + 2, len(code)
    if START_2000 in code[at:]:
        raise ValueError("it holds two JPEG 2000")
    for _ in range(MOST_SEGMENTS):
        if at >= len(code) or code[at : at + 2] == END:
            return
        marker, length = struct.unpack(">HH", code[at : at + 4])
        segment = code[at + 4 : at + 2 + length if marker != SCAN else None]
        yield marker, segment
        if marker == SCAN:
            return
        if marker == TILE_PART:
            part = at + (int.from_bytes(segment[2:6]) or len(code))
        at += 2 + length
        if code[at : at + 2] == TILE_DATA:
            at = max(at + 2, part)
    raise ValueError("it has too many segments")


def _is_fine(segment: bytes, at: int) -> bool:
    area, sides = 4 + segment[at + 1] + segment[at + 2], segment[at + 5 :]
    is_layered = at > 2 and int.from_bytes(segment[2:4]) > MOST_LAYERS
    return is_layered or area < LEAST_AREA or any(min(side & 15, side >> 4) < LEAST_SIDE for side in sides)
