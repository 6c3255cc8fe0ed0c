"""The files of another data set to test on: drawn phantoms, or a folder or .zip on disk."""

import os
from collections.abc import Collection
from pathlib import Path

from trueslice.errors import UserError
from trueslice.params import External, Phantom
from trueslice.sources import folder


def bring(chosen: External, into: Path, root: Path, phantoms: Phantom, workers: int) -> None:
    """Bring the files of a data set into the empty folder `into`; a relative path starts from the folder `root`.

    Phantoms are drawn with the seed of `phantoms`, as many of each class as that has test scans.

    Raises:
        UserError: the source is missing, or is not a folder or .zip of scans.
    """
    if chosen.source == "phantom":
        from trueslice.sources import phantom

        phantom.draw_other_scanner(into, phantoms.seed, phantoms.test_per_class, workers)
    else:
        folder.take(_path(chosen, root), into)


def check(chosen: External, root: Path, class_names: Collection[str]) -> None:
    """Check, without reading a scan, that `bring` will find class folders that fit; params.py checks phantoms."""
    if chosen.source != "phantom":
        folders = folder.class_folders(folder.plan(_path(chosen, root)).values())
        check_folders(chosen, {name for _, name in folders}, class_names)


def check_folders(chosen: External, folders: Collection[str], class_names: Collection[str]) -> None:
    """Raise a UserError if class folders of these names do not fit."""
    try:
        chosen.check_folders(folders, class_names)
    except ValueError as error:
        raise UserError(str(error)) from None


def _path(chosen: External, root: Path) -> Path:
    source = root / Path(chosen.source).expanduser()
    if not os.path.exists(source):
        raise UserError(f"external: {chosen.name}: {source} does not exist; give phantom, or a folder or .zip of scans")
    return source
