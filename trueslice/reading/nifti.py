"""Slices of NIfTI files, as a radiologist's viewer shows them, in 8 bits.

Nothing is read but voxels and what says how to show them: no text of the header, and none of its extensions.
"""

import logging
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from trueslice.files import Upload, open_binary
from trueslice.reading.display import BRIGHTEST, DARKEST
from trueslice.reading.images import Picture, check_size, stretch

ENDINGS, PAIR = (".nii", ".nii.gz"), (".hdr", ".img")
INSTALL = "pip install -e '.[nifti]'"
HEADER = 540  # bytes of the longer of two kinds
# Spacings that differ by less than this factor are equal; those that differ by more than the other are damage.
EQUAL, MAX_RATIO = 1.05, 1e4
# Bounds of memory and time. 512 x 512 x 1000 voxels of 16 bits are within them.
MAX_BYTES, MAX_SLICES = 2**29, 2000
TOO_LARGE = f"it holds more than {MAX_BYTES // 2**20} MiB or {MAX_SLICES} slices; crop it, or save it with fewer bits"
SAMPLE = 2**22  # voxels, more or less, that decide on black and white
BAND = 2**20  # pixels, more or less, that are converted at once
GZIP, GZIP_BITS, CHUNK = b"\x1f\x8b", 31, 2**16
MAX_PARTS = 2**14  # of a packed file: millions of small ones would take minutes


def is_nifti(file: Path | Upload) -> bool:
    """Tell by its ending whether a file is NIfTI, or of a pair as older programs write it."""
    return file.name.lower().endswith((*ENDINGS, *PAIR))


class NiftiFrames:
    """The slices of a NIfTI file, along the axis on which they were acquired.

    Attributes:
        count: number of slices.

    Raises:
        ValueError: it holds no volume that can be shown, or one beyond the bounds; or nibabel is not installed.
    """

    def __init__(self, file: Path | Upload, max_pixels: int):
        with open_binary(file) as stream, np.errstate(all="ignore"):
            header = _header(file.name, bytes(_content(stream, HEADER)))
            shape = _shape(header)
            axes, spacing = _orientation(header)
            across = _slice_axis(header, shape, axes, spacing)
            # The axes of a picture: x and y, x and z, or y and z.
            columns, rows = (axis for axis in np.argsort(axes[:, 0]) if axis != across)
            finest = min(spacing[columns], spacing[rows])
            self._size = round(shape[columns] * spacing[columns] / finest), round(shape[rows] * spacing[rows] / finest)
            check_size(*self._size, max_pixels)
            if shape[across] > MAX_SLICES or shape[across] * math.prod(self._size) > MAX_BYTES:
                raise ValueError(TOO_LARGE)
            self._slices = _turned(_voxels(stream, header, shape), axes, across)
            self.count = len(self._slices)
            slope, intercept = header.get_slope_inter()
            self._slope: float = slope or 1
            self._intercept: float = intercept or 0
            self._black, self._white = self._window(float(header["cal_min"]), float(header["cal_max"]))

    def picture(self, number: int) -> Picture:
        """Show the slice of this number, from 1, with square pixels."""
        stored = self._slices[number - 1]
        shown = np.empty(stored.shape, np.uint8)
        height = max(1, BAND // stored.shape[1])
        for top in range(0, len(stored), height):
            values = self._scaled(stored[top : top + height])
            values[~np.isfinite(values)] = self._black
            shown[top : top + height] = np.rint(stretch(values, self._black, self._white) * 255)
        image = Image.fromarray(shown)
        if image.size != self._size:
            image = image.resize(self._size, Image.Resampling.BICUBIC)
        return Picture(image, "NIfTI", False)

    def close(self) -> None:
        """Do nothing: the file is no longer open."""

    def _scaled(self, stored: np.ndarray) -> np.ndarray:
        return stored.astype(np.float64) * self._slope + self._intercept

    def _window(self, low: float, high: float) -> tuple[float, float]:
        """Return what is black and white: what the header says, or percentiles of all slices together."""
        if math.isfinite(low) and math.isfinite(high) and low < high:
            return low, high
        every = math.ceil((self._slices.size / SAMPLE) ** (1 / 3))
        values = self._scaled(self._slices[::every, ::every, ::every])
        values = values[np.isfinite(values)]
        if not values.size:
            raise ValueError("it holds no finite value")
        # Zeros are the background where the skull was removed, and most of the volume. Saved as integers with a slope,
        # they may be up to a step away from 0.
        step = abs(self._slope) if self._slices.dtype.kind in "iu" else np.finfo(np.float64).tiny
        inside = values[np.abs(values) >= step]
        low, high = np.percentile(inside, (DARKEST, BRIGHTEST)) if inside.size else (0.0, 0.0)
        return (low, high) if low < high else (values.min(), values.max())


def _header(name: str, content: bytes):
    """Parse a header by nibabel, with the repairs that it makes."""
    try:
        import nibabel
    except ImportError:
        raise ValueError(f"NIfTI files need nibabel; run: {INSTALL}") from None
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL + 1)  # it would quote the header
    if not content:
        raise ValueError("the file is empty")
    magic = {content[344:347], content[4:7]}  # of NIfTI-1, and of NIfTI-2
    if name.lower().endswith(PAIR) or magic & {b"ni1", b"ni2"}:
        raise ValueError("a pair of .hdr and .img is not read; save it as one NIfTI file, .nii or .nii.gz")
    if not magic & {b"n+1", b"n+2"}:
        raise ValueError("it is not a NIfTI file")
    kind = nibabel.Nifti2Header if b"n+2" in magic else nibabel.Nifti1Header
    try:
        header = kind(content[: kind.template_dtype.itemsize])
        header.get_data_shape(), header.get_slope_inter(), header.get_data_offset()
    except Exception:  # nibabel raises many kinds, and a message may quote the header
        raise ValueError("its header is damaged, or its voxels are of a kind that is not read here") from None
    return header


