"""How many scans the fingerprints of the shipped table of slices trace, and how many they trace to a wrong patient.

python -m research.fingerprints ARCHIVE.zip PMRAM.zip

The files of Kaggle's archive are looked up as they are, and resized, saved as JPEG, mirrored, turned and padded. The
truth is what research.correlation found. PMRAM is looked up too, and its copies among the traced files of Kaggle are
sought by the audit, which aligns pictures.
"""

import argparse
import io
import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from research.correlation import RESULT, Traced
from research.markdown import table
from trueslice import params
from trueslice.audit import folders
from trueslice.copies import search as copies
from trueslice.copies.thumbnails import thumbnails
from trueslice.patients import slices
from trueslice.patients.fingerprints import BITS, from_text, nearest
from trueslice.progress import Progress
from trueslice.reading.square import fit

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "research/results/fingerprints.json"
PADDING = 0.1  # of the side, black, on each of the four


class Change(NamedTuple):
    size: int  # pixels per side
    quality: int  # of JPEG
    mirrored: bool = False
    turn: int = 0  # degrees, counter-clockwise
    padded: bool = False

    def __str__(self) -> str:
        named = {"mirrored": self.mirrored, f"turned by {self.turn}°": self.turn, "padded": self.padded}
        more = [name for name, is_so in named.items() if is_so]
        return ", ".join([f"{self.size} pixels, JPEG quality {self.quality}", *more])


