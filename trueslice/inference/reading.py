"""Decoding of image files and arrays into squares, by the same steps as for training."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from trueslice.files import Upload, as_text
from trueslice.reading.images import Picture, to_picture, why_unreadable
from trueslice.reading.nifti import is_nifti
from trueslice.reading.pictures import FrameError, read_pictures
from trueslice.reading.square import fit

Item = Path | str | Upload | np.ndarray
_volume = threading.Lock()


@dataclass(frozen=True)
class Square:
    """A decoded picture."""

    name: str  # as the file was given, with the frame where it has several: `scan.tif, frame 3`
    pixels: np.ndarray  # as training sees it: uint8 [S, S], or [S, S, 3] with `decode.colour`
    width: int  # pixels as seen
    height: int
    has_colour: bool


@dataclass(frozen=True)
class Unreadable:
    """A file, or one of its frames, that holds no picture that could be read."""

    name: str
    reason: str
    frames: int = 1  # how many pictures the file holds, where one of them must be chosen


def read(item: Item, settings: Mapping, frame: int | str | None = None) -> list[Square | Unreadable]:
    """Decode a file or an array as `read_each` does, into a list.

    Of several threads one at a time reads a volume, which is in memory as a whole.
    """
    file = Path(item) if isinstance(item, str) else item
    is_volume = not isinstance(file, np.ndarray) and is_nifti(file)
    with _volume if is_volume else nullcontext():
        return list(read_each(item, settings, frame))


def read_each(item: Item, settings: Mapping, frame: int | str | None = None) -> Iterator[Square | Unreadable]:
    """Decode a file or an array: one picture, or several where all frames are asked for, as in `Classifier.stream`.

    `settings` are `decode` in trueslice.json: image_size, colour, max_pixels.
    """
    name = "array" if isinstance(item, np.ndarray) else as_text(item.name if isinstance(item, Upload) else item)
    keep = partial(_square, settings=settings)
    try:
        if isinstance(item, np.ndarray):
            yield keep(name, _of_array(item))
            return
        file = item if isinstance(item, Upload) else Path(item)
        for own_name, found in read_pictures(file, name, settings["max_pixels"], frame, keep):
            yield Unreadable(own_name, found) if isinstance(found, str) else found
    except MemoryError:
        raise
    except FrameError as error:
        yield Unreadable(name, str(error), error.frames)
    except Exception as error:  # decoders raise nearly every exception there is on a broken file
        yield Unreadable(name, why_unreadable(error))


def _of_array(values: np.ndarray) -> Picture:
    if values.dtype != np.uint8 or not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)):
        problem = f"it is {values.dtype} {list(values.shape)}"
        raise ValueError(f"{problem}; an array must be uint8 [H, W], grey, or [H, W, 3], RGB")
    if values.size == 0:
        raise ValueError("the array is empty")
    return to_picture(Image.fromarray(values))


def _square(name: str, picture: Picture, settings: Mapping) -> Square:
    image = picture.image.convert("RGB" if settings["colour"] else "L")
    return Square(name, fit(image, settings["image_size"]), *image.size, picture.has_colour)
