"""One of several processes that train together, started by torchrun: python -m torch.distributed.run ... together.py

Reads a list of changes of the settings from the file given first, trains a checkpoint with each, and has process 0
write the histories to the file given second.
"""

import dataclasses
import json
import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from test_loop import CAPTIONS, SETTINGS, TRAIN, VALIDATION, scans  # noqa: E402

from tumorclip.model.encoder import Encoder  # noqa: E402
from tumorclip.model.pixels import Scans  # noqa: E402
from tumorclip.train.distributed import Processes  # noqa: E402
from tumorclip.train.loop import fine_tune  # noqa: E402


def train(checkpoint: str, changes: dict, processes: Processes, features: Path) -> dict:
    encoder = Encoder.load(Path(checkpoint), processes.device)
    pixels, labels = scans()
    settings = dataclasses.replace(SETTINGS, **changes)
    given = Scans(pixels, torch.arange(80).numpy(), encoder.image_size, processes.device)
    history = fine_tune(
        encoder, given, labels, TRAIN, VALIDATION, CAPTIONS, settings, processes, feature_folder=features
    )
    return dataclasses.asdict(history)


if __name__ == "__main__":
    todo, results = map(Path, sys.argv[1:])
    processes, done = Processes(torch.device("cpu")), []
    for checkpoint, changes in json.loads(todo.read_text()):
        done.append(train(checkpoint, changes, processes, results.parent / "features/together"))
    if processes.rank == 0:
        results.write_text(json.dumps(done))
    processes.end()
