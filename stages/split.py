"""Divide the scans into train, val and test."""

import stages
from trueslice.params import Params
from trueslice.reading.classes import check_classes
from trueslice.records.split import SplitCounts
from trueslice.sources import external
from trueslice.splits import split as splitting
from trueslice.tables.scans import Scans


def main(params: Params) -> None:
    scans = Scans.read(stages.SCANS / "scans.csv")
    found = zip(scans.official_split.tolist(), scans.class_name.tolist(), strict=True)
    check_classes(found, params.class_names)
    for chosen in params.external:
        external.check(chosen, stages.repository_root(), params.class_names)  # before hours of training
    result = splitting.split(scans, params.split, params.seed)
    result.splits.write(stages.SPLITS)
    counts = splitting.count(result)
    counts.write(stages.METRICS / "split.json")
    placed = ", ".join(f"{getattr(counts, part)} {part}" for part in ("train", "val", "test", "dropped"))
    print(f"split: {result.protocol}, {placed}{_caution(counts)}")


def _caution(counts: SplitCounts) -> str:
    """Name in brackets what the split does not keep apart, if anything."""
    if counts.leaked_by_patient:
        return f" ({counts.leaked_by_patient} test scans without a copy in train or val show a patient who is there)"
    if counts.protocol == "blocked":
        return " (blocks of file names only approximate patients)"
    if counts.placed_by_names:
        return f" ({counts.placed_by_names} scans without a known patient placed by blocks of file names)"
    return ""


if __name__ == "__main__":
    stages.run(main)
