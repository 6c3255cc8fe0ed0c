"""Fine-tune the dual encoder on the training scans and keep the weights of its best epoch.

data/scans, data/splits.csv, models/pretrained -> models/finetuned, metrics/train.json, metrics/timing.json,
plots/steps.csv

On several devices: machine.launcher: torchrun --standalone --nproc-per-node 2
"""

import hashlib
import json
import time
from importlib.metadata import version

import numpy as np
import torch

import stages as common
from tumorclip.device import pick_device
from tumorclip.files import read_csv, read_json, whole_folder, write_csv, write_json
from tumorclip.model.encoder import Encoder
from tumorclip.model.pixels import Scans
from tumorclip.params import Params
from tumorclip.train import launcher as launching
from tumorclip.train import resume as resuming
from tumorclip.train.distributed import Processes, peak_memory_mb
from tumorclip.train.loop import History, Settings, fine_tune, uses_bf16

LIBRARIES = ("torch", "transformers", "numpy")


def main(params: Params) -> None:
    if launching.needed(params.machine.launcher):
        launching.run(params.machine.launcher, "stages.train")
        return
    processes = Processes(torch.device(pick_device(params.train.device, "train.device")))
    torch.use_deterministic_algorithms(True, warn_only=True)
    encoder = Encoder.load(common.PRETRAINED, processes.device)
    # Test scans are not even loaded: nothing that is decided here may depend on them.
    rows = [row for row in read_csv(common.SPLITS) if row["split"] in ("train", "val")]
    pixels = np.load(common.SCANS / "pixels.npy", mmap_mode="r")
    scans = Scans(pixels, [int(row["row"]) for row in rows], encoder.image_size, processes.device)
    labels = torch.tensor([params.class_names.index(row["class"]) for row in rows])
    train, validation = (
        torch.tensor([place for place, row in enumerate(rows) if row["split"] == name]) for name in ("train", "val")
    )
    settings = Settings(**params.train.model_dump(exclude={"device"}))

    cache, data = common.repository_root() / ".cache", (scans.hash(), encoder.weights_hash())
    is_bf16 = uses_bf16(settings.precision, encoder.model, processes.device)
    views = (settings.horizontal_flip, settings.rotation, settings.translation, settings.scale, is_bf16)
    whole = resuming.fingerprint(*data, params.train, params.classes, rows, processes.device.type)
    states = None
    if processes.rank == 0:
        states = resuming.States(cache / "training" / whole, params.machine.save_interval)

    start = time.perf_counter()
    history = fine_tune(
        encoder,
        scans,
        labels,
        train,
        validation,
        list(params.classes.values()),
        settings,
        processes,
        states,
        cache / "features" / resuming.fingerprint(*data, views, processes.device.type),
    )
    seconds = time.perf_counter() - start
    if processes.rank == 0:
        _write(params, encoder, history, rows)
        steps = len(history.steps) - states.resumed_after
        images_per_second = steps / len(history.steps) * len(history.epochs) * len(train) / seconds
        memory = peak_memory_mb(processes.device)
        timing = {"seconds": seconds, "images_per_second": images_per_second, "peak_memory_mb": memory}
        write_json(common.METRICS / "timing.json", {"train": timing})
        states.finish()
        best = history.summary()
        print(
            f"train: {len(train)} scans, {len(history.epochs)} epochs on {processes.device} in {seconds:.0f} s "
            f"({images_per_second:.0f} images/s, {memory:.0f} MB); best epoch {history.best_epoch}: "
            f"validation accuracy {best['val_accuracy']:.4f}, loss {best['val_loss']:.4f}"
        )
    processes.end()


def _write(params: Params, encoder: Encoder, history: History, rows: list[dict[str, str]]) -> None:
    with whole_folder(common.FINETUNED) as folder:
        encoder.save(folder)
        write_json(folder / "tumorclip.json", _provenance(params, rows, history))
    write_json(common.METRICS / "train.json", history.summary())
    write_csv(common.PLOTS / "steps.csv", ["step", "loss", "learning_rate"], history.steps)


def _provenance(params: Params, rows: list[dict[str, str]], history: History) -> dict:
    """What a reader of the weights alone must know; without commit or time, which the run-cache would make stale."""
    return {
        "classes": params.classes,
        "checkpoint": read_json(common.PRETRAINED / "checkpoint.json"),
        "train": params.train.model_dump(),
        "temperature": history.temperature,
        "wise_ft_alpha": history.wise_ft_alpha,
        "splits_sha256": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
        "versions": {name: version(name) for name in LIBRARIES},
    }


if __name__ == "__main__":
    common.run(main)
