"""Correctness and speed of training on a GPU: all in one call, without a network.

python -m benchmarks.gpu

First come the tests that are marked `gpu`. Then CLIP ViT-B/32 is trained, with random weights and on noise, tuned in
every way, in batches of three sizes, as it is and compiled: images per second, the share of what large matrix products
reach, and memory. Ten epochs over as many scans as the Kaggle data set has are timed by the clock. What matters most
is measured first, and what there was no time for is named. The results are written after each measurement, so a call
that is cut short leaves what it has. `--small` tries all of it on a CPU: a tiny model, few steps, nothing compiled.
"""

import argparse
import contextlib
import gc
import importlib
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/gpu.json"
NEEDED = (
    *("numpy", "scipy", "PIL", "torch", "transformers", "tokenizers", "safetensors", "peft", "huggingface_hub"),
    *("pydantic", "ruamel.yaml", "filelock", "psutil", "tqdm", "pytest"),
)
TUNES = ("full", "vision", "lora", "projection")
STEPS = 1000  # of an epoch
WARM_UP = 5  # steps that are not counted; the first of them compiles
MIN_STEPS = 5
TESTS = tuple(
    f"tests/{name}.py"
    for name in ("model/test_pixels", "train/test_blocks", "train/test_inputs", "train/test_loop", "train/test_gpu")
)


@dataclass(frozen=True)
class Size:
    """Amount of what is measured.

    Attributes:
        side: of the scans, in pixels.
        scans: that lie in memory.
        epoch: scans of an epoch, of the ten that are timed.
        batches: sizes of a batch, the most telling first.
        seconds: for which the steps of a line are counted.
        tests: what pytest is told.
    """

    side: int
    scans: int
    epoch: int
    batches: tuple[int, ...]
    seconds: float
    tests: tuple[str, ...]


FULL = Size(224, 1024, 5708, (512, 128, 32), 4, ("-m", "gpu", *TESTS))
SMALL = Size(64, 64, 16, (8,), 0, ("-k", "embeddings and cpu", TESTS[-1]))


@dataclass(frozen=True)
class Line:
    """One measurement: the speed of some steps, or ten epochs by the clock."""

    tune: str
    batch: int
    compile: bool = False
    ten_epochs: bool = False

    def __str__(self) -> str:
        compiled = ", compiled" if self.compile else ""
        return f"{'ten epochs of ' if self.ten_epochs else ''}{self.tune}, batch {self.batch}{compiled}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="FILE", type=Path, help="JSON to write (benchmarks/results/gpu.json)")
    parser.add_argument("--seconds", type=float, default=540, help="time for all of it (540)")
    parser.add_argument("--small", action="store_true", help="try it on the CPU; needs --out")
    options = parser.parse_args()
    if options.small and not options.out:
        parser.error("--small measures nothing of worth, so it needs a FILE of its own: --out FILE")
    end = time.monotonic() + options.seconds
    if options.small:
        os.environ["TORCHDYNAMO_DISABLE"] = "1"  # compiling would take longer than all the rest
    check_packages()
    import torch

    if not options.small and not torch.cuda.is_available():
        sys.exit("error: PyTorch finds no GPU here; --small --out FILE tries all of it on the CPU")
    size = SMALL if options.small else FULL
    result = measure_all(size, torch.device("cpu" if options.small else "cuda"), end, options.out or RESULTS)
    print(tables(result))
    if result["tests"]["failed"]:
        sys.exit(f"error: {len(result['tests']['failed'])} tests fail on this device; see above")


def check_packages() -> None:
    """End with one line where this Python lacks a package, or has it in a version that does not fit."""
    missing = []
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            is_missing = error.name and f"{name}.".startswith(f"{error.name}.")
            missing.append(name if is_missing else f"{name} ({error})")
    if not missing:
        try:
            importlib.import_module("benchmarks.speed")
            importlib.import_module("trueslice.train.loop")
        except ImportError as error:
            missing.append(f"what this project needs of another version: {error}")
    if missing:
        advice = 'install that, or put it into a folder on PYTHONPATH: docs/devices.md, "On a GPU"'
        sys.exit(f"error: this Python cannot import {', '.join(missing)}; {advice}")


