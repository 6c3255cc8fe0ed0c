"""Scans on the device: all at once where they fit, else streamed from the memory-mapped array."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import psutil
import torch
from torch.nn import functional

from trueslice.device import to_device
from trueslice.model.encoder import BATCH

AHEAD = 3  # batches that are read while the device works


class Pixels:
    """Scans of a memory-mapped array, uint8 [N, S, S] or [N, S, S, 3], as uint8 tensors on a device.

    Of them only `rows`, int [n], are taken, and known by their place in it; they are resized to `size` pixels per side.
    All are kept on the device if `resident`; None decides by its free memory.
    """

    def __init__(
        self, pixels: np.ndarray, rows: np.ndarray, size: int, device: torch.device, resident: bool | None = None
    ):
        self._pixels = pixels
        self._rows = np.asarray(rows)
        self._size = size
        self.device = device
        channels = pixels.shape[3] if pixels.ndim == 4 else 1
        if resident is None:
            resident = fits(len(rows) * channels * size * size, device)
        self._resident = None
        if resident:
            self._resident = torch.empty((len(rows), channels, size, size), dtype=torch.uint8, device=device)
            for places in torch.arange(len(rows)).split(BATCH):
                self._resident[places[0] : places[-1] + 1] = self._place(self._read(places))

    def __len__(self) -> int:
        return len(self._rows)

    def hash(self) -> str:
        """SHA-256 over the pixels as they are stored."""
        digest = hashlib.sha256(repr((self._pixels.shape[1:], len(self))).encode())
        for places in torch.arange(len(self)).split(BATCH):
            digest.update(self._pixels[self._rows[places.numpy()]])
        return digest.hexdigest()

    def take(self, places: torch.Tensor) -> torch.Tensor:
        """Return the scans at `places`, int64 [B] on the CPU: uint8 [B, 1 or 3, size, size]."""
        if self._resident is not None:
            return self._resident[to_device(places, self.device)]
        return self._place(self._read(places))

    def all(self) -> Iterator[torch.Tensor]:
        """Every scan once, in batches."""
        return self.batches(torch.arange(len(self)).split(BATCH))

    def batches(self, plan: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield `take(places)` for each item of `plan`, read ahead where the scans are streamed."""
        if self._resident is not None:
            yield from map(self.take, plan)
            return
        with ThreadPoolExecutor(1) as reader:
            waiting: deque[Future[torch.Tensor]] = deque()
            for places in plan:
                waiting.append(reader.submit(self._read, places))
                if len(waiting) > AHEAD:
                    yield self._place(waiting.popleft().result())
            while waiting:
                yield self._place(waiting.popleft().result())

    def _read(self, places: torch.Tensor) -> torch.Tensor:
        batch = torch.from_numpy(self._pixels[self._rows[places.numpy()]])
        # From memory that is not pinned, a copy to the GPU would wait until the GPU has done its work.
        return batch.pin_memory() if self.device.type == "cuda" else batch

    def _place(self, batch: torch.Tensor) -> torch.Tensor:
        batch = to_device(batch, self.device)
        batch = batch.permute(0, 3, 1, 2).contiguous() if batch.ndim == 4 else batch[:, None]
        if batch.shape[-1] == self._size:
            return batch
        resized = functional.interpolate(batch.float(), (self._size, self._size), mode="bicubic", antialias=True)
        return resized.round().clamp(0, 255).to(torch.uint8)


def fits(size: int, device: torch.device) -> bool:
    """Return True if `size` bytes take less than half of the free memory of a device."""
    gpu = device.type == "cuda"
    return size < (torch.cuda.mem_get_info(device)[0] if gpu else psutil.virtual_memory().available) / 2
