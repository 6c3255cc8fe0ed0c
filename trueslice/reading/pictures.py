"""The one way from a file to its pictures, for training, audit and prediction."""

import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from trueslice.files import Upload
from trueslice.reading import images
from trueslice.reading.dicom import DicomFrames, is_dicom
from trueslice.reading.images import ImageFrames, Picture
from trueslice.reading.names import frame_path
from trueslice.reading.nifti import NiftiFrames, is_nifti

# What tells a format, and what reads it. All other files are images, which Pillow reads.
READERS = ((is_nifti, NiftiFrames), (is_dicom, DicomFrames))


class FrameError(ValueError):
    """No picture of a file with `frames` of them is chosen, or one that it lacks."""

    def __init__(self, problem: str, frames: int):
        super().__init__(problem)
        self.frames = frames


def read_pictures(
    file: Path | Upload, name: str, max_pixels: int, frame: int | str | None
) -> Iterator[tuple[str, Picture | str]]:
    """Yield pictures of a file, each with its name; in place of a picture that cannot be decoded, the reason.

    Args:
        file: path of a file, or its content.
        name: what the file is called; its frames are called `name, frame 3`.
        max_pixels: the most pixels that a picture may have.
        frame: which picture of a file with several: its number, from 1, or `all`.

    Raises:
        FrameError: the file holds several pictures and `frame` is None, or it lacks that one.
        Exception: whatever Pillow raises on a broken file; `images.why_unreadable` puts it in words.
    """
    # They name no file, and may quote what it says of a patient.
    warnings.filterwarnings("ignore", module=r"(PIL|pydicom|pylibjpeg|openjpeg|libjpeg|nibabel)\.")
    reader = next((reader for is_its, reader in READERS if is_its(file)), ImageFrames)
    with closing(reader(file, max_pixels)) as frames:
        if frames.count == 1 and frame in (None, 1, "all"):
            chosen = {1: name}
        else:
            chosen = {number: frame_path(name, number) for number in chosen_frames(frames.count, frame)}
        for number, own_name in chosen.items():
            found: Picture | str
            try:
                with np.errstate(all="ignore"):
                    found = frames.picture(number)
            except MemoryError:
                raise
            except Exception as error:  # Pillow's decoders raise nearly every exception there is on a broken file
                found = images.why_unreadable(error)
            yield own_name, found


def chosen_frames(count: int, frame: int | str | None) -> range:
    """Return the numbers, from 1, of the frames that `frame` asks for.

    Raises:
        FrameError: none is chosen, or there is none of this number.
    """
    if frame is None:
        raise FrameError(f"it holds {count} frames; choose one by --frame N, or take all by --frame all", count)
    if isinstance(frame, str):
        return range(1, count + 1)
    if frame > count:
        raise FrameError(f"it has no frame {frame}, only {count}", count)
    return range(frame, frame + 1)


def is_image(path: Path) -> bool:
    """Tell whether a file looks like one that is read here: by its ending, or as a DICOM file without one."""
    Image.init()
    return Image.EXTENSION.get(path.suffix.lower()) in images.FORMATS or any(is_its(path) for is_its, _ in READERS)
