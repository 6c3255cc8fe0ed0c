"""How fast training is: the original project's method, the Hugging Face Trainer, and this project, side by side.

python -m benchmarks.speed

CLIP ViT-B/32 with random weights on drawn scans, which are JPEGs of 512 x 512 pixels as in the Kaggle data. Every
line is measured in a process of its own, so that the peak memory is its own; the ceiling, a matrix product, is
measured between them. At the end the tables of benchmarks/README.md are printed.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from tumorclip.clip import tiny
from tumorclip.clip.augmentation import apply_affine, draw_affine
from tumorclip.clip.encoder import Encoder, pick_device
from tumorclip.clip.loading import Scans
from tumorclip.clip.processes import peak_memory_mb
from tumorclip.clip.training import Settings, fine_tune
from tumorclip.params import load
from tumorclip.scans.sources import phantom

ROOT = Path(__file__).parents[1]
EPOCH = 5708  # scans in the Training folder of the Kaggle data set
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
# The byte tokenizer makes 13 tokens of each, as many as CLIP's own makes of a caption such as those in params.yaml.
CAPTIONS = [["glioma scan."], ["meningioma s"], ["no tumour sca"], ["pituitary sc"]]
TUNES = ("full", "vision", "lora", "projection")
NAMES = {"original": "the original's method", "trainer": "Hugging Face Trainer"}
NAMES |= {tune: f"ours, `{tune}`" for tune in TUNES}
LEARNING_RATE = 1e-5
WARM_UP, MIN_STEPS = 3, 4  # steps that are not counted, and how many are, at least
SECONDS = 20  # how long each line is measured, at least
LINES = ("original 8", "trainer 8", "trainer 32", *(f"{tune} {size}" for tune in TUNES for size in (8, 32)))


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
        return
    with TemporaryDirectory() as folder:
        prepare(Path(folder))
        flops = {tune: in_process(f"count {tune}", folder)["flops"] for tune in TUNES}
        results, ceilings = {}, []
        for line in LINES:
            ceilings.append(in_process("ceiling", folder)["flops"])
            results[line] = in_process(line, folder)
            print(f"{line}: {results[line]}, ceiling {ceilings[-1] / 1e9:.0f} GFLOP/s", file=sys.stderr)
        pipelines = {name: in_process(name, folder)["images_per_second"] for name in ("reading", "augmenting")}
        print_tables(results, flops, statistics.median(ceilings), pipelines)


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

    tiny.build(folder / "tiny", seed=0)
    tokenizer = CLIPProcessor.from_pretrained(folder / "tiny").tokenizer
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=ends)).save_pretrained(folder / "checkpoint")
    CLIPProcessor(image_processor=CLIPImageProcessor(), tokenizer=tokenizer).save_pretrained(folder / "checkpoint")


def measure(line: str, folder: Path) -> dict:
    device = pick_device("auto")
    kind, _, size = line.partition(" ")
    if kind == "ceiling":
        return {"flops": matrix_product_flops(device)}
    if kind in ("reading", "augmenting"):
        return {"images_per_second": {"reading": reading, "augmenting": augmenting}[kind](folder, device)}
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
        "images_per_second": clock.steps_per_second() * int(size),
        "before": clock.times[0] - clock.start,
        "peak_mb": peak_memory_mb(device),
    }


class Enough(Exception):
    """Raised to leave a training of which enough was seen."""


class Clock:
    """Notes when each step ends, as the keeper of states that `fine_tune` asks after each."""

    def __init__(self, device: torch.device):
        self.device, self.start, self.times = device, time.perf_counter(), []

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
    scans = Scans(pixels, np.arange(len(pixels)), encoder.image_size, device)
    labels = torch.arange(len(pixels)) // (len(pixels) // len(CLASSES))
    # As many scans as the Kaggle data set has, the drawn ones again and again.
    train = torch.arange(EPOCH) % len(pixels)
    parameters = load(ROOT / "params.yaml").train.model_dump(exclude={"device"})
    changes = {"tune": tune, "batch_size": batch_size, "learning_rate": LEARNING_RATE, "epochs": 1000}
    settings = Settings(**parameters | changes)
    fine_tune(
        encoder,
        scans,
        labels,
        train,
        train[:4],
        CAPTIONS,
        settings,
        states=clock,
        feature_folder=folder / "features/b32",
    )


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


def matrix_product_flops(device: torch.device) -> float:
    """What the machine reaches in large matrix products, in the precision that training takes there."""
    side, kind = (8192, torch.bfloat16) if device.type == "cuda" else (2048, torch.float32)
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
    """Images per second that the original's method makes ready."""
    scans, times = ReadScans(folder), [time.perf_counter()]
    while times[-1] - times[0] < SECONDS / 2:
        scans[len(times)]["pixel_values"].to(device)
        times.append(time.perf_counter())
    return (len(times) - 1) / (times[-1] - times[0])


def augmenting(folder: Path, device: torch.device) -> float:
    """Images per second that ours makes ready, turned, shifted and zoomed."""
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    scans, generator = Scans(pixels, np.arange(len(pixels)), 224, device), torch.Generator().manual_seed(0)
    start, count = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < SECONDS / 2:
        for batch in scans.all():
            for part in batch.split(32):
                apply_affine(part, draw_affine(len(part), generator, 0.5, 10, 0.1, 0.1))
        if device.type == "cuda":
            torch.cuda.synchronize()
        count += len(pixels)
    return count / seconds


def print_tables(results: dict[str, dict], flops: dict[str, float], ceiling: float, pipelines: dict) -> None:
    first = results["original 8"]
    print(f"Ceiling: {ceiling / 1e9:,.0f} GFLOP/s in matrix products\n")
    columns = ("method", "batch", "images/s", "× original", "of the ceiling", "s per epoch", "peak MB", "× original")
    print(f"| {' | '.join(columns)} |")
    print(f"|{' --- |' * len(columns)}")
    for line, result in results.items():
        kind, size = line.split()
        speed = result["images_per_second"]
        share = f"{speed * flops.get(kind, flops['full']) / ceiling:.2f}" if kind != "projection" else "–"
        print(
            f"| {NAMES[kind]} | {size} | {speed:,.1f} | {speed / first['images_per_second']:,.2f} | {share} "
            f"| {EPOCH / speed:,.1f} | {result['peak_mb']:,.0f} | {result['peak_mb'] / first['peak_mb']:.2f} |"
        )
    ratio = pipelines["augmenting"] / pipelines["reading"]
    print(
        f"\nScans made ready: original {pipelines['reading']:,.0f} images/s, ours {pipelines['augmenting']:,.0f} "
        f"({ratio:,.0f} ×)"
    )


if __name__ == "__main__":
    main()
