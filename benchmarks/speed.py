"""Speed of training: the original project's method, two other trainers, and this project, side by side.

python -m benchmarks.speed

CLIP ViT-B/32 with random weights on drawn scans, which are JPEGs of 512 x 512 pixels as in the Kaggle data. Every
line is measured in a process of its own, so that the peak memory is its own, with the ceiling, a large matrix product,
just before it. It takes MINUTES at most: each line has its share of the time that is left, and one that takes more is
ended and left out, as is one that this machine has no instructions or no package for. Writes
benchmarks/results/speed.json and prints the tables of README.md.
"""

import contextlib
import importlib.util
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from benchmarks import peers
from benchmarks.peers import CAPTIONS, CLASSES, EPOCH, LEARNING_RATE, MIN_STEPS, Clock, Enough, ReadScans
from research.markdown import table
from trueslice.checkpoints import drawn as builtin
from trueslice.device import device_name, pick_device
from trueslice.errors import UserError
from trueslice.files import write_json
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import Pixels
from trueslice.params import Train, load
from trueslice.sources import phantom
from trueslice.train.augmentation import Augmentation, source_grid
from trueslice.train.captions import Captions
from trueslice.train.distributed import peak_memory_mb
from trueslice.train.inputs import TrainingData
from trueslice.train.loop import Trainer
from trueslice.train.precision import gains_by_bf16, uses_bf16

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/speed.json"
MINUTES = 14
TUNES = ("full", "vision", "lora", "projection")
BLOCKS = {f"blocks_{count}": {"tune": "blocks", "blocks": count} for count in (4, 2, 1)}
PEERS = {
    "original": peers.original,
    "trainer": peers.trainer,
    "trainer_bf16": partial(peers.trainer, bf16=True),
    "open_clip": peers.open_clip,
    "open_clip_short": partial(peers.open_clip, tokens=peers.TOKENS),
    "open_clip_bf16": partial(peers.open_clip, tokens=peers.TOKENS, bf16=True),
}
VARIANTS = {"fp32": {"precision": "fp32"}, "compiled": {"compile": True}, **BLOCKS}
NAMES = {
    "original": "the original's method",
    "trainer": "Hugging Face Trainer",
    "trainer_bf16": "Hugging Face Trainer, `bf16=True`",
    "open_clip": "open_clip",
    "open_clip_short": f"open_clip, captions of {peers.TOKENS} tokens",
    "open_clip_bf16": f"open_clip, captions of {peers.TOKENS} tokens, `--precision amp_bf16`",
    "fp32": "ours, `full`, `precision: fp32`",
    **{tune: f"ours, `{tune}`" for tune in TUNES},
    "projection": "ours, `projection`, from cached features",
    "compiled": "ours, `full`, `compile: true`",
    **{name: f"ours, `blocks: {each['blocks']}`, from cached states" for name, each in BLOCKS.items()},
}
LINES = (
    *("original 8", "trainer 8", "trainer 32", "trainer_bf16 32"),
    *("open_clip 32", "open_clip_short 32", "open_clip_bf16 32", "fp32 32"),
    *(f"{tune} {size}" for tune in TUNES for size in (8, 32)),
    *(f"{name} 32" for name in BLOCKS),
    "compiled 32",
)


def main() -> None:
    if len(sys.argv) > 1:
        line, folder, until = sys.argv[1:]
        print(json.dumps(measure(line, Path(folder), float(until))))
        return
    until = time.time() + 60 * MINUTES
    with TemporaryDirectory() as folder:
        # Few: a slow CPU must compute their features and states within the share of a line.
        draw_scans(Path(folder), per_class=16)
        build_checkpoint(Path(folder))
        result = measure_all(LINES, folder, until)
    write_json(RESULTS, result)
    print(tables(result))


def measure_all(lines: Sequence[str], folder: str, until: float) -> dict:
    """Measure `lines` and OTHERS, and end at `until`, as `time.time()` gives it."""
    device = torch.device(pick_device("auto", "train.device"))
    rows, left_out = [], []
    flops, _ = in_process("count", folder, until, lines=4)
    for done, line in enumerate(lines):
        method, _, size = line.partition(" ")
        row, reason = {}, reason_against(method, device)
        if not reason:
            row, reason = in_process(line, folder, until, len(lines) - done + len(OTHERS))
        row = {"method": method, "batch": int(size)} | row
        if reason:
            left_out.append(row | {"reason": reason})
        else:
            rows.append(row)
        print(f"{line}: {reason or row}", file=sys.stderr)
    others, _ = in_process("others", folder, until, lines=1)
    return {
        "device": device_name(device),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "pytorch": torch.__version__,
        "ceilings": {
            precision: statistics.median(row["ceilings"][precision] for row in rows)
            for precision in precisions(device)
            if rows
        },
        "flops_per_image": flops,
        "lines": rows,
        "left_out": left_out,
        "others": others,
    }


