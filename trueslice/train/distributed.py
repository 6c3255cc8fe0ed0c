"""Training of one model by several processes.

Every process runs the same loop on its shard of each batch. Image embeddings are gathered, so that each process
computes the loss of the whole batch. DistributedDataParallel then averages the gradients. All processes draw batches,
captions and augmentation with the same seeds, so they exchange nothing else.
"""

import contextlib
import os
import resource
import sys
from datetime import timedelta

import torch
from torch import distributed, nn

PATIENCE = timedelta(minutes=10)  # after which the others give up if a process sends nothing


class Processes:
    """The `count` processes that a launcher such as torchrun has started, or this one alone; `rank` 0 writes."""

    def __init__(self, device: torch.device):
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        self.device = device
        self._accelerator = None
        if self.count > 1:
            from accelerate import Accelerator
            from accelerate.utils import InitProcessGroupKwargs

            timeout = InitProcessGroupKwargs(timeout=PATIENCE)
            self._accelerator = Accelerator(cpu=device.type == "cpu", kwargs_handlers=[timeout])
            self.device = self._accelerator.device

    def prepare(self, model: nn.Module) -> nn.Module:
        """Wrap `model` so that its gradients are averaged over the processes."""
        return self._accelerator.prepare_model(model) if self._accelerator else model

    def accumulate(self, model: nn.Module, last: bool) -> contextlib.AbstractContextManager:
        """Return the context of one backward pass; gradients are averaged only in the `last` one of a step."""
        return contextlib.nullcontext() if last or self.count == 1 else model.no_sync()

    def shard(self, values: torch.Tensor) -> torch.Tensor:
        """Return this process's part of `values`, [N, ...]; the last value is repeated to make them equally long."""
        each = -(-len(values) // self.count)
        missing = each * self.count - len(values)
        padded = torch.cat([values, values[-1:].expand(missing, *values.shape[1:])]) if missing else values
        return padded[self.rank * each : (self.rank + 1) * each]

    def gather(self, part: torch.Tensor, total: int) -> torch.Tensor:
        """Return all N = `total` rows from the parts of all processes; only this process's rows carry gradients."""
        if self.count == 1:
            return part
        if part.requires_grad:
            # Only this process computes these rows' gradients, but the average over the processes divides by `count`.
            part.register_hook(lambda gradient: gradient * self.count)
        parts = [torch.empty_like(part) for _ in range(self.count)]
        distributed.all_gather(parts, part.detach().contiguous())
        parts[self.rank] = part
        return torch.cat(parts)[:total]

    def broadcast(self, value):
        """Return the `value` of process 0: any object that can be pickled."""
        if self.count == 1:
            return value
        box = [value if self.rank == 0 else None]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def end(self) -> None:
        """Leave the group of processes."""
        if self._accelerator:
            self._accelerator.end_training()


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory in MB (10^6 bytes): of the GPU on `cuda`, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3
