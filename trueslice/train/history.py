"""What happened in a training."""

from dataclasses import dataclass, field

import numpy as np

from trueslice.tables.steps import Steps


@dataclass
class History:
    """Steps, epochs, and what was chosen on validation.

    Attributes:
        steps: one record for each: step, from 1; loss; learning_rate.
        epochs: one record for each: epoch, from 1; loss and accuracy on training and validation; learning_rate.
        best_epoch: the epoch whose weights were kept; 0 before the first one has ended.
        temperature: what logits are divided by.
        wise_ft_alpha: the share of the tuned weights in those that were kept; None where it was not asked for.
    """

    steps: list[dict] = field(default_factory=list)
    epochs: list[dict] = field(default_factory=list)
    best_epoch: int = 0
    temperature: float = 1.0
    wise_ft_alpha: float | None = None

    def add_epoch(self, epoch: dict) -> bool:
        """Add the record of an epoch; whether it is the best so far.

        The best has the highest validation accuracy, among equals the lowest validation loss, then the first.
        """
        self.epochs.append(epoch)
        best = max(self.epochs, key=lambda each: (each["val_accuracy"], -each["val_loss"]))
        self.best_epoch = best["epoch"]
        return best is epoch

    def stalled(self, patience: int | None) -> bool:
        """Whether `patience` epochs have passed since the best; never where it is None."""
        return patience is not None and len(self.epochs) - self.best_epoch >= patience

    def summary(self) -> dict:
        """What metrics/train.json holds: the figures of the best epoch, then those of every epoch."""
        best = self.epochs[self.best_epoch - 1]
        return {
            "best_epoch": self.best_epoch,
            **{name: value for name, value in best.items() if name not in ("epoch", "learning_rate")},
            "temperature": self.temperature,
            "wise_ft_alpha": self.wise_ft_alpha,
            "steps": len(self.steps),
            "epochs": self.epochs,
        }

    def step_table(self) -> Steps:
        """What plots/steps.csv holds."""
        columns = {name: np.array([step[name] for step in self.steps]) for name in ("step", "loss", "learning_rate")}
        window = np.ones(len(self.steps) // 40 * 2 + 1)
        # Near both ends fewer steps lie within the window.
        counts = np.convolve(np.ones(len(self.steps)), window, "same")
        return Steps(**columns, mean_loss=np.convolve(columns["loss"], window, "same") / counts)
