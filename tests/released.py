"""A released model in a folder of its own, made by the stages themselves of a few phantoms and random weights."""

import contextlib
from pathlib import Path

from ruamel.yaml import YAML

import stages
from stages import predict, release, split, verify
from tumorclip import params
from tumorclip.data.sources import phantom
from tumorclip.files import write_json
from tumorclip.model import builtin
from tumorclip.tables import ModelPredictions

ROOT = Path(__file__).parents[1]


def make(folder: Path) -> Path:
    """Write all that the stages up to `release` leave; the training is left out."""
    yaml = YAML()
    content = yaml.load(ROOT / "params.yaml")
    content["data"]["phantom"] |= {"train_per_class": 20, "test_per_class": 10}
    content["train"]["device"] = "cpu"
    content["machine"]["workers"] = 2
    yaml.dump(content, folder / "params.yaml")
    with contextlib.chdir(folder):
        settings = params.load(Path("params.yaml"))
        stages.RAW.mkdir(parents=True)
        phantom.draw(stages.RAW, 0, 20, 10, workers=2)
        verify.main(settings)
        split.main(settings)
        builtin.build(stages.TRAINED, seed=0)
        write_json(stages.TRAINED / "tumorclip.json", {"classes": settings.classes, "temperature": 1.5})
        predict.main(settings)
        release.main(settings)
    return folder


def predictions(folder: Path) -> ModelPredictions:
    return ModelPredictions.read(folder / stages.PLOTS / "predictions.csv")


def files(folder: Path) -> list[Path]:
    """The files of the test scans, in the order of predictions.csv."""
    return [folder / stages.RAW / path for path in predictions(folder).path.tolist()]
