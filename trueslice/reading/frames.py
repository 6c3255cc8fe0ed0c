"""Names of frames: the pictures of a file that holds several, such as a DICOM series, a TIFF of pages or a GIF.

Each frame is a scan of its own with a path of its own: `scan.dcm, frame 3`. The frames of a file show one patient.
"""

import re


def frame_path(file: str, number: int) -> str:
    """Return the path of a frame of a file with several; the first has number 1."""
    return f"{file}, frame {number}"


def file_of(path: str) -> str:
    """Return the path of the file that holds a scan: the scan's own path, unless that names a frame."""
    return re.sub(r", frame [1-9][0-9]*$", "", path)
