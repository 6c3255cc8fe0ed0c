"""The training loop: fit, run_epoch, step, loss, validate."""

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from trueslice.choices import LOSSES
from trueslice.device import to_device
from trueslice.errors import UserError
from trueslice.model.encoder import Encoder
from trueslice.params import Train
from trueslice.progress import Progress
from trueslice.records.train import Epoch
from trueslice.train import losses, temperature
from trueslice.train.captions import CaptionBatch
from trueslice.train.distributed import Processes
from trueslice.train.history import History
from trueslice.train.inputs import TrainingData, make_inputs
from trueslice.train.precision import use_fast_operations, uses_bf16
from trueslice.train.resume import States, fingerprint, generator, seed_of
from trueslice.train.trainable import DualEncoder, make_trainable, parameter_groups, training_mode
from trueslice.train.weights import Weights, average, clone, copy_into, interpolate, swapped, trainable_weights

CHECK_EVERY = 10  # steps between checks of the loss on a GPU, each of which waits for the GPU
# Messages of a plain RuntimeError: on the CPU, for pinned memory, and in cuBLAS or cuDNN.
NO_MEMORY = ("allocate memory", "out of memory", "ALLOC_FAILED")
ALPHAS = [tenth / 10 for tenth in range(10, -1, -1)]


class Trainer:
    """Fine-tuning of an encoder by `config`, the section `train` of params.yaml.

    Every epoch and every step has its own random generators, seeded by its number, so a resumed training does the same
    as an uninterrupted one. What frozen parts of the image tower give is kept in the folder `cache`.

    Raises:
        UserError: the configuration does not fit the checkpoint, the data or the processes, or memory is too small.
    """

    def __init__(
        self,
        encoder: Encoder,
        data: TrainingData,
        config: Train,
        seed: int,
        processes: Processes | None = None,
        cache: Path = Path(".cache/features"),
    ):
        self.encoder = encoder
        self.model = encoder.model
        self.device = encoder.device
        self.data = data
        self.config = config
        self.seed = seed
        self.processes = processes or Processes(encoder.device)
        _check_sizes(config, len(data.train), self.processes)
        # A name that changes with everything that the training depends on.
        self.fingerprint = fingerprint(encoder.hash(data.captions.texts), data.hash(), config, seed, self.device.type)
        torch.manual_seed(seed)
        self.pretrained = clone(self.model.state_dict()) if config.wise_ft else None
        is_bf16 = uses_bf16(config.precision, self.model, self.device)
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=is_bf16)
        if is_bf16 and self.device.type == "cpu":
            use_fast_operations(self.model)
        # A checkpoint that starts above the limit, as SigLIP does, may keep its scale.
        limit = math.log(config.max_logit_scale or math.inf)
        self.highest_logit_scale = max(limit, self.model.logit_scale.max().item())
        with _readable_errors(config):
            self.lora = make_trainable(encoder, config)
            self.inputs = make_inputs(encoder, data.pixels, config, cache)
            self.optimizer = torch.optim.AdamW(parameter_groups(self.model, config), fused=True)
            self.dual = self.processes.prepare(DualEncoder(encoder, config, data.captions.texts))
            # Otherwise the smaller last batch of the first epoch would make all later batches run with dynamic sizes.
            self.forward = torch.compile(self.dual, dynamic=False) if config.compile else self.dual
            self.weights = trainable_weights(self.model)  # only now: `prepare` may move them
            self.best = clone(self.weights)
            self.mean = clone(self.weights) if config.ema else None
        self.steps_per_epoch = math.ceil(len(data.train) / config.batch_size)
        self.total_steps = config.epochs * self.steps_per_epoch
        self.step_number = 0  # completed steps
        # Correctly classified training scans of this epoch.
        self.correct = torch.zeros((), dtype=torch.int64, device=self.device)
        self.losses: list[torch.Tensor] = []  # of the latest steps, still on the device
        self.history = History()
        self.images_trained = 0  # since this process started or resumed

    def fit(self, states: States | None = None, show: Callable[[History], None] = lambda _: None) -> History:
        """Train to the end, from a saved state if there is one, and load the weights of the best epoch.

        `show` is called after each epoch with all that has been trained.

        The best epoch, WiSE-FT's alpha and the temperature are chosen on validation scans.

        Raises:
            UserError: the loss is no longer finite, memory is too small, or the model cannot be compiled.
        """
        scans = self.config.epochs * len(self.data.train)
        with _readable_errors(self.config):
            if state := self.processes.broadcast(states.load() if states else None):
                self.load_state_dict(state)
                if self.processes.rank == 0:
                    print(f"train: goes on after step {self.step_number} of {self.total_steps}")
            done = min(self.step_number * self.config.batch_size, scans)
            with Progress(
                total=scans, initial=done, unit=" images", desc="train", disable=self.processes.rank > 0
            ) as progress:
                for epoch in range(len(self.history.epochs) + 1, self.config.epochs + 1):
                    if self.history.stalled(self.config.patience):
                        break
                    self.run_epoch(epoch, states, progress)
                    self.end_epoch(epoch, progress)
                    show(self.history)
            self.finish()
        return self.history

    def run_epoch(self, epoch: int, states: States | None, progress: Progress) -> None:
        """Train on all scans once, or on the rest of an interrupted epoch."""
        training_mode(self.model)
        done = self.step_number - (epoch - 1) * self.steps_per_epoch
        batches = self._batches(epoch)[done:]
        inputs = self.inputs.stream(self._plan(batches))
        for rows in batches:
            self.losses.append(self.step(rows, inputs))
            # Reading a value at every step would stall a GPU.
            if self.device.type == "cpu" or self.step_number % CHECK_EVERY == 0:
                self._read_losses()
            self.images_trained += len(rows)
            progress.update(len(rows))
            if states and states.due():
                states.save(self.state_dict())
        self._read_losses()

    def end_epoch(self, epoch: int, progress: Progress) -> None:
        """Validate, and save the weights if they are the best so far."""
        self.model.eval()
        steps = self.history.steps[(epoch - 1) * self.steps_per_epoch :]
        sizes = map(len, self._batches(epoch))
        scans = len(self.data.train)
        train_loss = sum(step["loss"] * size for step, size in zip(steps, sizes, strict=True)) / scans
        with swapped(self.weights, self.mean):
            val_loss, val_accuracy, _ = self.validate()
            record = Epoch(
                epoch=epoch,
                train_loss=train_loss,
                train_accuracy=self.correct.item() / scans,
                val_loss=val_loss,
                val_accuracy=val_accuracy,
                learning_rate=steps[-1]["learning_rate"],
            )
            if self.history.add_epoch(record):
                copy_into(self.best, self.weights)
        self.correct.zero_()
        progress.set_postfix_str(
            f"epoch {epoch}, loss {train_loss:.3f}, val_accuracy {val_accuracy:.3f}", refresh=False
        )

    def step(self, rows: torch.Tensor, inputs: Iterator[torch.Tensor]) -> torch.Tensor:
        """Update the weights once for the scans in `rows`, int64 [B]; `inputs` yields their parts. Return the loss."""
        factor = learning_rate_factor(self.step_number, self.total_steps, self.config.warmup_ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        # Dropout must draw the same after a resume.
        torch.manual_seed(seed_of(self.seed, "step", self.step_number) + self.processes.rank)
        random = generator(self.seed, "captions", self.step_number)
        total = torch.zeros((), device=self.device)
        parts = self._parts(rows)
        for number, part in enumerate(parts, start=1):
            with self.processes.accumulate(self.dual, last=number == len(parts)):
                share = len(part) / len(rows)
                loss = share * self.loss(part, next(inputs), self._draw_captions(part, random))
                loss.backward()
            total += loss.detach()
        if self.config.max_gradient_norm:
            parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.config.max_gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=self.highest_logit_scale)
        if self.mean and self.config.ema:
            average(self.mean, self.weights, self.config.ema, self.step_number)
        self.step_number += 1
        return total

    def loss(self, rows: torch.Tensor, inputs: torch.Tensor, drawn: CaptionBatch) -> torch.Tensor:
        """Compute the loss of the scans in `rows`, a scalar; `inputs` holds this process's shard of them."""
        captions = to_device(drawn.captions, self.device)
        if self.config.compile:
            torch._dynamo.maybe_mark_dynamic(captions, 0)  # their number changes from step to step
        with self.autocast:
            images, texts, logit_scale, logit_bias = self.forward(inputs, captions)
        images = self.processes.gather(images, len(rows))
        classes = functional.normalize(to_device(drawn.class_matrix, self.device) @ texts, dim=-1)
        labels = to_device(self.data.labels[rows], self.device)
        weights = self.data.weights[rows] if self.config.balance == "weights" else torch.ones(len(rows))
        self.correct += ((images.detach() @ classes.detach().T).argmax(dim=1) == labels).sum()
        own = drawn.scan_captions
        batch = losses.Batch(
            images=images,
            captions=classes[labels] if own is None else texts[to_device(own, self.device)],
            classes=classes,
            labels=labels,
            weights=to_device(weights, self.device),
            logit_scale=logit_scale,
            logit_bias=logit_bias,
            label_smoothing=self.config.label_smoothing,
        )
        return getattr(losses, self.config.objective)(batch)

    @torch.no_grad()
    def validate(self) -> tuple[float, float, torch.Tensor]:
        """Return mean cross-entropy, accuracy and logits, float32 [n, K], of the n validation scans."""
        rows = self.data.val
        images = self.processes.gather(self.inputs.embed(self.processes.shard(rows)), len(rows))
        classes = self.encoder.encode_classes(self.data.captions.per_class)
        logits = (self.encoder.logit_scale * images @ classes.T).cpu()
        labels = self.data.labels[rows]
        accuracy = (logits.argmax(dim=1) == labels).float().mean().item()
        return functional.cross_entropy(logits, labels).item(), accuracy, logits

    def finish(self) -> None:
        """Load the best weights, choose WiSE-FT's alpha, and fit the temperature."""
        copy_into(self.weights, self.best)
        if self.lora:
            self.lora.merge_and_unload()
        self.model.requires_grad_(False)
        self.model.eval()
        if self.pretrained:
            self.history.wise_ft_alpha = self._mix(self.pretrained)
        _, _, logits = self.validate()
        self.history.temperature = temperature.fit(logits.numpy(), self.data.labels[self.data.val].numpy())

    def state_dict(self) -> dict:
        """Return everything that a training needs to resume after this step."""
        self._read_losses()
        return {
            "step": self.step_number,
            "correct": self.correct.item(),
            "history": self.history.model_dump(),
            "weights": self.weights,
            "best": self.best,
            "mean": self.mean,
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Resume from a state that `state_dict` returned."""
        self.step_number = state["step"]
        self.correct.fill_(state["correct"])
        self.history = History(**state["history"])
        copy_into(self.weights, state["weights"])
        copy_into(self.best, state["best"])
        if self.mean:
            copy_into(self.mean, state["mean"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _batches(self, epoch: int) -> tuple[torch.Tensor, ...]:
        """Return the batches of an epoch: each scan once, or drawn so that classes are equally frequent."""
        train = self.data.train
        random = generator(self.seed, "epoch", epoch)
        if self.config.balance == "sampler":
            order = torch.multinomial(self.data.weights[train], len(train), replacement=True, generator=random)
        else:
            order = torch.randperm(len(train), generator=random)
        return train[order].split(self.config.batch_size)

    def _parts(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Return the parts of a batch for gradient accumulation; the processes share each part."""
        return [part for part in rows.tensor_split(self.config.accumulation) if len(part)]

    def _plan(self, batches: tuple[torch.Tensor, ...]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return this process's shard of each part, with its augmentation or views, from the current step on."""
        plan = []
        for step, rows in enumerate(batches, start=self.step_number):
            random = generator(self.seed, "step", step)
            for part in self._parts(rows):
                drawn = self.inputs.draw(len(part), random)
                plan.append((self.processes.shard(part), self.processes.shard(drawn)))
        return plan

    def _draw_captions(self, rows: torch.Tensor, random: torch.Generator) -> CaptionBatch:
        if self.config.captions == "mean":
            return self.data.captions.all()
        per_scan = LOSSES[self.config.objective].caption_per_scan
        return self.data.captions.draw(random, self.data.labels[rows] if per_scan else None)

    def _read_losses(self) -> None:
        """Move the losses of the latest steps from the device into the history."""
        values = torch.stack(self.losses).tolist() if self.losses else []
        self.losses.clear()
        for number, loss in enumerate(values, start=len(self.history.steps) + 1):
            if not math.isfinite(loss):
                advice = f"lower train.learning_rate (now {self.config.learning_rate:g}) or raise train.warmup_ratio"
                raise UserError(f"the training loss is {loss} at step {number}; {advice}")
            factor = learning_rate_factor(number - 1, self.total_steps, self.config.warmup_ratio)
            rate = self.config.learning_rate * factor
            self.history.steps.append({"step": number, "loss": loss, "learning_rate": rate})

    def _mix(self, pretrained: Weights) -> float:
        """Load the mixture of pretrained and tuned weights that validates best, and return its alpha."""
        weights = self.model.state_dict()
        tuned = clone(weights)

        def score(alpha: float) -> tuple[float, float]:
            interpolate(weights, pretrained, tuned, alpha)
            loss, accuracy, _ = self.validate()
            return accuracy, -loss

        best = max(ALPHAS, key=score)
        interpolate(weights, pretrained, tuned, best)
        return best


def learning_rate_factor(step: int, total_steps: int, warmup_ratio: float) -> float:
    """Return the factor of the peak rate, 0 to 1: a linear warm-up, then half a cosine (Loshchilov & Hutter 2017)."""
    warmup_steps = round(warmup_ratio * total_steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return (1 + math.cos(math.pi * (step - warmup_steps) / max(1, total_steps - warmup_steps))) / 2


def _check_sizes(config: Train, scans: int, processes: Processes) -> None:
    if config.batch_size > scans:
        raise UserError(f"train.batch_size is {config.batch_size}, but there are only {scans} training scans; lower it")
    part = config.batch_size // config.accumulation
    if processes.count > part:
        raise UserError(
            f"machine.launcher starts {processes.count} processes, but train.batch_size and train.accumulation leave "
            f"them {part} scans at a time; start fewer, or raise train.batch_size"
        )


@contextlib.contextmanager
def _readable_errors(config: Train) -> Iterator[None]:
    """Turn errors of memory and compilation into a UserError that says what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if known or any(said in str(error) for said in NO_MEMORY):
            raise UserError(
                f"out of memory on the device; lower train.batch_size (now {config.batch_size}), raise "
                f"train.accumulation (now {config.accumulation}), or set train.tune (now {config.tune}) "
                "to vision, blocks, lora or projection"
            ) from error
        if config.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"train.compile is true, but PyTorch cannot compile the model here ({reason}); install a C++ compiler "
                "such as g++, or set train.compile to false"
            ) from error
        raise
