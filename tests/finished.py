"""A pipeline of few phantoms and one epoch, run by the stages themselves up to the released model."""

import contextlib
from pathlib import Path

from ruamel.yaml import YAML

import stages
from stages import baselines, checkpoint, evaluate, explain, external, predict, release, split, train, verify
from trueslice import params
from trueslice.sources import phantom
from trueslice.tables.predictions import ModelPredictions

ROOT = Path(__file__).parents[1]


def make(folder: Path) -> None:
    """Write all that the stages up to `release` leave."""
    yaml = YAML()
    content = yaml.load(ROOT / "params.yaml")
    content["data"]["phantom"] |= {"train_per_class": 20, "test_per_class": 10}
    content["train"] |= {"device": "cpu", "epochs": 1}
    content["external"] = []
    content["machine"]["workers"] = 2
    yaml.dump(content, folder / "params.yaml")
    with contextlib.chdir(folder):
        settings = params.load(Path("params.yaml"))
        stages.RAW.mkdir(parents=True)
        phantom.draw(stages.RAW, 0, 20, 10, workers=2)
        for stage in (verify, checkpoint, split, train, predict, baselines, external, explain, evaluate, release):
            stage.main(settings)


def predictions(folder: Path) -> ModelPredictions:
    return ModelPredictions.read(folder / stages.PLOTS / "predictions.csv")


def files(folder: Path) -> list[Path]:
    """The files of the test scans, in the order of predictions.csv."""
    return [folder / stages.RAW / path for path in predictions(folder).path.tolist()]
