"""Find the patients of scans among the slices of a source that names them.

The source is Jun Cheng's brain tumour data (figshare, article 1512427, CC BY 4.0): 3,064 slices of 233 patients. Many
data sets on Kaggle and elsewhere are made of them, without the patients. Give the written table to the pipeline as
verify.patients.
"""

import argparse
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from trueslice.errors import UserError
from trueslice.files import output_folder, printable, whole_file
from trueslice.tables.rows import lacks, opened, shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scans", metavar="SCANS", type=Path, help="folder or .zip of scans, in class folders")
    parser.add_argument("source", metavar="SOURCE", type=Path, help="folder of the article's .mat files, or its zips")
    parser.add_argument("-o", "--output", metavar="CSV", type=Path, required=True, help="where the table is written")
    parser.add_argument("--masks", metavar="FOLDER", type=Path, help="folder for the source's masks of the tumours")
    parser.add_argument("--planes", metavar="CSV", type=Path, help="path of a scan and its plane, such as axial")
    parser.add_argument("--download", action="store_true", help="first bring the article's zips (880 MB) into SOURCE")


def run(options: argparse.Namespace) -> None:
    from trueslice.patients import trace

    planes = _read_planes(options.planes) if options.planes else {}
    # Opened first, so that minutes of work don't end at a folder that can't be written to.
    folder = output_folder(options.masks) if options.masks else nullcontext()
    with whole_file(options.output) as new, folder as masks:
        if options.download:
            from trueslice.sources import figshare

            figshare.download(options.source)
        result = trace.trace(options.scans, options.source, planes)
        if planes and not (result.traced.plane != "").any():
            raise UserError(f"{options.planes} names no scan that was traced")
        if masks:
            trace.write_masks(result.traced, result.sizes, options.source, masks)
        new.write_text(result.traced.text(), encoding="utf-8", newline="")
    _print(result, options.output)
    if options.masks:
        print(printable(f"Masks written to {options.masks}; set explain.masks to it"))


def _read_planes(path: Path) -> dict[str, str]:
    planes: dict[str, str] = {}
    with opened(path) as rows:
        _, header = next(rows)
        if header[1:] != ["plane"]:
            raise lacks(header, "path and plane")
        for line, (scan, plane) in rows:
            if planes.setdefault(scan, plane) != plane:
                raise ValueError(f"line {line} gives {shown(scan)} another plane than a line before")
    return planes


def _print(result, output: Path) -> None:
    traced = result.traced
    unreadable = f" ({result.unreadable} files more are unreadable)" if result.unreadable else ""
    print(f"{len(traced)} of {result.scans} scans{unreadable} are slices of the source, which has {result.slices}")
    if len(traced):
        kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(traced.orientation.tolist()).most_common())
        slices, patients = len(np.unique(traced.slice)), len(np.unique(traced.patient))
        print(f"They show {slices} slices of {patients} patients; orientations: {kinds}")
        print(f"Lowest correlation that was accepted: {traced.correlation.min():.4f}")
    if result.best_rejected is not None:
        print(f"Highest correlation that was rejected: {result.best_rejected:.4f}")
    wrong = np.flatnonzero(traced.source_class != result.class_names)
    print(f"{len(wrong)} are in a folder of another class than in the source{':' if len(wrong) else ''}")
    for row in wrong:
        print(printable(f"  {traced.path[row]}: {traced.source_class[row]} (slice {traced.slice[row]})"))
    print(printable(f"Written to {output}"))
