"""How fast training is: the original project's method, the Hugging Face Trainer, and this project, side by side.

python -m benchmarks.speed

CLIP ViT-B/32 with random weights on drawn scans, which are JPEGs of 512 x 512 pixels as in the Kaggle data. Every
line is measured in a process of its own, so that the peak memory is its own; the ceiling, a matrix product, is
measured between them, in bf16 only where the machine has instructions for it. At the end the tables of
docs/results.md are printed.
"""

import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from tumorclip.data.sources import phantom
from tumorclip.device import pick_device
from tumorclip.model import builtin
from tumorclip.model.encoder import Encoder
from tumorclip.model.pixels import Pixels
from tumorclip.params import Train, load
from tumorclip.train.augmentation import Augmentation
from tumorclip.train.captions import Captions
from tumorclip.train.distributed import peak_memory_mb
from tumorclip.train.inputs import TrainingData
from tumorclip.train.loop import Trainer
from tumorclip.train.precision import uses_bf16

ROOT = Path(__file__).parents[1]
EPOCH = 5708  # scans in the Training folder of the Kaggle data set
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
# The byte tokenizer makes 13 tokens of each, as many as CLIP's own makes of a caption such as those in params.yaml.
CAPTIONS = [["glioma scan."], ["meningioma s"], ["no tumour sca"], ["pituitary sc"]]
TUNES = ("full", "vision", "lora", "projection")
NAMES = {"original": "the original's method", "trainer": "Hugging Face Trainer"}
NAMES |= {tune: f"ours, `{tune}`" for tune in TUNES}
NAMES |= {"fp32": "ours, `full`, `precision: fp32`", "compiled": "ours, `full`, `compile: true`"}
LEARNING_RATE = 1e-5
WARM_UP, MIN_STEPS = 3, 4  # steps that are not counted, and how many are, at least
SECONDS = 20  # how long each line is measured, at least
LINES = (
    *("original 8", "trainer 8", "trainer 32"),
    *(f"{tune} {size}" for tune in TUNES for size in (8, 32)),
    *("fp32 32", "compiled 32"),
)
VARIANTS = {"fp32": {"precision": "fp32"}, "compiled": {"compile": True}}
STAGES = ("download", "checkpoint", "verify", "split", "train", "predict", "baselines", "evaluate", "plot")


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
        return
    with TemporaryDirectory() as folder:
        prepare(Path(folder))
        flops = {tune: in_process(f"count {tune}", folder)["flops"] for tune in TUNES}
        results, ceilings = {}, []
        for line in LINES:
            ceilings.append(in_process("ceiling", folder))
            results[line] = in_process(line, folder)
            print(f"{line}: {results[line]}, ceilings {ceilings[-1]}", file=sys.stderr)
        ceiling = {precision: statistics.median(each[precision] for each in ceilings) for precision in ceilings[0]}
        others = {name: in_process(name, folder)["images_per_second"] for name in OTHERS}
        print_tables(results, flops, ceiling, others)


def in_process(line: str, folder: str) -> dict:
    command = [sys.executable, "-m", "benchmarks.speed", line, folder]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])


