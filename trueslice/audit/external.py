"""External data sets: their scans, decoded like those of development, and the copies among them.

Collections are put together from each other: a set that looks external may hold the very scans that a model was trained
on. So its scans are compared with all development scans, of training and test alike, and with each other.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trueslice.copies import groups
from trueslice.copies import search as copies
from trueslice.copies.search import ScanImages
from trueslice.errors import UserError
from trueslice.params import External, Verify
from trueslice.reading import scans as reading
from trueslice.reading.names import file_of
from trueslice.reading.scans import ScanFile, Unreadable
from trueslice.sources import external
from trueslice.tables.scans import Pairs


class Decoded(NamedTuple):
    """The scans of a data set, in the order of its pixels.npy."""

    path: np.ndarray  # str [N], in the data set
    class_name: np.ndarray  # str [N], by the names of `classes`
    pixel_hash: np.ndarray  # str [N]
    unreadable: list[Unreadable]  # files and frames
    without_class: dict[str, int]  # folders of none of the classes, and the number of files in each

    @property
    def files(self) -> int:
        """Number of files, of which some may hold several scans."""
        return len({file_of(path) for path in [*self.path.tolist(), *(each.path for each in self.unreadable)]})


def read(raw: Path, into: Path, chosen: External, class_names: Sequence[str], params: Verify, workers: int) -> Decoded:
    """Decode the scans of a data set from `raw` to `into`/pixels.npy, as the verify stage decodes its own.

    Raises:
        UserError: no folder has the name of a class, one of `chosen.classes` is missing, or too many files are damaged.
    """
    files, without_class = _classify(reading.find(raw), chosen, class_names)
    scans, unreadable = reading.read(raw, files, into, params, workers)
    if not scans:
        raise UserError(f"external: {chosen.name}: none of its {len(files)} scans can be read; look at the files")
    path, class_name, pixel_hash = (
        np.array([getattr(scan, name) for scan in scans]) for name in ("path", "class_name", "pixel_hash")
    )
    return Decoded(path, class_name, pixel_hash, unreadable, without_class)


def audit(
    known: ScanImages, known_group: np.ndarray, new: ScanImages, new_path: np.ndarray, search: tuple[Verify, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Find the copies among the N scans of a data set, `new`, with paths str [N], and of them in the development scans.

    `known_group`, int [D], are the groups of copies of `known`; `search` is parameters and device for `copies.find`.
    Return the columns `group`, int [N], and `dropped`, str [N], of `tables.external.ExternalPredictions`.
    """
    images = ScanImages(
        copies.Joined(known.pixels, new.pixels), *map(np.concatenate, zip(known[1:], new[1:], strict=True))
    )
    pairs = copies.find(images, *search, known=len(known_group)).pairs
    # A development scan represents all its copies, which the verify stage found.
    first = np.concatenate([known_group, np.arange(len(known_group), len(images.pixels))])
    pairs = Pairs(first[pairs.a], first[pairs.b], pairs.kind, pairs.correlation)
    # The number of a group is its first row: that of a development scan if there is one.
    joined = groups.group(len(first), pairs)[len(known_group) :]
    _, firsts, members = np.unique(joined, return_index=True, return_inverse=True)
    group = firsts[members]
    is_later = group != np.arange(len(group))
    dropped = np.select([joined < len(known_group), is_later], ["development", "within"], "")
    return groups.files_and_copies(group, new_path), dropped


def _classify(
    files: Sequence[ScanFile], chosen: External, class_names: Sequence[str]
) -> tuple[list[ScanFile], dict[str, int]]:
    """Return the files of known classes, under the names of these, and the number of files in each other folder."""
    external.check_folders(chosen, {file.class_name for file in files}, class_names)
    renamed = chosen.classes or {}
    own = [file._replace(class_name=renamed.get(file.class_name, file.class_name)) for file in files]
    kept = [file for file in own if file.class_name in class_names]
    return kept, dict(sorted(Counter(file.class_name for file in own if file.class_name not in class_names).items()))
