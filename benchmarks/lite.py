"""Speed of training `lite` by the size of the pictures, on this machine's processor.

python -m benchmarks.lite

Some training steps on noise, with as many threads as the stage `train` takes; the fastest of them counts, since other
work on the machine makes a step slower and never faster. Minutes are those of the trainings of research.sizes, computed
from that, without validation. Writes benchmarks/results/lite.json and prints the table of README.md.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from research.markdown import table
from research.sizes import CACHED, EPOCHS
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
RESULT = ROOT / "benchmarks/results/lite.json"
SIDES = (96, 128, 160, 192, 224)
BLOCKS = {"tune": "blocks", "blocks": 4, "views": 1}
STEPS = 5
# Of Kaggle's data under `patients`, one file of each distinct scan, in the first of five folds.
TRAIN, TRAIN_AND_VAL = 2416, 3259


class Timed(Trainer):
    """A training that notes how long each step takes."""

    def step(self, *arguments) -> torch.Tensor:
        """Update the weights once, and note the seconds."""
        start = time.perf_counter()
        loss = super().step(*arguments)
        self.seconds.append(time.perf_counter() - start)
        return loss


def main() -> None:
    rows = []
    for side in SIDES:
        _, full = speed(side, {})
        frozen, blocks = speed(side, BLOCKS)
        rows.append({"side": side, "full": full, "frozen": frozen, "blocks": blocks})
    result = {"threads": torch.get_num_threads(), "images_per_second": rows}
    write_json(RESULT, result)
    print(tables(result))


def speed(side: int, changes: Mapping) -> tuple[float, float]:
    """Images per second of the frozen blocks, all of them before the first step, and of the fastest step."""
    settings = {key.removeprefix("train."): value for key, value in MODEL.items() if key.startswith("train.")}
    params = load(ROOT / "params.yaml")
    config = params.train.model_copy(update=settings | changes | {"epochs": 1})
    places = torch.arange(STEPS * config.batch_size)
    noise = np.random.default_rng(0).integers(256, size=(len(places), side, side), dtype=np.uint8)
    with TemporaryDirectory() as folder:
        drawn.build_lite(Path(folder) / "lite", seed=0)
        set_image_size(Path(folder) / "lite", side)
        encoder = Encoder.load(Path(folder) / "lite", torch.device("cpu"))
        pixels = Pixels(noise, places.numpy(), side, encoder.device)
        captions = Captions(list(params.classes.values()))
        data = TrainingData(pixels, places % len(params.classes), places, places[:1], captions)
        start = time.perf_counter()
        trainer = Timed(encoder, data, config, seed=0, cache=Path(folder) / "features")
        frozen = len(places) / (time.perf_counter() - start)
        trainer.seconds = []
        trainer.fit()
    return frozen, config.batch_size / min(trainer.seconds)


def tables(result: Mapping) -> str:
    """Return the table of README.md."""
    views, epochs = CACHED["train.views"], CACHED["train.epochs"]
    rows = []
    for row in result["images_per_second"]:
        full = EPOCHS * TRAIN / row["full"] / 60
        blocks = (views * TRAIN_AND_VAL / row["frozen"] + epochs * TRAIN / row["blocks"]) / 60
        speeds = [f"{row[name]:.0f}" for name in ("full", "frozen", "blocks")]
        rows.append([f"{row['side']} px", speeds[0], f"{full:.0f}", *speeds[1:], f"{blocks:.0f}"])
    heads = ["`full`, images/s", f"minutes of {EPOCHS} epochs", "frozen blocks of `blocks: 4`, images/s"]
    return table(["`lite` at", *heads, "a step of it, images/s", f"minutes of {views} views, {epochs} epochs"], rows)


if __name__ == "__main__":
    main()
