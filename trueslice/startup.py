"""A quick way to load models of transformers, for processes that do nothing else with it: stages and commands.

Importing the models also brings SciPy's optimisers and torchvision: a second that nothing here needs.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

OPTIONAL = ("is_scipy_available", "is_torchvision_available")

enabled = False  # set by `quick_start`


def quick_start() -> None:
    """Make this process load models quickly; the processors of transformers then have no torchvision in it."""
    global enabled
    enabled = True


@contextmanager
def quick_transformers() -> Iterator[None]:
    """Import and load models in the block without these packages; does nothing without `quick_start`."""
    with ExitStack() as until_end:
        if enabled:
            from unittest.mock import patch

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
