"""Which slices of a published source scans are, and so whose: by the correlation that also finds copies.

The source is Jun Cheng's figshare article 1512427 (CC BY 4.0): one MATLAB v7.3 file, which is HDF5, for each slice.
"""

import io
import re
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tumorclip.data import copies, decode, patients
from tumorclip.data.sources import folder
from tumorclip.data.thumbnails import FINE, KINDS, RESOLUTION, blocks, shrunk, thumbnails, turned, whole_units
from tumorclip.errors import UserError
from tumorclip.files import is_litter
from tumorclip.params import Verify
from tumorclip.tables import SIX_DECIMALS, TEXT, WHOLE, Table, column

SOURCE = "figshare"
LABELS = {1: "meningioma", 2: "glioma", 3: "pituitary"}
SIZE = 256  # pixels per side at which pictures are compared
CANDIDATES = 4  # slices most like a scan coarsely, of which the fine thumbnails choose


@dataclass(frozen=True)
class Traced(Table):
    """Scans that are slices of the source, by path; can be given as `verify.patients`."""

    path: np.ndarray = column(TEXT)  # as in `tumorclip.tables.Scans`
    fingerprint: np.ndarray = column(TEXT)  # as `tumorclip.data.patients.to_text` writes it
    slice: np.ndarray = column(WHOLE)  # number in the source
    orientation: np.ndarray = column(TEXT)  # how the slice is turned to lie like the scan: one of KINDS
    correlation: np.ndarray = column(SIX_DECIMALS)
    source_id: np.ndarray = column(TEXT)  # of the patient, in the source
    patient: np.ndarray = column(TEXT)  # the same without a letter behind the digits
    source: np.ndarray = column(TEXT)
    source_class: np.ndarray = column(TEXT)  # by the names of the scans' folders
    plane: np.ndarray = column(TEXT)


class Result(NamedTuple):
    """What is found among N scans.

    Attributes:
        class_names: str, the folder of every row of `traced`.
        best_rejected: highest correlation of a scan that is no slice; None where all are slices.
    """

    traced: Traced
    class_names: np.ndarray
    scans: int
    unreadable: int
    slices: int
    best_rejected: float | None


class Slice(NamedTuple):
    number: int
    class_name: str
    source_id: str


def trace(scans: Path, source: Path, planes: dict[str, str], workers: int = 0) -> Result:
    """Find the slice of `source` that each of `scans` is.

    Args:
        scans: a folder or .zip of scans in class folders, as `data.source` takes it.
        source: a folder of the article's .mat files, or of its zips.
        planes: such as axial, by path of the scan.
        workers: number of processes that decode; 0 takes one per CPU core.

    Raises:
        UserError: no h5py, or one of both cannot be read or holds nothing.
    """
    if not scans.exists():
        raise UserError(f"{scans} does not exist; give the folder or .zip of the scans")
    slices, slice_means = read_source(source)
    with tempfile.TemporaryDirectory() as place:
        raw, decoded = Path(place, "raw"), Path(place, "decoded")
        raw.mkdir()
        decoded.mkdir()
        folder.take(scans, raw)
        files = decode.find(raw)
        settings = Verify.model_construct(
            image_size=SIZE, colour=False, max_pixels=5 * 10**7, max_unreadable=len(files)
        )
        found, unreadable = decode.read(raw, files, decoded, settings, workers)
        if not found:
            raise UserError(f"{scans} holds no scan that can be read")
        means = thumbnails(np.load(decoded / "pixels.npy", mmap_mode="r"))
    nearest, kinds, correlations = most_alike(means, slice_means)
    # Neighbouring slices of one head stay below it.
    accepted = correlations >= copies.SURE
    class_names = np.array([scan.class_name for scan in found])
    traced = _table(
        paths=np.array([scan.path for scan in found])[accepted],
        fingerprints=patients.fingerprints(means[accepted]),
        slices=[slices[row] for row in nearest[accepted]],
        matches=(kinds[accepted], correlations[accepted]),
        folders=sorted(set(class_names.tolist())),
        planes=planes,
    )
    rejected = correlations[~accepted]
    best_rejected = float(rejected.max()) if len(rejected) else None
    return Result(traced, class_names[accepted], len(found), len(unreadable), len(slices), best_rejected)


