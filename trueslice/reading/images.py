"""Image files in, pictures of 8 bits per channel out, by Pillow.

Whole pictures are converted block by block, which takes little memory.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from trueslice.files import Upload, open_binary
from trueslice.reading.kinds import what_it_is
from trueslice.reading.libtiff import damage_raised
from trueslice.reading.limits import (
    ALL_FRAMES,
    MAX_PIXELS,
    MAX_READS,
    PictureError,
    check_frames,
    check_jpeg2000,
    check_scans,
    check_size,
    open_checked,
)

# Named, so that Pillow never hands a file to an outside program (it would run Ghostscript on EPS).
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# A picture has colour if more than this share of its pixels has channels further apart than this.
# Of 3,926 files in colour modes of the Kaggle brain tumour data, 3,820 have none at all and 58 pass both limits;
# the others differ faintly or in a few pixels, as JPEG's subsampled chroma leaves them.
COLOUR_DIFFERENCE, COLOUR_SHARE = 8, 0.001
# Greys that differ by no more than this are not seen as a drawing.
FLAT = 8
# Over black, a picture with transparency is hidden if more of it is this dark than not, and at most this share is not.
DARK, BRIGHT_SHARE = 16, 0.1
BLOCK = 1024  # side of the blocks
# Numbers of TIFF tags, one of which EXIF has too, and some of their values.
BITS, PHOTOMETRIC, ORIENTATION, PLANAR, TILE_WIDTH, TILE_LENGTH, SAMPLE_FORMAT = 258, 262, 274, 284, 322, 323, 339
WHITE_IS_ZERO, APART, UNSIGNED, SIGNED, FLOAT = 0, 2, 1, 2, 3
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow widens the greys of a PNG of 2 or 4 bits by these factors, but not the one that is transparent.
GREY_STEPS = {"'L;2'": 85, "'L;4'": 17}
# Words of Pillow's messages about files that are cut off.
CUT_OFF = ("runcated", "not enough", "not large enough", "end of")

# They name no file, and may quote what it says of a patient.
logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)


class Picture(NamedTuple):
    """A decoded picture."""

    image: Image.Image  # L or RGB
    mode: str  # of the file: Pillow's, DICOM or NIfTI
    has_colour: bool


class ImageFrames:
    """The pictures of an image file; no more than its header is read before `picture` is called.

    Attributes:
        count: number of pictures; a JPEG with a preview (MPO) has one.
        pixels: number of pixels of the first picture.

    Raises:
        OSError: it cannot be opened.
        PictureError: it is not an image in one of `FORMATS`, or beyond a limit.
    """

    def __init__(self, file: Path | Upload, max_pixels: int):
        warnings.filterwarnings("ignore", module=r"PIL\.")
        # Pillow raises an error above twice this. It holds for all of the process, so it is never small.
        Image.MAX_IMAGE_PIXELS = -(-max(max_pixels, MAX_PIXELS) // 2)
        self._max_pixels, self._left = max_pixels, ALL_FRAMES * max_pixels
        stream = open_checked(file)
        try:
            with in_our_words(max_pixels):
                self._image = Image.open(stream, formats=FORMATS)
                self._check()
                if "ppm_plain" in str(self._image.tile):
                    raise PictureError("it is a PNM with pixels as text; save it as PNG")
                if self._image.info.get("progressive"):
                    check_scans(stream)
                if self._image.format == "JPEG2000":
                    check_jpeg2000(stream)
                self.pixels = self._image.width * self._image.height
                stream.left = MAX_READS
                is_preview = self._image.format == "MPO"
                self.count: int = stream.pictures or 1
                if not stream.pictures and not is_preview:
                    self.count = getattr(self._image, "n_frames", 1)
                check_frames(self.count, *self._image.size, max_pixels)
        except UnidentifiedImageError:
            stream.close()
            raise PictureError(_why_not_opened(file)) from None
        except BaseException:
            stream.close()
            raise

    def picture(self, number: int) -> Picture:
        """Decode the picture of this number, from 1; the numbers of several calls rise.

        Raises:
            PictureError: it cannot be decoded, or is beyond a limit.
        """
        with in_our_words(self._max_pixels), damage_raised():
            while self._image.tell() < number - 1:
                self._image.seek(self._image.tell() + 1)
                self._check()
            return to_picture(self._image)

    def _check(self) -> None:
        """Check the size of the picture that is next to be decoded."""
        tags, (width, height) = getattr(self._image, "tag_v2", {}), self._image.size
        check_size(width, height, self._max_pixels)
        check_size(tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1), self._max_pixels)
        if tags.get(PLANAR) == APART and tags.get(BITS, ())[1:2] == (16,):  # Pillow would take half of each number
            raise PictureError("its channels of 16 bits are stored apart; save it as 16-bit grey, or with 8 bits")
        if self._image.mode == "La":  # which Pillow opens and cannot decode
            kind = "it is a TIFF of a kind that is not read here: its pixels are grey with associated transparency"
            raise PictureError(f"{kind}; save it as PNG")
        self._left -= width * height
        if self._left < 0:
            raise PictureError("the pictures of its file have too many pixels together; divide it into files")

    def close(self) -> None:
        """Close the file."""
        self._image.close()


@contextmanager
def in_our_words(max_pixels: int) -> Iterator[None]:
    """Raise PictureError for the many errors of Pillow: its decoders raise nearly every kind on a broken file."""
    try:
        yield
    except (PictureError, UnidentifiedImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise PictureError(f"its pixels are more than verify.max_pixels ({max_pixels})") from None
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise
        is_cut_off = isinstance(error, EOFError) or any(word in str(error) for word in CUT_OFF)
        raise PictureError("it ends too early" if is_cut_off else "its pixels are damaged") from None


def why_unreadable(error: Exception) -> str:
    """Say in a few words why a file could not be decoded; those of other libraries are not passed on."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) if isinstance(error, ValueError) else "it cannot be decoded"


