"""Labels and pairs of copies that may be wrong, for the page of `trueslice review`; pictures are data URLs."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from starlette.exceptions import HTTPException

from trueslice.copies.search import COARSE
from trueslice.copies.thumbnails import KINDS, shrunk, turned, whole_units
from trueslice.errors import UserError
from trueslice.evaluate.suspects import weakest_links
from trueslice.serve.pictures import data_url
from trueslice.tables.decisions import Decision, Decisions, append
from trueslice.tables.scans import Pairs, Scans
from trueslice.tables.suspects import Suspects

MOST = 500  # labels on the page, and as many pairs, beside the decided ones
BESIDE = 5  # scans that are shown beside a suspect one


class Desk:
    """Scans in `folder`, data/scans, to be judged: the decisions go to the file `decisions`, one after another."""

    def __init__(self, folder: Path, suspects: Suspects, class_names: Sequence[str], decisions: Path):
        self._scans = Scans.read(folder / "scans.csv")
        self._row_of = {path: row for row, path in enumerate(self._scans.path.tolist())}
        self._pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        self._units = whole_units(shrunk(np.load(folder / "thumbnails.npy"), COARSE))
        self._links = weakest_links(Pairs.read(folder / "pairs.csv"), self._scans)
        self._suspects, self._class_names, self._decisions = suspects, list(class_names), decisions
        self._writing = threading.Lock()

    def items(self) -> dict:
        """Return all that is to be judged, the most doubtful first, with the decisions in force."""
        decided = {each.subject: each for each in self._in_force()}
        gone = [each for each in decided.values() if not self._row_of.keys() >= {*each.subject}]
        return {
            "file": str(self._decisions),
            "classes": self._class_names,
            "labels": self._labels(decided),
            "pairs": self._pairs(decided),
            "gone": [each._asdict() for each in gone],
        }

    def _in_force(self) -> list[Decision]:
        try:
            return Decisions.read(self._decisions).in_force()
        except UserError as error:
            raise HTTPException(409, str(error)) from None

    def _labels(self, decided: dict[tuple[str, ...], Decision]) -> list[dict]:
        table, items = self._suspects, []
        starts = np.flatnonzero(np.diff(table.rank, prepend=0))
        for place, rows in enumerate(np.split(np.arange(len(table)), starts[1:]) if len(table) else []):
            paths = table.path[rows].tolist()
            own = [decided[path,] for path in paths if (path,) in decided]
            if place < MOST or own:
                first, sure = rows[0], table.confidence[rows[0]]
                items.append(
                    {
                        "paths": paths,
                        "class": str(table.class_name[first]),
                        "suggested": str(table.suggested[first]),
                        "evidence": str(table.evidence[first]),
                        "confidence": None if np.isnan(sure) else float(sure),
                        "decided": own[0]._asdict() if own else None,
                    }
                )
        return items

    def _pairs(self, decided: dict[tuple[str, ...], Decision]) -> list[dict]:
        links, items, waiting = self._links, [], {names: each for names, each in decided.items() if len(names) == 2}
        for at in range(len(links)):
            paths = self._scans.path[[links.a[at], links.b[at]]].tolist()
            own = waiting.pop(tuple(sorted(paths)), None)
            if at < MOST or own:
                facts = {"kind": str(links.kind[at]), "correlation": float(links.lowest_correlation[at])}
                items.append(self._pair(paths, own) | facts | {"files": int(links.files[at])})
        there = [each for names, each in waiting.items() if self._row_of.keys() >= {*names}]
        return items + [self._pair([each.path, each.other], each) for each in there]

    def _pair(self, paths: list[str], own: Decision | None) -> dict:
        classes = self._scans.class_name[[self._row_of[path] for path in paths]].tolist()
        return {"paths": paths, "classes": classes, "decided": own._asdict() if own else None}

    def label(self, path: str) -> dict:
        """Return the picture of a scan, and those of its copies under another class and of the scans most like it."""
        row, scans = self._row(path), self._scans
        alike = self._units @ self._units[row]
        is_copy = scans.group == scans.group[row]
        alike[is_copy & (scans.class_name == scans.class_name[row])] = -np.inf
        order = np.lexsort((-alike, ~is_copy))[:BESIDE]
        beside = [
            {
                "path": str(scans.path[each]),
                "class": str(scans.class_name[each]),
                "relation": self._relation(row, each),
                "picture": data_url(self._pixels[each]),
            }
            for each in order[np.isfinite(alike[order])]
        ]
        return {"picture": data_url(self._pixels[row]), "beside": beside}

    def _relation(self, row: int, other: int) -> str:
        scans = self._scans
        if scans.group[row] == scans.group[other]:
            return "a copy of it"
        return "the same patient" if scans.patient[row] and scans.patient[row] == scans.patient[other] else "alike"

    def pair(self, first: str, second: str, kind: str) -> dict:
        """Return the pictures of two scans, the second turned by `kind`, and the difference unless `aligned`."""
        a, b = (self._pixels[self._row(path)] for path in (first, second))
        if kind in KINDS:
            b = b.reshape(len(b) ** 2, -1)[turned(len(b), kind)].reshape(b.shape)
            shown = [a, b, np.abs(a.astype(int) - b).astype(np.uint8)]
        else:
            shown = [a, b]
        return {"pictures": [data_url(each) for each in shown]}

    def _row(self, path: str) -> int:
        if path not in self._row_of:
            raise HTTPException(404, f"data/scans has no scan {path}")
        return self._row_of[path]

    def decide(self, content: bytes) -> dict:
        """Keep decisions, JSON [[path, other, decision, class], …]; HTTPException if they cannot be kept."""
        try:
            decisions = [Decision(*map(str, each)) for each in json.loads(content)]
            if not decisions:
                raise ValueError("there is none")
            known = {*self._row_of, *(path for each in self._in_force() for path in each.subject)}
            for each in decisions:
                if not known >= {*each.subject} or each.class_name not in ("", *self._class_names):
                    raise ValueError(f"no such scan or class: {each}")
            with self._writing:
                append(self._decisions, decisions)
        except (TypeError, ValueError) as error:
            raise HTTPException(400, f"this is no decision: {error}") from None
        except OSError as error:
            raise HTTPException(507, f"{self._decisions}: {error.strerror}; the decision was not kept") from None
        return {"kept": len(decisions)}