def most_alike(means: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find which of `others` correlates most with each picture, as it lies best.

    From thumbnails, float32 [N, 64, 64] and [M, 64, 64], to rows of `others`, int [N], how these lie, str [N], and
    float64 [N]. The four that are most alike coarsely are compared finely.
    """
    count = min(CANDIDATES, len(others))
    there = whole_units(shrunk(others, copies.COARSE))
    nearest = np.empty((len(means), count), np.int64)
    for block in blocks(len(means), 4 * 4 * len(others)):
        own = whole_units(shrunk(means[block], copies.COARSE))
        products = np.full((len(own), len(others)), -(RESOLUTION**2), np.float32)
        for kind in KINDS:
            np.maximum(products, own @ there[:, turned(copies.COARSE, kind)].T, out=products)
        nearest[block] = np.argsort(-products, axis=1, kind="stable")[:, :count]
    rows = np.repeat(np.arange(len(means)), count)
    both = np.concatenate([means, others])
    kinds, correlations = copies.best_orientations(both, rows, len(means) + nearest.ravel())
    best = np.arange(len(means)) * count + correlations.reshape(-1, count).argmax(axis=1)
    return nearest.ravel()[best], kinds[best], correlations[best]


def read_source(source: Path) -> tuple[list[Slice], np.ndarray]:
    """Read all slices of the article, in the order of their numbers: M of them, and float32 [M, 64, 64] thumbnails."""
    h5py = _h5py()
    files = _mat_files(source)
    slices, means = [], np.empty((len(files), FINE, FINE), np.float32)
    for row, number in enumerate(tqdm(sorted(files), desc="reading the source", unit="slice", disable=None)):
        name, open_file = files[number]
        try:
            with h5py.File(io.BytesIO(open_file())) as file:
                content = file["cjdata"]
                # HDF5 stores MATLAB's arrays transposed.
                image = content["image"][()].T
                label = LABELS[int(content["label"][()].item())]
                source_id = "".join(map(chr, content["PID"][()].ravel()))
            means[row] = thumbnails(decode.square(image, SIZE)[None])[0]
        except (*folder.DAMAGE, OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{name} is no slice of the figshare article ({reason}); get it anew") from None
        slices.append(Slice(number, label, source_id))
    return slices, means


def _mat_files(source: Path) -> dict[int, tuple[str, Callable[[], bytes]]]:
    """The article's .mat files, in folders and zips, by number: what to call each, and how to read it."""
    files: dict[int, tuple[str, Callable[[], bytes]]] = {}
    for path in sorted(source.rglob("*")) if source.is_dir() else []:
        if any(map(is_litter, path.relative_to(source).parts)):
            continue
        if number := _number(path.name):
            files.setdefault(number, (str(path), path.read_bytes))
        elif path.suffix.lower() == ".zip":
            try:
                # Left open until the end: its members are read one by one.
                archive = zipfile.ZipFile(path)
            except (*folder.DAMAGE, OSError) as error:
                raise UserError(f"{path} is not a .zip archive, or is damaged ({error}); get it anew") from None
            for member in archive.namelist():
                if not any(map(is_litter, PurePosixPath(member).parts)) and (number := _number(member)):
                    files.setdefault(number, (f"{member} in {path}", partial(archive.read, member)))
    if not files:
        raise UserError(f"{source} holds no 1.mat, 2.mat, … and no .zip of them; give the figshare article's files")
    return files


def _number(name: str) -> int | None:
    match = re.fullmatch(r"0*([1-9]\d*)\.mat", PurePosixPath(name).name)
    return int(match[1]) if match else None


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError:
        raise UserError("h5py, which reads .mat files, is not installed; run: pip install h5py") from None
    return h5py


def _table(
    paths: np.ndarray,
    fingerprints: np.ndarray,
    slices: list[Slice],
    matches: tuple[np.ndarray, np.ndarray],
    folders: list[str],
    planes: dict[str, str],
) -> Traced:
    orientations, correlations = matches
    names = {label: _folder_of(label, folders) for label in LABELS.values()}
    return Traced(
        path=paths,
        fingerprint=np.array([patients.to_text(bits) for bits in fingerprints], dtype=str),
        slice=np.array([each.number for each in slices], dtype=np.int64),
        orientation=orientations,
        correlation=correlations,
        source_id=np.array([each.source_id for each in slices], dtype=str),
        patient=np.array([re.sub(r"(?<=\d)[A-Z]$", "", each.source_id) for each in slices], dtype=str),
        source=np.full(len(slices), SOURCE),
        source_class=np.array([names[each.class_name] for each in slices], dtype=str),
        plane=np.array([planes.get(path, "") for path in paths], dtype=str),
    )


def _folder_of(label: str, folders: list[str]) -> str:
    """The one class folder that is named after a label, such as Glioma_tumor; else the label itself."""
    alike = [name for name in folders if label in name.lower()]
    return alike[0] if len(alike) == 1 else label