def _shape(header) -> tuple[int, ...]:
    """Return the number of voxels on each of three axes."""
    shape = (*header.get_data_shape(), 1, 1)
    if not 0 < header["dim"][0] < 8 or min(shape) < 1:
        raise ValueError("its header is damaged: it has no number of voxels that can be")
    if math.prod(shape[3:]) > 1:
        raise ValueError("it holds several volumes, of times or contrasts; save the one to read as a file of its own")
    if header.get_data_dtype().kind not in "iuf":
        raise ValueError("its voxels are colours or complex numbers; save it as a volume of grey values")
    return shape[:3]


def _orientation(header) -> tuple[np.ndarray, np.ndarray]:
    """Return which of x, y and z each axis follows, and in which direction; and how far apart its voxels are."""
    from nibabel.affines import voxel_sizes
    from nibabel.orientations import io_orientation

    try:
        affine = header.get_best_affine()
        axes, spacing = io_orientation(affine), voxel_sizes(affine)
    except Exception:  # nibabel and NumPy raise many kinds
        axes = spacing = np.full(3, np.nan)
    if np.isnan(axes).any() or not spacing.max() < MAX_RATIO * spacing.min():
        raise ValueError("its orientation (sform, or else qform) is damaged")
    return axes, spacing


def _slice_axis(header, shape: tuple[int, ...], axes: np.ndarray, spacing: np.ndarray) -> int:
    """Return the axis on which slices were acquired.

    It is the only one with a single voxel; or else the one that the header names; or the one with the largest spacing;
    or that from the feet to the head.
    """
    if shape.count(1) == 1:
        return shape.index(1)
    if (named := header.get_dim_info()[2]) is not None:
        return named
    *_, second, largest = np.argsort(spacing)
    return int(largest if spacing[largest] > EQUAL * spacing[second] else np.argmax(axes[:, 0]))


def _voxels(stream: BinaryIO, header, shape: tuple[int, ...]) -> np.ndarray:
    """Read the voxels as they are stored."""
    dtype, count = header.get_data_dtype(), math.prod(shape)
    start = max(header.get_data_offset(), header.single_vox_offset)
    end = start + count * dtype.itemsize
    if end > MAX_BYTES:
        raise ValueError(TOO_LARGE)
    content = _content(stream, end)
    if len(content) < end:
        raise ValueError("some of its voxels are missing")
    return np.frombuffer(content, dtype, count, start).reshape(shape, order="F")


def _turned(voxels: np.ndarray, axes: np.ndarray, across: int) -> np.ndarray:
    """Return slices [N, H, W] in radiological view.

    Axial ones go from the feet to the head, and coronal ones from the front to the back, with the patient's right on
    the left. Sagittal ones go from the right to the left, with the front on the left. The front is up in axial ones,
    and the head in the others.
    """
    from nibabel.orientations import apply_orientation, axcodes2ornt, ornt_transform

    kind = int(axes[across, 0])
    towards = axcodes2ornt("LPS" if kind == 2 else "LPI")
    return np.moveaxis(apply_orientation(voxels, ornt_transform(axes, towards)), kind, 0).swapaxes(1, 2)


def _content(stream: BinaryIO, size: int) -> bytes | bytearray:
    """Return `size` bytes from the start of a file, unpacked if it is packed; fewer if it has fewer."""
    stream.seek(0)
    is_packed = stream.read(len(GZIP)) == GZIP
    stream.seek(0)
    return _unpacked(stream, size) if is_packed else stream.read(size)


def _unpacked(stream: BinaryIO, size: int) -> bytearray:
    """Unpack `size` bytes, or one more: its end is reached then, and with it the checksum."""
    content, packed = bytearray(), stream.read(CHUNK)
    for _ in range(MAX_PARTS):
        part = zlib.decompressobj(GZIP_BITS)
        while not part.eof and len(content) <= size and packed:
            try:
                content += part.decompress(packed, size + 1 - len(content))
            except zlib.error:
                raise ValueError("it is packed, and damaged") from None
            packed = part.unconsumed_tail or part.unused_data or stream.read(CHUNK)
        if len(content) >= size or (content and not packed):
            return content
        if not packed:
            raise ValueError("it is packed, and damaged")
    raise ValueError(f"it is packed in more than {MAX_PARTS:,} parts; pack it anew")
