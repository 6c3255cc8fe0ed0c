"""Decode and check every scan once, and find copies."""

import time
from pathlib import Path

import numpy as np

import stages
from trueslice.copies import groups, judged
from trueslice.copies import search as copies
from trueslice.copies.thumbnails import thumbnails
from trueslice.device import pick_device
from trueslice.errors import ParamsError
from trueslice.files import printable, whole_folder
from trueslice.params import Params
from trueslice.patients import lookup as patients
from trueslice.reading import scans as reading
from trueslice.reading.classes import check_classes
from trueslice.records.data import UnreadableFile
from trueslice.tables.scans import Pairs, Scans


def main(params: Params) -> None:
    start = time.perf_counter()
    pick_device(params.verify.device, "verify.device")
    found = reading.find(stages.RAW)
    check_classes([(file.official_split, file.class_name) for file in found], params.class_names)
    decided = judged.read(Path(params.verify.decisions), [file.path for file in found], params.class_names)
    with whole_folder(stages.SCANS) as folder:
        decoded, unreadable = reading.read(
            stages.RAW, found, folder, params.verify, params.machine.workers, decided.left_out
        )
        decoded = [scan._replace(class_name=decided.classes.get(scan.path, scan.class_name)) for scan in decoded]
        check_classes([(scan.official_split, scan.class_name) for scan in decoded], params.class_names)
        absent = [*(file.path for file in unreadable), *decided.left_out]
        scans, pairs = _find_copies(folder, decoded, absent, decided, params)
    counts = groups.summarise(
        scans,
        pairs,
        files=len(found),
        decoded=len(decoded),
        unreadable_files=len(unreadable),
        colour_files=sum(scan.has_colour for scan in decoded),
        unreadable=[UnreadableFile(**file._asdict()) for file in unreadable],
    )
    counts.write(stages.METRICS / "data.json")
    print(
        f"verify: {counts.decoded} scans, {counts.unreadable_files} files unreadable, "
        f"{counts.copy_kinds[0].pairs} exact copies, {counts.distinct_scans} distinct scans, "
        f"{counts.leaked_test_scans} test scans leaked, {counts.patients} known patients, "
        f"{time.perf_counter() - start:.1f} s"
    )


def _find_copies(
    folder: Path, decoded: list[reading.Scan], absent: list[str], decided: judged.Judged, params: Params
) -> tuple[Scans, Pairs]:
    """Write the thumbnails and the tables next to pixels.npy, and return the scans and their copies."""
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    means = thumbnails(pixels)
    np.save(folder / "thumbnails.npy", means)
    names = [name for name in reading.Scan._fields if name != "has_colour"]
    columns = {name: np.array([getattr(scan, name) for scan in decoded]) for name in names}
    paths = columns["path"].tolist()
    known = _patients(paths, means, absent, params)
    device = pick_device(params.verify.device, "verify.device")
    found = copies.find(copies.ScanImages(pixels, means, columns["pixel_hash"]), params.verify, device)
    pairs, contradicted = judged.obey(found.pairs, means, paths, decided)
    _print(decided, contradicted, params.verify.decisions)
    scans = Scans(**columns, **known, group=groups.group(len(decoded), pairs), best_match=found.best_matches)
    scans.write(folder / "scans.csv")
    pairs.write(folder / "pairs.csv")
    copies.weakest_pairs(means, scans.group).write(folder / "groups.csv")
    groups.conflicts(scans).write(folder / "conflicts.csv")
    return scans, pairs


def _print(decided: judged.Judged, contradicted: list[judged.Names], file: str) -> None:
    if any(decided):
        print(f"{printable(file)}: {decided}")
    if decided.strangers:
        named = ", ".join(map(printable, decided.strangers[:3])) + (", …" if len(decided.strangers) > 3 else "")
        print(f"{printable(file)} decides about {len(decided.strangers)} scans that are not there: {named}")
    for first, second in contradicted:
        print(printable(f"{file}: {first} and {second} are judged the same, but others keep them apart"))


def _patients(paths: list[str], means: np.ndarray, absent: list[str], params: Params) -> dict[str, np.ndarray]:
    """Look the patients of scans with thumbnails `means` up as `verify.patients` says."""
    wanted = params.verify.patients
    if wanted is None:
        return patients.unknown(len(paths))
    brought = stages.RAW / "patients.csv"  # by the source, as the phantoms do
    table = brought if wanted == "auto" else stages.repository_root() / Path(wanted).expanduser()
    if table.is_file():
        return patients.read_own(table, paths, absent, params.class_names)
    if wanted != "auto":
        raise ParamsError(f"verify.patients is {wanted!r}, but there is no such file; give auto, null or a CSV file")
    return patients.read_shipped(means, params.class_names)


if __name__ == "__main__":
    stages.run(main)
