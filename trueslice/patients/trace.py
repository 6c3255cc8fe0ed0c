"""Tracing of scans to the slices of a published source, and so to its patients: by the correlation that finds copies.

The source is Jun Cheng's figshare article 1512427 (CC BY 4.0): one MATLAB v7.3 file, which is HDF5, for each slice.
"""

import io
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from trueslice.copies import search as copies
from trueslice.copies.thumbnails import FINE, KINDS, ORIENTATIONS, shrunk, thumbnails, turned, whole_units
from trueslice.errors import UserError
from trueslice.files import files_in
from trueslice.params import Verify
from trueslice.patients import lookup as patients
from trueslice.progress import Progress
from trueslice.reading import scans as reading
from trueslice.reading.images import grey_of
from trueslice.reading.limits import MAX_PIXELS
from trueslice.reading.masks import write_mask
from trueslice.reading.square import fit
from trueslice.sources import folder
from trueslice.tables.base import SIX_DECIMALS, TEXT, WHOLE, Table, column

SOURCE = "figshare"
LABELS = {1: "meningioma", 2: "glioma", 3: "pituitary"}
SIZE = 256  # pixels per side at which pictures are compared
AT_ONCE = 1000  # scans that are compared at once, so that memory doesn't grow with their number
CANDIDATES = 4  # slices most like a scan coarsely, of which the fine thumbnails choose


@dataclass(frozen=True)
class Traced(Table):
    """Scans that are slices of the source, by path; can be given as `verify.patients`."""

    path: np.ndarray = column(TEXT)  # as in `trueslice.tables.Scans`
    fingerprint: np.ndarray = column(TEXT)  # as `trueslice.patients.lookup.to_text` writes it
    slice: np.ndarray = column(WHOLE)  # number in the source
    orientation: np.ndarray = column(TEXT)  # turn from the slice to the scan: one of KINDS
    correlation: np.ndarray = column(SIX_DECIMALS)
    source_id: np.ndarray = column(TEXT)  # of the patient, in the source
    patient: np.ndarray = column(TEXT)  # the same without a letter behind the digits
    source: np.ndarray = column(TEXT)
    source_class: np.ndarray = column(TEXT)  # by the names of the scans' folders
    plane: np.ndarray = column(TEXT)


class Result(NamedTuple):
    """Slices found among N scans."""

    traced: Traced
    class_names: np.ndarray  # str, the folder of every row of `traced`
    sizes: dict[str, tuple[int, int]]  # width and height of every scan, by path
    scans: int
    unreadable: int
    slices: int
    best_rejected: float | None  # highest correlation of a scan that is no slice; None where all are slices


class Slice(NamedTuple):
    """One file of the source."""

    number: int
    class_name: str
    source_id: str


def trace(scans: Path, source: Path, planes: dict[str, str]) -> Result:
    """Find the slices of `source` that `scans`, a folder or .zip, are; `planes` gives planes by path of the scan.

    `source` is a folder of the article's .mat files, or of its zips.

    Raises:
        UserError: no h5py, or one of both cannot be read or holds nothing.
    """
    slices, slice_means = read_source(source)
    found, unreadable, (nearest, kinds, correlations, bits) = _read_and_match(scans, slice_means)
    accepted = correlations >= copies.SURE  # neighbouring slices of one head stay below it
    class_names = np.array([scan.class_name for scan in found])
    folders = np.unique(class_names).tolist()
    paths = np.array([scan.path for scan in found])[accepted]
    own = [slices[row] for row in nearest[accepted]]
    traced = Traced(
        path=paths,
        fingerprint=_texts(map(patients.to_text, bits[accepted])),
        slice=np.array([each.number for each in own], np.int64),
        orientation=kinds[accepted],
        correlation=correlations[accepted],
        source_id=_texts(each.source_id for each in own),
        patient=_texts(re.sub(r"(?<=\d)[A-Z]$", "", each.source_id) for each in own),
        source=np.full(len(own), SOURCE),
        source_class=_texts(_folder_of(each.class_name, folders) for each in own),
        plane=_texts(planes.get(path, "") for path in paths),
    )
    best_rejected = float(correlations[~accepted].max()) if not accepted.all() else None
    sizes = {scan.path: (scan.width, scan.height) for scan in found}
    return Result(traced, class_names[accepted], sizes, len(found), unreadable, len(slices), best_rejected)


def _read_and_match(scans: Path, slice_means: np.ndarray) -> tuple[list[reading.Scan], int, tuple]:
    """Return the readable scans, the number of unreadable ones, and the result of `match`."""
    with tempfile.TemporaryDirectory() as place:
        raw, decoded = Path(place, "raw"), Path(place, "decoded")
        raw.mkdir()
        decoded.mkdir()
        folder.take(scans, raw)
        files = reading.find(raw)
        limits: dict[str, Any] = {"max_pixels": MAX_PIXELS, "max_unreadable": len(files)}
        settings = Verify.model_construct(image_size=SIZE, colour=False, **limits)
        found, unreadable = reading.read(raw, files, decoded, settings, workers=0)
        if not found:
            raise UserError(f"{scans} holds no scan that can be read")
        return found, len(unreadable), match(np.load(decoded / "pixels.npy", mmap_mode="r"), slice_means)