def measure_all(size: Size, device, end: float, out: Path) -> dict:
    """Run the tests and measure, until `end` as `time.monotonic()` gives it; write `out` after each measurement."""
    import torch
    import transformers

    from benchmarks.speed import flops_per_image, matrix_product_flops, precisions
    from trueslice.device import device_name, repeat_exactly
    from trueslice.files import write_json

    start = time.monotonic()
    result = {
        "date": date.today().isoformat(),
        "device": device_name(device),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "epoch": size.epoch,
        "tests": run_tests(size, seconds=0.45 * (end - start)),
    }
    write_json(out, result)  # the tests' outcome stays, whatever happens next
    repeat_exactly()  # as the stage `train` does
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, size)
        result["ceiling"] = {kind: matrix_product_flops(device, getattr(torch, kind)) for kind in precisions(device)}
        result["flops_per_image"] = {tune: flops_per_image(folder, tune, scans=32) for tune in TUNES}
        result |= {"lines": [], "ten_epochs": [], "not_measured": []}
        expected = {False: 15.0, True: 90.0}  # seconds that a line takes, by whether it is compiled
        for line in plan(size):
            began = time.monotonic()
            if began + expected[line.compile] > end:
                result["not_measured"].append(str(line))
                continue
            print(f"{line} ...", file=sys.stderr, flush=True)
            result["ten_epochs" if line.ten_epochs else "lines"].append(measure(line, folder, device, size, result))
            expected[line.compile] = max(1.2 * (time.monotonic() - began), expected[line.compile] / 2)
            result["seconds"] = time.monotonic() - start
            write_json(out, result)
    write_json(out, result)
    return result


def plan(size: Size) -> list[Line]:
    """List the measurements, the most telling first."""
    first, *others = size.batches
    lines = [Line(tune, first) for tune in TUNES] + [Line("full", batch) for batch in others]
    lines += [Line("full", first, ten_epochs=True), Line("full", first, compile=True)]
    lines += [Line("full", first, compile=True, ten_epochs=True)]
    lines += [Line(tune, first, ten_epochs=True) for tune in TUNES[1:]]
    lines += [Line(tune, batch) for batch in others for tune in TUNES[1:]]
    lines += [Line(tune, batch, compile=True) for batch in size.batches for tune in TUNES]
    return list(dict.fromkeys(lines))


def run_tests(size: Size, seconds: float) -> dict:
    """The tests of the device: how many passed, which failed, and whether they came to their end in time."""
    command = [sys.executable, "-m", "pytest", "-v", "--tb=short", "-p", "no:cacheprovider", *size.tests]
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds
        )
        output, status = done.stdout, done.returncode
    except subprocess.TimeoutExpired as error:
        output, status = (error.stdout or b"").decode(errors="replace"), None
    ends = re.findall(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)", output, re.MULTILINE)
    failed = [test for test, end in ends if end in ("FAILED", "ERROR")]
    if status != 0:
        print(output, file=sys.stderr)
    if status not in (0, 1, None):  # pytest itself failed, so that no test tells
        failed.append(f"pytest ended with status {status}")
    count = {end.lower(): sum(found == end for _, found in ends) for end in ("PASSED", "SKIPPED")}
    return count | {"failed": failed, "complete": status is not None}


