"""Scans from any source. To add a source, add a function and its entry in SOURCES."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from trueslice.errors import UserError
from trueslice.params import Data


class Context(NamedTuple):
    """Folder `root` of relative paths, folder `cache` for downloads, and number of processes, 0 for all cores."""

    root: Path
    cache: Path
    workers: int


def fetch(data: Data, into: Path, context: Context) -> int:
    """Bring the scans of `data.source` into an empty folder, as Training/<class>/ and Testing/<class>/, or <class>/.

    A name not in SOURCES is the path of a folder or .zip. Return the number of files that are in no class folder.

    Raises:
        UserError: the source is missing, or its scans cannot be brought.
    """
    return SOURCES.get(data.source, _take)(data, into, context)


def _draw(data: Data, into: Path, context: Context) -> int:
    from trueslice.sources import phantom

    phantom.draw(into, **data.phantom.model_dump(), workers=context.workers)
    return 0


def _download(data: Data, into: Path, context: Context) -> int:
    from trueslice.sources import folder, kaggle

    return folder.take(kaggle.bring(**data.kaggle.model_dump(), cache=context.cache / "kaggle"), into)


def _take(data: Data, into: Path, context: Context) -> int:
    from trueslice.sources import folder

    source = context.root / Path(data.source).expanduser()
    if not os.path.exists(source):
        advice = f"set data.source to {', '.join(SOURCES)}, or the path of a folder or .zip"
        raise UserError(f"{source} does not exist; {advice}")
    return folder.take(source, into)


SOURCES: dict[str, Callable[[Data, Path, Context], int]] = {"phantom": _draw, "kaggle": _download}
