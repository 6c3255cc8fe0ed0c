"""The search for copies held against the truth: which files of Kaggle's data are the same slice of their source.

python -m research.truth RUN

RUN is a folder in which the stages download and verify have run on Kaggle's archive. The truth is what
research.correlation found. It doesn't depend on the search: it compares each file with the source alone.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from research.correlation import RESULT, Traced
from trueslice.tables.scans import Scans

RESULTS = Path(__file__).parent / "results/truth.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", type=Path)
    results = measure(Scans.read(parser.parse_args().run / "data/scans/scans.csv"))
    print(json.dumps(results, indent=2))
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def measure(scans: Scans) -> dict:
    table = Traced.read(RESULT)
    group_of = dict(zip(scans.path.tolist(), scans.group.tolist(), strict=True))
    groups = np.array([group_of[path] for path in table.path])
    _, slices_in_group = np.unique(np.unique([groups, table.slice], axis=1)[0], return_counts=True)
    _, groups_of_slice = np.unique(np.unique([groups, table.slice], axis=1)[1], return_counts=True)
    untraced = ~np.isin(scans.path, table.path)
    return {
        "command": "python -m research.truth RUN",
        "files": len(table),
        "slices": len(groups_of_slice),
        "groups": len(slices_in_group),
        "groups_of_several_slices": int((slices_in_group > 1).sum()),
        "slices_in_several_groups": int((groups_of_slice > 1).sum()),
        "files_of_no_slice_in_these_groups": int(np.isin(scans.group[untraced], groups).sum()),
    }


if __name__ == "__main__":
    main()
