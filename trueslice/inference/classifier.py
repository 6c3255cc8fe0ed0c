"""A released model that classifies any scan, with the error rate of similar answers and with warnings."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import torch

from trueslice.device import pick_device
from trueslice.errors import UserError
from trueslice.explain.attribution import explain
from trueslice.explain.similarity import most_similar, unit_length
from trueslice.inference.folder import read_settings
from trueslice.inference.reading import Item, Square, Unreadable, read, read_each
from trueslice.inference.reference import Comparison, KnownScan, Reference, known_scan, small
from trueslice.model.cpu import same_bytes_on_cpus
from trueslice.model.encoder import Encoder, probabilities
from trueslice.model.pixels import BATCH, Pixels
from trueslice.records.released import ReleasedModel

AHEAD = 2 * BATCH  # files that are decoded while the model works
MAX_WORKERS = 8  # threads that decode
SHOWN = 5  # nearest training scans
IDENTICAL = 0.99999  # correlation of thumbnails of the same pixels
OVERFLOW = "the model's answer is not a number; its weights are too large"
EXTREME_ASPECT = 2.0  # longer side by shorter side


@dataclass(frozen=True)
class ErrorRate:
    """Share of wrong answers among test scans of similar confidence, with its 95 % interval where there is one."""

    share: float
    low: float | None
    high: float | None
    scans: int  # test scans of similar confidence
    confidence_from: float  # the range that counts as similar
    confidence_to: float


@dataclass(frozen=True)
class ScanWarning:
    """A reason not to trust an answer, or its error rate."""

    kind: str  # known, copy, patient, unlike, colour or aspect
    text: str


@dataclass(frozen=True)
class Prediction:
    """The model's answer for one scan."""

    name: str  # the path as given; `scan.dcm, frame 3`; `array`
    y_pred: str
    probabilities: dict[str, float]  # calibrated, by class
    error_rate: ErrorRate | None  # None for a scan unlike the training scans, since no test scan is like it
    refer: bool | None  # True if the confidence is too low to answer; None for a model without a threshold
    warnings: list[ScanWarning]
    copy: KnownScan | None  # the known scan that this one is a copy of
    nearest: list[KnownScan]  # the training scans most like it by embedding, the nearest first
    pixels: np.ndarray = field(repr=False, compare=False)  # as training sees it: uint8 [S, S], or [S, S, 3]

    @property
    def confidence(self) -> float:
        """The probability of the predicted class."""
        return self.probabilities[self.y_pred]

    def to_dict(self) -> dict:
        """Return all but the pixels, as values for JSON."""
        values = asdict(self)
        del values["pixels"]
        return {"path": values.pop("name"), "class": values.pop("y_pred"), "confidence": self.confidence} | values


