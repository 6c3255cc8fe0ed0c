"""Tell by parameters and code if the runs of a side of a comparison are one method with several seeds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

# What may differ between runs of one method, besides the seed: it changes no result but by rounding.
DEVICES = ("train.device", "verify.device")
MACHINE = "machine."
DIVISION = ("data.", "verify.", "split.")  # parameters that decide which scans are tested and trained on
LISTED = 3


class Made(NamedTuple):
    """The origin of a run: parameters, code and checkpoint."""

    name: str
    settings: Mapping[str, str]  # parameters by their dotted names, without devices and the machine
    code: Mapping[str, str]  # hash of each file or folder of code
    checkpoint: str | None  # hash of the weights that training started from, where the seed does not draw them

    @property
    def seed(self) -> str | None:
        """The parameter `seed`."""
        return self.settings.get("seed")

    @property
    def method(self) -> tuple:
        """Everything but name and seed: equal for two runs of one method."""
        return {**self.settings, "seed": None}, self.code, self.checkpoint


def comparable(settings: Mapping[str, object]) -> dict[str, str]:
    """Return the parameters that can change a result, as text, from all parameters by their dotted names."""
    names = (name for name in settings if name not in DEVICES and not name.startswith(MACHINE))
    return {name: str(settings[name]) for name in names}


def not_one_method(side: Sequence[Made]) -> str | None:
    """Return why the runs of a side are not one method with a seed for each; None if they are."""
    first = side[0]
    seeds: dict[str | None, str] = {}
    for run in side:
        if names := [name for name in differing(first, run) if name != "seed"]:
            return f"{first.name} and {run.name} differ in {listed(names)}"
        if run.seed in seeds:
            return f"{seeds[run.seed]} and {run.name} have the same seed, {run.seed}"
        seeds[run.seed] = run.name
    return None


def differing(a: Made, b: Made) -> list[str]:
    """Name what differs between two runs: parameters, files of code, the checkpoint."""
    names = [name for name in sorted({**a.settings, **b.settings}) if a.settings.get(name) != b.settings.get(name)]
    names += [name for name in sorted({**a.code, **b.code}) if a.code.get(name) != b.code.get(name)]
    return names if a.checkpoint == b.checkpoint else [*names, "the downloaded checkpoint"]


def left_out(side: Sequence[Made], others: Sequence[Made]) -> list[str]:
    """Name the runs among `others` that are of the method of a side, each with another seed than its runs."""
    named = {run.seed for run in side}
    return [run.name for run in others if run.seed not in named and run.method == side[0].method]


def listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"
