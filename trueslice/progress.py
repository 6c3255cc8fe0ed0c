"""Progress of long work: a bar in a terminal, and a line a minute elsewhere, as in a log."""

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

INTERVAL = 60.0  # seconds between two lines
LINE = "{desc}: {n_fmt} of {total_fmt}, {elapsed} gone, {remaining} left{postfix}"


class Progress(tqdm):
    """A tqdm for terminals and logs; in a log, work that ends within a minute shows nothing."""

    disable: bool

    def __init__(self, *args: Any, **options: Any) -> None:
        self.is_logged = not sys.stderr.isatty()
        if self.is_logged:
            options |= {"mininterval": INTERVAL, "delay": INTERVAL, "miniters": 1, "bar_format": LINE}
        super().__init__(*args, **options)

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """Return the function that shows the state."""
        return tqdm.status_printer(file) if file.isatty() else lambda line: print(line, file=file, flush=True)

    def close(self) -> None:
        """End the bar; in a log without the empty line that tqdm would add."""
        if self.is_logged and not self.disable:
            self.disable = True
            self._decr_instances(self)
        super().close()
