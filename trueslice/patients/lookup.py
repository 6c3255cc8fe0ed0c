"""The patients of scans, from a table of the user, or by their pictures from the shipped table of slices."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from trueslice.errors import UserError
from trueslice.files import printable
from trueslice.patients import slices
from trueslice.reading.names import file_of
from trueslice.sources.folder import SPLITS
from trueslice.tables.rows import lacks, opened, shown

COLUMNS = ("patient", "source", "source_class", "plane")  # those of `trueslice.tables.Scans` that a table fills


def unknown(count: int) -> dict[str, np.ndarray]:
    """Return COLUMNS for `count` scans without a table: each empty, str [N]."""
    return _columns([{}] * count)


def read_shipped(means: np.ndarray, class_names: Collection[str]) -> dict[str, np.ndarray]:
    """Look thumbnails, [N, 64, 64], up in the shipped table: COLUMNS, each str [N], empty where unknown."""
    row, table = slices.find(means).row, slices.shipped()
    classes = {label: class_like(label, class_names) for label in np.unique(table.source_class).tolist()}
    columns = {
        "patient": table.patient,
        "source": np.full(len(table), slices.SOURCE),
        "source_class": np.array([classes[label] for label in table.source_class.tolist()], dtype=str),
        "plane": table.plane,
    }
    return {name: np.where(row >= 0, values[row], "") for name, values in columns.items()}


def class_like(label: str, class_names: Collection[str]) -> str:
    """Return the only class that is named after a label, as glioma_tumor after glioma; else nothing."""
    alike = [name for name in class_names if label in name.lower()]
    return alike[0] if len(alike) == 1 else ""


def read_own(
    table: Path, paths: Sequence[str], unreadable: Collection[str], class_names: Collection[str]
) -> dict[str, np.ndarray]:
    """Look `paths` up in a table of the user: COLUMNS, each str [N], empty where unknown.

    It is a CSV file with the columns `path` and `patient`, and any other of COLUMNS. A path is that in data/raw or in
    the source, or its end where no other path ends so. A row for a file holds for all its frames, but for those with a
    row of their own. It may also name `unreadable` files.

    Raises:
        UserError: the table is missing or damaged, or does not fit the files or classes.
    """
    rows: dict[str, dict[str, str]] = {}
    files = [file_of(path) for path in paths]
    known = by_ending({*paths, *files, *unreadable})
    strangers: list[str] = []
    missing = 0
    for line, row in _rows(table):
        found = known.get(path_parts(row["path"]), [])
        if len(found) > 1:
            problem = (
                f"{table} names {shown(row['path'])}, which may be {shown(found[0])} or {shown(found[1])} (line {line})"
            )
            raise UserError(f"{problem}; give more of the path")
        if not found:
            missing += 1
            strangers = [*strangers, row["path"]][:3]
            continue
        if (path := found[0]) in rows:
            patients = shown(rows[path]["patient"], row["patient"])
            raise UserError(f"{table} gives {shown(path)} twice (patients {patients}; line {line}); keep one of them")
        if (name := row.get("source_class", "")) and name not in class_names:
            raise UserError(f"{table}, line {line}: source_class {shown(name)} is not under `classes:` in params.yaml")
        rows[path] = row
    places = "paths are as in the folder of scans, such as Training/glioma/1.jpg"
    if not rows:
        raise UserError(f"{table} fits no file of these scans; {places}")
    if missing:
        first = shown(*strangers) + (", …" if missing > 3 else "")
        raise UserError(f"{table} names {missing:,} files that are not there: {first}; remove them: {places}")
    return _columns([rows.get(path) or rows.get(file, {}) for path, file in zip(paths, files, strict=True)])


def by_ending(paths: Collection[str]) -> dict[tuple[str, ...], list[str]]:
    """Return the paths that end in each sequence of `path_parts`; a whole path is its own only one."""
    ends: dict[tuple[str, ...], list[str]] = {}
    whole: dict[tuple[str, ...], list[str]] = {}
    for path in sorted(paths):
        parts = path_parts(path)
        whole.setdefault(parts, []).append(path)
        for start in range(1, len(parts)):
            ends.setdefault(parts[start:], []).append(path)
    return ends | whole


def path_parts(path: str) -> tuple[str, ...]:
    r"""Return the folders and the name in a path, however it is written: `./train/1.jpg` as `Training\1.jpg`."""
    *folders, name = [part for part in re.split(r"[/\\]", printable(path)) if part not in ("", ".")] or [""]
    return (*(SPLITS.get(folder.lower(), folder) for folder in folders), name)


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with opened(table) as rows:
        _, header = next(rows)
        if not {"path", "patient"} <= {*header}:
            raise lacks(header, "path and patient")
        for line, cells in rows:
            yield line, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}


def _columns(rows: Sequence[dict[str, str]]) -> dict[str, np.ndarray]:
    return {name: np.array([row.get(name, "") for row in rows], dtype=str) for name in COLUMNS}
