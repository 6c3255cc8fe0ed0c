"""The training loop: read it top to bottom."""

import contextlib
import hashlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from tumorclip.errors import UserError
from tumorclip.model.encoder import Encoder
from tumorclip.model.pixels import BATCH, Scans
from tumorclip.train import features, temperature
from tumorclip.train import trainable as tuning
from tumorclip.train.augmentation import apply_affine, draw_affine
from tumorclip.train.distributed import Processes
from tumorclip.train.losses import OBJECTIVES, Batch
from tumorclip.train.resume import States

CHECK_EVERY = 10  # steps between looks at the loss on a GPU, which has to be waited for
LARGE = 1_000_000  # parameters of a model that gains from bf16 on a CPU
ALPHAS = [tenth / 10 for tenth in range(10, -1, -1)]


@dataclass(frozen=True)
class Settings:
    """How to fine-tune; the fields are those of the same name in params.yaml."""

    objective: str
    captions: str
    tune: str
    lora: dict
    views: int
    epochs: int
    patience: int | None
    batch_size: int
    accumulation: int
    learning_rate: float
    layer_decay: float
    weight_decay: float
    warmup_ratio: float
    max_gradient_norm: float | None
    max_logit_scale: float | None
    label_smoothing: float
    balance: str
    ema: float | None
    wise_ft: bool
    horizontal_flip: float
    rotation: float
    translation: float
    scale: float
    precision: str
    compile: bool
    seed: int


@dataclass
class History:
    """What happened: one dict per step and per epoch, the epoch whose weights were kept, and their temperature.

    Attributes:
        wise_ft_alpha: the share of the tuned weights in those that were kept; None where it was not asked for.
    """

    steps: list[dict] = field(default_factory=list)
    epochs: list[dict] = field(default_factory=list)
    best_epoch: int = 0
    temperature: float = 1.0
    wise_ft_alpha: float | None = None

    def summary(self) -> dict:
        """What metrics/train.json holds: the best epoch's figures as scalars, then those of every epoch."""
        best = self.epochs[self.best_epoch - 1]
        return {
            "best_epoch": self.best_epoch,
            **{name: value for name, value in best.items() if name not in ("epoch", "learning_rate")},
            "temperature": self.temperature,
            "wise_ft_alpha": self.wise_ft_alpha,
            "steps": len(self.steps),
            "epochs": self.epochs,
        }


