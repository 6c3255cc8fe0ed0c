"""The scores that a person compares first: metrics/summary.json, the one metric of DVC."""

from trueslice.records.base import Record, key


class Summary(Record):
    """Scores of the fine-tuned model on the test scans, with four decimals and short keys.

    So `dvc metrics diff` and `dvc exp show` fit on a screen.
    """

    accuracy: float
    low: float | None
    high: float | None
    macro_f1: float | None
    recall: dict[str, float | None]  # by class
    nll: float
    val_loss: float  # of the best epoch
    best_epoch: int
    baseline: float  # accuracy of the best baseline
    ahead: float | None  # lower limit of the accuracy's difference to it
    copied: int = key("copy")  # test scans of which a copy was trained or validated on
    patient: int  # test scans of which only the patient was
