"""Fine-tune the dual encoder on the training scans and keep the weights of its best epoch.

data/scans, data/splits.csv, models/pretrained -> models/finetuned, metrics/train.json, metrics/timing.json,
plots/steps.csv
"""

import hashlib
import json
import resource
import sys
import time
from importlib.metadata import version

import numpy as np
import torch

from stages import common
from tumorclip.clip.encoder import Encoder, pick_device, to_device
from tumorclip.clip.training import Settings, fine_tune
from tumorclip.files import read_csv, read_json, whole_folder, write_csv, write_json
from tumorclip.params import Params

LIBRARIES = ("torch", "transformers", "numpy")


def main(params: Params) -> None:
    device = pick_device(params.train.device)
    torch.use_deterministic_algorithms(True, warn_only=True)
    encoder = Encoder.load(common.PRETRAINED, device)
    # Test scans are not even loaded: nothing that is decided here may depend on them.
    rows = [row for row in read_csv(common.SPLITS) if row["split"] in ("train", "val")]
    scans = np.load(common.SCANS / "pixels.npy", mmap_mode="r")[[int(row["row"]) for row in rows]]
    pixels = to_device(scans, encoder.image_size, device)
    labels = torch.tensor([params.class_names.index(row["class"]) for row in rows], device=device)
    train, validation = (
        torch.tensor([place for place, row in enumerate(rows) if row["split"] == name]) for name in ("train", "val")
    )
    settings = Settings(**params.train.model_dump(exclude={"device"}))

    start = time.perf_counter()
    history = fine_tune(encoder, pixels, labels, train, validation, list(params.classes.values()), settings)
    seconds = time.perf_counter() - start

    with whole_folder(common.FINETUNED) as folder:
        encoder.save(folder)
        write_json(folder / "tumorclip.json", _provenance(params, rows, history.temperature))
    best = history.epochs[history.best_epoch - 1]
    headline = {name: value for name, value in best.items() if name not in ("epoch", "learning_rate")}
    write_json(
        common.METRICS / "train.json",
        {
            "best_epoch": history.best_epoch,
            **headline,
            "temperature": history.temperature,
            "steps": len(history.steps),
            "epochs": history.epochs,
        },
    )
    write_csv(common.PLOTS / "steps.csv", ["step", "loss", "learning_rate"], history.steps)
    images_per_second = settings.epochs * len(train) / seconds
    memory = _peak_memory(device)
    write_json(
        common.METRICS / "timing.json",
        {"train": {"seconds": seconds, "images_per_second": images_per_second, "peak_memory_mb": memory}},
    )
    print(
        f"train: {len(train)} scans, {settings.epochs} epochs on {device} in {seconds:.0f} s "
        f"({images_per_second:.0f} images/s, {memory:.0f} MB); best epoch {history.best_epoch}: "
        f"validation accuracy {best['val_accuracy']:.4f}, loss {best['val_loss']:.4f}"
    )


def _provenance(params: Params, rows: list[dict[str, str]], temperature: float) -> dict:
    """What a reader of the weights alone must know; without commit or time, which the run-cache would make stale."""
    return {
        "classes": params.classes,
        "checkpoint": read_json(common.PRETRAINED / "checkpoint.json"),
        "train": params.train.model_dump(),
        "temperature": temperature,
        "splits_sha256": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def _peak_memory(device: torch.device) -> float:
    """Largest memory in use so far, in MB: the GPU's where there is one, else the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


if __name__ == "__main__":
    common.run(main)
