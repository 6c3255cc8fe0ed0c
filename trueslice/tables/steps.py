"""Training step by step: plots/steps.csv."""

from dataclasses import dataclass

import numpy as np

from trueslice.tables.base import NUMBER, WHOLE, Table, column


@dataclass(frozen=True)
class Steps(Table):
    """The training step by step: plots/steps.csv. `mean_loss` is the running mean of `loss`, in nats."""

    step: np.ndarray = column(WHOLE)
    loss: np.ndarray = column(NUMBER)
    mean_loss: np.ndarray = column(NUMBER)
    learning_rate: np.ndarray = column(NUMBER)
