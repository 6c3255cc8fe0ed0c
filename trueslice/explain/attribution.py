"""Heat maps of predictions, by the method that pointed at tumours best for each kind of image tower.

research/explanations.py measures it against others; docs/explanations.md says what it is worth.
"""

from itertools import product

import torch
from torch.nn import functional

from trueslice.model.encoder import Encoder

CELLS = 8  # per side: how finely a scan is covered up


def explain(
    encoder: Encoder, pixels: torch.Tensor, class_embeddings: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Show how much each place of a scan matters to the log-probability of a class, before the temperature.

    For a transformer: the length of its gradient with respect to each patch (Simonyan et al. 2014, "Deep inside
    convolutional networks", there of pixels). For a convolutional tower: how much it falls once a square is covered up
    (occlusion; Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks"), which takes 64 times as
    long as the prediction.

    From scans as `Encoder.image_features` takes them, embeddings of K classes, float32 [K, D], and the class that is
    explained in each scan, int64 [B]: float32 [B, S, S], 1 at the highest place of the scan, all 0 if none matters.
    """
    method = patch_gradients if encoder.has_patches else occlusion
    # Tensors that a caller made in inference mode have no gradient; copies of them have.
    with torch.inference_mode(False):
        grid = method(encoder, pixels.float().clone(), class_embeddings.clone(), targets.clone())
    maps = enlarged(grid, pixels.shape[-1])
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


@torch.enable_grad()
def patch_gradients(
    encoder: Encoder, pixels: torch.Tensor, class_embeddings: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Compute the norm of the gradient of each patch at the input of the first block: float32 [B, g, g]."""
    pixels.requires_grad_()  # so that there is a gradient where all weights are frozen
    features, states = encoder.image_features_and_states(pixels)
    total = log_probabilities(encoder, features, class_embeddings, targets).sum()
    (slopes,) = torch.autograd.grad(total, states[0])
    return on_grid(encoder, slopes.norm(dim=-1))


@torch.no_grad()
def occlusion(
    encoder: Encoder, pixels: torch.Tensor, class_embeddings: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Compute the fall of the log-probability, 0 or more, with each cell at the scan's mean grey: float32 [B, g, g]."""
    edges = torch.linspace(0, pixels.shape[-1], CELLS + 1).round().long().tolist()
    grey = pixels.mean(dim=(2, 3), keepdim=True)
    whole = log_probabilities(encoder, encoder.image_features(pixels), class_embeddings, targets)
    falls = pixels.new_zeros(len(pixels), CELLS, CELLS)
    for row, column in product(range(CELLS), repeat=2):
        covered = pixels.clone()
        covered[..., edges[row] : edges[row + 1], edges[column] : edges[column + 1]] = grey
        rest = log_probabilities(encoder, encoder.image_features(covered), class_embeddings, targets)
        falls[:, row, column] = whole - rest
    return falls.clamp(min=0)


def log_probabilities(
    encoder: Encoder, features: torch.Tensor, class_embeddings: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Compute the log-probability of one class for each scan, from features of the image tower: float32 [B]."""
    logits = encoder.score(features, class_embeddings)
    return logits.log_softmax(dim=1).gather(1, targets.to(logits.device)[:, None])[:, 0]


def on_grid(encoder: Encoder, tokens: torch.Tensor) -> torch.Tensor:
    """Arrange one number for each token, [B, L], as the patches are in the scan: [B, g, g]."""
    side = grid_side(encoder)
    return tokens[:, -side * side :].reshape(-1, side, side)


def enlarged(grid: torch.Tensor, size: int) -> torch.Tensor:
    """Enlarge maps [B, g, g] to float32 [B, size, size]."""
    return functional.interpolate(grid[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0].detach()


def grid_side(encoder: Encoder) -> int:
    """Return the number of values per side in a map of `explain`."""
    if not encoder.has_patches:
        return CELLS
    return encoder.image_size // encoder.model.config.vision_config.patch_size