def prepare(folder: Path) -> None:
    """Write 256 scans, as JPEGs and as an array, and the checkpoint."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    phantom.draw(folder / "drawn", seed=0, train_per_class=64, test_per_class=0, workers=1)
    pixels = []
    for path in sorted((folder / "drawn/Training").rglob("*.jpg")):
        scan = Image.open(path)
        pixels.append(np.asarray(scan.resize((224, 224))))
        large = folder / "scans" / path.parent.name / path.name
        large.parent.mkdir(parents=True, exist_ok=True)
        scan.resize((512, 512)).save(large, quality=90)
    np.save(folder / "pixels.npy", np.stack(pixels))

    builtin.build(folder / "tiny", seed=0)
    tokenizer = CLIPProcessor.from_pretrained(folder / "tiny").tokenizer
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=ends)).save_pretrained(folder / "checkpoint")
    CLIPProcessor(image_processor=CLIPImageProcessor(), tokenizer=tokenizer).save_pretrained(folder / "checkpoint")


def measure(line: str, folder: Path) -> dict:
    device = torch.device(pick_device("auto", "train.device"))
    kind, _, size = line.partition(" ")
    if kind == "ceiling":
        return {kind: matrix_product_flops(device, getattr(torch, kind)) for kind in fast_precisions(device)}
    if kind in OTHERS:
        return {"images_per_second": OTHERS[kind](folder, device)}
    if kind == "count":
        return {"flops": flops_per_image(folder, size)}
    clock = Clock(device)
    methods = {"original": original, "trainer": trainer}
    with contextlib.suppress(Enough):
        if kind in methods:
            methods[kind](folder, device, int(size), clock)
        else:
            ours(folder, device, kind, int(size), clock)
    return {
        "precision": clock.precision,
        "images_per_second": clock.steps_per_second() * int(size),
        "before": clock.times[0] - clock.start,
        "peak_mb": peak_memory_mb(device),
    }


class Enough(Exception):
    """Raised to leave a training of which enough was seen."""


class Clock:
    """Notes when each step ends, in place of the keeper of states that `fit` asks after each."""

    def __init__(self, device: torch.device):
        self.device, self.start, self.times, self.precision = device, time.perf_counter(), [], "float32"

    def load(self) -> None:
        return None

    def due(self) -> bool:
        self.times.append(time.perf_counter())
        counted = self.times[WARM_UP:]
        if len(counted) > MIN_STEPS and counted[-1] - counted[0] > SECONDS:
            if self.device.type == "cuda":
                torch.cuda.synchronize()
                self.times[-1] = time.perf_counter()
            raise Enough
        return False

    def steps_per_second(self) -> float:
        counted = self.times[WARM_UP:]
        return (len(counted) - 1) / (counted[-1] - counted[0])


class ReadScans(torch.utils.data.Dataset):
    """A scan is decoded and preprocessed, and its caption tokenized, when its turn comes: the original's method."""

    def __init__(self, folder: Path):
        from transformers import CLIPProcessor

        self.files = sorted((folder / "scans").rglob("*.jpg"))
        self.processor = CLIPProcessor.from_pretrained(folder / "checkpoint")

    def __len__(self) -> int:
        return EPOCH

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        path = self.files[place % len(self.files)]
        text = CAPTIONS[CLASSES.index(path.parent.name)]
        inputs = self.processor(text=text, images=Image.open(path).convert("RGB"), return_tensors="pt")
        return {name: value[0] for name, value in inputs.items()}


def original(folder: Path, device: torch.device, batch_size: int, clock: Clock) -> None:
    """The loop of the script that this project grew out of, written out again."""
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(folder / "checkpoint").to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, foreach=False, fused=False)
    for batch in torch.utils.data.DataLoader(ReadScans(folder), batch_size, shuffle=True):
        inputs = {name: value.to(device) for name, value in batch.items()}
        loss = model(**inputs, return_loss=True).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        clock.due()


def trainer(folder: Path, device: torch.device, batch_size: int, clock: Clock) -> None:
    """The Hugging Face Trainer as it comes, with CLIPModel's own loss."""
    from transformers import CLIPModel, Trainer, TrainerCallback, TrainingArguments, default_data_collator

    class Watch(TrainerCallback):
        def on_step_end(self, *_, **__) -> None:
            clock.due()

    arguments = TrainingArguments(
        output_dir=folder / "trainer",
        per_device_train_batch_size=batch_size,
        learning_rate=LEARNING_RATE,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=device.type == "cpu",
        bf16=device.type == "cuda",
    )
    clock.precision = "bfloat16" if arguments.bf16 else "float32"
    Trainer(
        model=CLIPModel.from_pretrained(folder / "checkpoint"),
        args=arguments,
        train_dataset=ReadScans(folder),
        data_collator=lambda items: default_data_collator(items) | {"return_loss": True},
        callbacks=[Watch()],
    ).train()


def ours(folder: Path, device: torch.device, tune: str, batch_size: int, clock: Clock) -> None:
    encoder = Encoder.load(folder / "checkpoint", device)
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    # As many scans as the Kaggle data set has, the drawn ones again and again.
    train = torch.arange(EPOCH) % len(pixels)
    data = TrainingData(
        pixels=Pixels(pixels, np.arange(len(pixels)), encoder.image_size, device),
        labels=torch.arange(len(pixels)) // (len(pixels) // len(CLASSES)),
        train=train,
        val=train[:4],
        captions=Captions(CAPTIONS),
    )
    config = configuration(tune, batch_size)
    clock.precision = "bfloat16" if uses_bf16(config.precision, encoder.model, device) else "float32"
    Trainer(encoder, data, config, seed=0, cache=folder / "features").fit(clock)


def configuration(tune: str, batch_size: int) -> Train:
    """Section `train` of params.yaml for one line of the table."""
    changes = {"tune": tune if tune in TUNES else "full", "batch_size": batch_size, "epochs": 1000}
    changes |= {"learning_rate": LEARNING_RATE} | VARIANTS.get(tune, {})
    return load(ROOT / "params.yaml").train.model_copy(update=changes)


