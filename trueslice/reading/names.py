"""Names of scans.

A file may hold several pictures, as a DICOM series, a TIFF with pages or a GIF does. Each of these frames is a scan of
its own with a path of its own: `scan.dcm, frame 3`. The frames of a file show one patient.
"""

import re


def frame_path(file: str, number: int) -> str:
    """Return the path of a frame of a file with several; the first has number 1."""
    return f"{file}, frame {number}"


def file_of(path: str) -> str:
    """Return the path of the file that holds a scan: the scan's own path, unless that names a frame."""
    return re.sub(r", frame [1-9][0-9]*$", "", path)


def natural_key(path: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts file names with numbers by value: 2 comes before 10, and a number before text."""
    pieces = re.split(r"([0-9]+)", path.rsplit("/", 1)[-1])
    return [(False, int(piece), piece) if piece.isdecimal() else (True, 0, piece) for piece in pieces if piece]
