"""What a run measured, as the report reads it, and how numbers are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trueslice.files import read_json

# The least for which a figure or the text gives a number of its own; evaluate compares from the same number on.
MIN_DISTINCT = 30
MEASURED = ("data", "split", "train", "test", "intervals", "baselines", "external", "embedding")
NOT_DEFINED = "not defined"
NARROW = "†"  # marks an interval that covers too little
PERCENTAGES = (
    "accuracy", "accuracy_per_distinct_scan", "balanced_accuracy", "balanced_accuracy_per_distinct_scan",
    "recall", "specificity", "precision", "npv", "missed_tumours", "false_alarms", "upside_down_missed_tumours",
)  # fmt: skip
BASELINES = {
    "nearest_neighbour": "nearest training scan by its pixels",
    "border_strips": "border of the scan alone",
    "grey_histogram": "histogram of grey values alone",
    "zero_shot": "checkpoint before fine-tuning (zero-shot)",
    "linear_probe": "linear probe of the frozen checkpoint",
}
# Of test scans: what of them the model was trained or chosen on.
EXPOSURES = {
    "copy": "a copy was seen",
    "patient": "only the patient was seen",
    "neither": "neither was seen",
    "unknown": "no copy seen, patient unknown",
}


@dataclass(frozen=True)
class Run:
    """What a run measured, and the settings that explain it.

    Attributes:
        data, split, train, test, intervals, baselines, external, embedding: the file of that name in metrics/.
        model: the content of trueslice.json beside the trained weights.
        settings: the sections of params.yaml by name.
        explain: the content of metrics/explain.json; None where nothing was explained.
    """

    data: Mapping
    split: Mapping
    train: Mapping
    test: Mapping
    intervals: Mapping
    baselines: Mapping
    external: Mapping
    embedding: Mapping
    model: Mapping
    settings: Mapping
    explain: Mapping | None = None

    @classmethod
    def read(cls, metrics: Path, model: Path, settings: Mapping) -> Self:
        """Read what the stages wrote: the folder of metrics, and the folder of the trained weights."""
        optional = metrics / "explain.json"
        return cls(
            **{name: read_json(metrics / f"{name}.json") for name in MEASURED},
            model=read_json(model / "trueslice.json"),
            settings=settings,
            explain=read_json(optional) if optional.exists() else None,
        )

    @property
    def drawn(self) -> bool:
        """Whether the scans are phantoms and not of people."""
        return self.settings["data"]["source"] == "phantom"

    @property
    def checkpoint(self) -> str:
        """The checkpoint that training started from; of a folder its own name alone, since the rest is of a machine."""
        name, revision = self.model["checkpoint"]["name"], self.model["checkpoint"]["revision"]
        return f"{name}, revision {revision}" if revision else name.rstrip("/").rsplit("/", 1)[-1]

    def exposed(self, exposure: str) -> int:
        """How many test scans have this exposure."""
        return sum(row["scans"] for row in self.exposures if row["exposure"] == exposure)

    @property
    def exposures(self) -> list[Mapping]:
        """The accuracy over all classes for each exposure that a test scan has."""
        return [row for row in self.test["exposure"] if row["class"] is None and row["scans"]]

    @property
    def narrow(self) -> str:
        """What the mark of intervals that cover too little means; empty where none has it."""
        tested = self.test
        rows = [*self.intervals["intervals"], *tested["exposure"], *tested["by"], tested["risk_coverage"]]
        rows += [tested["tumour"] or {}, *self.baselines["baselines"], *self.external["sets"]]
        shares = sorted(row["covers"] for row in rows if row.get("covers") is not None)
        if not shares:
            return ""
        share = " to ".join(dict.fromkeys(percent(share) for share in (shares[0], shares[-1])))
        return f"{NARROW} Too narrow: it held the true value in {share} of simulations of such a case, not in 95 %."

    @property
    def negative(self) -> str | None:
        """The healthy class; None where there is none."""
        return self.settings["evaluate"]["negative_class"]

    def record(self, score: str, class_name: str | None = None) -> Mapping:
        """The value and interval of a score; without a value where it was not measured."""
        for row in self.intervals["intervals"]:
            if (row["score"], row["class"]) == (score, class_name):
                return row
        return {"value": None, "low": None, "high": None, "method": None, "reason": "it was not measured"}


def value(number: float | None, score: str) -> str:
    """The value of `score` as text: a percentage for a share, else three decimals."""
    if number is None:
        return NOT_DEFINED
    return percent(number) if score in PERCENTAGES else f"{number:.3f}".replace("-", "−")


def interval(record: Mapping, score: str) -> str:
    """The interval of a record as text, with a mark where it covers too little; empty where there is none."""
    if record["low"] is None:
        return ""
    mark = NARROW if record.get("covers") is not None else ""
    return f"{value(record['low'], score)} to {value(record['high'], score)}{mark}"


def with_interval(record: Mapping, score: str, key: str = "value") -> str:
    """The value of a record, by its key, with its interval or with the reason why there is none."""
    limits = interval(record, score)
    return f"{value(record[key], score)} ({f'95 % interval {limits}' if limits else record['reason']})"


def limits(row: Mapping, name: str) -> Mapping:
    """A record of what a row holds under `name`, `name`_low and `name`_high."""
    return {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"], "reason": "no interval"}


def percent(share: float) -> str:
    """A share from 0 to 1 as a percentage."""
    return f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """A difference of shares in points of a hundred, with its sign."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def signed(number: float) -> str:
    """A difference with its sign, to three decimals."""
    return f"{number:+.3f}".replace("-", "−")


def count(number: int, noun: str) -> str:
    """A number with what is counted, in the singular where it is one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """Words with commas between them and "and" before the last."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
