"""Answers of a released model for the page, as values for JSON; pictures are data URLs."""

import re
import threading
from dataclasses import replace
from typing import TypeVar

import numpy as np
from starlette.exceptions import HTTPException

from trueslice.files import Upload
from trueslice.inference.classifier import Classifier, Prediction
from trueslice.inference.reading import Square, Unreadable, read
from trueslice.serve.pictures import Pictures, coloured, colours, data_url

Found = TypeVar("Found", Square, Prediction)
OFFERED = 16  # test scans on the page


class Answers:
    """Answers of a released model, for requests from several threads."""

    def __init__(self, classifier: Classifier, pictures: Pictures):
        self._classifier = classifier
        # Heat maps are shown only for models whose maps were found to point at tumours.
        self._explains = classifier.settings.explain.shown
        self._pictures = pictures
        self._random = np.random.default_rng(0)
        self._computing = threading.Lock()

    def about(self) -> dict:
        """Return the facts about the model that the page shows at its start."""
        return {
            "folder": str(self._classifier.folder),
            "classes": self._classifier.class_names,
            "caution": self._classifier.caution,
            "promise": self._classifier.promise,
            "tests": bool(self._pictures.tests()),
            "colours": colours() if self._explains else [],
        }

    def read(self, item: Upload | np.ndarray, frame: str | None = None) -> Square:
        """Decode a file or an array; HTTPException if it cannot be read, or none of its frames is chosen."""
        (found,) = read(item, self._classifier.settings.decode.model_dump(), _number(frame))
        return _readable(found)

    def predict(self, scan: Square) -> dict:
        """Classify a scan."""
        return self._answer(self._predict(scan))

    def test_scans(self, class_name: str | None) -> list[dict]:
        """Draw test scans at random, of one class, or of all classes without naming the class."""
        names = [class_name] if class_name else self._classifier.class_names
        each = -(-OFFERED // len(names))
        drawn = [path for name in names for path in self._drawn(self._pictures.tests(name), each)]
        paths = self._drawn(drawn, OFFERED)
        return [{"path": path, "picture": data_url(self._pictures.of(path))} for path in paths]

    def predict_test_scan(self, path: str) -> dict:
        """Classify a test scan, and add its true class; HTTPException if there is none at this path."""
        pixels = self._pictures.full(path) if path in self._pictures.tests() else None
        if pixels is None:
            raise HTTPException(404, f"data/scans has no test scan {path} of this model")
        found = replace(self._predict(self.read(pixels)), name=path)
        if found.copy and found.copy.path == path:
            own = [each for each in found.warnings if each.kind != "copy"]
            found = replace(found, copy=None, warnings=own)
        return self._answer(found) | {"truth": self._pictures.class_of(path)}

    def _drawn(self, paths: list[str], count: int) -> list[str]:
        return self._random.permutation(np.array(paths, dtype=object))[:count].tolist()

    def _predict(self, scan: Square) -> Prediction:
        with self._computing:
            (found,) = self._classifier.answer([scan])
        return _readable(found)

    def _answer(self, prediction: Prediction) -> dict:
        answer = prediction.to_dict() | {"picture": data_url(prediction.pixels), "heat": None}
        if self._explains and prediction.error_rate:
            with self._computing:
                heat = self._classifier.explain(prediction)
            answer["heat"] = data_url(coloured(heat))
        for known in (answer["copy"], *answer["nearest"]):
            if known:
                known["picture"] = data_url(self._pictures.of(known["path"]))
        return answer


def _readable(found: Found | Unreadable) -> Found:
    if isinstance(found, Unreadable):
        raise HTTPException(422, f"{found.name}: {found.reason}", {"Frames": str(found.frames)})
    return found


def _number(frame: str | None) -> int | None:
    if frame is None:
        return None
    if not re.fullmatch("[1-9][0-9]{0,8}", frame):
        raise HTTPException(400, f"{frame[:20]!r} is not the number of a frame")
    return int(frame)
