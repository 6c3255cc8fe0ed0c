"""Which captions a step learns from."""

from typing import NamedTuple

import torch
from torch.nn import functional


class Drawn(NamedTuple):
    """Captions of one step, each of them once.

    Attributes:
        captions: which ones, int64 [C].
        of_class: matrix that takes their embeddings to one direction per class, float32 [K, C].
        of_scan: for each scan the place of its caption among the C, int64 [B]; None where it gets that of its class.
    """

    captions: torch.Tensor
    of_class: torch.Tensor
    of_scan: torch.Tensor | None


class Captions:
    """Those `per_class` of K classes, in the order of the class indices; `texts` has all, class after class."""

    def __init__(self, per_class: list[list[str]]):
        self.per_class = per_class
        self.texts = [caption for of_class in per_class for caption in of_class]
        self._counts = torch.tensor([len(of_class) for of_class in per_class])
        self._first = self._counts.cumsum(0) - self._counts

    def all(self) -> Drawn:
        """Every caption; a class is the mean of its own."""
        owner = torch.repeat_interleave(torch.arange(len(self._counts)), self._counts)
        return Drawn(torch.arange(len(self.texts)), functional.one_hot(owner).T.float(), None)

    def draw(self, generator: torch.Generator, labels: torch.Tensor | None = None) -> Drawn:
        """Draw a caption for each class, and one for each scan whose class index is in `labels`, int64 [B]."""
        of_class = self._draw(torch.arange(len(self.per_class)), generator)
        if labels is None:
            return Drawn(of_class, torch.eye(len(of_class)), None)
        of_scan = self._draw(labels, generator)
        captions, places = torch.unique(torch.cat([of_class, of_scan]), return_inverse=True)
        matrix = functional.one_hot(places[: len(of_class)], len(captions)).float()
        return Drawn(captions, matrix, places[len(of_class) :])

    def _draw(self, classes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        counts = self._counts[classes]
        return self._first[classes] + (torch.rand(len(counts), generator=generator) * counts).long()
