"""The files of Kaggle's archive that are slices of their source, by correlation alone: the truth for fingerprints.

python -m research.correlation ARCHIVE.zip SOURCE PLANES.csv

SOURCE is as in research.slices. PLANES.csv gives the `plane` of a `path`. Every file is correlated with all slices, in
all eight orientations of a square. Writes patients/kaggle_v1.csv.
"""

import argparse
import csv
import tempfile
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np

from research import figshare
from trueslice import params
from trueslice.copies import search as copies
from trueslice.copies.thumbnails import KINDS, shrunk, thumbnails, turned, whole_units
from trueslice.patients.slices import SOURCE
from trueslice.progress import Progress
from trueslice.reading import scans as reading
from trueslice.sources import folder
from trueslice.tables.base import SIX_DECIMALS, TEXT, WHOLE, Table, column

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "patients/kaggle_v1.csv"
AT_ONCE = 1000  # scans that are compared at once
CANDIDATES = 4  # slices most like a scan coarsely, of which the fine thumbnails choose


@dataclass(frozen=True)
class Traced(Table):
    """Scans that are slices of the source: patients/kaggle_v1.csv."""

    path: np.ndarray = column(TEXT)  # as in `trueslice.tables.Scans`
    slice: np.ndarray = column(WHOLE)  # number in the source
    orientation: np.ndarray = column(TEXT)  # turn from the slice to the scan: one of KINDS
    correlation: np.ndarray = column(SIX_DECIMALS)
    source_id: np.ndarray = column(TEXT)  # of the patient, in the source
    patient: np.ndarray = column(TEXT)  # the same without a letter behind the digits
    source: np.ndarray = column(TEXT)
    source_class: np.ndarray = column(TEXT)
    plane: np.ndarray = column(TEXT)


class Result(NamedTuple):
    """Slices found among scans."""

    traced: Traced
    sizes: dict[str, tuple[int, int]]  # width and height of every scan, by path
    best_rejected: float  # highest correlation of a scan that is no slice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, shown in (("archive", "ARCHIVE.zip"), ("source", "SOURCE"), ("planes", "PLANES.csv")):
        parser.add_argument(name, metavar=shown, type=Path)
    options = parser.parse_args()
    with options.planes.open(encoding="utf-8", newline="") as file:
        planes = dict(list(csv.reader(file))[1:])
    traced, sizes, best_rejected = trace(options.archive, options.source, planes)
    traced.write(RESULT)
    print(f"{len(traced)} of {len(sizes)} scans are slices of the source: {traced.correlation.min():.4f} or more")
    print(f"The best of all others: {best_rejected:.4f}")


def trace(scans: Path, source: Path, planes: dict[str, str]) -> Result:
    """Find the slices of `source` that show as a whole in `scans`; `planes` gives planes by path of the scan."""
    found, means = _read(scans)
    slices, others = figshare.read_source(source)
    nearest, kinds, correlations = match(means, others)
    accepted = correlations >= copies.SURE  # neighbouring slices of one head stay below it
    own = [slices[row] for row in nearest[accepted]]
    paths = np.array([scan.path for scan in found])[accepted]
    traced = Traced(
        path=paths,
        slice=np.array([each.number for each in own], int),
        orientation=kinds[accepted],
        correlation=correlations[accepted],
        source_id=np.array([each.source_id for each in own], str),
        patient=np.array([each.patient for each in own], str),
        source=np.full(len(own), SOURCE),
        source_class=np.array([each.class_name for each in own], str),
        plane=np.array([planes.get(path, "") for path in paths.tolist()], str),
    )
    sizes = {scan.path: (scan.width, scan.height) for scan in found}
    return Result(traced, sizes, float(correlations[~accepted].max(initial=-1)))


def _read(scans: Path) -> tuple[list[reading.Scan], np.ndarray]:
    """Return the scans of a folder or .zip in class folders, and their thumbnails, [N, 64, 64]."""
    verify = params.load(ROOT / "params.yaml").verify
    with tempfile.TemporaryDirectory() as place:
        raw, decoded = Path(place, "raw"), Path(place, "decoded")
        raw.mkdir()
        decoded.mkdir()
        folder.take(scans, raw)
        found, _ = reading.read(raw, reading.find(raw), decoded, verify, workers=0)
        return found, thumbnails(np.load(decoded / "pixels.npy", mmap_mode="r"))


def match(means: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Find what `most_alike` does, part by part, so that memory doesn't grow with the number of scans."""
    starts = Progress(range(0, len(means), AT_ONCE), desc="comparing", unit_scale=AT_ONCE, unit="scan")
    parts = [most_alike(means[start : start + AT_ONCE], others) for start in starts]
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


if __name__ == "__main__":
    main()
