"""Errors of the fingerprints of the shipped table of patients: files missed, and agreement with a wrong one.

python -m research.fingerprints ARCHIVE.zip

Every file of Kaggle's data is compared with every row of the table, whatever both are called: as it is, and resized to
512 pixels and saved as JPEG of quality 60. A file is wrong for a row if it is another slice, or lies otherwise. In the
pipeline the names must agree too.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from trueslice import params
from trueslice.copies.thumbnails import thumbnails
from trueslice.patients import lookup as patients
from trueslice.patients.trace import Traced
from trueslice.reading import scans as reading
from trueslice.sources import folder

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "research/results/fingerprints.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", metavar="ARCHIVE.zip", type=Path)
    archive = parser.parse_args().archive
    with tempfile.TemporaryDirectory() as place:
        original, changed = Path(place, "original"), Path(place, "changed")
        original.mkdir()
        folder.take(archive, original)
        _recompress(original, changed)
        paths, as_they_are = _read(original)
        _, recompressed = _read(changed)
    results = {
        "command": "python -m research.fingerprints ARCHIVE.zip",
        "files": len(paths),
        "rows": len(Traced.read(patients.SHIPPED)),
        "bits": patients.BITS,
        "tolerance": patients.TOLERANCE,
        "sets": [
            {"set": "as they are"} | _compare(paths, as_they_are, as_they_are),
            {"set": "512 pixels, JPEG quality 60"} | _compare(paths, as_they_are, recompressed),
        ],
    }
    print(json.dumps(results, indent=2))
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _recompress(raw: Path, into: Path) -> None:
    for path in tqdm([path for path in raw.rglob("*") if path.is_file()], desc="recompressing", disable=None):
        target = into / path.relative_to(raw)
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.convert("L").resize((512, 512), Image.Resampling.BICUBIC).save(target, "JPEG", quality=60)


def _read(raw: Path) -> tuple[list[str], np.ndarray]:
    """Paths of the scans, and their fingerprints, as the stage `verify` reads them."""
    verify = params.load(ROOT / "params.yaml").verify
    with tempfile.TemporaryDirectory() as place:
        scans, _ = reading.read(raw, reading.find(raw), Path(place), verify, os.cpu_count())
        means = thumbnails(np.load(Path(place, "pixels.npy"), mmap_mode="r"))
    return [scan.path for scan in scans], patients.fingerprints(means)


def _compare(paths: list[str], original: np.ndarray, seen: np.ndarray) -> dict:
    """Compare files, bool [N, bits], with what they were, with their own rows of the table, and with all others."""
    table = Traced.read(patients.SHIPPED)
    rows = np.array([patients.from_text(text) for text in table.fingerprint])
    lying = zip(table.slice.tolist(), table.orientation.tolist(), strict=True)
    picture = dict(zip(table.path.tolist(), lying, strict=True))
    pictures = np.unique([str(picture.get(path)) for path in [*paths, *table.path]], return_inverse=True)[1]
    own, of_rows = pictures[: len(paths)], pictures[len(paths) :]
    signs = np.where(rows, 1, -1).astype(np.float32)
    nearest_wrong = np.empty(len(paths), int)
    for start in range(0, len(paths), 500):
        block = slice(start, start + 500)
        differences = (patients.BITS - np.where(seen[block], 1, -1).astype(np.float32) @ signs.T) / 2
        differences[own[block][:, None] == of_rows] = patients.BITS
        nearest_wrong[block] = differences.min(axis=1)
    changed = np.count_nonzero(original != seen, axis=1)
    place_of = {path: place for place, path in enumerate(paths)}
    from_row = np.count_nonzero(seen[[place_of[path] for path in table.path]] != rows, axis=1)
    return {
        "files_missed": int((changed > patients.TOLERANCE).sum()),
        "largest_difference": int(changed.max()),
        "rows_missed": int((from_row > patients.TOLERANCE).sum()),
        "largest_difference_from_its_row": int(from_row.max()),
        "wrong": int((nearest_wrong <= patients.TOLERANCE).sum()),
        "smallest_difference_of_a_wrong_one": int(nearest_wrong.min()),
    }


if __name__ == "__main__":
    main()
