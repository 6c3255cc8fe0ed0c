"""A quick way to load models of transformers, for processes that do nothing else with it: stages and commands.

The models bring much that only PyTorch's compiler, or several machines, need: Triton and Accelerate; and torchvision
and SciPy's optimisers. They take longer than all the rest.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import ModuleType

OPTIONAL = (
    *("is_accelerate_available", "is_scipy_available", "is_torch_distributed_available"),
    *("is_torch_flex_attn_available", "is_torchvision_available"),
)
COMPILER = ("torch._dynamo", "torch._dynamo._trace_wrapped_higher_order_op")
SHARED = "torch.distributed.tensor"

enabled = False  # set by `quick_start`


def quick_start() -> None:
    """Make this process load models quickly; the processors of transformers then have no torchvision in it."""
    global enabled
    enabled = True
    # Modules make half a million objects that stay. Python would go through all of them again and again for garbage.
    gc.set_threshold(10_000)


def _unchanged(function=None, *_, **__):
    """Decorate by nothing, with or without arguments."""
    return function if callable(function) else _unchanged


class _Decorators(ModuleType):
    """Stand-in for the compiler while modules are imported that mark by its decorators what it leaves alone."""

    TransformGetItemToIndex = nullcontext

    def __init__(self, name: str):
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return _unchanged


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Keep the compiler out, and tell that there are no tensors that several machines share."""
    modules = {name: _Decorators(name) for name in COMPILER} | {SHARED: None}
    new = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(new)  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in new:
            del sys.modules[name]


@contextmanager
def quick_transformers() -> Iterator[None]:
    """Import, load and save models in the block without these packages; does nothing without `quick_start`."""
    with ExitStack() as until_end:
        if enabled:
            from unittest.mock import patch

            until_end.enter_context(_stand_ins())
            from transformers import utils
            from transformers.utils import import_utils

            for module in (utils, import_utils):
                for name in OPTIONAL:
                    until_end.enter_context(patch.object(module, name, lambda: False))
        yield


def silence_transformers() -> None:
    """Keep the lines and progress bars of transformers from stderr; errors are told in our words."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity(logging.CRITICAL)