class DualEncoder(nn.Module):
    """The part of a step that learns, as one module: several devices and the compiler wrap it whole.

    Inputs are scans, or their features where the towers are frozen; texts are worked out once per run as far as they
    are frozen.
    """

    def __init__(self, encoder: Encoder, tune: str, captions: list[str]):
        super().__init__()
        self.model = encoder.model
        self._encoder, self._tune = encoder, tune
        tokens = encoder.tokenize(captions)
        with torch.no_grad():
            self._texts = {
                "vision": lambda: encoder.encode_tokens(tokens),
                "projection": lambda: encoder.text_features(tokens),
            }.get(tune, lambda: tokens)()

    def forward(self, inputs: torch.Tensor, captions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Embed a batch.

        Args:
            inputs: scans, [B, C, S, S], from 0 to 255, or features, [B, F].
            captions: which of the captions, int64 [C].

        Returns:
            Unit embeddings of the inputs, [B, D], and of the captions, [C, D]; the logit scale and bias, scalars.
        """
        encoder = self._encoder
        if self._tune == "projection":
            images, texts = encoder.project_images(inputs), encoder.project_texts(self._texts[captions])
        else:
            images = encoder.encode_images(inputs)
            if self._tune == "vision":
                texts = self._texts[captions]
            else:
                texts = encoder.encode_tokens({name: values[captions] for name, values in self._texts.items()})
        bias = self.model.logit_bias.squeeze() if hasattr(self.model, "logit_bias") else images.new_zeros(())
        return images, texts, encoder.logit_scale, bias


def fine_tune(
    encoder: Encoder,
    scans: Scans,
    labels: torch.Tensor,
    train: torch.Tensor,
    validation: torch.Tensor,
    captions: list[list[str]],
    settings: Settings,
    processes: Processes | None = None,
    states: States | None = None,
    feature_folder: Path | None = None,
) -> History:
    """Fine-tune `encoder`, which ends with the weights of the best epoch.

    The best epoch is the one of the highest validation accuracy, among equals of the lowest
    validation loss; WiSE-FT's alpha is chosen in the same way, and the temperature is fitted on
    validation. No other scan than those of `train` and `validation` is looked at.

    Every epoch and every step draws from generators of its own, seeded by their number, so that a
    training which goes on from a saved state does what the uninterrupted one would have done.

    Args:
        labels: class indices, int64 [N], on the CPU.
        train, validation: places in `scans`, int64 [n], on the CPU.
        captions: the captions of each class, in the order of the class indices.
        processes: those that share the work; None for this one alone.
        states: where the state of an interrupted training is kept; None keeps none.
        feature_folder: where `tune: projection` keeps the features of frozen towers; named after
            what they depend on.

    Raises:
        UserError: settings do not fit the checkpoint or the data, the loss is no number any more,
            or the device has too little memory.
    """
    processes = processes or Processes(encoder.device)
    _check(settings, len(train), processes)
    device, model = encoder.device, encoder.model
    torch.manual_seed(settings.seed)
    untuned = tuning.copied(model.state_dict()) if settings.wise_ft else None
    tuning.choose(encoder, settings.tune, settings.objective, settings.lora)
    flat = [caption for of_class in captions for caption in of_class]
    counts = torch.tensor([len(of_class) for of_class in captions])
    first_caption = counts.cumsum(0) - counts
    class_weights = len(train) / (len(captions) * torch.bincount(labels[train], minlength=len(captions)).clamp(min=1))
    objective = OBJECTIVES[settings.objective]

    with _explaining_memory(settings):
        precision = torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(settings.precision, model, device))
        with precision:
            inputs = _inputs(encoder, scans, settings, feature_folder)
        optimizer = torch.optim.AdamW(
            tuning.parameter_groups(model, settings.learning_rate, settings.weight_decay, settings.layer_decay),
            fused=True,
        )
        learning = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        dual = processes.prepare(DualEncoder(encoder, settings.tune, flat))
        weights = tuning.learning_weights(model)  # only now: preparing may move them
        forward = torch.compile(dual) if settings.compile else dual
        highest_scale = _highest_logit_scale(model, settings.max_logit_scale)

        steps_per_epoch = math.ceil(len(train) / settings.batch_size)
        total_steps = settings.epochs * steps_per_epoch
        history, step, right = History(), 0, torch.zeros((), dtype=torch.int64, device=device)
        mean = tuning.copied(weights) if settings.ema else None
        best, best_score, losses = tuning.copied(weights), (-1.0, 0.0), []
        if state := processes.from_first(states.load() if states else None):
            history, step = History(**state["history"]), state["step"]
            right += state["right"]
            best_score = tuple(state["best_score"])
            tuning.put(state["weights"], weights)
            tuning.put(state["best"], best)
            if mean:
                tuning.put(state["mean"], mean)
            optimizer.load_state_dict(state["optimizer"])
            if processes.rank == 0:
                print(f"train: goes on after step {step} of {total_steps}")

        def look_at_losses() -> None:
            """Bring the losses of the last steps from the device into the history."""
            for number, loss in enumerate(torch.stack(losses).tolist() if losses else [], len(history.steps) + 1):
                if not math.isfinite(loss):
                    raise UserError(
                        f"the training loss is {loss} at step {number}; lower train.learning_rate "
                        f"(now {settings.learning_rate:g}) or raise train.warmup_ratio"
                    )
                rate = settings.learning_rate * learning_rate_factor(number - 1, total_steps, settings.warmup_ratio)
                history.steps.append({"step": number, "loss": loss, "learning_rate": rate})
            losses.clear()

        def save() -> None:
            look_at_losses()
            states.save(
                {
                    "step": step,
                    "right": right.item(),
                    "history": asdict(history),
                    "best_score": list(best_score),
                    "weights": weights,
                    "best": best,
                    "mean": mean,
                    "optimizer": optimizer.state_dict(),
                }
            )

        bar = tqdm(
            total=settings.epochs * len(train),
            initial=min(step * settings.batch_size, settings.epochs * len(train)),
            unit=" images",
            desc="train",
            disable=None if processes.rank == 0 else True,
        )
        for epoch in range(len(history.epochs) + 1, settings.epochs + 1):
            if settings.patience and len(history.epochs) - history.best_epoch >= settings.patience:
                break
            model.train()
            batches = _order(train, class_weights[labels[train]], settings, epoch).split(settings.batch_size)
            todo = batches[step - (epoch - 1) * steps_per_epoch :]
            # A batch is worked off in parts, each of which the processes share.
            parts = [[part for part in rows.tensor_split(settings.accumulation) if len(part)] for rows in todo]
            draws = [_generator(settings.seed, "step", step + place) for place in range(len(todo))]
            plan = (
                (processes.share(part), processes.share(inputs.draw(len(part), draw)))
                for of_batch, draw in zip(parts, draws, strict=True)
                for part in of_batch
            )
            stream = inputs.batches(plan)
            for rows, of_batch, draw in zip(todo, parts, draws, strict=True):
                factor = learning_rate_factor(step, total_steps, settings.warmup_ratio)
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * factor
                # Dropout, where a checkpoint has it, must not depend on what was drawn before an interruption.
                torch.manual_seed(draw.initial_seed() + processes.rank)
                caption_draw = _generator(settings.seed, "captions", step)
                batch_loss = torch.zeros((), device=device)
                for number, (part, values) in enumerate(zip(of_batch, stream, strict=False)):
                    targets = labels[part]
                    chosen, of_class, of_scan = _draw_captions(targets, first_caption, counts, settings, caption_draw)
                    last = number == len(of_batch) - 1
                    with contextlib.nullcontext() if last or processes.count == 1 else dual.no_sync():
                        with precision:
                            images, texts, logit_scale, logit_bias = forward(values, chosen.to(device))
                        images = processes.gather(images, len(part))
                        classes = _means(texts, of_class.to(device))
                        targets = targets.to(device)
                        loss = objective(
                            Batch(
                                images=images,
                                captions=classes[targets] if of_scan is None else texts[of_scan.to(device)],
                                classes=classes,
                                labels=targets,
                                weights=_weights(class_weights, labels[part], settings).to(device),
                                logit_scale=logit_scale,
                                logit_bias=logit_bias,
                                label_smoothing=settings.label_smoothing,
                            )
                        )
                        share = len(part) / len(rows)
                        (share * loss).backward()
                    batch_loss += share * loss.detach()
                    right += ((images.detach() @ classes.detach().T).argmax(dim=1) == targets).sum()
                if settings.max_gradient_norm:
                    nn.utils.clip_grad_norm_(learning, settings.max_gradient_norm)
                optimizer.step()
                optimizer.zero_grad()
                with torch.no_grad():
                    model.logit_scale.clamp_(max=highest_scale)
                if mean:
                    tuning.average(mean, weights, settings.ema, step)
                step += 1

                # Kept on the device: reading a value at every step would stall a GPU.
                losses.append(batch_loss)
                if device.type == "cpu" or step % CHECK_EVERY == 0:
                    look_at_losses()
                bar.update(len(rows))
                if states and states.due():
                    save()
            look_at_losses()

            trained = tuning.copied(weights) if mean else None
            if mean:
                tuning.put(mean, weights)
            model.eval()
            val_loss, val_accuracy = _validate(encoder, inputs, labels, validation, captions, processes)[:2]
            last_steps = history.steps[(epoch - 1) * steps_per_epoch :]
            sizes = [len(rows) for rows in batches]
            train_loss = sum(s["loss"] * size for s, size in zip(last_steps, sizes, strict=True)) / len(train)
            history.epochs.append(
                {
                    "epoch": epoch,
                    "train_loss": train_loss,
                    "train_accuracy": right.item() / len(train),
                    "val_loss": val_loss,
                    "val_accuracy": val_accuracy,
                    "learning_rate": last_steps[-1]["learning_rate"],
                }
            )
            bar.set_postfix(epoch=epoch, loss=f"{train_loss:.3f}", val_accuracy=f"{val_accuracy:.3f}")
            if (val_accuracy, -val_loss) > best_score:
                best_score, history.best_epoch = (val_accuracy, -val_loss), epoch
                tuning.put(weights, best)
            if mean:
                tuning.put(trained, weights)
            right.zero_()
        bar.close()

        tuning.put(best, weights)
        tuning.merge(model)
        model.eval()
        if untuned:
            history.wise_ft_alpha = _choose_alpha(untuned, encoder, inputs, labels, validation, captions, processes)
        logits = _validate(encoder, inputs, labels, validation, captions, processes)[2]
    history.temperature = temperature.fit(logits.numpy(), labels[validation].numpy())
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


class _Pixels:
    """What the image tower gets: augmented scans."""

    def __init__(self, encoder: Encoder, scans: Scans, settings: Settings):
        self._encoder, self._scans = encoder, scans
        self._augmentation = (settings.horizontal_flip, settings.rotation, settings.translation, settings.scale)

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        return draw_affine(count, generator, *self._augmentation)

    def batches(self, plan: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[torch.Tensor]:
        rows, maps = itertools.tee(plan)
        for pixels, (_, changes) in zip(self._scans.batches(row for row, _ in rows), maps, strict=True):
            yield apply_affine(pixels, changes)

    def embed(self, rows: torch.Tensor) -> torch.Tensor:
        """Unit embeddings of scans as they are, [n, D]."""
        return torch.cat([self._encoder.encode_images(batch) for batch in self._scans.batches(rows.split(BATCH))])


class _Features:
    """What the projection gets: features of a view drawn for each scan; the first view is the scan as it is."""

    def __init__(self, encoder: Encoder, values: torch.Tensor):
        self._encoder, self._values = encoder, values.to(encoder.device)

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(len(self._values), (count,), generator=generator)

    def batches(self, plan: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[torch.Tensor]:
        for rows, views in plan:
            yield self._values[views.to(self._values.device), rows.to(self._values.device)]

    def embed(self, rows: torch.Tensor) -> torch.Tensor:
        """Unit embeddings of scans as they are, [n, D]."""
        return self._encoder.project_images(self._values[0, rows.to(self._values.device)])


def _inputs(encoder: Encoder, scans: Scans, settings: Settings, folder: Path | None) -> "_Pixels | _Features":
    if settings.tune != "projection":
        return _Pixels(encoder, scans, settings)
    pixels = _Pixels(encoder, scans, settings)
    # The same views for every seed of the training, so that all of them share the features.
    maps = [None] + [pixels.draw(len(scans), _generator(0, "view", view)) for view in range(1, settings.views)]
    return _Features(encoder, features.views(encoder, scans, maps, apply_affine, folder))


def _check(settings: Settings, scans: int, processes: Processes) -> None:
    if settings.batch_size > scans:
        raise UserError(
            f"train.batch_size is {settings.batch_size}, but there are only {scans} training scans; lower it"
        )
    part = settings.batch_size // settings.accumulation
    if processes.count > part:
        raise UserError(
            f"machine.launcher starts {processes.count} processes, but train.batch_size and train.accumulation leave "
            f"them {part} scans at a time; start fewer, or raise train.batch_size"
        )


@contextlib.contextmanager
def _explaining_memory(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # On the CPU PyTorch raises a plain RuntimeError.
        if type(error) is RuntimeError and "allocate memory" not in str(error):
            raise
        raise UserError(
            f"out of memory on the device; lower train.batch_size (now {settings.batch_size}), raise "
            f"train.accumulation (now {settings.accumulation}), or set train.tune (now {settings.tune}) "
            "to vision, lora or projection"
        ) from error


def _generator(seed: int, purpose: str, number: int) -> torch.Generator:
    digest = hashlib.sha256(f"{seed} {purpose} {number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _order(train: torch.Tensor, weights: torch.Tensor, settings: Settings, epoch: int) -> torch.Tensor:
    """The scans of one epoch: each once, or drawn so that classes come equally often."""
    generator = _generator(settings.seed, "epoch", epoch)
    if settings.balance == "sampler":
        return train[torch.multinomial(weights, len(train), replacement=True, generator=generator)]
    return train[torch.randperm(len(train), generator=generator)]


def _weights(class_weights: torch.Tensor, labels: torch.Tensor, settings: Settings) -> torch.Tensor:
    return class_weights[labels] if settings.balance == "weights" else torch.ones(len(labels))


def _draw_captions(
    labels: torch.Tensor,
    first: torch.Tensor,
    counts: torch.Tensor,
    settings: Settings,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Which captions a step needs, each of them once.

    Returns:
        The captions, int64 [C]; a matrix that takes their embeddings to one per class, [K, C]; for each scan the
        place of its own caption among them, int64 [B], or None where that is its class's.
    """
    if settings.captions == "mean":
        owner = torch.repeat_interleave(torch.arange(len(counts)), counts)
        return torch.arange(int(counts.sum())), functional.one_hot(owner).T.float(), None
    of_class = first + (torch.rand(len(counts), generator=generator) * counts).long()
    if settings.objective == "caption":
        return of_class, torch.eye(len(counts)), None
    of_scan = first[labels] + (torch.rand(len(labels), generator=generator) * counts[labels]).long()
    captions, places = torch.unique(torch.cat([of_class, of_scan]), return_inverse=True)
    matrix = functional.one_hot(places[: len(counts)], len(captions)).float()
    return captions, matrix, places[len(counts) :]


def _means(texts: torch.Tensor, of_class: torch.Tensor) -> torch.Tensor:
    """One unit embedding per class, [K, D], from those of captions, [C, D]."""
    return functional.normalize(of_class @ texts, dim=-1)


def uses_bf16(precision: str, model: nn.Module, device: torch.device) -> bool:
    """Whether `precision`, as in params.yaml, means bf16 for this model on this device."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cpu":
        # Without the instructions bf16 is slower than fp32; in a small model it gains nothing: benchmarks/README.md.
        large = sum(parameter.numel() for parameter in model.parameters()) >= LARGE
        return large and torch.cpu.get_capabilities().get("avx512_bf16", False)
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _highest_logit_scale(model: nn.Module, limit: float | None) -> float:
    # A checkpoint that starts above the limit, as SigLIP does, may stay where it is.
    return max(math.log(limit), model.logit_scale.max().item()) if limit else math.inf


@torch.no_grad()
def _validate(
    encoder: Encoder,
    inputs: "_Pixels | _Features",
    labels: torch.Tensor,
    validation: torch.Tensor,
    captions: list[list[str]],
    processes: Processes,
) -> tuple[float, float, torch.Tensor]:
    """Loss, accuracy and logits, float32 [n, K] on the CPU, of the scans at `validation`."""
    images = processes.gather(inputs.embed(processes.share(validation)), len(validation))
    logits = (encoder.logit_scale * images @ encoder.encode_classes(captions).T).cpu()
    own = labels[validation]
    loss = functional.cross_entropy(logits, own).item()
    return loss, (logits.argmax(dim=1) == own).float().mean().item(), logits


def _choose_alpha(
    untuned: tuning.Weights,
    encoder: Encoder,
    inputs: "_Pixels | _Features",
    labels: torch.Tensor,
    validation: torch.Tensor,
    captions: list[list[str]],
    processes: Processes,
) -> float:
    """Leave the encoder with the interpolation that validates best."""
    weights = encoder.model.state_dict()
    tuned, scores = tuning.copied(weights), {}
    for alpha in ALPHAS:
        tuning.interpolate(untuned, tuned, alpha, weights)
        loss, accuracy, _ = _validate(encoder, inputs, labels, validation, captions, processes)
        scores[alpha] = (accuracy, -loss)
    best = max(ALPHAS, key=scores.__getitem__)
    tuning.interpolate(untuned, tuned, best, weights)
    return best
