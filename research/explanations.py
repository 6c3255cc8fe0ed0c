"""Ways of explaining a prediction, by how well they point at tumours.

python -m research.explanations NAME RUN MASKS [NAME RUN MASKS …]

RUN is a folder in which all stages up to predict have run, MASKS a folder of masks as research.masks and the
phantoms write them, and NAME what the run is called in the result. The methods are compared on validation scans; what
the best is worth is measured on test scans. What other runs left in the result stays there.
"""

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from research.markdown import limits, percent, table
from trueslice.evaluate import explanations
from trueslice.explain import attribution as explain
from trueslice.explain import pointing
from trueslice.explain.maps import SIDE, cells, in_random_order, maps
from trueslice.files import read_json, write_json
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import Pixels
from trueslice.reading.masks import mask_path, read_masks
from trueslice.records.trained import TrainedModel
from trueslice.tables.predictions import ModelPredictions, Predictions
from trueslice.tables.splits import Splits

RESULT = Path(__file__).parent / "results/explanations.json"
SCANS = {"val": 150, "test": 300}  # with a mask, drawn at random
TITLES = {
    "patch_gradients": "gradient of the patches",
    "gradient_rollout": "gradient-weighted attention rollout",
    "attention_rollout": "attention rollout",
    "grad_cam": "Grad-CAM before the last block",
    "grad_cam_pooled": "Grad-CAM on the pooled layer",
    "pixel_gradients": "gradient of the pixels",
    "occlusion": "occlusion",
}
WORDS = {
    "explanation": "the explanation",
    "uniform": "any point of the head",
    "other_patient": "the explanation, held against the masks of other patients of the class",
    "fixed_point": "the best fixed point of the class",
    "random_weights": "the same method, weights in random order",
    "ceiling": "the best that the grid allows",
}


def rollout(encoder: Encoder, pixels, embeddings, targets, with_gradients: bool) -> torch.Tensor:
    """Abnar & Zuidema 2020; with gradients as in Chefer et al. 2021, "Generic attention-model explainability"."""
    tower = encoder.model.vision_model
    before = tower.config._attn_implementation
    tower.set_attn_implementation("eager")  # no other gives the attentions
    try:
        output = tower(pixel_values=encoder.normalise(pixels.float()), output_attentions=True)
        score = explain.log_probabilities(encoder, output.pooler_output, embeddings, targets).sum()
        slopes = torch.autograd.grad(score, output.attentions)
    finally:
        tower.set_attn_implementation(before)
    flow = torch.eye(output.attentions[0].shape[-1]).expand(len(pixels), -1, -1)
    for attention, slope in zip(output.attentions, slopes, strict=True):
        weight = (attention * slope).relu().mean(dim=1) if with_gradients else attention.mean(dim=1)
        flow = flow + weight @ flow
    return explain.on_grid(encoder, flow[:, 0].detach())


def grad_cam(encoder: Encoder, pixels, embeddings, targets, layer: int) -> torch.Tensor:
    """Selvaraju et al. 2017, on what the block `layer` gives, counted from the end."""
    features, states = encoder.image_features_and_states(pixels.float())
    score = explain.log_probabilities(encoder, features, embeddings, targets).sum()
    values, (slopes,) = states[layer], torch.autograd.grad(score, states[layer])
    if values.ndim == 4:
        return (slopes.mean(dim=(2, 3), keepdim=True) * values).sum(dim=1).relu().detach()
    side = explain.grid_side(encoder) ** 2
    weights = slopes[:, -side:].mean(dim=1, keepdim=True)
    return explain.on_grid(encoder, (weights * values).sum(dim=-1).relu().detach())


def pixel_gradients(encoder: Encoder, pixels, embeddings, targets) -> torch.Tensor:
    pixels = pixels.float().requires_grad_()
    score = explain.log_probabilities(encoder, encoder.image_features(pixels), embeddings, targets).sum()
    return functional.avg_pool2d(torch.autograd.grad(score, pixels)[0].norm(dim=1), 2)


OF_PATCHES = {
    "patch_gradients": explain.patch_gradients,
    "attention_rollout": partial(rollout, with_gradients=False),
    "gradient_rollout": partial(rollout, with_gradients=True),
    "grad_cam": partial(grad_cam, layer=-2),
    "occlusion": explain.occlusion,
}
CONVOLUTIONAL = {
    "occlusion": explain.occlusion,
    "pixel_gradients": pixel_gradients,
    "grad_cam": partial(grad_cam, layer=-2),
    "grad_cam_pooled": partial(grad_cam, layer=-1),
}


def main() -> None:
    names, runs, masks = sys.argv[1::3], sys.argv[2::3], sys.argv[3::3]
    if not names or not len(names) == len(runs) == len(masks):
        sys.exit(__doc__)
    for name, run, folder in zip(names, runs, masks, strict=True):
        result = read_json(RESULT) if RESULT.exists() else {"command": "", "runs": []}
        result["command"] = "python -m research.explanations NAME RUN MASKS"
        result["runs"] = [each for each in result["runs"] if each["run"] != name] + [
            measure(name, Path(run), Path(folder))
        ]
        write_json(RESULT, result)