def reason_against(method: str, device: torch.device) -> str | None:
    """Return the reason why a method can't be measured on this machine; None if it can."""
    if method.startswith("open_clip") and importlib.util.find_spec("open_clip_train") is None:
        return "open_clip_torch is not installed"
    if method.endswith("bf16") and not gains_by_bf16(device):
        return "bf16 is not faster than fp32 on this machine"
    if method == "fp32" and not gains_by_bf16(device):
        return "the same as `full`, since bf16 is not faster than fp32 on this machine"
    return None


def in_process(line: str, folder: str, until: float, lines: int) -> tuple[dict, str | None]:
    """Measure a line in a process of its own, which has its share of the time if so many lines are still to come.

    Returns what was measured and None, or nothing and the reason.
    """
    left = max(until - time.time(), 0)
    share = left / (lines + 1)
    command = [sys.executable, "-m", "benchmarks.speed", line, folder, str(time.time() + share)]
    try:
        # A step cannot be left half way: the process may finish it, but not take from the others without end.
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=min(2 * share, left))
    except subprocess.TimeoutExpired:
        return {}, f"too slow for this machine: no two steps within {min(2 * share, left):.0f} seconds"
    if done.returncode < 0:
        return {}, f"ended by signal {-done.returncode}, as happens where memory is too small"
    if done.returncode:
        return {}, f"failed with status {done.returncode}; its message stands in the log"
    found = json.loads(done.stdout.splitlines()[-1])
    return found, found.pop("reason", None)


def draw_scans(folder: Path, per_class: int) -> None:
    """Write scans of every class, as JPEGs and as an array."""
    phantom.draw(folder / "drawn", seed=0, train_per_class=per_class, test_per_class=0, workers=1)
    pixels = []
    for path in sorted((folder / "drawn/Training").rglob("*.jpg")):
        scan = Image.open(path)
        pixels.append(np.asarray(scan.resize((224, 224))))
        large = folder / "scans" / path.parent.name / path.name
        large.parent.mkdir(parents=True, exist_ok=True)
        scan.resize((512, 512)).save(large, quality=90)
    np.save(folder / "pixels.npy", np.stack(pixels))


def build_checkpoint(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    builtin.build(folder / "tiny", seed=0)
    tokenizer = CLIPProcessor.from_pretrained(folder / "tiny").tokenizer
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=ends)).save_pretrained(folder / "checkpoint")
    CLIPProcessor(image_processor=CLIPImageProcessor(), tokenizer=tokenizer).save_pretrained(folder / "checkpoint")


def measure(line: str, folder: Path, until: float) -> dict:
    """Measure one line in this process, or say under `reason` why it cannot be."""
    device = torch.device(pick_device("auto", "train.device"))
    if line == "count":
        return {method: flops_per_image(folder, method) for method in (*TUNES, *BLOCKS)}
    if line == "others":
        return {name: function(folder, device) for name, function in OTHERS.items()}
    method, _, size = line.partition(" ")
    ceilings = {precision: matrix_product_flops(device, getattr(torch, precision)) for precision in precisions(device)}
    clock = Clock(device, until)
    try:
        with contextlib.suppress(Enough):
            if method in PEERS:
                PEERS[method](folder, int(size), clock)
            else:
                ours(folder, method, int(size), clock)
    except UserError as error:  # no compiler, or too little memory
        return {"reason": str(error)}
    return {
        "precision": clock.precision,
        "images_per_second": clock.steps_per_second() * int(size),
        "steps": len(clock.counted()) - 1,
        "seconds_to_first_step": clock.times[0] - clock.start,
        "peak_mb": peak_memory_mb(device),
        "ceilings": ceilings,
    }


def ours(folder: Path, method: str, batch_size: int, clock: Clock, scans: int | None = None) -> None:
    encoder = Encoder.load(folder / "checkpoint", clock.device)
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")[:scans]
    # As many scans as the Kaggle data set has, the drawn ones again and again.
    train = torch.arange(EPOCH) % len(pixels)
    data = TrainingData(
        pixels=Pixels(pixels, np.arange(len(pixels)), encoder.image_size, clock.device),
        labels=torch.arange(len(pixels)) // (len(pixels) // len(CLASSES)),
        train=train,
        val=train[:4],
        captions=Captions(CAPTIONS),
    )
    config = configuration(method, batch_size)
    clock.precision = "bfloat16" if uses_bf16(config.precision, encoder.model, clock.device) else "float32"
    Trainer(encoder, data, config, seed=0, cache=folder / "features").fit(clock)


def configuration(method: str, batch_size: int) -> Train:
    """Section `train` of params.yaml for one line of the table."""
    changes = {"tune": method if method in TUNES else "full", "batch_size": batch_size, "epochs": 1000}
    changes |= {"learning_rate": LEARNING_RATE} | VARIANTS.get(method, {})
    return load(ROOT / "params.yaml").train.model_copy(update=changes)


