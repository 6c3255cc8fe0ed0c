"""Divide the scans into train, val and test: data/scans/scans.csv -> data/splits.csv, metrics/split.json."""

import numpy as np

import stages as common
from tumorclip import files
from tumorclip.data import decode as reading
from tumorclip.data import split as splitting
from tumorclip.params import Params

COLUMNS = ["row", "path", "class", "group", "pixel_hash", "split", "leaked"]


def main(params: Params) -> None:
    scans = files.read_csv(common.SCANS / "scans.csv")
    reading.check_classes([(scan["official_split"], scan["class"]) for scan in scans], params.class_names)
    classes = np.array([scan["class"] for scan in scans])
    result = splitting.split(
        [scan["path"] for scan in scans],
        np.array([scan["official_split"] for scan in scans]),
        classes,
        np.array([int(scan["group"]) for scan in scans]),
        **params.split.model_dump(),
    )
    placed = zip(scans, result.parts.tolist(), result.leaked.astype(int).tolist(), strict=True)
    rows = [scan | {"row": row, "split": part, "leaked": leaked} for row, (scan, part, leaked) in enumerate(placed)]
    files.write_csv(common.SPLITS, COLUMNS, ({column: row[column] for column in COLUMNS} for row in rows))
    counts = splitting.count(result, classes)
    conflicting = [
        {"path": scan["path"], "class": scan["class"], "group": int(scan["group"])}
        for scan, conflicts in zip(scans, result.conflicting, strict=True)
        if conflicts
    ]
    files.write_json(common.METRICS / "split.json", counts | {"conflicting": conflicting})
    placed = ", ".join(f"{counts[part]['total']} {part}" for part in ("train", "val", "test", "dropped"))
    caution = " (blocks of file names only approximate patients)" if result.protocol == "blocked" else ""
    print(f"split: {result.protocol}, {placed}{caution}")


if __name__ == "__main__":
    common.run(main)
