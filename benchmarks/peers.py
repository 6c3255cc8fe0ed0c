"""Other ways to train the same model on the same scans, for `benchmarks.speed`."""

import time
from pathlib import Path
from types import SimpleNamespace

import torch
from PIL import Image

EPOCH = 5708  # scans in the Training folder of the Kaggle data set
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
# The byte tokenizer makes 13 tokens of each, as many as CLIP's own makes of a caption such as those in params.yaml.
CAPTIONS = [["glioma scan."], ["meningioma s"], ["no tumour sca"], ["pituitary sc"]]
TOKENS = 13
MODEL = "ViT-B-32-quickgelu"  # what open_clip calls the architecture of the checkpoint
LEARNING_RATE = 1e-5
WARM_UP, MIN_STEPS = 3, 4  # steps that are not counted, and how many are, where time allows
SECONDS = 20  # how long each line is measured, where time allows


class Enough(Exception):
    """Raised to leave a training of which enough was seen."""


class Clock:
    """Notes when each step ends, in place of the keeper of states that `fit` asks after each.

    Args:
        until: when to leave a slow training, as `time.time()` gives it.
    """

    def __init__(self, device: torch.device, until: float):
        self.device = device
        self.until = until
        self.start = time.perf_counter()
        self.times: list[float] = []
        self.precision = "float32"

    def load(self) -> None:
        return None

    def due(self) -> bool:
        self.times.append(time.perf_counter())
        counted = self.times[WARM_UP:]
        enough = len(counted) > MIN_STEPS and counted[-1] - counted[0] > SECONDS
        late = len(self.times) > 1 and time.time() > self.until
        if enough or late:
            if self.device.type == "cuda":
                torch.cuda.synchronize()
                self.times[-1] = time.perf_counter()
            raise Enough
        return False

    def counted(self) -> list[float]:
        """Ends of the steps that count: after the warm-up, or the later half of a few."""
        return self.times[min(WARM_UP, (len(self.times) - 1) // 2) :]

    def steps_per_second(self) -> float:
        counted = self.counted()
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
        inputs = self.processor(text=caption(path), images=Image.open(path).convert("RGB"), return_tensors="pt")
        return {name: value[0] for name, value in inputs.items()}


def caption(path: Path) -> list[str]:
    return CAPTIONS[CLASSES.index(path.parent.name)]


def original(folder: Path, batch_size: int, clock: Clock) -> None:
    """The loop of the script that this project grew out of, written out again."""
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(folder / "checkpoint").to(clock.device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, foreach=False, fused=False)
    for batch in torch.utils.data.DataLoader(ReadScans(folder), batch_size, shuffle=True):
        inputs = {name: value.to(clock.device) for name, value in batch.items()}
        loss = model(**inputs, return_loss=True).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        clock.due()


def trainer(folder: Path, batch_size: int, clock: Clock, bf16: bool = False) -> None:
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
        use_cpu=clock.device.type == "cpu",
        bf16=bf16,
    )
    clock.precision = "bfloat16" if bf16 else "float32"
    Trainer(
        model=CLIPModel.from_pretrained(folder / "checkpoint"),
        args=arguments,
        train_dataset=ReadScans(folder),
        data_collator=lambda items: default_data_collator(items) | {"return_loss": True},
        callbacks=[Watch()],
    ).train()


class OpenClipScans(torch.utils.data.Dataset):
    """The data set of open_clip's `CsvDataset`, without pandas and webdataset, which its module imports."""

    def __init__(self, folder: Path, transform, tokenizer):
        self.files = sorted((folder / "scans").rglob("*.jpg"))
        self.transform = transform
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return EPOCH

    def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        path = self.files[place % len(self.files)]
        return self.transform(Image.open(path)), self.tokenizer(caption(path))[0]


def open_clip(folder: Path, batch_size: int, clock: Clock, bf16: bool = False, tokens: int | None = None) -> None:
    """The trainer of open_clip as it comes: its loop, model, loss, optimiser, schedule, transforms and tokenizer.

    Args:
        tokens: length that captions are padded to; None leaves open_clip's own, 77.
    """
    from open_clip import create_loss, create_model_and_transforms, get_tokenizer
    from open_clip_train.params import parse_args
    from open_clip_train.scheduler import cosine_lr
    from open_clip_train.train import train_one_epoch

    precision = "amp_bf16" if bf16 else "fp32"
    clock.precision = "bfloat16" if bf16 else "float32"
    given = f"--model {MODEL} --precision {precision} --batch-size {batch_size} --device {clock.device}"
    args = parse_args([*given.split(), "--lr", str(LEARNING_RATE)])
    # What its `main` adds to them.
    args.rank, args.world_size = 0, 1
    args.distributed = args.distill = args.wandb = False
    model, transform, _ = create_model_and_transforms(
        args.model, precision=args.precision, device=clock.device, force_context_length=tokens, output_dict=True
    )
    scans = OpenClipScans(folder, transform, get_tokenizer(args.model, context_length=tokens))
    pin = clock.device.type == "cuda"
    loader = torch.utils.data.DataLoader(
        scans, batch_size, shuffle=True, drop_last=True, num_workers=args.workers, pin_memory=pin
    )
    loader.num_samples = len(scans)
    loader.num_batches = len(loader)
    data = SimpleNamespace(dataloader=loader, set_epoch=lambda _: None)
    optimizer = open_clip_optimizer(model, args)
    optimizer.register_step_post_hook(lambda *_: clock.due() and None)
    scheduler = cosine_lr(optimizer, args.lr, args.warmup, len(loader) * args.epochs)
    train_one_epoch(model, {"train": data}, create_loss(args), 0, optimizer, None, scheduler, None, args)


def open_clip_optimizer(model: torch.nn.Module, args) -> torch.optim.Optimizer:
    """Written out again: it stands within open_clip's `main`."""
    decayed, others = [], []
    for name, parameter in model.named_parameters():
        is_other = parameter.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
        (others if is_other else decayed).append(parameter)
    groups = [{"params": others, "weight_decay": 0.0}, {"params": decayed, "weight_decay": args.wd}]
    return torch.optim.AdamW(groups, lr=args.lr, betas=(args.beta1, args.beta2), eps=args.eps)
