"""What the frozen image tower says of every scan, computed once and kept: an epoch then needs the projections alone."""

import os
import shutil
from pathlib import Path

import filelock
import numpy as np
import torch
from tqdm import tqdm

from tumorclip.files import whole_file
from tumorclip.model.encoder import Encoder
from tumorclip.model.pixels import Scans

KEPT = 4  # sets of features that stay; a set of 5,708 scans and 4 views at ViT-B/32 has 70 MB
BATCH = 64


def views(encoder: Encoder, scans: Scans, maps: list[torch.Tensor | None], apply, folder: Path) -> torch.Tensor:
    """Features of several views of each scan.

    A view that was computed before is read from `folder`; each is written as soon as it is whole, so an interruption
    costs one view. Of several runs that want the same features one computes them, and the others wait.

    Args:
        scans: N of them.
        maps: for each of V views the change of every scan, [N, ...], or None for the scans as they are.
        apply: takes pixels and their part of a view's maps, and gives the changed pixels.
        folder: named after all that the features depend on; its neighbours are older sets.

    Returns:
        float32 [V, N, F], on the CPU.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_suffix(".lock")):
        os.utime(folder)
        sets = [path for path in folder.parent.iterdir() if path.is_dir()]
        for old in sorted(sets, key=lambda path: path.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        found = []
        for number, changes in enumerate(maps):
            path = folder / f"view-{number}.npy"
            if not path.exists():
                with whole_file(path) as beside, beside.open("wb") as file:
                    np.save(file, _view(encoder, scans, changes, apply, f"features of view {number + 1}/{len(maps)}"))
            found.append(torch.from_numpy(np.load(path)))
    return torch.stack(found)


@torch.inference_mode()
def _view(encoder: Encoder, scans: Scans, maps: torch.Tensor | None, apply, title: str) -> np.ndarray:
    plan, parts = torch.arange(len(scans)).split(BATCH), []
    with tqdm(total=len(scans), unit=" images", desc=title, disable=None) as bar:
        for places, pixels in zip(plan, scans.batches(plan), strict=True):
            changed = pixels if maps is None else apply(pixels, maps[places])
            parts.append(encoder.image_features(changed).float().cpu())
            bar.update(len(places))
    return torch.cat(parts).numpy()
