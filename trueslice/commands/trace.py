"""Find the patients of scans, by their pictures.

Many data sets on Kaggle and elsewhere are made of Jun Cheng's brain tumour data (figshare, article 1512427, CC BY 4.0:
3,064 slices of 233 patients), without the patients. The slices are found whatever the files are called: with another
size, contrast or quality, mirrored, turned, with black sides, or cropped to the head.

  trueslice trace SCANS                  count the slices and their patients
  trueslice trace SCANS -o patients.csv  list them
"""

import argparse
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from trueslice.files import printable, whole_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scans", metavar="SCANS", type=Path, help="folder or .zip of scans")
    parser.add_argument("-o", "--output", metavar="CSV", type=Path, help="write the slices and their patients there")


def run(options: argparse.Namespace) -> None:
    from trueslice.patients.trace import trace

    # Opened first, so that the work doesn't end at a folder that can't be written to.
    with whole_file(options.output) if options.output else nullcontext() as new:
        result = trace(options.scans)
        if new:
            new.write_text(result.traced.text(), encoding="utf-8", newline="")
    _print(result)
    if options.output:
        print(printable(f"Written to {options.output}"))


def _print(result) -> None:
    from trueslice.patients.fingerprints import BITS

    traced = result.traced
    unreadable = f" ({result.unreadable:,} files more are unreadable)" if result.unreadable else ""
    print(f"{len(traced):,} of {result.scans:,} scans{unreadable} are slices of a source that names their patients")
    if len(traced):
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in Counter(traced.orientation.tolist()).most_common())
        slices, patients = len(np.unique(traced.slice)), len(np.unique(traced.patient))
        print(f"They show {slices:,} slices of {patients} patients; orientations: {kinds}")
        print(f"They differ from these slices in up to {traced.difference.max()} of {BITS} bits")
    if result.nearest_other is not None:
        print(f"All others differ from all slices in {result.nearest_other} or more")
    wrong = result.misfiled.tolist()
    print(f"{len(wrong)} are in a folder of another class than in the source{':' if wrong else ''}")
    for row in wrong:
        print(printable(f"  {traced.path[row]}: {traced.source_class[row]} (slice {traced.slice[row]})"))
