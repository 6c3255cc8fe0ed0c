"""Inputs of a training step: augmented scans, or what the frozen part of the image tower gives, computed once."""

import functools
import hashlib
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import filelock
import numpy as np
import torch

from trueslice.choices import TUNING
from trueslice.device import to_device
from trueslice.errors import UserError
from trueslice.files import whole_file
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import BATCH, Pixels, fits
from trueslice.params import Train
from trueslice.progress import Progress
from trueslice.tables.splits import Splits
from trueslice.train.augmentation import Augmentation
from trueslice.train.captions import Captions
from trueslice.train.precision import uses_bf16
from trueslice.train.resume import delete_oldest, fingerprint, generator
from trueslice.train.trainable import image_parts

KEPT = 4  # sets of features in the cache; of 5,708 scans and 3 views at ViT-B/32 one has 53 MB, of states 2.6 GB

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
    """Output of the frozen part of an image tower for V views of each scan, the first without augmentation.

    Each use of a scan draws a view. All are kept on the device if they fit; else each use reads the rows from the disk.
    """

    def __init__(self, device: torch.device, views: list[torch.Tensor], embed: Callable, resident: bool | None = None):
        self._device = device
        self._embed = embed  # from features, or states, to unit embeddings
        self._views = views  # mapped files, float32 [N, F], [N, L, C] or [N, C, H, W] each
        if resident is None:
            resident = fits(sum(view.nbytes for view in views), device)
        self._resident = torch.stack(views).to(device) if resident else None

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw a view for each of `count` scans."""
        return torch.randint(len(self._views), (count,), generator=generator)

    def stream(self, plan: Plan) -> Iterator[torch.Tensor]:
        """Yield the features of each batch of `plan`: float32 [B, ...]."""
        for rows, views in plan:
            yield self._take(rows, views)

    def embed(self, rows: torch.Tensor) -> torch.Tensor:
        """Return unit embeddings of scans without augmentation: float32 [n, D]."""
        return torch.cat([self._embed(self._take(part, torch.zeros_like(part))) for part in rows.split(BATCH)])

    def _take(self, rows: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        if self._resident is not None:
            return self._resident[to_device(views, self._device), to_device(rows, self._device)]
        batch = torch.stack([self._views[view][row] for row, view in zip(rows.tolist(), views.tolist(), strict=True)])
        return to_device(batch.pin_memory() if self._device.type == "cuda" else batch, self._device)


def make_inputs(encoder: Encoder, pixels: Pixels, config: Train, cache: Path) -> AugmentedPixels | CachedFeatures:
    """Make the inputs that `config.tune` needs; features are read from the folder `cache`, or saved there.

    Raises:
        UserError: the disk has no room for the features.
    """
    augmentation = Augmentation.of(config)
    freeze, embed = image_parts(encoder, config)
    if freeze is None:
        return AugmentedPixels(encoder, pixels, augmentation)
    is_bf16 = uses_bf16(config.precision, encoder.model, encoder.device)
    # The same views for every seed of the training, so that all of them share the features.
    maps = [augmentation.draw(len(pixels), generator(0, "view", view)) for view in range(1, config.views)]
    blocks = config.blocks if TUNING[config.tune].images == "states" else 0
    folder = cache / features_key(encoder, pixels, augmentation, is_bf16, blocks)
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_suffix(".lock")):
        os.utime(folder)
        delete_oldest(cache, KEPT)
        files = [folder / f"view-{view}.npy" for view in range(config.views)]
        missing = {path: drawn for path, drawn in zip(files, [None, *maps], strict=True) if not path.exists()}
        with torch.inference_mode(), torch.autocast(encoder.device.type, torch.bfloat16, enabled=is_bf16):
            if missing:
                shape = (len(pixels), *freeze(pixels.take(torch.arange(1))).shape[1:])
                _check_room(4 * math.prod(shape) * len(missing), cache, config)
            for path, drawn in missing.items():
                _save(path, shape, map(freeze, _view(pixels, augmentation, drawn)))
        # Nothing is written to them, but PyTorch warns of arrays that are read-only.
        views = [torch.from_numpy(np.load(path, mmap_mode="c")) for path in files]
    return CachedFeatures(encoder.device, views, embed)


def features_key(encoder: Encoder, pixels: Pixels, augmentation: Augmentation, is_bf16: bool, blocks: int = 0) -> str:
    """Return a name that changes with everything that the features depend on."""
    return fingerprint(encoder.hash(), pixels.hash(), augmentation, is_bf16, encoder.device.type, blocks)


def _check_room(size: int, cache: Path, config: Train) -> None:
    """Raise a UserError if the disk of the cache has less than `size` bytes free."""
    free = shutil.disk_usage(cache).free
    if size > free:
        raise UserError(
            f"train.tune is {config.tune}, which keeps {size / 1e6:,.0f} MB in {cache}, and {free / 1e6:,.0f} MB are "
            f"free there; make room, lower train.views (now {config.views}), or take vision"
        )


def _save(path: Path, shape: tuple[int, ...], batches: Iterable[torch.Tensor]) -> None:
    """Write an array of `shape` batch by batch, as it may be larger than the memory."""
    with whole_file(path) as new, new.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for batch in batches:
            file.write(batch.float().cpu().contiguous().numpy())


def _view(pixels: Pixels, augmentation: Augmentation, maps: torch.Tensor | None) -> Iterator[torch.Tensor]:
    """Yield every scan once, in batches, augmented by its map in `maps`, [N, 2, 3], or as it is."""
    plan = torch.arange(len(pixels)).split(BATCH)
    with Progress(total=len(pixels), unit=" images", desc="features of a view") as bar:
        for rows, batch in zip(plan, pixels.batches(plan), strict=True):
            yield batch if maps is None else augmentation.apply(batch, maps[rows])
            bar.update(len(rows))
