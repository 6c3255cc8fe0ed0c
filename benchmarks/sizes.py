"""Speed of training `lite` by the size of the pictures, on this machine's processor.

python -m benchmarks.sizes

The first training steps on noise, with as many threads as the stage `train` takes; the fastest of them counts, since
other work on the machine makes a step slower and never faster. Minutes are those of five epochs of SCANS scans, without
validation. Writes benchmarks/results/sizes.json and prints the table of README.md.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from research.markdown import table
from research.ways import MODEL
from trueslice.checkpoints import drawn
from trueslice.checkpoints.image_size import set_image_size
from trueslice.files import write_json
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import Pixels
from trueslice.params import load
from trueslice.train.captions import Captions
from trueslice.train.inputs import TrainingData
from trueslice.train.loop import Trainer

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks/results/sizes.json"
SIDES = (96, 128, 160, 192, 224)
WAYS: dict[str, dict] = {"full": {}, "blocks: 4": {"tune": "blocks", "blocks": 4, "views": 1}}
STEPS = 5
SCANS, EPOCHS = 4758, 5  # of Kaggle's data under `patients`, one of five folds held out


class Timed(Trainer):
    """A training that notes how long each step takes."""

    def step(self, *arguments) -> torch.Tensor:
        """Update the weights once, and note the seconds."""
        start = time.perf_counter()
        loss = super().step(*arguments)
        self.seconds.append(time.perf_counter() - start)
        return loss


def main() -> None:
    rows = [{"side": side, "way": way, "images_per_second": speed(side, way)} for side in SIDES for way in WAYS]
    result = {"threads": torch.get_num_threads(), "rows": rows}
    write_json(RESULT, result)
    print(tables(result))


def speed(side: int, way: str) -> float:
    """Images per second of the fastest step."""
    settings = {key.removeprefix("train."): value for key, value in MODEL.items() if key.startswith("train.")}
    params = load(ROOT / "params.yaml")
    config = params.train.model_copy(update=settings | WAYS[way] | {"epochs": 1})
    places = torch.arange(STEPS * config.batch_size)
    noise = np.random.default_rng(0).integers(256, size=(len(places), side, side), dtype=np.uint8)
    with TemporaryDirectory() as folder:
        drawn.build_lite(Path(folder) / "lite", seed=0)
        set_image_size(Path(folder) / "lite", side)
        encoder = Encoder.load(Path(folder) / "lite", torch.device("cpu"))
        pixels = Pixels(noise, places.numpy(), side, encoder.device)
        captions = Captions(list(params.classes.values()))
        data = TrainingData(pixels, places % len(params.classes), places, places[:1], captions)
        trainer = Timed(encoder, data, config, seed=0, cache=Path(folder) / "features")
        trainer.seconds = []
        trainer.fit()
    return config.batch_size / min(trainer.seconds)


def tables(result: Mapping) -> str:
    """Return the table of README.md."""
    speeds = {(row["side"], row["way"]): row["images_per_second"] for row in result["rows"]}
    minutes = SCANS * EPOCHS / 60
    rows = [
        [f"{side} px", *(f"{value:.0f}" for way in WAYS for value in (speeds[side, way], minutes / speeds[side, way]))]
        for side in SIDES
    ]
    heads = [head for way in WAYS for head in (f"`{way}`, images/s", f"minutes of {EPOCHS} epochs")]
    return table(["`lite` at", *heads], rows)


if __name__ == "__main__":
    main()
