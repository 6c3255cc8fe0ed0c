"""Divide the scans into train, val and test: data/scans/scans.csv -> data/splits.csv, metrics/split.json."""

import numpy as np

from stages import common
from tumorclip import files
from tumorclip.params import Params
from tumorclip.scans import reading, splitting

COLUMNS = ["row", "path", "class", "group", "pixel_hash", "split", "leaked"]


def main(params: Params) -> None:
    scans = files.read_csv(common.SCANS / "scans.csv")
    reading.check_classes([(scan["official_split"], scan["class"]) for scan in scans], params.class_names)
    classes = np.array([scan["class"] for scan in scans])
    result = splitting.split(
        np.array([scan["official_split"] for scan in scans]),
        classes,
        np.array([int(scan["group"]) for scan in scans]),
        params.split.leaks,
        params.split.validation_share,
        params.split.test_share,
        params.split.seed,
    )
    placed = zip(scans, result.parts.tolist(), result.leaked.astype(int).tolist(), strict=True)
    rows = [scan | {"row": row, "split": part, "leaked": leaked} for row, (scan, part, leaked) in enumerate(placed)]
    files.write_csv(common.SPLITS, COLUMNS, ({column: row[column] for column in COLUMNS} for row in rows))
    counts = splitting.count(result, classes)
    files.write_json(common.METRICS / "split.json", counts)
    print("split: " + ", ".join(f"{counts[part]['total']} {part}" for part in ("train", "val", "test", "dropped")))


if __name__ == "__main__":
    common.run(main)
