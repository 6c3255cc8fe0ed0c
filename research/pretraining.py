"""Worth of an image tower that knows ImageNet: `lite` against `tiny_conv` in equal time, on a published archive.

python -m research.pretraining brain-tumor-mri-dataset.zip

First it measures how many images each trains on in a second of one core. `tiny_conv` gets as many epochs as fit into
the time of those of `lite`. Seeds are those of research.protocols: each varies all that is drawn, and under
`patients` also the fold that is tested. `tiny_conv` has the rate that validates best, `lite` that of one early trial.
Writes research/results/pretraining.json after each pair of runs, and at the end prints the tables of README.md.
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from research.markdown import accuracy, percent, points, span, table
from research.protocols import FOLDS, MODEL, PRETRAINED, SEEDS, beyond, joined
from research.runs import CACHE, JOBS, ROOT, archive_parser, counted, prepare_scans, run, train, validation
from trueslice.device import repeat_exactly
from trueslice.evaluate import metrics
from trueslice.evaluate.compare import difference
from trueslice.evaluate.intervals import LIMITS, ConfusionBootstrap
from trueslice.files import read_json, write_json
from trueslice.tables.predictions import Predictions

WORK = CACHE / "pretraining"
RESULT = ROOT / "research/results/pretraining.json"
EPOCHS = 3  # of `lite`
MODELS = {"lite": MODEL | PRETRAINED | {"train.epochs": EPOCHS}, "tiny_conv": MODEL}
DIVISIONS = {
    "drop_train": lambda seed: {"split.protocol": "official", "split.leaks": "drop_train"},
    "patients": lambda seed: {"split.protocol": "patients", "split.folds": FOLDS, "split.fold": seed + 1},
}
STEPS = 10  # that are timed
SIDE = 224  # pixels of a scan before a model resizes it


def main() -> None:
    parser = archive_parser(__doc__)
    parser.add_argument("--speed", choices=MODELS, help="print the speed of this model and do nothing else")
    options = parser.parse_args()
    if options.speed:
        print(images_per_second(MODELS[options.speed]))
        return
    scans = prepare_scans(options.archive)
    found = speeds(options.archive)
    MODELS["tiny_conv"] = MODELS["tiny_conv"] | {"train.epochs": round(EPOCHS * found["tiny_conv"] / found["lite"])}
    jobs = [(seed, division, name) for seed in SEEDS for division in DIVISIONS for name in MODELS]
    with ThreadPoolExecutor(JOBS) as pool:
        for _ in pool.map(lambda job: complete(scans, *job), jobs):
            if rows := [row(division) for division in DIVISIONS if finished(division)]:
                write_json(RESULT, {"images_per_second": found, "models": MODELS, "divisions": rows})
    print(tables(read_json(RESULT)))


def speeds(archive: Path) -> dict[str, float]:
    """Images that each model trains on in a second of one core, each measured in a process of its own, once."""
    path = WORK / "speeds.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "research.pretraining", archive, "--speed"]
        found = {name: float(subprocess.check_output([*command, name], cwd=ROOT)) for name in MODELS}
        write_json(path, found)
    return read_json(path)


def images_per_second(settings: dict) -> float:
    """Images per second of CPU time with one thread, over some steps of a training on noise."""
    import torch

    from trueslice.checkpoints.drawn import BUILDERS
    from trueslice.model.cpu import same_bytes_on_cpus
    from trueslice.model.encoder import Encoder
    from trueslice.model.pixels import Pixels
    from trueslice.params import load
    from trueslice.train.captions import Captions
    from trueslice.train.inputs import TrainingData
    from trueslice.train.loop import Trainer

    params = load(ROOT / "params.yaml")
    own = {key.removeprefix("train."): value for key, value in settings.items() if key.startswith("train.")}
    config = params.train.model_copy(update=own | {"epochs": 4})
    places = torch.arange(STEPS * config.batch_size)
    noise = np.random.default_rng(0).integers(256, size=(len(places), SIDE, SIDE), dtype=np.uint8)
    with TemporaryDirectory() as folder:
        BUILDERS[settings["checkpoint.name"]](Path(folder), 0)
        same_bytes_on_cpus(Path(folder))
        torch.set_num_threads(1)
        repeat_exactly()
        encoder = Encoder.load(Path(folder), "cpu")
    pixels = Pixels(noise, places.numpy(), encoder.image_size, encoder.device)
    labels = places % len(params.classes)
    data = TrainingData(pixels, labels, places, places[:1], Captions(list(params.classes.values())))
    trainer = Trainer(encoder, data, config, 0)
    with tqdm(disable=True) as progress:
        seconds = []
        for epoch in range(1, config.epochs + 1):
            start = time.process_time()
            trainer.run_epoch(epoch, None, progress)
            seconds.append(time.process_time() - start)
    return len(places) / min(seconds)  # what else the machine does makes it slower, and never faster


def complete(scans: Path, seed: int, division: str, name: str) -> None:
    place = folder(division, name, seed)
    train(place, MODELS[name] | DIVISIONS[division](seed) | {"seed": seed}, scans)
    run("predict", counted(place))


def folder(division: str, name: str, seed: int) -> Path:
    return WORK / division / f"{name}-{seed}"


def finished(division: str) -> list[int]:
    """The seeds with which both models were trained and asked."""
    return [
        seed for seed in SEEDS if all((counted(folder(division, name, seed)) / ".predict").exists() for name in MODELS)
    ]


def row(division: str) -> dict:
    """Score both models under a division, and the difference on the same scans, with intervals over units."""
    seeds = finished(division)
    runs, models = {}, []
    for name in MODELS:
        folders = [counted(folder(division, name, seed)) for seed in seeds]
        single = [Predictions.read(place / "plots/predictions.csv") for place in folders]
        runs[name] = joined(division, single)
        models.append(
            {
                "model": name,
                "validation": float(np.mean([validation(place) for place in folders])),
                **ConfusionBootstrap(runs[name]).estimate(metrics.accuracy).fields("accuracy", LIMITS),
                "of_seeds": [float(np.mean(run.y_pred == run.y_true)) for run in single],
                "macro_f1": ConfusionBootstrap(runs[name]).estimate(metrics.macro_f1).value,
            }
        )
    found = beyond(difference(runs["tiny_conv"], runs["lite"]))
    return {"division": division, "seeds": len(seeds), "test": len(runs["lite"][0]), "models": models, **found}


def tables(result: dict) -> str:
    """Return the tables of README.md: speeds, accuracies, differences."""
    speeds = [
        [f"`{name}`", f"{speed:.0f}", result["models"][name]["train.epochs"]]
        for name, speed in result["images_per_second"].items()
    ]
    rows = [
        [
            f"`{row['division']}`", row["seeds"], f"{row['test']:,}", f"`{model['model']}`",
            percent(model["validation"]), accuracy(model), span(model["of_seeds"]), f"{model['macro_f1']:.3f}",
        ]
        for row in result["divisions"]
        for model in row["models"]
    ]  # fmt: skip
    heads = ("split", "seeds", "test scans", "model", "validation", "accuracy", "of seeds", "macro F1")
    differences = [[f"`{row['division']}`", points(row)] for row in result["divisions"]]
    of_differences = table(["split", "`lite` − `tiny_conv`, points"], differences)
    return "\n\n".join([table(["model", "images/s of one core", "epochs"], speeds), table(heads, rows), of_differences])


if __name__ == "__main__":
    main()
