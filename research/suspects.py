"""Where labels that are known to be wrong come in the ranking of `trueslice suspects`.

python -m research.suspects ARCHIVE.zip

The models are those of research.sizes, of as many folds as have been trained. They were trained without scans whose
copies or source contradict their labels. Here, the fold that tests other scans of their patient judges them too.

1. Labels that the source proves wrong: their ranks by the models alone, and by all evidence.
2. Planted ones: some distinct scans get another class at random, in all their files, after the training. So the models
   have learned from no planted label.

Writes research/results/suspects.json, and prints the tables of README.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from research import sizes
from research.markdown import percent, table
from research.protocols import FOLDS
from research.runs import ROOT, archive_parser, prepare_scans
from trueslice.copies import groups
from trueslice.evaluate.suspects import mean_probabilities, rank
from trueslice.files import write_json
from trueslice.model.encoder import Encoder, probabilities
from trueslice.model.pixels import Pixels
from trueslice.records.trained import TrainedModel
from trueslice.tables.predictions import Predictions
from trueslice.tables.scans import Scans
from trueslice.tables.splits import Splits

RESULT = ROOT / "research/results/suspects.json"
MODEL = "160 px, 4 blocks"  # of research.sizes
SHARES = (0.01, 0.03, 0.1)  # of the distinct scans, planted wrong
SEEDS = 20


def main() -> None:
    scans = Scans.read(prepare_scans(archive_parser(__doc__).parse_args().archive) / "data/scans/scans.csv")
    folders = [sizes.folder(MODEL, fold) for fold in sizes.finished(MODEL)]
    tables_of_folds = [Predictions.read(folder / "plots/predictions.csv") for folder in folders]
    found, class_names = mean_probabilities(scans, tables_of_folds)
    result = {
        "model": MODEL,
        "folds": len(folders),
        "of": FOLDS,
        "planted": planted(scans, found, class_names),
        "proven": proven(scans, with_conflicts(found, scans, folders), class_names),
    }
    write_json(RESULT, result)
    print(tables(result))


@torch.inference_mode()
def with_conflicts(found: np.ndarray, scans: Scans, folders: Sequence[Path]) -> np.ndarray:
    """Add the probabilities, [N, K], of scans that were dropped, by the fold that tests other scans of their unit."""
    found, dropped = found.copy(), np.flatnonzero(groups.conflicting(scans))
    for folder in folders:
        splits = Splits.read(folder / "data/splits.csv")
        rows = dropped[np.isin(splits.unit[dropped], splits.unit[splits.split == "test"])]
        if len(rows):
            encoder = Encoder.load(folder / "models/finetuned", torch.device("cpu"))
            pixels = np.load(folder / "data/scans/pixels.npy", mmap_mode="r")
            features = encoder.features(Pixels(pixels, rows, encoder.image_size, encoder.device).all())
            model = TrainedModel.read(folder / "models/finetuned/trueslice.json")
            found[rows] = probabilities(encoder.classify(features, list(model.classes.values())), model.temperature)
    return found


def proven(scans: Scans, found: np.ndarray, class_names: Sequence[str]) -> dict:
    """Rank all scans by the models alone, and by all evidence, and find those that the source proves wrong."""
    # Where each class of a group is a group of its own, and no source is known, nothing but the models speaks.
    pairs = np.stack([scans.group.astype(str), scans.class_name], axis=1)
    _, first, item = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    alone = replace(scans, group=first[item], source_class=np.full(len(scans), ""))
    by_models, by_all = (rank(each, found, class_names) for each in (alone, scans))
    wrong = scans.path[(scans.source_class != "") & (scans.source_class != scans.class_name)].tolist()
    rows = []
    for path in wrong:
        own, full = (ranked.take(ranked.path == path) for ranked in (by_models, by_all))
        judged = {"suggested": str(own.suggested[0]), "confidence": float(own.confidence[0])} if len(own) else {}
        place = {"rank_by_models": int(own.rank[0])} if len(own) else {}
        rows.append({"path": path, **judged, **place, "rank": int(full.rank[0])})
    return {"ranked": int(by_models.rank.max()), "rows": rows}


def planted(scans: Scans, found: np.ndarray, class_names: Sequence[str]) -> list[dict]:
    """Plant wrong labels among the distinct scans that a fold has tested, and look how early they come."""
    names, classes, count = list(class_names), np.array(class_names), len(scans)
    judged = ~np.isnan(found[:, 0])
    scans, found = replace(scans.take(judged), source_class=np.full(judged.sum(), "")), found[judged]
    labels, tested = np.array([names.index(name) for name in scans.class_name.tolist()]), np.unique(scans.group)
    rows = []
    for share in SHARES:
        for seed in range(SEEDS):
            rng = np.random.default_rng([seed, round(1000 * share)])
            chosen = rng.choice(tested, round(share * len(tested)), replace=False)
            wrong = np.isin(scans.group, chosen)
            shift = rng.integers(1, len(names), count)[scans.group]  # the same for copies
            given = np.where(wrong, (labels + shift) % len(names), labels)
            ranked = rank(replace(scans, class_name=classes[given]), found, class_names)
            _, first = np.unique(ranked.rank, return_index=True)
            in_order = np.isin(ranked.group[first], chosen)
            rows.append(
                {
                    "share": share,
                    "seed": seed,
                    "scans": len(tested),
                    "planted": len(chosen),
                    "among_as_many": float(in_order[: len(chosen)].mean()),
                    "to_look_at_for_90_percent": int((np.cumsum(in_order) < 0.9 * len(chosen)).sum() + 1),
                }
            )
    return rows


def tables(result: Mapping) -> str:
    """Return the tables of README.md."""
    heads = ("proven wrong", "the models say", "probability of its label", "rank by the models alone", "rank by all")
    rows, ranked = [], result["proven"]["ranked"]
    for row in result["proven"]["rows"]:
        judged = (
            [row["suggested"], percent(row["confidence"]), f"{row['rank_by_models']:,} of {ranked:,}"]
            if len(row) > 2
            else "–––"
        )
        rows.append([f"`{Path(row['path']).stem}`", *judged, row["rank"]])
    means = []
    for share in SHARES:
        own = [row for row in result["planted"] if row["share"] == share]
        first, look = (np.mean([row[key] for row in own]) for key in ("among_as_many", "to_look_at_for_90_percent"))
        means.append([f"{own[0]['planted']} of {own[0]['scans']:,}", percent(first), f"{look:.0f}"])
    of_planted = ("planted wrong", "wrong among the first as many", "to look at for 90 % of them")
    return f"{table(heads, rows)}\n\n{table(of_planted, means)}"


if __name__ == "__main__":
    main()
