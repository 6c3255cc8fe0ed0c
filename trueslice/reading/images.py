"""Image files in, pictures of 8 bits per channel out, by Pillow."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from trueslice.files import Upload, is_empty, open_binary
from trueslice.reading.libtiff import damage_raised

# Named, so that Pillow never hands a file to an outside program (it would run Ghostscript on EPS).
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# A picture has colour if more than this share of its pixels has channels further apart than this.
# Of 3,926 files in colour modes of the Kaggle brain tumour data, 3,820 have none at all and 58 pass both limits;
# the others differ faintly or in a few pixels, as JPEG's subsampled chroma leaves them.
COLOUR_DIFFERENCE, COLOUR_SHARE = 8, 0.001
# Greys that differ by no more than this are not seen as a drawing.
FLAT = 8
# The first bytes of TIFF files, and the numbers of some of their tags.
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
WHITE_IS_ZERO, UNSIGNED, SIGNED = 0, 1, 2


class Picture(NamedTuple):
    """A decoded picture."""

    image: Image.Image  # L or RGB
    mode: str  # of the file: Pillow's, DICOM or NIfTI
    has_colour: bool


class ImageFrames:
    """The pictures of an image file; no more than its header is read before `picture` is called.

    Attributes:
        count: number of pictures; a JPEG with a preview (MPO) has one.

    Raises:
        OSError: it cannot be read, or is not an image in one of `FORMATS`.
        ValueError: it is empty, or has more than `max_pixels` pixels.
    """

    def __init__(self, file: Path | Upload, max_pixels: int):
        if is_empty(file):
            raise ValueError("the file is empty")
        # Pillow closes what it opened itself.
        opened = open_binary(file) if isinstance(file, Upload) else file
        try:
            self._image, self._max_pixels = Image.open(opened, formats=FORMATS), max_pixels
        except UnidentifiedImageError:
            with open_binary(file) as stream:
                if stream.read(4) in TIFF:
                    raise ValueError("it is a TIFF that is damaged, or of a kind that is not read here") from None
            raise
        try:
            check_size(*self._image.size, max_pixels)
        except ValueError:
            self.close()
            raise
        self.count = 1 if self._image.format == "MPO" else getattr(self._image, "n_frames", 1)

    def picture(self, number: int) -> Picture:
        """Decode the picture of this number, from 1."""
        self._image.seek(number - 1)
        check_size(*self._image.size, self._max_pixels)
        with damage_raised():
            return to_picture(self._image)

    def close(self) -> None:
        """Close the file."""
        self._image.close()


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise ValueError if a picture has more than `max_pixels` pixels."""
    if width * height > max_pixels:
        raise ValueError(f"{width} x {height} pixels are more than verify.max_pixels ({max_pixels})")


def to_picture(image: Image.Image) -> Picture:
    """Decode an image as it is seen, after EXIF orientation, to 8 bits per channel.

    Raises:
        ValueError: it has channels of 16 bits with values of fewer, which Pillow would show as nearly black.
    """
    mode, tags = image.mode, getattr(image, "tag_v2", {})
    is_deep_png = getattr(image, "format", None) == "PNG" and ";16" in str(getattr(image, "tile", ""))
    if mode.startswith("I") or mode == "F" or tags.get(SAMPLE_FORMAT) == (SIGNED,):
        seen = grey_of(_numbers(ImageOps.exif_transpose(image), tags))
    elif (is_deep_png or 16 in tags.get(BITS, ())) and _extent(image)[1] < 2**14 >> 8:
        raise ValueError("its channels have 16 bits and values of 14 or fewer; save it as 16-bit grey, or with 8 bits")
    else:
        seen = _to_eight_bit(ImageOps.exif_transpose(image))
    return Picture(seen, mode, seen.mode == "RGB" and _has_colour(np.asarray(seen)))


def grey_of(values: np.ndarray) -> Image.Image:
    """Scale numbers [H, W] by their own range to an image of 8 bits; those that are not finite are black.

    Raises:
        ValueError: none of them is finite, or the array has not two axes.
    """
    if values.ndim != 2:
        raise ValueError(f"it holds an array with {values.ndim} axes, and no picture")
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError("it holds no finite value")
    low, high = values[finite].min(), values[finite].max()
    shares = stretch(np.where(finite, values, low), low, high)
    return Image.fromarray(np.rint(shares * 255).astype(np.uint8))


def stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return where numbers lie between `low`, which is 0, and `high`, which is 1; those outside are 0 or 1 too."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.clip((values - low) / max(high - low, np.finfo(np.float64).tiny), 0, 1)


def why_unreadable(error: Exception) -> str:
    """Say in a few words why a file could not be decoded."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is not an image in a format that is read here ({', '.join(FORMATS)}, DICOM, NIfTI)"
    if str(error).startswith("decoder error"):
        return "its pixels are damaged"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def _numbers(image: Image.Image, tags: Mapping) -> np.ndarray:
    """Return the numbers [H, W] of an image of one channel as its TIFF tags mean them; Pillow heeds only some."""
    values = np.asarray(image)
    bits, kind = tags.get(BITS), tags.get(SAMPLE_FORMAT, (UNSIGNED,))
    if bits == (32,) and kind == (UNSIGNED,):
        values = values.view(np.uint32)
    elif bits == (8,):
        values = values.view(np.int8)
    return -values.astype(np.float64) if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else values


def _to_eight_bit(image: Image.Image) -> Image.Image:
    """Convert any of Pillow's modes of 8 bits to L or RGB: transparent ones over black, or white if that hides all."""
    seen_mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if not image.has_transparency_data:
        return image.convert(seen_mode)
    on_black = _laid_over(image, "black").convert(seen_mode)
    if _is_flat(on_black) and not _is_flat(on_white := _laid_over(image, "white").convert(seen_mode)):
        return on_white
    return on_black


def _laid_over(image: Image.Image, colour: str) -> Image.Image:
    solid = Image.new("RGBA", image.size, colour)
    solid.alpha_composite(image.convert("RGBA"))
    return solid


def _is_flat(image: Image.Image) -> bool:
    low, high = _extent(image)
    return high - low <= FLAT


def _extent(image: Image.Image) -> tuple[int, int]:
    """Return the least and the greatest value of all channels but transparency."""
    count = sum(name not in "Aa" for name in image.getbands())
    values = np.atleast_3d(np.asarray(image))[..., :count]
    return int(values.min()), int(values.max())


def _has_colour(pixels: np.ndarray) -> bool:
    """Tell whether the channels of uint8 [H, W, 3] differ by more than a grey picture's do after JPEG."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return bool((spread > COLOUR_DIFFERENCE).mean() > COLOUR_SHARE)
