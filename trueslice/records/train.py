"""Epochs of the training, and choices made on validation: metrics/train.json."""

from trueslice.records.base import Record


class Epoch(Record):
    """Means over the scans of one epoch; the learning rate is that of its last step."""

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float


class Training(Record):
    """The best epoch, whose weights were kept, and all epochs."""

    best_epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    temperature: float  # by which logits are divided
    wise_ft_alpha: float | None  # share of the tuned weights in the kept ones; None without WiSE-FT
    steps: int
    epochs: list[Epoch]
