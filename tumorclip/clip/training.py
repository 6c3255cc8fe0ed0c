"""The training loop: read it top to bottom."""

import copy
import math
from dataclasses import dataclass, field

import torch
from torch.nn import functional
from tqdm import tqdm

from tumorclip.clip import temperature
from tumorclip.clip.augmentation import random_affine
from tumorclip.clip.encoder import Encoder
from tumorclip.clip.objectives import OBJECTIVES
from tumorclip.errors import UserError


@dataclass(frozen=True)
class Settings:
    """How to fine-tune; the fields are those of the same name in params.yaml."""

    objective: str
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_ratio: float
    horizontal_flip: float
    rotation: float
    translation: float
    scale: float
    seed: int


@dataclass
class History:
    """What happened: one dict per step and per epoch, the epoch whose weights were kept, and their temperature."""

    steps: list[dict] = field(default_factory=list)
    epochs: list[dict] = field(default_factory=list)
    best_epoch: int = 0
    temperature: float = 1.0


def fine_tune(
    encoder: Encoder,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    train: torch.Tensor,
    validation: torch.Tensor,
    captions: list[list[str]],
    settings: Settings,
) -> History:
    """Fine-tune both towers of `encoder`, which ends with the weights of the best epoch.

    The best epoch is the one of the highest validation accuracy, among equals of the lowest
    validation loss; its temperature is fitted on validation. No other scan than those of `train`
    and `validation` is looked at.

    Args:
        pixels: all scans, uint8 [N, C, S, S], on the encoder's device.
        labels: class indices, int64 [N], on the same device.
        train, validation: rows of `pixels`, int64 [n], on the CPU.
        captions: the captions of each class, in the order of the class indices.

    Raises:
        UserError: the batch is larger than the training set, or the loss is no number any more.
    """
    if settings.batch_size > len(train):
        raise UserError(
            f"train.batch_size is {settings.batch_size}, but there are only {len(train)} training scans; lower it"
        )
    device, model = encoder.device, encoder.model
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    objective = OBJECTIVES[settings.objective]
    tokens = encoder.tokenize([caption for of_class in captions for caption in of_class])
    caption_counts = torch.tensor([len(of_class) for of_class in captions])
    first_caption = caption_counts.cumsum(0) - caption_counts

    steps_per_epoch = math.ceil(len(train) / settings.batch_size)
    total_steps = settings.epochs * steps_per_epoch
    optimizer = torch.optim.AdamW(_parameter_groups(model, settings), lr=settings.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, total_steps, settings.warmup_ratio)
    )
    history, best_weights, best_score = History(), None, (-1.0, 0.0)

    with tqdm(total=settings.epochs * len(train), unit=" images", desc="train", disable=None) as bar:
        for epoch in range(1, settings.epochs + 1):
            model.train()
            losses, rates, correct = [], [], torch.zeros((), dtype=torch.int64, device=device)
            order = train[torch.randperm(len(train), generator=generator)]
            for rows in order.split(settings.batch_size):
                chosen = first_caption + (torch.rand(len(captions), generator=generator) * caption_counts).long()
                batch, targets = pixels[rows.to(device)], labels[rows.to(device)]
                images = encoder.encode_images(
                    random_affine(
                        batch,
                        generator,
                        settings.horizontal_flip,
                        settings.rotation,
                        settings.translation,
                        settings.scale,
                    )
                )
                classes = encoder.encode_tokens({name: values[chosen.to(device)] for name, values in tokens.items()})
                loss = objective(images, classes, targets, encoder.logit_scale)

                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rates.append(schedule.get_last_lr()[0])
                schedule.step()

                # Kept on the device: reading a value at every step would stall a GPU.
                losses.append(loss.detach())
                correct += ((images.detach() @ classes.detach().T).argmax(dim=1) == targets).sum()
                bar.update(len(rows))

            first_step = len(history.steps) + 1
            for step, (loss, rate) in enumerate(zip(torch.stack(losses).tolist(), rates, strict=True), first_step):
                if not math.isfinite(loss):
                    raise UserError(
                        f"the training loss is {loss} at step {step}; lower train.learning_rate "
                        f"(now {settings.learning_rate:g}) or raise train.warmup_ratio"
                    )
                history.steps.append({"step": step, "loss": loss, "learning_rate": rate})
            val_loss, val_accuracy = _validate(encoder, pixels[validation.to(device)], labels[validation], captions)
            sizes = [len(rows) for rows in order.split(settings.batch_size)]
            epoch_losses = [record["loss"] for record in history.steps[first_step - 1 :]]
            train_loss = sum(loss * size for loss, size in zip(epoch_losses, sizes, strict=True)) / len(train)
            history.epochs.append(
                {
                    "epoch": epoch,
                    "train_loss": train_loss,
                    "train_accuracy": correct.item() / len(train),
                    "val_loss": val_loss,
                    "val_accuracy": val_accuracy,
                    "learning_rate": rates[-1],
                }
            )
            bar.set_postfix(epoch=epoch, loss=f"{train_loss:.3f}", val_accuracy=f"{val_accuracy:.3f}")
            if (val_accuracy, -val_loss) > best_score or best_weights is None:
                best_score, history.best_epoch = (val_accuracy, -val_loss), epoch
                best_weights = copy.deepcopy(model.state_dict())

    model.load_state_dict(best_weights)
    model.eval()
    logits = encoder.logits(pixels[validation.to(device)], encoder.encode_classes(captions))
    history.temperature = temperature.fit(logits.numpy(), labels[validation].cpu().numpy())
    return history


def learning_rate_factor(step: int, total_steps: int, warmup_ratio: float) -> float:
    """Linear rise over the first steps, then half a cosine to 0 (Loshchilov & Hutter 2017, eq. 5).

    Args:
        step: steps already taken, from 0 to `total_steps`.

    Returns:
        The factor on the peak learning rate, 0 to 1.
    """
    warmup_steps = round(warmup_ratio * total_steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return (1 + math.cos(math.pi * (step - warmup_steps) / max(1, total_steps - warmup_steps))) / 2


def _parameter_groups(model: torch.nn.Module, settings: Settings) -> list[dict]:
    # Biases, norms and the logit scale have no direction to shrink: decay is for matrices.
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


@torch.inference_mode()
def _validate(
    encoder: Encoder, pixels: torch.Tensor, labels: torch.Tensor, captions: list[list[str]]
) -> tuple[float, float]:
    encoder.model.eval()
    logits = encoder.logits(pixels, encoder.encode_classes(captions))
    labels = labels.cpu()
    loss = functional.cross_entropy(logits, labels).item()
    return loss, (logits.argmax(dim=1) == labels).float().mean().item()
