"""The losses. Each takes unit embeddings and gives a scalar, the mean over the scans of a batch."""

import torch
from torch.nn import functional


def caption_loss(
    images: torch.Tensor, classes: torch.Tensor, labels: torch.Tensor, logit_scale: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of each scan against the captions of all classes.

    With image embedding v_i, class embeddings t_1 .. t_K and scale s:

        loss = - mean_i log( exp(s v_i . t_{y_i}) / sum_k exp(s v_i . t_k) )

    It is the loss of zero-shot classification itself, so training and use agree; compared as an
    ablation in FLYP (Goyal et al. 2023, "Finetune like you pretrain", section 5).

    Args:
        images: [B, D].
        classes: one caption per class, [K, D].
        labels: class indices, int64 [B].
        logit_scale: scalar.
    """
    return functional.cross_entropy(logit_scale * images @ classes.T, labels)


def in_batch_loss(
    images: torch.Tensor, classes: torch.Tensor, labels: torch.Tensor, logit_scale: torch.Tensor
) -> torch.Tensor:
    """CLIP's own loss: each scan against the captions of its batch, and each caption against the scans.

    With u_i the caption of scan i, which it shares with its class here:

        loss = - mean_i ( log softmax_j(s v_i . u_j)[i] + log softmax_j(s u_i . v_j)[i] ) / 2

    (Radford et al. 2021, figure 3). Scans of one class carry the same caption and are still taken as
    each other's negatives, so the first term cannot fall below the mean log of the number of
    same-class scans in the batch: the baseline, as the original project used it.

    Arguments as for `caption_loss`.
    """
    logits = logit_scale * images @ classes[labels].T
    own = torch.arange(len(images), device=images.device)
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


OBJECTIVES = {"caption": caption_loss, "in_batch": in_batch_loss}
