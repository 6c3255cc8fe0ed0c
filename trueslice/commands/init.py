"""Fit params.yaml to your own scans: their class folders, captions, patients and test set.

Only names of files are read, and a table of patients: a CSV file in the folder or beside it, with the columns path and
patient. Comments and all other parameters stay as they are.
"""

import argparse
import re
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from trueslice import params
from trueslice.commands import settings
from trueslice.commands.text import aligned
from trueslice.errors import UserError
from trueslice.files import printable
from trueslice.patients import lookup
from trueslice.reading.masks import MASKS
from trueslice.report.format import counted
from trueslice.sources import folder
from trueslice.sources.fetch import SOURCES

# What folders of healthy heads are called, without capitals and signs.
HEALTHY = {"notumor", "notumour", "nontumor", "nontumour", "normal", "healthy", "control", "controls", "negative", "no"}
OUTPUTS = ("data", "models", "metrics", "plots")
FEWEST = 3  # units of a class: one each for training, validation and test


class Patients(NamedTuple):
    """Patients of the scans, str [N], empty where unknown, and what is said of the table that they are from."""

    table: Path | None
    of: np.ndarray
    said: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scans", metavar="SCANS", help="folder or .zip: <class>/, or Training/<class>/ and Testing/")


def run(options: argparse.Namespace) -> None:
    present = params.load(settings.PARAMS)
    source = Path(options.scans).expanduser()
    if outputs := [name for name in OUTPUTS if source.resolve().is_relative_to(Path(name).resolve())]:
        problem = f"{source} is in {outputs[0]}/, where DVC deletes what is there before a run"
        raise UserError(f"{problem}; move your scans out of it, best out of the project")
    targets = folder.plan(source)
    names = _class_names(folder.class_folders(targets.values()), source)
    scans = [target for target in targets.values() if target.parts[0] != MASKS]
    healthy = [name for name in names if _plain(name) in HEALTHY]
    negative = healthy[0] if len(healthy) == 1 else None
    patients = _patients(source, list(map(str, scans)), names)
    protocol, why = _protocol(scans, patients.of)
    kept = [each.model_dump() for each in present.external if each.source != "phantom"]
    captions = {name: present.classes.get(name) or _captions(name, name == negative) for name in names}
    settings.change(
        {
            # A folder may be called like a source.
            "data.source": f"./{options.scans}" if options.scans in SOURCES else options.scans,
            "verify.patients": str(patients.table) if patients.table else "auto",
            "split.protocol": protocol,
            "evaluate.negative_class": negative,
            "external": kept,
            "classes": captions,
        }
    )
    own = ", ".join(name for name in names if name not in present.classes)
    new = f"made from the names of the folders for {own}: edit them" if own else "those that params.yaml had"
    masks = len(targets) - len(scans)
    lines = [
        ("classes", ", ".join(names)),
        ("captions", f"{new} (under `classes:`, at the end)"),
        ("healthy", negative or f"{'several' if healthy else 'none'} by its name; see evaluate.negative_class"),
        ("patients", patients.said),
        ("test set", f"split.protocol: {protocol}, {why}"),
        ("other sets", ", ".join(each["name"] for each in kept) or "none; drawn phantoms would say nothing of yours"),
        *([("masks", f"{masks} beside their scans; explanations are measured against them")] if masks else []),
    ]
    print(f"params.yaml fits {printable(source)} now: {counted(len(scans), 'scan file')}")
    print(aligned(lines, "<<"))
    print("Next: read the captions, then dvc repro")


def _class_names(folders: set[tuple[str, str]], source: Path) -> list[str]:
    """Return the names of the classes, sorted, if they can be told apart and every part has all of them."""
    names = sorted({name for _, name in folders})
    if len(names) < 2:
        raise UserError(f"{source} has one class folder, {names[0]}; there must be two or more to tell apart")
    alike: dict[str, str] = {}
    for name in names:
        if (other := alike.setdefault(_plain(name), name)) != name:
            raise UserError(f"{source} has class folders {other} and {name}, which differ in signs alone; rename one")
        if re.fullmatch(r"[\d\W_]+", name):
            problem = f"the class folder {name} of {source} has a number for a name, of which no caption can be made"
            raise UserError(f"{problem}; rename it after what its scans show")
    for part in sorted({part for part, _ in folders}):
        if missing := [name for name in names if (part, name) not in folders]:
            others = "add it, or take that class out of the other folders"
            raise UserError(f"{source}: {part} has no class folder {missing[0]}; {others}")
    return names


def _plain(name: str) -> str:
    """Return a name without capitals and signs; Greek and other letters stay."""
    return re.sub(r"[\W_]", "", name.lower())


def _captions(name: str, is_healthy: bool) -> list[str]:
    if is_healthy:
        return ["a normal brain MRI scan", "a magnetic resonance image of a healthy brain"]
    words = " ".join(re.sub(r"(?<=[a-z])(?=[A-Z])|[_.-]", " ", name).split())
    words = {"yes": "a tumour", "positive": "a tumour"}.get(words.lower(), words)
    return [f"a brain MRI scan showing {words}", f"a magnetic resonance image of {words}"]


def _patients(source: Path, scans: list[str], names: Collection[str]) -> Patients:
    """Look for a table of patients in the folder of scans and beside it."""
    inside = source.glob("*.csv") if source.is_dir() else ()
    said = "none known: no CSV with the columns path and patient is there"
    for table in filter(Path.is_file, [*sorted(inside), *sorted(source.parent.glob("*.csv"))]):
        try:
            of = lookup.read_own(table, scans, [], names)["patient"]
        except UserError as error:
            said = f"none known: {error}"
            continue
        known = of[of != ""]
        said = (
            f"{counted(len(np.unique(known)), 'patient')}, known for {len(known)} of {len(of)} scan files, by {table}"
        )
        return Patients(table, of, said)
    return Patients(None, np.full(len(scans), ""), said)


def _protocol(scans: Iterable[PurePosixPath], patients: np.ndarray) -> tuple[str, str]:
    """Choose `split.protocol`, and say why."""
    parts = np.array([scan.parts[0] if scan.parts[0] in folder.SPLITS.values() else "" for scan in scans])
    classes = np.array([scan.parts[1 if part else 0] for scan, part in zip(scans, parts, strict=True)])
    is_test, known = parts == "Testing", patients != ""
    if known.any():
        if is_test.any() and not set(patients[known & is_test]) & set(patients[known & ~is_test]):
            return "official", "your Testing folder, which shares no known patient with the others"
        few = [
            name
            for name in np.unique(classes).tolist()
            if known[classes == name].all() and len(np.unique(patients[classes == name])) < FEWEST
        ]
        if not few:
            return "patients", "a new test set of patients whom the model has not seen"
        return "blocked", f"since {few[0]} has too few patients to hold out: neighbours in name stay together"
    if is_test.any():
        return "official", "your Testing folder; its patients may be in the others too"
    return "blocked", "a new test set; neighbours in name stay together, which are often of one patient"
