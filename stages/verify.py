"""Decode and check every scan once and find copies: data/raw -> data/scans, metrics/data.json."""

import os
import time
from pathlib import Path

import numpy as np

import stages
from tumorclip.data import copies, decode, groups
from tumorclip.data.thumbnails import thumbnails
from tumorclip.device import pick_device
from tumorclip.files import whole_folder, write_json
from tumorclip.params import Params
from tumorclip.tables import Scans


def main(params: Params) -> None:
    start = time.perf_counter()
    device = pick_device(params.verify.device, "verify.device")
    found = decode.find(stages.RAW)
    decode.check_classes([(file.official_split, file.class_name) for file in found], params.class_names)
    with whole_folder(stages.SCANS) as folder:
        decoded, unreadable = decode.read(stages.RAW, found, folder, params.verify, params.machine.workers)
        decode.check_classes([(scan.official_split, scan.class_name) for scan in decoded], params.class_names)
        summary = _find_copies(folder, decoded, params, device)
    counts = {
        "files": len(found),
        "decoded": len(decoded),
        "unreadable_files": len(unreadable),
        "colour_files": sum(scan.has_colour for scan in decoded),
    }
    write_json(stages.METRICS / "data.json", counts | summary | {"unreadable": [file._asdict() for file in unreadable]})
    print(
        f"verify: {counts['decoded']} scans, {counts['unreadable_files']} files unreadable, "
        f"{summary['copy_kinds'][0]['pairs']} exact copies, {summary['distinct_scans']} distinct scans, "
        f"{summary['leaked_test_scans']} test scans leaked, {time.perf_counter() - start:.1f} s"
    )


def _find_copies(folder: Path, decoded: list[decode.Scan], params: Params, device: str) -> dict:
    """Write the tables beside pixels.npy, and return the counts."""
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    names = [name for name in decode.Scan._fields if name != "has_colour"]
    columns = {name: np.array([getattr(scan, name) for scan in decoded]) for name in names}
    workers = params.machine.workers or os.cpu_count()
    found = copies.find(pixels, columns["pixel_hash"], params.verify, device, workers)
    unknown = {name: np.full(len(decoded), "") for name in ("patient", "source", "source_class", "plane")}
    scans = Scans(**columns, **unknown, group=groups.group(len(decoded), found.pairs), best_match=found.best_matches)
    scans.write(folder / "scans.csv")
    found.pairs.write(folder / "pairs.csv")
    copies.weakest_pairs(thumbnails(pixels), scans.group).write(folder / "groups.csv")
    groups.conflicts(scans).write(folder / "conflicts.csv")
    return groups.summarise(scans, found.pairs)


if __name__ == "__main__":
    stages.run(main)
