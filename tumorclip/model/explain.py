"""Where in a scan a prediction comes from: the method that pointed at tumours best, for each kind of image tower.

benchmarks/explanations.py measures it against others; docs/explanations.md says what it is worth.
"""

import torch
from torch.nn import functional

from tumorclip.model.encoder import Encoder

CELL = 2  # pixels per side over which the gradient of a convolutional tower is averaged


def explain(
    encoder: Encoder, pixels: torch.Tensor, class_embeddings: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Show how much each place of a scan could change the log-probability of a class.

    The map is the length of the gradient of that log-probability (Simonyan et al. 2014, "Deep inside convolutional
    networks"): in a transformer with respect to the patches as they enter the first block, in a convolutional tower
    with respect to the pixels. The probability is that before the temperature.

    Args:
        pixels: as `Encoder.image_features` takes them, [B, 1 or 3, S, S].
        class_embeddings: of K classes, float32 [K, D].
        targets: the class that is explained in each scan, int64 [B].

    Returns:
        float32 [B, S, S], from 0 to 1, where 1 is the highest value of the scan.
    """
    # What a caller made in inference mode has no gradient, and a copy of it has.
    with torch.inference_mode(False), torch.enable_grad():
        grid = gradient_lengths(encoder, pixels.float().clone(), class_embeddings.clone(), targets.clone())
    return enlarged(grid, pixels.shape[-1])


def gradient_lengths(
    encoder: Encoder, pixels: torch.Tensor, class_embeddings: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """The map of `explain` on the grid of the tower, not scaled: float32 [B, g, g]."""
    pixels.requires_grad_()
    features, states = encoder.image_features_and_states(pixels)
    logits = encoder.logit_scale * encoder.project_images(features) @ class_embeddings.T
    score = logits.log_softmax(dim=1).gather(1, targets[:, None].to(logits.device)).sum()
    if states[0].ndim == 3:
        return on_grid(encoder, torch.autograd.grad(score, states[0])[0].norm(dim=-1))
    lengths = torch.autograd.grad(score, pixels)[0].norm(dim=1)
    return functional.avg_pool2d(lengths, CELL)


def on_grid(encoder: Encoder, tokens: torch.Tensor) -> torch.Tensor:
    """Lay one number for each token, [B, L], out as the patches lie in the scan: [B, g, g]."""
    side = encoder.image_size // encoder.model.config.vision_config.patch_size
    return tokens[:, -side * side :].reshape(-1, side, side)


def enlarged(grid: torch.Tensor, size: int) -> torch.Tensor:
    """Bring maps [B, g, g] to the size of the scan, between 0 and 1: float32 [B, size, size]."""
    maps = functional.interpolate(grid[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0].detach()
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
