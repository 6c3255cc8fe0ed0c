"""The folder of a released model, whose files belong together by their hashes.

Hashes find damage, and files of other models. They do not find malice: who can change a file can change its hash.
"""

import hashlib
import os
from pathlib import Path

from trueslice.errors import UserError
from trueslice.files import file_hash, is_lfs_pointer, is_litter
from trueslice.records.released import ReleasedModel

SETTINGS = "trueslice.json"
FREE = ("README.md", "LICENSE")  # may be changed or added: no answer depends on them
NO_MODEL = "so it is not a released model; run `dvc repro`, or give the folder of a released model"


def write_settings(settings: ReleasedModel, folder: Path) -> None:
    """Complete the folder of a released model by its settings, with the hashes of all its files."""
    settings.model_copy(update={"files": _hashes(settings, folder)}).write(folder / SETTINGS)


def read_settings(folder: Path) -> ReleasedModel:
    """Read the settings of a released model.

    Raises:
        UserError: they are damaged, or a file is missing, was changed, or was added.
    """
    if not os.path.isfile(folder / SETTINGS):  # unlike Path's, it raises nothing
        problem = f"has no {SETTINGS}" if os.path.exists(folder) else "does not exist"
        raise UserError(f"{folder} {problem}, {NO_MODEL}")
    try:
        settings = ReleasedModel.read(folder / SETTINGS)
        found = _hashes(settings, folder)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}; {ReleasedModel.advice}") from None
    for name in sorted(found.keys() | settings.files.keys()):
        if found.get(name) != settings.files.get(name):
            problem = _problem(folder / name, name in found, name in settings.files)
            raise UserError(f"{folder / name} {problem}; {ReleasedModel.advice}")
    return settings


def _hashes(settings: ReleasedModel, folder: Path) -> dict[str, str]:
    own = hashlib.sha256(settings.model_copy(update={"files": {}}).text().encode()).hexdigest()
    names = {path.name for path in folder.iterdir() if path.is_file() and not is_litter(path.name)}
    return {name: file_hash(folder / name) for name in sorted(names - {*FREE, SETTINGS})} | {SETTINGS: own}


def _problem(path: Path, is_there: bool, is_listed: bool) -> str:
    if not is_there:
        return "is missing"
    if not is_listed:
        return "does not belong to this model"
    return "is a Git LFS pointer: run `git lfs pull`" if is_lfs_pointer(path) else "is not as it was released"
