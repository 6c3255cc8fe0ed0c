"""Answers that are withheld: metrics/withheld.json.

A threshold on the confidence, below which a scan is referred to a person. It is chosen on validation so that at most
`evaluate.max_error` of the answers on new patients are wrong, with a confidence of 90 %: Learn then Test with a fixed
sequence (Angelopoulos et al. 2021, arXiv:2110.01052). The errors of a patient's scans are taken as one, by Kish's
effective size. That is an approximation: research/simulations/ measures how often such a promise is broken.
"""

import numpy as np
from scipy.special import bdtr, betaincinv

from trueslice.evaluate.intervals import GroupBootstrap, effective_size
from trueslice.evaluate.subsets import blocks
from trueslice.records.withheld import AnsweredScans, Promise, Withheld
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.predictions import Predictions

HOLDS_WITH = 0.9
SHARES = np.arange(10, 21) / 20  # of the validation scans that are answered, in the order in which they are tested
DIGITS = 1e4  # thresholds are rounded down to 1 / DIGITS, so that another batch does not change an answer


def score(
    validation: Predictions, test: Predictions, others: ExternalPredictions, protocol: str, max_error: float | None
) -> Withheld:
    """Choose the threshold on `validation`, and count answers and errors on test scans and the new scans of `others`.

    `protocol` is the one that the split followed. There is no promise if `max_error` is None.
    """
    found = "evaluate.max_error is null" if max_error is None else choose(validation, protocol, max_error)
    if isinstance(found, str):
        return Withheld(promise=None, reason=found, rows=[])
    bootstrap, every = GroupBootstrap(blocks(test)), np.ones(len(test), bool)
    parts: list[tuple[str, str | None, np.ndarray]] = [("all", None, every)]
    exposures = np.unique(test.exposure).tolist()
    parts += [("exposure", name, test.exposure == name) for name in exposures if len(exposures) > 1]
    parts += [("class", name, test.y_true == index) for index, name in enumerate(test.class_names)]
    rows = [_row(found, by, name, test, (bootstrap, among)) for by, name, among in parts]
    for name in dict.fromkeys(others.name.tolist()):
        among = (others.name == name) & (others.dropped == "")
        rows.append(_row(found, "external", name, others, (GroupBootstrap(others.group), among)))
    return Withheld(promise=found, reason=None, rows=rows)


def said(withheld: Withheld) -> str:
    """Return one line about the test scans."""
    if not withheld.rows:
        return f"no promise: {withheld.reason}"
    answered, wrong = (f"{100 * (share or 0):.1f} %" for share in (withheld.rows[0].answered, withheld.rows[0].wrong))
    return f"{answered} of the test scans are answered, {wrong} of these answers are wrong"


def choose(validation: Predictions, protocol: str, max_error: float) -> Promise | str:
    """Choose a threshold on the validation scans; without one return the reason, a clause."""
    if protocol != "patients":
        advice = "it needs split.protocol: patients"
        return f"under split.protocol: {protocol}, patients of validation scans may be in training; {advice}"
    units = blocks(validation)
    independent, least = effective_size(np.unique(units, return_counts=True)[1]), fewest(max_error)
    asked = f"at most {100 * max_error:g} % errors with a confidence of {100 * HOLDS_WITH:g} %"
    if independent < least:
        counted = f"the {len(units):,} validation scans count as {int(independent)} independent ones"
        return f"{counted}, and {asked} need {least}; bring more patients, or raise split.validation_share"
    confidence, wrong = validation.probabilities.max(axis=1), validation.y_pred != validation.y_true
    threshold, bound = lowest_threshold(confidence, wrong, units, max_error)
    if threshold is None:
        problem = f"of the surest half of the validation scans, up to {100 * bound:.1f} % may be wrong"
        return f"{problem}: too many for {asked}"
    return Promise(
        max_error=max_error,
        holds_with=HOLDS_WITH,
        threshold=threshold,
        scans=len(units),
        independent=int(independent),
    )


def lowest_threshold(
    confidence: np.ndarray, wrong: np.ndarray, units: np.ndarray, max_error: float
) -> tuple[float | None, float]:
    """Test one threshold after another, the highest first, until one fails; return the last that holds.

    `confidence`, float [N], `wrong`, bool [N], and `units`, int [N], are of validation scans. Returns None for the
    threshold if the first one fails, and the upper limit of the errors at the last one that was tested.
    """
    units = np.unique(units, return_inverse=True)[1]
    falling, found, bound = np.sort(confidence)[::-1], None, 1.0
    for share in SHARES:
        # Rounded, since 0.55 x 20 may be a little more than 11.
        place = int(np.ceil(round(share * len(falling), 9))) - 1
        threshold = float(np.floor(falling[place] * DIGITS) / DIGITS)
        answered = confidence >= threshold
        bound = error_limit(wrong[answered], units[answered])
        if bound > max_error:
            break
        found = threshold
    return found, bound


def error_limit(wrong: np.ndarray, units: np.ndarray) -> float:
    """Compute the upper limit of the share of errors, bool [N], with 90 % confidence (Clopper & Pearson 1934).

    `units`, int [N], are numbers.
    """
    size, share = effective_size(np.bincount(units)), wrong.mean()
    # Much faster than scipy.stats.
    return float(betaincinv(share * size + 1, (1 - share) * size, HOLDS_WITH)) if share < 1 else 1.0


def fewest(max_error: float) -> int:
    """Compute the number of independent scans that allow for one error: 77 for 5 %, 38 for 10 %.

    With fewer a promise is rarely possible, and where it is, that is often luck.
    """
    number = 2
    while bdtr(1, number, max_error) > 1 - HOLDS_WITH:
        number += 1
    return number


def _row(
    promise: Promise,
    by: str,
    name: str | None,
    scans: Predictions | ExternalPredictions,
    part: tuple[GroupBootstrap, np.ndarray],
) -> AnsweredScans:
    bootstrap, among = part
    answered, wrong = scans.probabilities.max(axis=1) >= promise.threshold, scans.y_pred != scans.y_true
    return AnsweredScans(
        by=by,
        value_of=name,
        scans=int(among.sum()),
        **bootstrap.share(answered, among).limits("answered"),
        **bootstrap.share(wrong, among & answered).limits("wrong"),
    )