class Classifier:
    """A released model, as the stage `release` writes it.

    Attributes:
        folder: where it was loaded from.
        device: the device that it computes on, for example `cpu`.
        settings: its trueslice.json.
        class_names: the classes, in the order of their indices.

    Example:
        >>> classifier = Classifier.load("models/released")
        >>> for prediction in classifier.predict(["scan.jpg"]):
        ...     print(prediction.y_pred, prediction.confidence)
    """

    def __init__(self, folder: Path, encoder: Encoder, settings: ReleasedModel, reference: Reference):
        self.folder = folder
        self.device = encoder.device
        self.settings = settings
        self.class_names = list(settings.classes)
        self.encoder = encoder
        self.reference = reference
        with torch.inference_mode():
            self.class_embeddings = encoder.encode_classes(list(settings.classes.values()))
        self.comparison = Comparison(reference, settings.copy_threshold)
        self._train = np.flatnonzero(reference.scans.split == "train")
        self._train_embeddings = reference.embeddings[self._train]

    @classmethod
    def load(cls, folder: Path | str = "models/released", device: str = "auto") -> Self:
        """Load a released model. A small one then computes the same bytes as the stages, on every CPU.

        `device` is auto, cpu, cuda, cuda:1 or mps. UserError without such a device, or if the model is damaged.
        Files that are changed later change no answer: all is in memory.
        """
        folder = Path(folder)
        settings = read_settings(folder)
        same_bytes_on_cpus(folder)
        encoder = Encoder.load(folder, pick_device(device, "device"))
        return cls(folder, encoder, settings, Reference.read(folder, encoder.model.config.vision_config.hidden_size))

    def predict(self, items: Iterable[Item], frame: int | str | None = None) -> list[Prediction]:
        """Classify files, or arrays as `stream` takes them; UserError if one of them cannot be read."""
        found = []
        for each in self.stream(items, frame):
            if isinstance(each, Unreadable):
                raise UserError(f"{each.name}: {each.reason}")
            found.append(each)
        return found

    def stream(
        self, items: Iterable[Item], frame: int | str | None = None
    ) -> Generator[Prediction | Unreadable, None, None]:
        """Classify one batch after another, in the order given; yield `Unreadable` for a file that cannot be read.

        `items` is one or several: paths of image files, or their contents; or arrays, uint8 [H, W] or [H, W, 3], RGB.
        `frame` is the number, from 1, of the picture in a file with several, or `all`; None refuses such a file.
        """
        if isinstance(items, Item):
            items = [items]
        decoded = self._decode(items, frame)
        while batch := list(islice(decoded, BATCH)):
            answers = iter(self.answer([each for each in batch if isinstance(each, Square)]))
            for each in batch:
                yield next(answers) if isinstance(each, Square) else each

    def explain(self, prediction: Prediction) -> np.ndarray:
        """Compute a heat map of the answer: float32 [S, S] from 0 to 1 over the whole scan, S the model's own size.

        docs/explanations.md describes how far to trust it.
        """
        target = torch.tensor([self.class_names.index(prediction.y_pred)], device=self.device)
        with torch.no_grad():
            maps = explain(self.encoder, self._place(prediction.pixels[None]), self.class_embeddings, target)
        return maps[0].cpu().numpy()

    def _place(self, pixels: np.ndarray) -> torch.Tensor:
        """Prepare scans, uint8 [B, S, S] or [B, S, S, 3], for the encoder by the steps of the stages."""
        rows = torch.arange(len(pixels))
        scans = Pixels(pixels, rows.numpy(), self.encoder.image_size, self.encoder.device, resident=True)
        return scans.take(rows)

    def _decode(self, items: Iterable, frame: int | str | None) -> Iterator[Square | Unreadable]:
        decode = self.settings.decode.model_dump()
        if frame == "all":  # none is decoded ahead, so that no more than one is kept
            for item in items:
                yield from read_each(item, decode, frame)
            return
        pool = ThreadPoolExecutor(min(MAX_WORKERS, os.cpu_count() or 1))
        waiting: deque = deque()
        try:
            for item in items:
                waiting.append(pool.submit(read, item, decode, frame))
                if len(waiting) > AHEAD:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def answer(self, squares: list[Square]) -> list[Prediction | Unreadable]:
        """Classify decoded pictures, at most a batch at once."""
        if not squares:
            return []
        pixels = np.stack([square.pixels for square in squares])
        with torch.inference_mode():
            features = self.encoder.image_features(self._place(pixels))
            logits = self.encoder.score(features, self.class_embeddings)
        answers = probabilities(logits, self.settings.temperature)
        is_number = np.isfinite(answers).all(axis=1)
        embeddings = unit_length(np.where(is_number[:, None], features.float().cpu().numpy(), 0))
        rows, cosines = most_similar(embeddings, self._train_embeddings, SHOWN)
        thumbnails = small(pixels, np.arange(len(pixels)))
        compare = self.comparison
        known = list(zip(compare.copies(thumbnails), compare.of_training_patients(thumbnails), strict=True))
        compared = compare.distances(thumbnails), known
        nearest = [
            [known_scan(self.reference.scans, self._train[row], "", value) for row, value in zip(*each, strict=True)]
            for each in zip(rows, cosines.tolist(), strict=True)
        ]
        found = zip(is_number, squares, answers, nearest, *compared, strict=True)
        return [self._prediction(*row) if answered else Unreadable(row[0].name, OVERFLOW) for answered, *row in found]

    @property
    def caution(self) -> str:
        """The warning that holds for every answer of this model; empty where there is none."""
        drawn = "The model was trained on drawn scans. Of a person's scan its answers say nothing."
        return drawn if self.settings.drawn else ""

    @property
    def promise(self) -> str:
        """The meaning of a scan that is referred; empty where the model answers every scan."""
        found = self.settings.promise
        if not found:
            return ""
        answers = f"It answers from {100 * found.threshold:.2f} % on and refers other scans to a person"
        return f"{answers}: at most {100 * found.max_error:g} % of its answers on new patients should be wrong."

    def _prediction(self, square, probabilities, nearest, distance, known) -> Prediction:
        copy, is_of_patient = known
        is_ood, promise = distance > self.settings.ood.threshold, self.settings.promise
        return Prediction(
            name=square.name,
            y_pred=self.class_names[probabilities.argmax()],
            probabilities=dict(zip(self.class_names, probabilities.tolist(), strict=True)),
            error_rate=None if is_ood else self._error_rate(probabilities.max()),
            refer=bool(probabilities.max() < promise.threshold) if promise else None,
            warnings=self._warnings(square, is_ood, copy, is_of_patient),
            copy=copy,
            nearest=nearest,
            pixels=square.pixels,
        )

    def _error_rate(self, confidence: float) -> ErrorRate:
        rows = self.settings.confidence
        row = next((row for row in reversed(rows) if row.lower <= confidence), rows[0])
        return ErrorRate(row.error_rate, row.low, row.high, row.scans, row.lower, row.upper)

    def _warnings(self, square: Square, is_ood: bool, copy: KnownScan | None, is_of_patient: bool) -> list[ScanWarning]:
        found = []
        if copy:
            part = {"train": "training", "val": "validation", "test": "test"}[copy.split]
            scan = f"the {part} scan {copy.path} ({copy.class_name})"
            how = "" if copy.kind == "near" else f", {copy.kind.replace('_', ' ')}"
            is_itself = copy.similarity > IDENTICAL and not how and Path(square.name).name == Path(copy.path).name
            own = ("known", f"it is {scan}") if is_itself else ("copy", f"a copy of {scan}{how}")
            found.append(ScanWarning(*own))
        if is_of_patient and not (copy and copy.split == "train"):
            found.append(ScanWarning("patient", "a slice of a known patient of the training set"))
        if is_ood:
            found.append(ScanWarning("unlike", "unlike the training scans; the answer may mean nothing"))
        if square.has_colour and not self.settings.decode.colour:
            found.append(ScanWarning("colour", "it has colour, which the model does not see"))
        aspect = max(square.width, square.height) / min(square.width, square.height)
        if aspect > EXTREME_ASPECT:
            text = f"{square.width} x {square.height} pixels: most of the square that the model sees is black"
            found.append(ScanWarning("aspect", text))
        return found
