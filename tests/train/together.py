"""One of several processes that train together, started by torchrun: python -m torch.distributed.run ... together.py

Reads a list of checkpoints and changes of the configuration from the file given first, trains each, and has process 0
write the histories to the file given second.
"""

import dataclasses
import json
import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from test_loop import tuned  # noqa: E402

from trueslice.model.encoder import Encoder  # noqa: E402
from trueslice.train.distributed import Processes  # noqa: E402


def train(checkpoint: str, changes: dict, processes: Processes, cache: Path) -> dict:
    encoder = Encoder.load(Path(checkpoint), processes.device)
    return dataclasses.asdict(tuned(encoder, processes=processes, cache=cache, **changes))


if __name__ == "__main__":
    todo, results = map(Path, sys.argv[1:])
    processes = Processes(torch.device("cpu"))
    done = []
    for checkpoint, changes in json.loads(todo.read_text()):
        done.append(train(checkpoint, changes, processes, results.parent / "features/together"))
    if processes.rank == 0:
        results.write_text(json.dumps(done))
    processes.end()
