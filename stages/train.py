"""Fine-tune the dual encoder on the training scans and keep the weights of its best epoch.

On several devices: machine.launcher: torchrun --standalone --nproc-per-node 2
"""

import hashlib
import time
from importlib.metadata import version

import numpy as np
import torch

import stages
from trueslice.device import device_name, pick_device, repeat_exactly
from trueslice.files import whole_folder
from trueslice.model.cpu import same_bytes_on_cpus
from trueslice.model.encoder import Encoder, check_captions
from trueslice.params import Params
from trueslice.records.timing import Timing, TrainingTime
from trueslice.records.trained import Checkpoint, TrainedModel
from trueslice.tables.splits import Splits
from trueslice.train import launcher
from trueslice.train.distributed import Processes, peak_memory_mb
from trueslice.train.history import History
from trueslice.train.inputs import TrainingData
from trueslice.train.loop import Trainer
from trueslice.train.resume import States


def main(params: Params) -> None:
    if launcher.needed(params.machine.launcher):
        launcher.run(params.machine.launcher, "stages.train", output=stages.METRICS / "timing.json")
        return
    same_bytes_on_cpus(stages.PRETRAINED)
    check_captions(stages.PRETRAINED, params.classes)  # again: they may have changed since the stage checkpoint ran
    processes = Processes(torch.device(pick_device(params.train.device, "train.device")))
    repeat_exactly()
    encoder = Encoder.load(stages.PRETRAINED, processes.device)
    splits = Splits.read(stages.SPLITS)
    pixels = np.load(stages.SCANS / "pixels.npy", mmap_mode="r")
    data = TrainingData.select(splits, pixels, params.classes, encoder)
    cache = stages.repository_root() / ".cache"
    start = time.perf_counter()
    trainer = Trainer(encoder, data, params.train, params.seed, processes, cache / "features")
    states = None
    if processes.rank == 0:
        states = States(cache / "training" / trainer.fingerprint, params.machine.save_interval)
    history = trainer.fit(states, show=_write_curves) if states else trainer.fit()
    if states:
        seconds = time.perf_counter() - start
        _write(trainer, params, splits, seconds)
        best = history.summary()
        print(
            f"train: {len(data.train)} scans, {len(history.epochs)} epochs on {processes.device} in {seconds:.0f} s; "
            f"best epoch {history.best_epoch}: validation accuracy {best.val_accuracy:.4f}, "
            f"loss {best.val_loss:.4f}",
            flush=True,  # if that fails, this training need not be done again
        )
        states.finish()
    processes.end()


def _write_curves(history: History) -> None:
    """Write what DVC draws of a training, also while it goes on."""
    history.summary().write(stages.METRICS / "train.json")
    history.step_table().write(stages.PLOTS / "steps.csv")


def _write(trainer: Trainer, params: Params, splits: Splits, seconds: float) -> None:
    trained_on = splits.take(np.isin(splits.split, ["train", "val"]))
    history = trainer.history
    with whole_folder(stages.FINETUNED) as folder:
        trainer.encoder.save(folder)
        TrainedModel(
            classes=params.classes,
            checkpoint=Checkpoint.read(stages.PRETRAINED / "checkpoint.json"),
            seed=params.seed,
            train=params.train.model_dump(),
            temperature=history.temperature,
            wise_ft_alpha=history.wise_ft_alpha,
            splits_sha256=hashlib.sha256(trained_on.text().encode()).hexdigest(),
            versions={name: version(name) for name in ("torch", "transformers", "numpy")},
        ).write(folder / "trueslice.json")
    _write_curves(history)
    timing = TrainingTime(
        device=device_name(trainer.device),
        seconds=seconds,
        images_per_second=trainer.images_trained / seconds,
        peak_memory_mb=peak_memory_mb(trainer.device),
    )
    Timing(train=[timing]).write(stages.METRICS / "timing.json")


if __name__ == "__main__":
    stages.run(main)
