"""The one way from a file to its pictures, for training, audit and prediction."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

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

SMALL = 1_000_000  # pixels of a file that several threads may decode at a time
_alone = threading.Lock()


class FrameError(ValueError):
    """No picture of a file with `frames` of them is chosen, or one that it lacks."""

    def __init__(self, problem: str, frames: int):
        super().__init__(problem)
        self.frames = frames


def read_pictures(
    file: Path | Upload,
    name: str,
    max_pixels: int,
    frame: int | str | None,
    keep: Callable[[str, Picture], Any] = lambda _, picture: picture,
) -> Iterator[tuple[str, Any]]:
    """Yield pictures of a file, each with its name; in place of a picture that cannot be decoded, the reason.

    Args:
        file: path of a file, or its content.
        name: what the file is called; its frames are called `name, frame 3`.
        max_pixels: the most pixels that a picture may have.
        frame: which picture of a file with several: its number, from 1, or `all`.
        keep: makes what is yielded, from name and picture; of several threads one at a time holds a large picture.

    Raises:
        FrameError: the file holds several pictures and `frame` is None, or it lacks that one.
        OSError, ValueError: the file cannot be read; `images.why_unreadable` puts it in words.
    """
    # They name no file, and may quote what it says of a patient.
    warnings.filterwarnings("ignore", module=r"(pydicom|pylibjpeg|openjpeg|libjpeg|nibabel)\.")
    reader = next((reader for is_its, reader in READERS if is_its(file)), ImageFrames)
    with closing(reader(file, max_pixels)) as frames:
        if frames.count == 1 and frame in (None, 1, "all"):
            chosen = {1: name}
        else:
            chosen = {number: frame_path(name, number) for number in chosen_frames(frames.count, frame)}
        is_small = isinstance(frames, ImageFrames) and frames.count * frames.pixels <= SMALL
        for number, own_name in chosen.items():
            with nullcontext() if is_small else _alone:
                found = _read(frames, number, partial(keep, own_name))
                if number == max(chosen):
                    frames.close()  # before another thread has a large picture in memory
            yield own_name, found


def _read(frames: Any, number: int, keep: Callable[[Picture], Any]) -> Any:
    try:
        with np.errstate(all="ignore"):
            return keep(frames.picture(number))
    except MemoryError:
        raise
    except Exception as error:  # decoders raise nearly every exception there is on a broken file
        return images.why_unreadable(error)


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