def write_masks(traced: Traced, sizes: dict[str, tuple[int, int]], source: Path, into: Path) -> None:
    """Write the tumour masks of all traced scans, of width and height `sizes` by path, for `reading.masks`."""
    files = _mat_files(source)
    for number in Progress(np.unique(traced.slice).tolist(), desc="writing masks", unit="slice"):
        with _content(*files[number], "has no tumour mask that can be read") as content:
            mask = 255 * (content["tumorMask"][()].T > 0).astype(np.uint8)
        for row in np.flatnonzero(traced.slice == number):
            path = str(traced.path[row])
            write_mask(place_mask(mask, traced.orientation[row], *sizes[path]), into, path)


def match(pixels: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Find what `most_alike` does, and fingerprints, bool [N, bits], of pixels, uint8 [N, S, S], even memory-mapped."""
    parts = []
    for start in Progress(range(0, len(pixels), AT_ONCE), desc="comparing", unit_scale=AT_ONCE, unit="scan"):
        means = thumbnails(pixels[start : start + AT_ONCE])
        parts.append((*most_alike(means, others), patients.fingerprints(means)))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def most_alike(means: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find which of `others`, thumbnails [M, 64, 64], correlates most with each of `means`, [N, 64, 64].

    Return rows of `others`, int [N], their orientation, str [N], and correlation, float64 [N].
    """
    count = min(CANDIDATES, len(others))
    own, there = (whole_units(shrunk(each, copies.COARSE)) for each in (means, others))
    products = reduce(np.maximum, (own @ there[:, turned(copies.COARSE, kind)].T for kind in KINDS))
    nearest = np.argsort(-products, axis=1, kind="stable")[:, :count].ravel()
    rows = np.repeat(np.arange(len(means)), count)
    kinds, correlations = copies.best_orientations(np.concatenate([means, others]), rows, len(means) + nearest)
    best = np.arange(len(means)) * count + correlations.reshape(-1, count).argmax(axis=1)
    return nearest[best], kinds[best], correlations[best]


def read_source(source: Path) -> tuple[list[Slice], np.ndarray]:
    """Read all slices of the article, in the order of their numbers: M of them, and float32 [M, 64, 64] thumbnails."""
    files = _mat_files(source)
    slices, means = [], np.empty((len(files), FINE, FINE), np.float32)
    for row, number in enumerate(Progress(sorted(files), desc="reading the source", unit="slice")):
        with _content(*files[number], "is no slice of the figshare article") as content:
            label = LABELS[int(content["label"][()].item())]
            slices.append(Slice(number, label, "".join(map(chr, content["PID"][()].ravel()))))
            # HDF5 stores MATLAB's arrays transposed.
            means[row] = thumbnails(fit(grey_of(content["image"][()].T), SIZE)[None])[0]
    return slices, means


@contextmanager
def _content(name: str, read_file: Callable[[], bytes], problem: str) -> Iterator[Any]:
    """Yield the content of a slice's file; an error in the block ends in a UserError that says `problem`."""
    try:
        import h5py
    except ImportError:
        raise UserError("h5py, which reads .mat files, is not installed; run: pip install -e '.[trace]'") from None
    try:
        with h5py.File(io.BytesIO(read_file())) as file:
            yield file["cjdata"]
    except (*folder.DAMAGE, OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{name} {problem} ({reason}); get it again") from None


def _mat_files(source: Path) -> dict[int, tuple[str, Callable[[], bytes]]]:
    """Find the article's .mat files, in folders and zips, by number: the name of each, and a function that reads it."""
    files: dict[int, tuple[str, Callable[[], bytes]]] = {}
    names, others = files_in(source) if source.is_dir() else ([""], [])
    for name, reason in others:
        raise UserError(f"{source / name}: {reason}; remove it")
    for path in [source / name for name in names]:
        if number := _number(path.name):
            files.setdefault(number, (str(path), path.read_bytes))
        elif path.suffix.lower() == ".zip":
            try:
                # Left open until the end: its members are read one by one.
                archive = zipfile.ZipFile(path)
            except (*folder.DAMAGE, OSError) as error:
                raise UserError(f"{path} is not a .zip archive, or is damaged ({error}); get it again") from None
            for member in archive.namelist():
                if number := _number(member):
                    files.setdefault(number, (f"{member} in {path}", partial(archive.read, member)))
    if not files:
        raise UserError(f"{source} holds no 1.mat, 2.mat, … and no .zip of them; give the figshare article's files")
    return files


def _number(name: str) -> int | None:
    found = re.fullmatch(r"0*([1-9][0-9]{0,8})\.mat", PurePosixPath(name).name)
    return int(found[1]) if found else None


def _texts(values: Iterable[str]) -> np.ndarray:
    return np.array(list(values), dtype=str)


def _folder_of(label: str, folders: list[str]) -> str:
    """Return the only class folder that is named after a label, such as Glioma_tumor; else the label itself."""
    alike = [name for name in folders if label in name.lower()]
    return alike[0] if len(alike) == 1 else label


def place_mask(mask: np.ndarray, orientation: str, width: int, height: int) -> np.ndarray:
    """Transform the mask of a slice, uint8 [h, w] from 0 to 255, to a scan that shows it whole: bool [height, width].

    `orientation` is the turn from the slice to the scan, one of `thumbnails.KINDS`; the scan may have black sides.
    """
    side = max(width, height)
    square = ORIENTATIONS[orientation](fit(Image.fromarray(mask), side))
    top, left = (side - height) // 2, (side - width) // 2
    return square[top : top + height, left : left + width] >= 128