def flops_per_image(folder: Path, tune: str) -> float:
    """Floating-point operations of the matrix products in one step, per image."""
    from torch.utils.flop_counter import FlopCounterMode

    class Counts(Clock):
        def due(self) -> bool:
            self.times.append(counter.get_total_flops())
            if len(self.times) > 1:
                raise Enough
            return False

    counts = Counts(torch.device("cpu"))
    with FlopCounterMode(display=False) as counter, contextlib.suppress(Enough):
        ours(folder, counts.device, tune, 32, counts)
    return (counts.times[1] - counts.times[0]) / 32


def fast_precisions(device: torch.device) -> list[str]:
    """Precisions that the device has instructions for; without them a product in bf16 takes a hundred times as long."""
    if device.type == "cpu" and not torch.cpu.get_capabilities().get("avx512_bf16", False):
        return ["float32"]
    return ["float32", "bfloat16"]


def matrix_product_flops(device: torch.device, kind: torch.dtype) -> float:
    """What the machine reaches in large matrix products."""
    side = 8192 if device.type == "cuda" else 2048
    left, right = torch.randn(2, side, side, device=device, dtype=kind)
    best = 0.0
    for _ in range(10):
        start = time.perf_counter()
        for _ in range(5):
            left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 5 * 2 * side**3 / (time.perf_counter() - start))
    return best


def reading(folder: Path, device: torch.device) -> float:
    """What the original's method makes ready: decoded, preprocessed and tokenized."""
    scans = ReadScans(folder)
    places = itertools.cycle(range(len(scans)))
    return repeated(lambda: len([scans[next(places)]["pixel_values"].to(device)]), device)


def taking(folder: Path, device: torch.device) -> float:
    """What ours makes ready: pixels on the device, as the image tower takes them."""
    scans = _scans(folder, device)
    places = torch.randperm(256)
    return repeated(lambda: sum(len(batch) for batch in scans.batches(places.split(32))), device)


def augmenting(folder: Path, device: torch.device) -> float:
    """The same, flipped, turned, shifted and zoomed."""
    scans = _scans(folder, device)
    places = torch.randperm(256)
    generator = torch.Generator().manual_seed(0)
    augmentation = Augmentation.of(load(ROOT / "params.yaml").train)

    def once() -> int:
        for batch in scans.batches(places.split(32)):
            augmentation.apply(batch, augmentation.draw(len(batch), generator))
        return len(places)

    return repeated(once, device)


OTHERS = {function.__name__: function for function in (reading, taking, augmenting)}


def _scans(folder: Path, device: torch.device) -> Pixels:
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    return Pixels(pixels, np.arange(len(pixels)), 224, device)


def repeated(once: Callable[[], int], device: torch.device) -> float:
    """Images per second of `once`, which returns how many it worked on."""
    once()
    start, count = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < SECONDS / 2:
        count += once()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return count / seconds


def import_seconds(stage: str) -> float:
    """The shortest of three."""

    def once() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import stages.{stage}"], cwd=ROOT, check=True)
        return time.perf_counter() - start

    return min(once() for _ in range(3))


def print_tables(
    results: dict[str, dict], flops: dict[str, float], ceiling: dict[str, float], others: dict[str, float]
) -> None:
    first = results["original 8"]
    rates = ", ".join(f"{value / 1e9:,.0f} GFLOP/s in {precision}" for precision, value in ceiling.items())
    print(f"Ceiling, large matrix products: {rates}\n")
    columns = (
        "method",
        "precision",
        "batch",
        "images/s",
        "× original",
        "of the ceiling",
        "s per epoch",
        "peak MB",
        "× original",
    )
    print(f"| {' | '.join(columns)} |")
    print(f"|{' --- |' * len(columns)}")
    for line, result in results.items():
        kind, size = line.split()
        speed = result["images_per_second"]
        share = (
            f"{speed * flops.get(kind, flops['full']) / ceiling[result['precision']]:.2f}"
            if kind != "projection"
            else "–"
        )
        print(
            f"| {NAMES[kind]} | {result['precision']} | {size} "
            f"| {speed:,.1f} | {speed / first['images_per_second']:,.2f} | {share} "
            f"| {EPOCH / speed:,.1f} | {result['peak_mb']:,.0f} | {result['peak_mb'] / first['peak_mb']:.2f} |"
        )
    print("\n| | images/s |\n| --- | --- |")
    for name, function in OTHERS.items():
        print(f"| {function.__doc__.splitlines()[0]} | {others[name]:,.0f} |")
    seconds = {stage: import_seconds(stage) for stage in STAGES}
    listed = ", ".join(f"{stage} {value:.2f}" for stage, value in seconds.items())
    print(f"\nSeconds to start Python and import a stage: {listed}; together {sum(seconds.values()):.1f}")


if __name__ == "__main__":
    main()
