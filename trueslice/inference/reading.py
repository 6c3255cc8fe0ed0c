"""Image files and arrays in, one square per picture out, by the same steps as for training."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trueslice.files import Upload, printable
from trueslice.reading import decode, dicom

Item = Path | str | Upload | np.ndarray


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


class FrameError(ValueError):
    """None of the pictures of a file is chosen, or one that it lacks."""

    def __init__(self, problem: str, frames: int):
        super().__init__(problem)
        self.frames = frames


def read(item: Item, settings: Mapping, frame: int | str | None = None) -> list[Square | Unreadable]:
    """Decode a file or an array: one picture, or several where all frames are asked for.

    Args:
        item: path of a file, or its content; or uint8 array [H, W], grey, or [H, W, 3], RGB.
        settings: `decode` in trueslice.json: image_size, colour, max_pixels.
        frame: which picture of a file with several: its number, from 1, or `all`.
    """
    name = "array" if isinstance(item, np.ndarray) else printable(item.name if isinstance(item, Upload) else item)
    try:
        if isinstance(item, np.ndarray):
            return [_of_array(item, settings)]
        file = item if isinstance(item, Upload) else Path(item)
        return [_square(*each, settings) for each in _pictures(file, name, settings, frame)]
    except MemoryError:
        raise
    except FrameError as error:
        return [Unreadable(name, str(error), error.frames)]
    except Exception as error:  # Pillow's decoders raise nearly every exception there is on a broken file
        return [Unreadable(name, decode.why_unreadable(error))]


def _of_array(values: np.ndarray, settings: Mapping) -> Square:
    if values.dtype != np.uint8 or not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)):
        problem = f"it is {values.dtype} {list(values.shape)}"
        raise ValueError(f"{problem}; an array must be uint8 [H, W], grey, or [H, W, 3], RGB")
    if values.size == 0:
        raise ValueError("the array is empty")
    return _square("array", decode.to_picture(Image.fromarray(values)), settings)


def _pictures(
    file: Path | Upload, name: str, settings: Mapping, frame: int | str | None
) -> Iterator[tuple[str, decode.Picture]]:
    if dicom.is_dicom(file):
        frames = dicom.Frames(file, settings["max_pixels"])
        yield from _frames(name, frames.count, frame, frames.picture)
        return
    with decode.open_image(file, settings["max_pixels"]) as image:

        def picture(number: int) -> decode.Picture:
            if number > 1:
                image.seek(number - 1)
            return decode.to_picture(image)

        yield from _frames(name, decode.frames(image), frame, picture)


def _frames(
    name: str, count: int, frame: int | str | None, picture: Callable[[int], decode.Picture]
) -> Iterator[tuple[str, decode.Picture]]:
    """The frames asked for, of a file that has `count` of them, each with its name."""
    if count == 1 and frame in (None, 1, "all"):
        yield name, picture(1)
        return
    for number in chosen_frames(count, frame):
        yield f"{name}, frame {number}", picture(number)


def chosen_frames(count: int, frame: int | str | None) -> range:
    """The numbers, from 1, of the frames that `frame` asks for.

    Raises:
        FrameError: none is chosen, or there is none of this number.
    """
    if frame is None:
        raise FrameError(f"it holds {count} frames; choose one by --frame N, or take all by --frame all", count)
    if frame == "all":
        return range(1, count + 1)
    if frame > count:
        raise FrameError(f"it has no frame {frame}, only {count}", count)
    return range(frame, frame + 1)


def _square(name: str, picture: decode.Picture, settings: Mapping) -> Square:
    image = picture.image.convert("RGB" if settings["colour"] else "L")
    return Square(name, decode.fit(image, settings["image_size"]), *image.size, picture.has_colour)


def is_image(path: Path) -> bool:
    """Whether a file looks like one that `read` takes: by its ending, or as a DICOM file without one."""
    Image.init()
    return Image.EXTENSION.get(path.suffix.lower()) in decode.FORMATS or dicom.is_dicom(path)
