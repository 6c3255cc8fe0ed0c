"""The shipped table of slices: whose they are in figshare article 1512427, with a fingerprint of each picture.

python -m research.slices SOURCE [--download]

SOURCE is a folder of the article's .mat files, or of its four zips; `--download` first brings these (880 MB). Planes
come from patients/kaggle_v1.csv. Writes trueslice/patients/slices.csv.
"""

import argparse
from pathlib import Path

import numpy as np

from research import figshare
from research.correlation import RESULT, Traced
from trueslice.patients.fingerprints import fingerprints, to_text
from trueslice.patients.slices import SHIPPED, Slices


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE", type=Path)
    parser.add_argument("--download", action="store_true")
    options = parser.parse_args()
    if options.download:
        figshare.download(options.source)
    traced = Traced.read(RESULT)
    with_plane = traced.take(traced.plane != "")
    # The first file of a slice decides: of two slices, others are said to be of another plane.
    planes = dict(zip(with_plane.slice[::-1].tolist(), with_plane.plane[::-1].tolist(), strict=True))
    table(options.source, planes).write(SHIPPED)


def table(source: Path, planes: dict[int, str]) -> Slices:
    slices, means = figshare.read_source(source)
    return Slices(
        slice=np.array([each.number for each in slices]),
        source_id=np.array([each.source_id for each in slices]),
        patient=np.array([each.patient for each in slices]),
        source_class=np.array([each.class_name for each in slices]),
        plane=np.array([planes.get(each.number, "") for each in slices]),
        fingerprint=np.array([to_text(bits) for bits in fingerprints(means)]),
    )


if __name__ == "__main__":
    main()
