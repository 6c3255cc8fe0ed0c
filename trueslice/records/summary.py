"""The scores that a person compares first: metrics/summary.json, the one metric of DVC."""

from typing import Annotated

from pydantic import AfterValidator

from trueslice.records.base import WITH_A_VALUE, Record, key

Rounded = Annotated[float, AfterValidator(lambda value: round(value, 4))]


class Summary(Record):
    """Scores of the fine-tuned model on the test scans, with four decimals and short keys.

    So `dvc metrics diff` and `dvc exp show` fit on a screen.
    """

    accuracy: Rounded
    low: Rounded | None
    high: Rounded | None
    per_patient: Rounded | None = WITH_A_VALUE  # accuracy of ensembles, where patients are known
    macro_f1: Rounded | None
    recall: dict[str, Rounded | None]  # by class
    nll: Rounded
    val_loss: Rounded  # of the best epoch
    best_epoch: int
    baseline: Rounded  # accuracy of the best baseline
    ahead: Rounded | None  # lower limit of the accuracy's difference to it
    copied: int = key("copy")  # test scans of which a copy was trained or validated on
    patient: int  # test scans of which only the patient was
    # Only with a promise: the share of the test scans that is answered, and of these answers the share that is wrong.
    answered: Rounded | None = WITH_A_VALUE
    wrong: Rounded | None = WITH_A_VALUE
