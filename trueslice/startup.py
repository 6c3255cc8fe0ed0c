"""A quick way to load models of transformers, for processes that do nothing else with it: stages and commands.

Importing the models also brings the compiler of PyTorch, torch.distributed.tensor, SciPy's optimisers and torchvision.
That takes longer than PyTorch itself, and nothing here uses them, but for the compiler where a model is compiled.
"""

import sys
import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

COMPILER = "torch._dynamo"
INDEXING = f"{COMPILER}._trace_wrapped_higher_order_op"
MODULES = ("masking_utils", "modeling_layers", "processing_utils", "models.auto.modeling_auto")
OPTIONAL = ("is_scipy_available", "is_torchvision_available", "is_torch_flex_attn_available")

enabled = False  # set by `quick_start`


def quick_start() -> None:
    """Have this process load models quickly; the processors of transformers then have no torchvision in it."""
    global enabled
    enabled = True


@contextmanager
def quick_transformers() -> Iterator[None]:
    """Import and load models in the block without the packages named above; does nothing without `quick_start`."""
    if not enabled or COMPILER in sys.modules:
        yield
        return
    from unittest.mock import patch

    import torch
    from transformers import utils
    from transformers.utils import import_utils

    with ExitStack() as until_end:
        for module in (utils, import_utils):
            for name in filter(lambda name: hasattr(module, name), OPTIONAL):
                until_end.enter_context(patch.object(module, name, lambda: False))
        until_end.enter_context(patch.object(torch.distributed, "is_available", lambda: False))
        until_end.enter_context(patch.object(torch.compiler, "disable", _unchanged))
        indexing = types.ModuleType(INDEXING)
        vars(indexing)["TransformGetItemToIndex"] = _Indexing
        sys.modules |= {COMPILER: _Compiler(), INDEXING: indexing}
        try:
            for name in MODULES:
                import_module(f"transformers.{name}")
            yield
        finally:
            del sys.modules[COMPILER], sys.modules[INDEXING]


def _unchanged(function: Any = None, *_: Any, **__: Any) -> Any:
    """Return a function as it is, in place of a decorator of the compiler."""
    return function if callable(function) else _unchanged


class _Compiler(types.ModuleType):
    """A stand-in for the compiler, whose decorators leave functions as they are."""

    def __init__(self) -> None:
        super().__init__(COMPILER)
        self.__path__ = []  # a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _unchanged


class _Indexing:
    """A stand-in for a class of the compiler, which is only needed once a mask is compiled."""

    def __new__(cls) -> Any:
        from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

        return TransformGetItemToIndex()
