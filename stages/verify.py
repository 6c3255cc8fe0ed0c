"""Decode and check every scan once and find copies: data/raw -> data/scans, metrics/data.json."""

import os
import time

import numpy as np

import stages as common
from tumorclip import files
from tumorclip.data import copies
from tumorclip.data import decode as reading
from tumorclip.data import groups as audit
from tumorclip.device import pick_device
from tumorclip.params import Params

SCAN_COLUMNS = ["path", "class", "official_split", "width", "height", "mode", "pixel_hash", "group", "best_match"]
CONFLICT_COLUMNS = ["group", "path", "class", "official_split"]
GROUP_COLUMNS = ["group", "files", "a", "b", "kind", "lowest_correlation"]


def main(params: Params) -> None:
    start = time.perf_counter()
    device = pick_device(params.verify.device, "verify.device")
    found = reading.find(common.RAW)
    reading.check_classes([(file.official_split, file.class_name) for file in found], params.class_names)
    with files.whole_folder(common.SCANS) as folder:
        scans, unreadable = reading.read(
            common.RAW,
            found,
            folder,
            params.verify.image_size,
            params.verify.colour,
            params.verify.max_unreadable,
            params.verify.max_pixels,
            params.machine.workers,
        )
        reading.check_classes([(scan.official_split, scan.class_name) for scan in scans], params.class_names)
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        pairs, best_matches = copies.find(
            pixels,
            [scan.pixel_hash for scan in scans],
            params.verify.copy_threshold,
            params.verify.local_threshold,
            params.verify.min_overlap,
            device,
            params.machine.workers or os.cpu_count(),
        )
        groups = audit.group(len(scans), pairs)
        classes = np.array([scan.class_name for scan in scans])
        rows = [
            scan._asdict() | {"class": scan.class_name, "group": group, "best_match": f"{best_match:.6f}"}
            for scan, group, best_match in zip(scans, groups.tolist(), best_matches.tolist(), strict=True)
        ]
        conflicts = sorted(np.flatnonzero(audit.conflicting(classes, groups)), key=lambda row: (groups[row], row))
        files.write_csv(folder / "scans.csv", SCAN_COLUMNS, [_only(SCAN_COLUMNS, row) for row in rows])
        files.write_csv(
            folder / "conflicts.csv", CONFLICT_COLUMNS, [_only(CONFLICT_COLUMNS, rows[row]) for row in conflicts]
        )
        files.write_csv(folder / "groups.csv", GROUP_COLUMNS, _groups(copies.thumbnails(pixels), groups))
        files.write_csv(folder / "pairs.csv", list(audit.Pair._fields), [pair._asdict() for pair in pairs])
    summary = audit.summarise(np.array([scan.official_split for scan in scans]), classes, groups, pairs)
    files.write_json(
        common.METRICS / "data.json",
        {
            "files": len(found),
            "decoded": len(scans),
            "unreadable_files": len(unreadable),
            "colour_files": sum(scan.has_colour for scan in scans),
            **summary,
            "unreadable": [file._asdict() for file in unreadable],
        },
    )
    print(
        f"verify: {len(scans)} scans, {len(unreadable)} files unreadable, "
        f"{summary['copy_pairs']['exact']} exact copies, {summary['distinct_scans']['total']} distinct scans, "
        f"{summary['leaked_test_scans']['total']} test scans leaked, "
        f"{time.perf_counter() - start:.1f} s"
    )


def _groups(means: np.ndarray, groups: np.ndarray) -> list[dict]:
    """Every group of copies with the two scans in it that are least alike, the most doubtful group first."""
    files_of = np.bincount(groups)
    return [
        {"group": groups[pair.a], "files": files_of[groups[pair.a]], "a": pair.a, "b": pair.b, "kind": pair.kind}
        | {"lowest_correlation": f"{pair.correlation:.6f}"}
        for pair in copies.weakest_pairs(means, groups)
    ]


def _only(columns: list[str], row: dict) -> dict:
    return {column: row[column] for column in columns}


if __name__ == "__main__":
    common.run(main)
