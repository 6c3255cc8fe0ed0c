"""Inputs of a training step: augmented scans, or cached features of a frozen image tower."""

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import filelock
import numpy as np
import torch

from trueslice.choices import TUNING
from trueslice.device import to_device
from trueslice.files import whole_file
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import BATCH, Pixels
from trueslice.params import Train
from trueslice.progress import Progress
from trueslice.tables.splits import Splits
from trueslice.train.augmentation import Augmentation
from trueslice.train.captions import Captions
from trueslice.train.precision import uses_bf16
from trueslice.train.resume import delete_oldest, fingerprint, generator

KEPT = 4  # sets of features in the cache; one of 5,708 scans and 4 views at ViT-B/32 has 70 MB

# For each batch: the rows of its scans, int64 [B], and the augmentation or view drawn for each.
Plan = Sequence[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class TrainingData:
    """N training and validation scans, without test scans; labels and places are on the CPU."""

    pixels: Pixels
    labels: torch.Tensor  # class indices, int64 [N]
    train: torch.Tensor  # places among the N, int64 [n]
    val: torch.Tensor  # places among the N, int64 [n]
    captions: Captions

    @classmethod
    def select(cls, splits: Splits, pixels: np.ndarray, classes: dict[str, list[str]], encoder: Encoder) -> Self:
        """Take the scans of splits train and val out of `pixels`, uint8 [rows of `splits`, S, S] or [.., S, S, 3]."""
        rows = np.flatnonzero(np.isin(splits.split, ["train", "val"]))
        splits = splits.take(rows)
        names = list(classes)
        return cls(
            pixels=Pixels(pixels, rows, encoder.image_size, encoder.device),
            labels=torch.tensor([names.index(name) for name in splits.class_name]),
            train=torch.from_numpy(np.flatnonzero(splits.split == "train")),
            val=torch.from_numpy(np.flatnonzero(splits.split == "val")),
            captions=Captions(list(classes.values())),
        )

    @functools.cached_property
    def weights(self) -> torch.Tensor:
        """Weights of the scans, float32 [N], that give all classes the same total; 1 on average over training."""
        classes = len(self.captions.per_class)
        counts = torch.bincount(self.labels[self.train], minlength=classes).clamp(min=1)
        return (len(self.train) / (classes * counts))[self.labels]

    def hash(self) -> str:
        """Return the SHA-256 of scans, labels, split and captions."""
        lists = [values.tolist() for values in (self.labels, self.train, self.val)]
        return hashlib.sha256(repr([self.pixels.hash(), *lists, self.captions.per_class]).encode()).hexdigest()


class AugmentedPixels:
    """Scans with a new random augmentation at each use."""

    def __init__(self, encoder: Encoder, pixels: Pixels, augmentation: Augmentation):
        self._encoder = encoder
        self._pixels = pixels
        self._augmentation = augmentation

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw an augmentation for each of `count` scans."""
        return self._augmentation.draw(count, generator)

    def stream(self, plan: Plan) -> Iterator[torch.Tensor]:
        """Yield the augmented scans of each batch of `plan`: float32 [B, C, S, S]."""
        batches = self._pixels.batches([rows for rows, _ in plan])
        for pixels, (_, maps) in zip(batches, plan, strict=True):
            yield self._augmentation.apply(pixels, maps)

    def embed(self, rows: torch.Tensor) -> torch.Tensor:
        """Return unit embeddings of scans without augmentation: float32 [n, D]."""
        return torch.cat([self._encoder.encode_images(batch) for batch in self._pixels.batches(rows.split(BATCH))])


class CachedFeatures:
    """Features of V views of each scan, float32 [V, N, F], the first without augmentation; each use draws a view."""

    def __init__(self, encoder: Encoder, features: torch.Tensor):
        self._encoder = encoder
        self._features = features.to(encoder.device)

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw a view for each of `count` scans."""
        return torch.randint(len(self._features), (count,), generator=generator)

    def stream(self, plan: Plan) -> Iterator[torch.Tensor]:
        """Yield the features of each batch of `plan`: float32 [B, F]."""
        for rows, views in plan:
            yield self._features[to_device(views, self._encoder.device), to_device(rows, self._encoder.device)]

    def embed(self, rows: torch.Tensor) -> torch.Tensor:
        """Return unit embeddings of scans without augmentation: float32 [n, D]."""
        return self._encoder.project_images(self._features[0, to_device(rows, self._encoder.device)])


def make_inputs(encoder: Encoder, pixels: Pixels, config: Train, cache: Path) -> AugmentedPixels | CachedFeatures:
    """Make the inputs that `config.tune` needs; features are read from the folder `cache`, or saved there."""
    augmentation = Augmentation.of(config)
    if TUNING[config.tune].images == "pixels":
        return AugmentedPixels(encoder, pixels, augmentation)
    is_bf16 = uses_bf16(config.precision, encoder.model, encoder.device)
    autocast = torch.autocast(encoder.device.type, torch.bfloat16, enabled=is_bf16)
    # The same views for every seed of the training, so that all of them share the features.
    maps = [augmentation.draw(len(pixels), generator(0, "view", view)) for view in range(1, config.views)]
    folder = cache / features_key(encoder, pixels, augmentation, is_bf16)
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_suffix(".lock")):
        os.utime(folder)
        delete_oldest(cache, KEPT)
        files = [folder / f"view-{view}.npy" for view in range(config.views)]
        for path, view_maps in zip(files, [None, *maps], strict=True):
            if not path.exists():
                with whole_file(path) as new, new.open("wb") as file, autocast:
                    np.save(file, _features(encoder, pixels, augmentation, view_maps))
        return CachedFeatures(encoder, torch.stack([torch.from_numpy(np.load(path)) for path in files]))


def features_key(encoder: Encoder, pixels: Pixels, augmentation: Augmentation, is_bf16: bool) -> str:
    """Return a name that changes with everything that the features depend on."""
    return fingerprint(encoder.hash(), pixels.hash(), augmentation, is_bf16, encoder.device.type)


@torch.inference_mode()
def _features(encoder: Encoder, pixels: Pixels, augmentation: Augmentation, maps: torch.Tensor | None) -> np.ndarray:
    """Compute features of every scan, float32 [N, F], augmented by its map in `maps`, [N, 2, 3], or as it is."""
    plan = torch.arange(len(pixels)).split(BATCH)
    parts = []
    with Progress(total=len(pixels), unit=" images", desc="features of a view") as bar:
        for rows, batch in zip(plan, pixels.batches(plan), strict=True):
            inputs = batch if maps is None else augmentation.apply(batch, maps[rows])
            parts.append(encoder.image_features(inputs).float().cpu())
            bar.update(len(rows))
    return torch.cat(parts).numpy()
