"""One of several processes that train together: torchrun -m tests.train.together TODO RESULTS

Reads a list of checkpoints and changes of the configuration from the first file, trains each, and process 0 writes
the histories to the second file.
"""

import json
import sys
from pathlib import Path

import torch

from tests.train.training import tuned
from trueslice.model.encoder import Encoder
from trueslice.train.distributed import Processes


def train(checkpoint: str, changes: dict, processes: Processes, cache: Path) -> dict:
    encoder = Encoder.load(Path(checkpoint), processes.device)
    return tuned(encoder, processes=processes, cache=cache, **changes).model_dump()


if __name__ == "__main__":
    todo, results = map(Path, sys.argv[1:])
    processes = Processes(torch.device("cpu"))
    done = []
    for checkpoint, changes in json.loads(todo.read_text()):
        done.append(train(checkpoint, changes, processes, results.parent / "features/together"))
    if processes.rank == 0:
        results.write_text(json.dumps(done))
    processes.end()
