"""Record of a training: its steps and epochs."""

import numpy as np
from pydantic import BaseModel

from trueslice.records.train import Epoch, Training
from trueslice.tables.steps import Steps


class History(BaseModel):
    """Steps, epochs, and the choices made on validation scans."""

    steps: list[dict] = []  # step, from 1; loss; learning_rate
    epochs: list[Epoch] = []
    best_epoch: int = 0  # whose weights were kept; 0 before the end of the first one
    temperature: float = 1.0  # divisor of the logits
    wise_ft_alpha: float | None = None  # share of the fine-tuned weights in those that were kept

    def add_epoch(self, epoch: Epoch) -> bool:
        """Add an epoch, and return True if it is the best so far: by accuracy, then by loss, on validation scans."""
        self.epochs.append(epoch)
        best = max(self.epochs, key=lambda each: (each.val_accuracy, -each.val_loss))
        self.best_epoch = best.epoch
        return best is epoch

    def stalled(self, patience: int | None) -> bool:
        """Return True if `patience` epochs have passed since the best one; None is no limit."""
        return patience is not None and len(self.epochs) - self.best_epoch >= patience

    def summary(self) -> Training:
        """Return the record of metrics/train.json."""
        best = self.epochs[self.best_epoch - 1]
        return Training(
            best_epoch=self.best_epoch,
            **best.model_dump(exclude={"epoch", "learning_rate"}),
            temperature=self.temperature,
            wise_ft_alpha=self.wise_ft_alpha,
            steps=len(self.steps),
            epochs=self.epochs,
        )

    def step_table(self) -> Steps:
        """Return the content of plots/steps.csv."""
        columns = {name: np.array([step[name] for step in self.steps]) for name in ("step", "loss", "learning_rate")}
        window = np.ones(len(self.steps) // 40 * 2 + 1)
        # Near both ends the window holds fewer steps.
        counts = np.convolve(np.ones(len(self.steps)), window, "same")
        return Steps(**columns, mean_loss=np.convolve(columns["loss"], window, "same") / counts)