def to_picture(image: Image.Image) -> Picture:
    """Decode an image as it is seen, after EXIF orientation, to 8 bits per channel.

    Raises:
        PictureError: it has channels of 16 bits with values of fewer, which Pillow would show as nearly black.
    """
    mode, tags, stored = image.mode, getattr(image, "tag_v2", {}), str(getattr(image, "tile", ""))
    is_deep = 16 in tags.get(BITS, ()) or _is_deep_file(image)
    image.load()
    clear, step = image.info.get("transparency"), next((GREY_STEPS[key] for key in GREY_STEPS if key in stored), 1)
    if isinstance(clear, int) and clear <= 255 // step:
        image.info["transparency"] = clear * step
    if mode.startswith("I") or mode == "F" or tags.get(SAMPLE_FORMAT) == (SIGNED,):
        seen = _by_own_range(image, tags)
    elif is_deep and _extent(image)[1] < 2**14 >> 8:
        problem = "its channels have 16 bits and values of 14 or fewer"
        raise PictureError(f"{problem}; save it as 16-bit grey, or with 8 bits")
    else:
        seen = _to_eight_bit(image)
    if (turn := _turn(image)) is not None:
        seen = seen.transpose(turn)
    return Picture(seen, mode, seen.mode == "RGB" and _has_colour(seen))


def grey_of(values: np.ndarray) -> Image.Image:
    """Scale numbers [H, W] by their own range to an image of 8 bits; those that are not finite are black.

    Raises:
        PictureError: none of them is finite, or the array has not two axes.
    """
    if values.ndim != 2:
        raise PictureError(f"it holds an array with {values.ndim} axes, and no picture")
    return _greys(values, *_range([values]))


def stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return where numbers lie between `low`, which is 0, and `high`, which is 1; those outside are 0 or 1 too."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.clip((values - low) / max(high - low, np.finfo(np.float64).tiny), 0, 1)


def _is_deep_file(image: Image.Image) -> bool:
    """Tell whether an image that is not yet decoded is a PNG or PPM with channels of 16 bits."""
    kind, tiles = image.format, getattr(image, "tile", [])
    if kind == "PPM":
        return any(tile.codec_name == "ppm" and tile.args[-1] >= 2**15 for tile in tiles)
    return kind == "PNG" and ";16" in str(tiles)


def _why_not_opened(file: Path | Upload) -> str:
    """Say what a file is that Pillow cannot open, and of a TIFF of which numbers."""
    with open_binary(file) as stream:
        start = stream.read(512)
        what = what_it_is(start, f"{', '.join(FORMATS)}, DICOM, NIfTI")
        with suppress(Exception):  # Pillow raises many kinds on what is damaged, or no TIFF
            tags = TiffImagePlugin.ImageFileDirectory_v2(start[: 16 if 43 in start[2:4] else 8])
            stream.seek(tags.next)
            tags.load(stream)
            kind = {SIGNED: "signed ", FLOAT: "floating-point "}.get(tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0], "")
            numbers = f"its pixels are {len(tags[BITS])} x {tags[BITS][0]}-bit {kind}numbers"
            return f"{what}: {numbers}; save it as PNG"
    return what


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # viewers pass over a damaged EXIF too
        return None