def write_inputs(folder: Path, size: Size) -> None:
    """Write noise, brighter from class to class, as pixels.npy, and a checkpoint with random weights beside it."""
    import numpy as np

    from benchmarks.speed import build_checkpoint
    from trueslice.checkpoints import drawn as builtin

    rng = np.random.default_rng(0)
    brightness = 40 * (4 * np.arange(size.scans) // size.scans)
    noise = rng.integers(0, 100, (size.scans, size.side, size.side)) + brightness[:, None, None]
    np.save(folder / "pixels.npy", noise.astype(np.uint8))
    if size is SMALL:
        builtin.build(folder / "checkpoint", seed=0)
    else:
        build_checkpoint(folder)


def measure(line: Line, folder: Path, device, size: Size, result: dict) -> dict:
    """Return the values of a line, or under `error` why it has none."""
    import torch

    record = {"tune": line.tune, "batch": line.batch, "compile": line.compile}
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    torch._dynamo.reset()
    try:
        shown = time_epochs(line, folder, device, size) if line.ten_epochs else time_steps(line, folder, device, size)
    except Exception as error:  # the other lines can still be measured
        return record | {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"}
    flops = shown["images_per_second"] * result["flops_per_image"][line.tune]
    return record | shown | {"of_ceiling": flops / result["ceiling"][shown["precision"]]}


def time_steps(line: Line, folder: Path, device, size: Size) -> dict:
    """Measure the speed of steps, once the first ones are over."""
    from benchmarks.peers import Enough
    from trueslice.train.distributed import peak_memory_mb

    watch = Stopwatch(device, size.seconds)
    # Whole batches only, and no end of an epoch among the steps that are counted.
    training = trainer(line, folder, device, scans=STEPS * line.batch, validation=4)
    with contextlib.suppress(Enough):
        training.fit(watch)
    return {
        "precision": precision(training),
        "images_per_second": watch.steps_per_second() * line.batch,
        "seconds_to_first_step": watch.first,
        "peak_mb": peak_memory_mb(device),
    }


def time_epochs(line: Line, folder: Path, device, size: Size) -> dict:
    """Ten epochs with validation after each, from a model on the disk to the best weights."""
    from trueslice.train.distributed import peak_memory_mb

    start = time.perf_counter()
    training = trainer(line, folder, device, scans=size.epoch, validation=-(-size.epoch // 10), epochs=10)
    ready = time.perf_counter()
    history = training.fit()  # ends with numbers on the CPU, so the GPU has done its work
    seconds = time.perf_counter() - ready
    return {
        "precision": precision(training),
        "images_per_second": 10 * size.epoch / seconds,
        "seconds_to_load": ready - start,
        "seconds": seconds,
        "val_accuracy": history.epochs[history.best_epoch - 1].val_accuracy,
        "peak_mb": peak_memory_mb(device),
    }


def trainer(line: Line, folder: Path, device, scans: int, validation: int, epochs: int = 1):
    """A training over so many scans, those in the folder again and again, with the parameters of params.yaml."""
    import numpy as np
    import torch

    from benchmarks.peers import CAPTIONS
    from benchmarks.speed import configuration
    from trueslice.model.encoder import Encoder
    from trueslice.model.pixels import Pixels
    from trueslice.train.captions import Captions
    from trueslice.train.inputs import TrainingData
    from trueslice.train.loop import Trainer

    encoder = Encoder.load(folder / "checkpoint", device)
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    data = TrainingData(
        pixels=Pixels(pixels, np.arange(len(pixels)), encoder.image_size, device),
        labels=4 * torch.arange(len(pixels)) // len(pixels),
        train=torch.arange(scans) % len(pixels),
        val=torch.arange(validation) * 7 % len(pixels),
        captions=Captions(CAPTIONS),
    )
    changes = {"epochs": epochs, "compile": line.compile}
    config = configuration(line.tune, line.batch).model_copy(update=changes)
    return Trainer(encoder, data, config, seed=0, cache=folder / "features")


def precision(training) -> str:
    return "bfloat16" if training.autocast._enabled else "float32"


class Stopwatch:
    """Times the steps after the first ones, in place of the keeper of states that `fit` asks after each step."""

    def __init__(self, device, seconds: float):
        self.device = device
        self.limit = seconds
        self.steps = 0
        self.began = time.perf_counter()

    def load(self) -> None:
        return None

    def due(self) -> bool:
        """Tell whether a state is to be saved: never.

        Raises:
            Enough: the steps that count have taken as long as they should, or this was the last of the epoch.
        """
        from benchmarks.peers import Enough

        self.steps += 1
        if self.steps == 1:
            self.first = self._now() - self.began
        if self.steps == WARM_UP:
            self.start = self._now()
        counted = self.steps - WARM_UP
        if self.steps == STEPS or (counted >= MIN_STEPS and time.perf_counter() - self.start > self.limit):
            self.seconds = self._now() - self.start
            raise Enough
        return False

    def steps_per_second(self) -> float:
        return (self.steps - WARM_UP) / self.seconds

    def _now(self) -> float:
        """The time at which the GPU has done what it was given."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def tables(result: dict) -> str:
    """Return the results as Markdown."""
    from research.markdown import table

    tests, ceiling = result["tests"], result["ceiling"]
    ended = "" if tests["complete"] else ", and not all were run for lack of time"
    rates = ", ".join(f"{value / 1e12:,.1f} TFLOP/s in {kind}" for kind, value in ceiling.items())
    heads = ["tuned", "batch", "compiled", "precision", "images/s", "of the ceiling", "peak MB"]
    lines = [_row(each, "seconds_to_first_step") for each in result["lines"]]
    text = [
        f"Measured on {result['date']} on {result['device']}, PyTorch {result['versions']['torch']}.\n"
        f"Tests: {tests['passed']} passed, {len(tests['failed'])} failed{ended}.\nLarge matrix products: {rates}.",
        table([*heads, "s to the first step"], lines),
        f"Ten epochs over {result['epoch']:,} scans, with validation:",
        table([*heads, "seconds"], [_row(each, "seconds") for each in result["ten_epochs"]]),
    ]
    if result["not_measured"]:
        text.append(f"Not measured for lack of time: {'; '.join(result['not_measured'])}.")
    return "\n\n".join(text)


def _row(record: dict, last: str) -> list[str]:
    row = [f"`{record['tune']}`", str(record["batch"]), "yes" if record["compile"] else "no"]
    if "error" in record:
        return [*row, record["error"], "", "", "", ""]
    speed, memory = (f"{record[key]:,.0f}" for key in ("images_per_second", "peak_mb"))
    return [*row, record["precision"], speed, f"{record['of_ceiling']:.2f}", memory, f"{record[last]:.1f}"]


if __name__ == "__main__":
    main()
