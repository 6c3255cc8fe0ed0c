"""Tables of scans of which only some columns matter."""

import numpy as np

from trueslice.tables.scans import Pairs, Scans
from trueslice.tables.splits import Splits


def scan_table(official_split, class_name, group, **columns) -> Scans:
    """A table with these columns; paths are numbered within their folders."""
    official_split, class_name, group = np.array(official_split), np.array(class_name), np.array(group)
    count = len(group)
    given = {
        "path": np.array([f"{official_split[row]}/{class_name[row]}/{row}.png" for row in range(count)]),
        "width": np.full(count, 224),
        "height": np.full(count, 224),
        "mode": np.full(count, "L"),
        "pixel_hash": np.array([f"{number:032x}" for number in group]),
        "patient": np.full(count, ""),
        "source": np.full(count, ""),
        "source_class": np.full(count, ""),
        "plane": np.full(count, ""),
        "best_match": np.zeros(count),
    }
    return Scans(**given | columns, official_split=official_split, class_name=class_name, group=group)


def split_table(class_name, split, **columns) -> Splits:
    """A table of distinct scans of unknown patients, by default named by their numbers."""
    rows = np.arange(len(split))
    given = {
        "path": np.array([f"{row}.png" for row in rows]),
        "pixel_hash": np.array([f"{row:032x}" for row in rows]),
        **dict.fromkeys(("group", "unit"), rows),
        **dict.fromkeys(("patient", "reason", "leaked"), np.full(len(rows), "")),
    }
    return Splits(**given | columns, class_name=np.array(class_name), split=np.array(split))


def pair_table(*pairs: tuple[int, int, str, float]) -> Pairs:
    columns = zip(*pairs, strict=True) if pairs else ((), (), (), ())
    dtypes = (np.int64, np.int64, None, np.float64)
    return Pairs(*(np.array(column, dtype) for column, dtype in zip(columns, dtypes, strict=True)))


def rows(pairs: Pairs) -> list[tuple[int, int, str, float]]:
    """The pairs one by one."""
    return list(zip(pairs.a.tolist(), pairs.b.tolist(), pairs.kind.tolist(), pairs.correlation.tolist(), strict=True))
