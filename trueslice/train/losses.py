"""Losses by name. Each takes a batch of unit embeddings and returns a scalar, the mean over its scans."""

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Batch:
    """Input of a loss: B scans of K classes in a space of D dimensions."""

    images: torch.Tensor  # v, float32 [B, D]
    captions: torch.Tensor  # u, the caption drawn for each scan, float32 [B, D]
    classes: torch.Tensor  # t, one embedding per class, float32 [K, D]
    labels: torch.Tensor  # y, class indices, int64 [B]
    weights: torch.Tensor  # w, of each scan, 1 on average over the training set, float32 [B]
    logit_scale: torch.Tensor  # s, a scalar
    logit_bias: torch.Tensor  # b, a scalar; only the sigmoid loss knows it
    label_smoothing: float = 0.0  # share of each target that is spread evenly over all classes or captions, 0 to 1


def caption(batch: Batch) -> torch.Tensor:
    """Compute the cross-entropy of each scan against the captions of all classes.

        loss = - mean_i w_i log( exp(s v_i . t_{y_i}) / sum_k exp(s v_i . t_k) )

    It is the loss of zero-shot classification itself, so training and use agree; compared as an ablation in FLYP (Goyal
    et al. 2023, "Finetune like you pretrain", section 5).
    """
    logits = batch.logit_scale * batch.images @ batch.classes.T
    targets = functional.one_hot(batch.labels, len(batch.classes)).float()
    return _cross_entropy(logits, targets, batch)


def in_batch(batch: Batch) -> torch.Tensor:
    """Compute CLIP's own loss: each scan against the captions of its batch, and each caption against the scans.

        loss = - mean_i w_i ( log softmax_j(s v_i . u_j)[i] + log softmax_j(s u_i . v_j)[i] ) / 2

    (Radford et al. 2021, figure 3). Scans of one class are taken as each other's negatives, although they carry
    captions of the same meaning. If it is the very same caption, the first term cannot fall below the mean log of
    the number of scans in the batch that carry it: the baseline, as the original project used it.
    """
    logits = batch.logit_scale * batch.images @ batch.captions.T
    own = torch.eye(len(logits), device=logits.device)
    return (_cross_entropy(logits, own, batch) + _cross_entropy(logits.T, own, batch)) / 2


def multi_positive(batch: Batch) -> torch.Tensor:
    """Compute `in_batch` with all scans and captions of a class as each other's positives.

        loss = - mean_i w_i mean_{j: y_j = y_i} ( log softmax_j(s v_i . u_j) + log softmax_j(s u_i . v_j) ) / 2

    (UniCL, Yang et al. 2022, equations 3 and 4, halved; supervised contrastive learning, Khosla et al. 2020, equation
    2, between images and texts). If all scans of a class carried one and the same caption, it would equal `in_batch` up
    to rounding, since equal logits have equal softmax: it differs only because captions are drawn for each scan.
    """
    logits = batch.logit_scale * batch.images @ batch.captions.T
    same = (batch.labels[:, None] == batch.labels[None, :]).float()
    targets = same / same.sum(dim=1, keepdim=True)
    return (_cross_entropy(logits, targets, batch) + _cross_entropy(logits.T, targets, batch)) / 2


def sigmoid(batch: Batch) -> torch.Tensor:
    """Compute SigLIP's loss: a yes or no for every pair of scan and caption, yes if they are of one class.

        loss = - mean_i w_i sum_j log sigmoid( z_ij (s v_i . u_j + b) ),   z_ij = 1 if y_i = y_j else -1

    (Zhai et al. 2023, "Sigmoid loss for language image pre-training", equation 1, where z_ij is 1 for i = j only).
    """
    logits = batch.logit_scale * batch.images @ batch.captions.T + batch.logit_bias
    signs = 2 * (batch.labels[:, None] == batch.labels[None, :]).float() - 1
    return -(batch.weights * functional.logsigmoid(signs * logits).sum(dim=1)).mean()


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor, batch: Batch) -> torch.Tensor:
    smoothed = (1 - batch.label_smoothing) * targets + batch.label_smoothing / targets.shape[1]
    return -(batch.weights * (smoothed * functional.log_softmax(logits, dim=1)).sum(dim=1)).mean()