def flops_per_image(folder: Path, method: str, scans: int | None = None) -> float:
    """Floating-point operations of the matrix products in one step, per image; of the first `scans` drawn ones."""
    from torch.utils.flop_counter import FlopCounterMode

    class Counts(Clock):
        def due(self) -> bool:
            self.times.append(counter.get_total_flops())
            if len(self.times) > 1:
                raise Enough
            return False

    counts = Counts(torch.device("cpu"), until=0)
    with FlopCounterMode(display=False) as counter, contextlib.suppress(Enough):
        ours(folder, method, 32, counts, scans)
    return (counts.times[1] - counts.times[0]) / 32


def precisions(device: torch.device) -> list[str]:
    """Return the precisions worth measuring; without instructions for it, bf16 may take a hundred times as long."""
    return ["float32", "bfloat16"] if gains_by_bf16(device) else ["float32"]


def matrix_product_flops(device: torch.device, kind: torch.dtype) -> float:
    """Measure the speed of the machine in large matrix products: the best of a second."""
    side = 8192 if device.type == "cuda" else 2048
    left, right = torch.randn(2, side, side, device=device, dtype=kind)
    best, end = 0.0, time.perf_counter() + 1
    while time.perf_counter() < end:
        start = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best


def reading(folder: Path, device: torch.device) -> float:
    """the original's method: decoded, preprocessed, tokenized"""
    scans = ReadScans(folder)
    places = itertools.cycle(range(len(scans)))
    return repeated(lambda: len([scans[next(places)]["pixel_values"].to(device)]), device)


def taking(folder: Path, device: torch.device) -> float:
    """ours: pixels on the device, as the image tower takes them"""
    return repeated(lambda: sum(len(batch) for batch in _batches(folder, device)), device)


def augmenting(folder: Path, device: torch.device) -> float:
    """ours, flipped, turned, shifted and zoomed"""
    generator = torch.Generator().manual_seed(0)
    augmentation = Augmentation.of(load(ROOT / "params.yaml").train)

    def once() -> int:
        return sum(
            len(augmentation.apply(batch, augmentation.draw(len(batch), generator)))
            for batch in _batches(folder, device)
        )

    return repeated(once, device)


def sampling(folder: Path, device: torch.device) -> float:
    """of that, PyTorch's `grid_sample` alone"""
    batch = next(_batches(folder, device)).float()
    maps = Augmentation.of(load(ROOT / "params.yaml").train).draw(len(batch), torch.Generator().manual_seed(0))
    grid = source_grid(maps.to(device), batch.shape[-1])
    return repeated(lambda: len(functional.grid_sample(batch, grid, align_corners=False)), device)


OTHERS = {function.__name__: function for function in (reading, taking, augmenting, sampling)}


def _batches(folder: Path, device: torch.device):
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    scans = Pixels(pixels, np.arange(len(pixels)), 224, device)
    return scans.batches(torch.randperm(len(pixels)).split(32))


def repeated(once: Callable[[], int], device: torch.device) -> float:
    """Images per second of `once`, which returns how many it worked on."""
    once()
    start, count = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < 5:
        count += once()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return count / seconds


def tables(result: Mapping) -> str:
    """Return the tables of README.md, and the lines that were left out."""
    short = {"float32": "fp32", "bfloat16": "bf16"}
    rates = (f"{value / 1e9:,.0f} GFLOP/s in {short[name]}" for name, value in result["ceilings"].items())
    first = next((row for row in result["lines"] if row["method"] == "original"), None)
    rows = []
    for row in result["lines"]:
        speed, memory, flops = row["images_per_second"], row["peak_mb"], result["flops_per_image"]
        share = speed * flops.get(row["method"], flops.get("full", 0)) / result["ceilings"][row["precision"]]
        of_ceiling = f"{share:.2f}" if share and row["method"] != "projection" else "–"
        faster = f"{speed / first['images_per_second']:,.2f}" if first else "–"
        larger = f"{memory / first['peak_mb']:.2f}" if first else "–"
        cells = [NAMES[row["method"]], short[row["precision"]], row["batch"], f"{speed:,.1f}", faster, of_ceiling]
        rows.append([*cells, f"{EPOCH / speed:,.1f}", f"{memory:,.0f}", larger])
    columns = "method | precision | batch | images/s | × original | of the ceiling | s per epoch | peak MB | × original"
    others = [[OTHERS[name].__doc__, f"{rate:,.0f}"] for name, rate in result["others"].items()]
    told = [f"Left out: {NAMES[row['method']]}, batch {row['batch']}: {row['reason']}." for row in result["left_out"]]
    few = [row for row in result["lines"] if row["steps"] < MIN_STEPS]
    told += [f"Of few steps: {NAMES[row['method']]}, batch {row['batch']}: {row['steps']}." for row in few]
    lines = [f"Large matrix products: {', '.join(rates)}.", table(columns.split(" | "), rows)]
    lines += [table(["scans made ready", "images/s"], others), "\n".join(f"- {each}" for each in told)]
    return "\n\n".join(lines)


if __name__ == "__main__":
    main()
