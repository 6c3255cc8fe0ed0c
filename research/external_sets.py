"""Count the scans of a data set that looks external, but are copies of the development data or of its patients.

python -m research.external_sets RUN pmram.zip

RUN is a folder in which the stages download and verify have run on Kaggle's archive. What is found stays in
.cache/external_sets; delete the folder to start afresh. The counts are written to research/results.
"""

import argparse
from pathlib import Path

import numpy as np

from research.markdown import table
from trueslice import params
from trueslice.audit import external
from trueslice.copies.search import ScanImages
from trueslice.copies.thumbnails import FINE, thumbnails
from trueslice.files import whole_folder, write_json
from trueslice.patients import slices
from trueslice.sources.external import bring
from trueslice.splits.split import split
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.scans import Scans

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".cache/external_sets"
RESULT = ROOT / "research/results/external_sets.json"
# A search without alignment calls scans alike from this correlation on.
ALIKE = 0.97
KINDS = {
    "copies_as_they_are": "copies of Kaggle's as they are",
    "copies_once_aligned": "copies once aligned",
    "copies_within": "copies within the set",
    "new": "new",
}
# Divisions of Kaggle's archive, as research.protocols has them, with seed 0.
DIVISIONS = {
    "`keep`: as published": {"protocol": "official", "leaks": "keep"},
    "`drop_train`: no copies in training": {"protocol": "official", "leaks": "drop_train"},
    "`patients`: a new split, patients together": {"protocol": "patients", "folds": 5, "fold": 1},
}


def main() -> None:
    run, source = arguments(__doc__)
    scans, kinds = audited(run, source)
    patient = np.load(WORK / source.stem / "patients.npy")
    known = Scans.read(run / "data/scans/scans.csv")
    of_known = np.isin(patient, known.patient[known.patient != ""])
    rows = []
    for index, name in [(None, None), *enumerate(scans.class_names)]:
        own = np.ones(len(scans), bool) if name is None else scans.y_true == index
        row = {"class": name, "files": int(own.sum())}
        rows.append(row | {kind: int((own & among).sum()) for kind, among in kinds.items()})
        rows[-1] |= {"new_of_known_patients": int((own & of_known & kinds["new"]).sum())}
    command = f"python -m research.external_sets RUN {source.name}"
    divisions = [in_training(division, known, patient, kinds["new"]) for division in DIVISIONS]
    result = {"command": command, "set": source.stem, "rows": rows, "divisions": divisions}
    write_json(RESULT, result)
    print(tables(result))


def in_training(division: str, known: Scans, patient: np.ndarray, is_new: np.ndarray) -> dict:
    """Count the scans, of a patient each, str [N], whose patient a division has in training or validation."""
    settings = params.load(ROOT / "params.yaml")
    splits = split(known, settings.split.model_copy(update=DIVISIONS[division]), settings.seed).splits
    seen = {*splits.patient[np.isin(splits.split, ["train", "val"])].tolist()} - {""}
    is_seen = np.isin(patient, list(seen))
    counts = {"scans": int(is_seen.sum()), "new": int((is_seen & is_new).sum())}
    return {"division": division, "patients": len(seen)} | counts


def tables(result: dict) -> str:
    """Return the tables of docs/leakage.md."""
    keys = (*KINDS, "new_of_known_patients")
    rows = [[row["class"] or "all", f"{row['files']:,}", *(row[key] for key in keys)] for row in result["rows"]]
    heads = ["class", "scans", *KINDS.values(), "new, of a known patient"]
    divisions = [[row[key] for key in ("division", "patients", "scans", "new")] for row in result["divisions"]]
    more = ["Kaggle's division", "patients in training", "PMRAM's scans of them", "of these, new"]
    return table(heads, rows) + "\n\n" + table(more, divisions)


def arguments(description: str) -> tuple[Path, Path]:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder with data/raw and data/scans of Kaggle's archive")
    parser.add_argument("set", type=Path, help="folder or .zip of the other data set")
    options = parser.parse_args()
    return options.run.resolve(), options.set.resolve()


def audited(run: Path, source: Path) -> tuple[ExternalPredictions, dict[str, np.ndarray]]:
    """The scans of a data set, without predictions, and of which kind each is: bool [N] by kind.

    `copies_as_they_are` are alike without alignment too, `copies_once_aligned` are not: cropped, zoomed or shifted.
    """
    place = WORK / source.stem
    if not place.exists():
        with whole_folder(place) as folder:
            _audit(run, source, folder)
    scans, likeness = ExternalPredictions.read(place / "external.csv"), np.load(place / "likeness.npy")
    is_copy = scans.dropped == "development"
    return scans, {
        "copies_as_they_are": is_copy & (likeness >= ALIKE),
        "copies_once_aligned": is_copy & (likeness < ALIKE),
        "copies_within": scans.dropped == "within",
        "new": scans.dropped == "",
    }


def _audit(run: Path, source: Path, into: Path) -> None:
    settings = params.load(ROOT / "params.yaml")
    class_names = tuple(settings.class_names)
    chosen = params.External(name=source.stem, source=str(source), classes=None)
    (into / "raw").mkdir()
    bring(chosen, into / "raw", ROOT, settings.data.phantom, 0)
    found = external.read(into / "raw", into, chosen, class_names, settings.verify, 0)
    known = Scans.read(run / "data/scans/scans.csv")
    known_pixels, pixels = (np.load(folder / "pixels.npy", mmap_mode="r") for folder in (run / "data/scans", into))
    search = settings.verify, "cpu"
    images = (
        ScanImages(each, thumbnails(each), hashes)
        for each, hashes in [(known_pixels, known.pixel_hash), (pixels, found.pixel_hash)]
    )
    development, new = images
    group, dropped = external.audit(development, known.group, new, found.path, search)
    np.save(into / "likeness.npy", likeness(pixels, known_pixels))
    np.save(into / "patients.npy", slices.patients(new.thumbnails))
    count = len(group)
    ExternalPredictions(
        class_names=class_names,
        name=np.full(count, chosen.name),
        path=found.path,
        pixel_hash=found.pixel_hash,
        group=group,
        dropped=dropped,
        y_true=np.array([class_names.index(name) for name in found.class_name]),
        y_pred=np.zeros(count, int),
        probabilities=np.full((count, len(class_names)), 1 / len(class_names)),
    ).write(into / "external.csv")


def likeness(pixels: np.ndarray, known_pixels: np.ndarray) -> np.ndarray:
    """Correlation of each scan with the known one most like it, as it is or mirrored: float32 [N]."""
    ours, known = unit_rows(thumbnails(pixels)), unit_rows(thumbnails(known_pixels))
    mirrored = ours.reshape(-1, FINE, FINE)[:, :, ::-1].reshape(ours.shape)
    return np.maximum((ours @ known.T).max(axis=1), (mirrored @ known.T).max(axis=1))


def unit_rows(means: np.ndarray) -> np.ndarray:
    flat = means.reshape(len(means), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


if __name__ == "__main__":
    main()