CHANGES = (
    Change(160, 50),
    Change(320, 75),
    Change(640, 95),
    Change(160, 50, mirrored=True),
    Change(224, 75, turn=90),
    Change(224, 75, turn=180),
    Change(224, 75, mirrored=True, turn=270),
    Change(320, 75, padded=True),
    Change(160, 50, padded=True, mirrored=True, turn=90),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, shown in (("archive", "ARCHIVE.zip"), ("other", "PMRAM.zip")):
        parser.add_argument(name, metavar=shown, type=Path)
    options = parser.parse_args()
    settings = params.load(ROOT / "params.yaml").verify
    with tempfile.TemporaryDirectory() as place:
        images = folders.read([options.archive, options.other], Path(place), settings, workers=0)
        means = thumbnails(images.pixels)
        in_kaggle = images.part == 0
        rows = np.flatnonzero(in_kaggle)
        truth = truth_of(images.path[rows])
        changed = [(str(change), thumbnails(apply(change, images.pixels, rows))) for change in CHANGES]
        results = {
            "command": "python -m research.fingerprints ARCHIVE.zip PMRAM.zip",
            "slices": len(slices.shipped()),
            "bits": BITS,
            "tolerance": slices.TOLERANCE,
            "files": len(rows),
            "files_of_a_slice": int((truth > 0).sum()),
            "smallest_difference_of_another_patient": other_patients(means[rows], truth),
            "sets": [{"set": name} | measure(seen, truth) for name, seen in [("as they are", means[rows]), *changed]],
            "other_set": other_set(images, means, settings),
        }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(tables(results))


def truth_of(paths: np.ndarray) -> np.ndarray:
    """The number of the slice that each file shows, int [N], 0 for none."""
    traced = Traced.read(RESULT)
    known = dict(zip(traced.path.tolist(), traced.slice.tolist(), strict=True))
    return np.array([known.get(path, 0) for path in paths.tolist()])


def apply(change: Change, pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    result = np.empty((len(rows), *pixels.shape[1:]), np.uint8)
    for place, row in enumerate(Progress(rows.tolist(), desc=str(change), unit="scan")):
        image = Image.fromarray(pixels[np.array([row])][0])
        if change.mirrored:
            image = ImageOps.mirror(image)
        image = image.rotate(change.turn)
        if change.padded:
            image = ImageOps.expand(image, round(PADDING * image.width))
        buffer = io.BytesIO()
        image.resize((change.size, change.size), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=change.quality)
        with Image.open(buffer) as saved:
            result[place] = fit(saved, pixels.shape[1])
    return result


def measure(means: np.ndarray, truth: np.ndarray) -> dict:
    """Count the files that were traced, to the right slice or a wrong one."""
    found, all_slices = slices.find(means), slices.shipped()
    is_slice, is_traced = truth > 0, found.row >= 0
    patients = dict(zip(all_slices.slice.tolist(), all_slices.patient.tolist(), strict=True))
    is_wrong = np.array([patients.get(number, "") for number in truth.tolist()]) != all_slices.patient[found.row]
    return {
        "traced": int((is_slice & is_traced & ~is_wrong).sum()),
        "missed": int((is_slice & ~is_traced).sum()),
        "wrong_patient": int((is_traced & is_wrong).sum()),
        "wrong_slice": int((is_slice & is_traced & (all_slices.slice[found.row] != truth)).sum()),
        "largest_difference": int(found.difference[is_slice].max()),
        "smallest_difference_of_other_files": int(found.difference[~is_slice].min()),
    }


def other_patients(means: np.ndarray, truth: np.ndarray) -> int:
    """The smallest difference between a file and a slice of another patient."""
    all_slices = slices.shipped()
    bits = np.stack([from_text(text) for text in all_slices.fingerprint.tolist()])
    smallest = BITS
    for patient in Progress(np.unique(all_slices.patient).tolist(), desc="other patients", unit="patient"):
        own = all_slices.patient == patient
        files = np.isin(truth, all_slices.slice[own])
        smallest = min(smallest, int(nearest(means[files], bits[~own])[2].min()))
    return smallest


def other_set(images: folders.Images, means: np.ndarray, settings: params.Verify) -> list[dict]:
    """Count the scans of the second set by who finds their patient: the fingerprint, or the alignment with Kaggle's."""
    known = int((images.part == 0).sum())
    patient = slices.patients(means)
    pairs = copies.find(copies.ScanImages(images.pixels, means, images.pixel_hash), settings, "cpu", known).pairs
    aligned = np.full(len(means), "", patient.dtype)
    is_copy = np.zeros(len(means), bool)
    for a, b in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True):
        if a < known:
            is_copy[b] = True
            aligned[b] = aligned[b] or patient[a]
    names = np.array([Path(path).parent.name for path in images.path.tolist()])[known:]
    patient, aligned, is_copy = patient[known:], aligned[known:], is_copy[known:]
    return [
        {
            "class": name,
            "scans": int(own.sum()),
            "by_fingerprint": int((own & (patient != "")).sum()),
            "by_alignment": int((own & (aligned != "")).sum()),
            "by_both": int((own & (patient != "") & (aligned != "")).sum()),
            "patients_that_differ": int((own & (patient != "") & (aligned != "") & (patient != aligned)).sum()),
            "copies": int((own & is_copy).sum()),
            "copies_or_of_known_patients": int((own & (is_copy | (patient != ""))).sum()),
        }
        for name in [None, *np.unique(names).tolist()]
        for own in [np.ones(len(names), bool) if name is None else names == name]
    ]


def tables(results: dict) -> str:
    """Return the two tables of docs/data.md."""
    sets = [
        [
            row["set"],
            f"{row['traced']:,} of {results['files_of_a_slice']:,}",
            *(row[key] for key in ("wrong_patient", "largest_difference", "smallest_difference_of_other_files")),
        ]
        for row in results["sets"]
    ]
    heads = ("Kaggle's files", "traced", "wrong patient", "bits that differ, at most", "in files of no slice, at least")
    others = [
        [row["class"] or "all", f"{row['scans']:,}", row["by_fingerprint"], row["by_alignment"], row["by_both"]]
        for row in results["other_set"]
    ]
    return table(heads, sets) + "\n\n" + table(("PMRAM", "scans", "fingerprint", "alignment", "both"), others)


if __name__ == "__main__":
    main()
