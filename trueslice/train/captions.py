"""Captions of a training step: one drawn for each class and each scan, or the mean of all."""

from typing import NamedTuple

import torch
from torch.nn import functional


class CaptionBatch(NamedTuple):
    """C different captions of one step."""

    captions: torch.Tensor  # places in `Captions.texts`, int64 [C]
    class_matrix: torch.Tensor  # turns their embeddings into one direction per class, float32 [K, C]
    scan_captions: torch.Tensor | None  # each scan's place among the C, int64 [B]; None for the caption of its class


class Captions:
    """Captions of K classes."""

    def __init__(self, per_class: list[list[str]]):
        self.per_class = per_class  # in the order of the class indices
        self.texts = [text for texts in per_class for text in texts]
        self._counts = torch.tensor([len(texts) for texts in per_class])
        self._first = self._counts.cumsum(0) - self._counts

    def all(self) -> CaptionBatch:
        """Return every caption; the direction of a class is the mean of its captions."""
        owner = torch.repeat_interleave(torch.arange(len(self._counts)), self._counts)
        return CaptionBatch(torch.arange(len(self.texts)), functional.one_hot(owner).T.float(), None)

    def draw(self, generator: torch.Generator, labels: torch.Tensor | None = None) -> CaptionBatch:
        """Draw a caption for each class, and one for each scan whose class index is in `labels`, int64 [B]."""
        of_classes = self._draw(torch.arange(len(self.per_class)), generator)
        if labels is None:
            return CaptionBatch(of_classes, torch.eye(len(of_classes)), None)
        of_scans = self._draw(labels, generator)
        captions, places = torch.unique(torch.cat([of_classes, of_scans]), return_inverse=True)
        matrix = functional.one_hot(places[: len(of_classes)], len(captions)).float()
        return CaptionBatch(captions, matrix, places[len(of_classes) :])

    def _draw(self, classes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        counts = self._counts[classes]
        return self._first[classes] + (torch.rand(len(counts), generator=generator) * counts).long()
