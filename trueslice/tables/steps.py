"""Training step by step: plots/steps.csv."""

from dataclasses import dataclass

import numpy as np

from trueslice.tables.base import NUMBER, WHOLE, Table, column


@dataclass(frozen=True)
class Steps(Table):
    """The training step by step: plots/steps.csv."""

    step: np.ndarray = column(WHOLE)  # from 1
    loss: np.ndarray = column(NUMBER)  # of the batch, in nats
    mean_loss: np.ndarray = column(NUMBER)  # running mean of `loss`
    learning_rate: np.ndarray = column(NUMBER)