def measure(name: str, run: Path, folder: Path) -> dict:
    """Measure all methods on one run."""
    splits = Splits.read(run / "data/splits.csv")
    has_mask = np.array([mask_path(folder, path).exists() for path in splits.path])
    predicted_of = {
        "val": Predictions.read(run / "data/validation.csv"),
        "test": ModelPredictions.read(run / "plots/predictions.csv"),
    }
    encoder = Encoder.load(run / "models/finetuned", "cpu")
    methods = OF_PATCHES if encoder.has_patches else CONVOLUTIONAL
    captions = list(TrainedModel.read(run / "models/finetuned/trueslice.json").classes.values())
    known = np.flatnonzero(has_mask & np.isin(splits.split, ["train", "val"]))
    known_masks = read_masks(folder, splits.path[known].tolist(), SIDE)
    result = {"run": name, "tower": "transformer" if encoder.has_patches else "convolutional", "methods": []}
    for part, predictions in predicted_of.items():
        places = np.flatnonzero(has_mask[splits.split == part])
        places = np.sort(np.random.default_rng(0).permutation(places)[: SCANS[part]])
        rows = np.flatnonzero(splits.split == part)[places]
        scans = Pixels(np.load(run / "data/scans/pixels.npy", mmap_mode="r"), rows, encoder.image_size, encoder.device)
        grey = Pixels(np.load(run / "data/scans/pixels.npy", mmap_mode="r"), rows, SIDE, torch.device("cpu"))
        masks = read_masks(folder, splits.path[rows].tolist(), SIDE)
        inputs = masks, grey.take(torch.arange(len(rows))).float().mean(dim=1).numpy(), cells(encoder)
        y_pred = predictions.y_pred[places]
        predicted = np.array(predictions.class_names)[y_pred]
        random = None
        if part == "test":
            random = Encoder.load(run / "models/finetuned", "cpu")
            in_random_order(random)
        for method, function in methods.items():
            start = time.perf_counter()
            own = maps(encoder, scans, captions, y_pred, scaled(function))
            milliseconds = 1000 * (time.perf_counter() - start) / len(rows)
            shuffled = maps(random, scans, captions, y_pred, scaled(function)) if random else own
            measured = pointing.Measured(own, shuffled, *inputs)
            scores = pointing.measure(splits.take(rows), predicted, measured, splits.take(known), known_masks)
            scored = explanations.score(scores)
            row = {"method": method, "part": part, "scans": len(rows)} | row_of(scored)
            if part == "test":
                row["milliseconds"] = milliseconds
                if function in (explain.patch_gradients, explain.occlusion) and "chosen" not in result:
                    result["chosen"] = {"method": method} | scored.model_dump()
            else:
                del row["random_pointing"]
            print(name, row)
            result["methods"].append(row)
    return result


def row_of(scored) -> dict:
    """Return scores over all scans, with their intervals."""
    values = {(row.score, row.of): row for row in scored.rows if row.by == "all"}
    row = {"units": values["pointing", "explanation"].units}
    for kind in ("pointing", "energy"):
        found = values[kind, "explanation"]
        row |= {kind: found.value, f"{kind}_low": found.low, f"{kind}_high": found.high}
    return row | {"random_pointing": values["pointing", "random_weights"].value}


def tables(result: dict) -> str:
    """Return the tables of README.md: methods, the chosen one against controls, and by class, size and answer."""
    names = [run["run"] for run in result["runs"]]
    methods = []
    for run in result["runs"]:
        rows = {(row["method"], row["part"]): row for row in run["methods"]}
        for method in dict.fromkeys(name for name, _ in rows):
            val, test = rows[method, "val"], rows[method, "test"]
            tested = f"{percent(test['pointing'])} ({limits(test, 'pointing_')})"
            validation, energy = (percent(val[key]) for key in ("pointing", "energy"))
            cells = [TITLES[method], validation, energy, tested, percent(test["energy"])]
            methods.append([run["run"], *cells, percent(test["random_pointing"]), f"{test['milliseconds']:.0f}"])
    heads = (
        "run",
        "method",
        "validation: pointing",
        "energy",
        "test: pointing",
        "energy",
        "weights in random order",
        "ms",
    )
    chosen = [
        {(row["by"], row["value_of"], row["of"]): row for row in run["chosen"]["rows"] if row["score"] == "pointing"}
        for run in result["runs"]
    ]
    controls = [[words, *(_value(rows["all", None, of]) for rows in chosen)] for of, words in WORDS.items()]
    parts = []
    for by, name in dict.fromkeys(key[:2] for key in chosen[0] if key[0] != "all"):
        both = [[100 * rows[by, name, of]["value"] for of in ("explanation", "fixed_point")] for rows in chosen]
        parts.append([f"{by}: {name}", *("{:.1f}; {:.1f}".format(*pair) for pair in both)])
    by_part = table(["explanation; fixed point", *names], parts)
    return "\n\n".join([table(heads, methods), table(["pointing", *names], controls), by_part])


def _value(row: dict) -> str:
    return f"{percent(row['value'])} ({limits(row)})"


def scaled(method):
    """A method as `explain.explain` gives its maps."""

    def explained(encoder: Encoder, pixels, embeddings, targets) -> torch.Tensor:
        grid = method(encoder, pixels.float().clone(), embeddings, targets)
        found = explain.enlarged(grid, pixels.shape[-1])
        return found / found.amax(dim=(1, 2), keepdim=True).clamp(min=1e-30)

    return explained


if __name__ == "__main__":
    main()