def _blocks(image: Image.Image) -> Iterator[tuple[tuple[int, int, int, int], Image.Image]]:
    """Yield all parts of an image, each with its place."""
    for top in range(0, image.height, BLOCK):
        for left in range(0, image.width, BLOCK):
            place = (left, top, min(left + BLOCK, image.width), min(top + BLOCK, image.height))
            yield place, image.crop(place)


def _converted(image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    converted = Image.new(mode, image.size)
    for place, block in _blocks(image):
        converted.paste(convert(block), place)
    return converted


def _by_own_range(image: Image.Image, tags: Mapping) -> Image.Image:
    low, high = _range(_numbers(block, tags) for _, block in _blocks(image))
    return _converted(image, "L", lambda block: _greys(_numbers(block, tags), low, high))


def _range(parts: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return the least and the greatest finite value; PictureError if there is none."""
    low, high = math.inf, -math.inf
    for part in parts:
        finite = part[np.isfinite(part)].astype(np.float64)
        low, high = min(low, finite.min(initial=math.inf)), max(high, finite.max(initial=-math.inf))
    if low > high:
        raise PictureError("it holds no finite value")
    return float(low), float(high)


def _greys(values: np.ndarray, low: float, high: float) -> Image.Image:
    shares = stretch(np.where(np.isfinite(values), values.astype(np.float64), low), low, high)
    return Image.fromarray(np.rint(shares * 255).astype(np.uint8))


def _numbers(image: Image.Image, tags: Mapping) -> np.ndarray:
    """Return the numbers [H, W] of an image of one channel as its TIFF tags mean them; Pillow heeds only some."""
    values = np.asarray(image)
    bits, kind = tags.get(BITS), tags.get(SAMPLE_FORMAT, (UNSIGNED,))
    if bits == (32,) and kind == (UNSIGNED,):
        values = values.view(np.uint32)
    elif bits == (8,):
        values = values.view(np.int8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        values = np.where(values == clear, np.nan, values)
    return -values.astype(np.float64) if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else values


def _to_eight_bit(image: Image.Image) -> Image.Image:
    """Convert any of Pillow's modes of 8 bits to L or RGB: transparent ones over black, or white if that hides most."""
    seen_mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if not image.has_transparency_data:
        return image.convert(seen_mode)
    on_black = _laid_over(image, "black", seen_mode)
    dark, bright = _opacity(image, on_black)
    if not dark + bright:  # as in BMP whose fourth byte means nothing
        return image.convert(seen_mode)
    if dark > bright <= BRIGHT_SHARE and not _is_flat(on_white := _laid_over(image, "white", seen_mode)):
        return on_white
    return on_black


def _opacity(image: Image.Image, on_black: Image.Image) -> tuple[float, float]:
    """Return the mean opacity of what is dark over black, as a share of all pixels, and of what is not."""
    dark = bright = 0
    for place, block in _blocks(image):
        alpha = np.asarray(block.convert("RGBA"))[..., 3]
        is_dark = np.asarray(on_black.crop(place).convert("RGB")).max(axis=-1) <= DARK
        dark, bright = dark + int(alpha[is_dark].sum()), bright + int(alpha[~is_dark].sum())
    whole = 255 * image.width * image.height
    return dark / whole, bright / whole


def _laid_over(image: Image.Image, colour: str, mode: str) -> Image.Image:
    def convert(block: Image.Image) -> Image.Image:
        solid = Image.new("RGBA", block.size, colour)
        solid.alpha_composite(block.convert("RGBA"))
        return solid.convert(mode)

    return _converted(image, mode, convert)


def _is_flat(image: Image.Image) -> bool:
    low, high = _extent(image)
    return high - low <= FLAT


def _extent(image: Image.Image) -> tuple[int, int]:
    """Return the least and the greatest value of all channels but transparency."""
    bands = [band for name, band in zip(image.getbands(), image.split(), strict=True) if name not in "Aa"]
    low, high = zip(*(band.getextrema() for band in bands), strict=True)
    return min(low), max(high)


def _has_colour(image: Image.Image) -> bool:
    """Tell whether the channels of an image differ by more than a grey picture's do after JPEG."""
    count = 0
    for _, block in _blocks(image):
        red, green, blue = np.moveaxis(np.asarray(block), -1, 0)
        spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
        count += int((spread > COLOUR_DIFFERENCE).sum())
    return count > COLOUR_SHARE * image.width * image.height
