"""Where scans come from. To add a source, add a function and its entry in SOURCES."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from trueslice.params import Data


class Context(NamedTuple):
    """What a source may need beside its parameters.

    Attributes:
        root: the folder that a relative path starts from.
        cache: a folder that is kept between runs, for downloads.
        workers: number of processes; 0 takes one per CPU core.
    """

    root: Path
    cache: Path
    workers: int


Fetch = Callable[[Data, Path, Context], int]


def source_of(name: str) -> Fetch:
    """The function that brings scans into an empty folder, by the value of `data.source`.

    It takes the parameters, the folder and the context. The folder then holds Training/<class>/ and Testing/<class>/,
    or <class>/ alone. The function returns how many files it passed over because they stand in no class folder.
    A name that is not in SOURCES is the path of a folder or .zip.
    """
    return SOURCES.get(name, _take)


def _draw(data: Data, into: Path, context: Context) -> int:
    from trueslice.sources import phantom

    phantom.draw(into, **data.phantom.model_dump(), workers=context.workers)
    return 0


def _download(data: Data, into: Path, context: Context) -> int:
    from trueslice.sources import folder, kaggle

    return folder.take(kaggle.download(**data.kaggle.model_dump(), cache=context.cache / "kaggle"), into)


def _take(data: Data, into: Path, context: Context) -> int:
    from trueslice.sources import folder

    return folder.take(context.root / Path(data.source).expanduser(), into)


SOURCES: dict[str, Fetch] = {"phantom": _draw, "kaggle": _download}
