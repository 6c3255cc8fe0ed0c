"""Write the model in a form that runs without this project and without PyTorch.

`onnx` is one graph from `pixel_values` to `probabilities`: image tower, classes, scale and temperature. model.json next
to it gives the preparation of the pixels, the classes of the probabilities, and the largest difference to PyTorch on
the test scans. If one answer differs, nothing is written.
"""

import argparse
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from trueslice.errors import UserError
from trueslice.files import output_folder, printable

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
GRAPH, ABOUT = "model.onnx", "model.json"
PIXELS, SPLITS = Path("data/scans/pixels.npy"), Path("data/splits.csv")
RESIZE = (
    "fit into a black square of square_size a side, sides in proportion, centred: Pillow's bicubic, to bytes; then to "
    "size: bicubic with antialiasing in floats, rounded to bytes"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    model, out = Path("models/released"), Path("models/onnx")
    parser.add_argument("form", choices=["onnx"], help="the form")
    parser.add_argument("--model", metavar="DIR", type=Path, default=model, help=f"the model (default: {model})")
    parser.add_argument("--out", metavar="DIR", type=Path, default=out, help=f"where it is written (default: {out})")


def run(options: argparse.Namespace) -> None:
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(f"{' and '.join(missing)} is not installed; run: pip install -e '.[onnx]'")
    from trueslice.inference.classifier import Classifier

    with output_folder(options.out) as folder:
        classifier = Classifier.load(options.model, "cpu")
        content = _write(classifier, folder / GRAPH)
        content.write(folder / ABOUT)
    parity = content.parity
    print(printable(f"{options.out / GRAPH}: probabilities of {', '.join(content.classes)}"))
    print(
        f"On {parity.scans:,} {parity.of} ONNX Runtime gives the same answers as PyTorch; "
        f"largest difference of a probability: {parity.largest_difference:.1e}"
    )


def _write(classifier, path: Path):
    """Write the graph and compare it with PyTorch; return the content of model.json."""
    from trueslice.inference import onnx
    from trueslice.model.encoder import probabilities
    from trueslice.records.onnx import OnnxModel

    encoder, settings = classifier.encoder, classifier.settings
    onnx.export(onnx.Graph(encoder, classifier.class_embeddings, settings.temperature), encoder.image_size, path)
    mean, deviation = (encoder.preprocessing.images[name] for name in ("image_mean", "image_std"))
    scans, name = _scans(classifier)
    batches = (onnx.normalise(batch.numpy(), mean, deviation) for batch in scans.all())
    logits = encoder.logits(scans.all(), classifier.class_embeddings)
    parity = onnx.compare(path, batches, probabilities(logits, settings.temperature), name)
    if not parity.holds:
        raise UserError(
            f"the graph does not say what the model says: {parity.answers_changed} of {parity.scans} answers differ, "
            f"a probability by up to {parity.largest_difference:.3g}; nothing was written"
        )
    return OnnxModel(
        classes=classifier.class_names,
        size=encoder.image_size,
        square_size=settings.decode.image_size,
        colour=settings.decode.colour,
        resize=RESIZE,
        mean=mean,
        deviation=deviation,
        temperature=settings.temperature,
        weights_sha256={name: each for name, each in settings.files.items() if name.endswith((".safetensors", ".bin"))},
        opset=onnx.OPSET,
        parity=parity,
        versions={package: version(package) for package in ("torch", "transformers", *PACKAGES)},
    )


def _scans(classifier):
    """Return the model's test scans and their name: from this workspace if they are the same, else thumbnails."""
    import numpy as np

    from trueslice.model.pixels import Pixels
    from trueslice.tables.splits import Splits

    known = classifier.reference.scans
    rows = np.flatnonzero(known.split == "test")
    pixels, name = classifier.reference.thumbnails, "thumbnails of test scans"
    if PIXELS.exists() and SPLITS.exists():
        splits = Splits.read(SPLITS)
        here = np.flatnonzero(splits.split == "test")
        if np.array_equal(splits.path[here], known.path[rows]):
            try:
                pixels, rows, name = np.load(PIXELS, mmap_mode="r"), here, "test scans"
            except (OSError, ValueError, EOFError):
                raise UserError(f"{PIXELS} is damaged; `dvc repro` writes it again") from None
    return Pixels(pixels, rows, classifier.encoder.image_size, classifier.device), name
