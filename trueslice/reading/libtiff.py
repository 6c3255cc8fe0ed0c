"""Damage that libtiff finds while Pillow reads. By itself libtiff writes lines to standard error that name no file."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import PIL

from trueslice.reading.limits import PictureError

_heard = threading.local()


@ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
def _note(*_) -> None:
    _heard.damage = True


# Where Pillow's wheels for Linux and for macOS have it.
_HOME = Path(PIL.__file__).parent
for _library in (*_HOME.parent.glob("pillow.libs/libtiff*"), *_HOME.glob(".dylibs/libtiff*")):
    ctypes.CDLL(str(_library)).TIFFSetErrorHandler(_note)


@contextmanager
def damage_raised() -> Iterator[None]:
    """Raise PictureError if libtiff finds damage; Pillow may go on, with a wrong picture."""
    _heard.damage = False
    try:
        yield
    finally:
        if _heard.damage:
            raise PictureError("its pixels are damaged")
