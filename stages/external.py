"""Classify the scans of other data sets with the fine-tuned encoder, and tell which of them are new."""

import time

import numpy as np

import stages
from trueslice.audit import external
from trueslice.copies.search import ScanImages
from trueslice.copies.thumbnails import thumbnails
from trueslice.device import pick_device
from trueslice.files import printable, scratch_folder
from trueslice.model.cpu import same_bytes_on_cpus
from trueslice.model.encoder import Encoder, probabilities
from trueslice.model.pixels import Pixels
from trueslice.params import External, Params
from trueslice.patients import slices
from trueslice.records.external import ExternalFiles, FolderWithoutClass, SetFiles
from trueslice.records.trained import TrainedModel
from trueslice.sources import external as sources
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.scans import Scans


def main(params: Params) -> None:
    same_bytes_on_cpus(stages.FINETUNED)
    encoder = Encoder.load(stages.FINETUNED, pick_device(params.train.device, "train.device"))
    counts, tables = [], [ExternalPredictions.empty(params.class_names)]
    for chosen in params.external_sets:
        start = time.perf_counter()
        row, table = _test(chosen, params, encoder)
        counts.append(row)
        tables.append(table)
        kept = int((table.dropped == "").sum())
        folders = [f"{other.folder} ({other.files} files)" for other in row.without_class]
        without = printable(f", besides {', '.join(folders)} of no class" if folders else "")
        print(
            f"external: {chosen.name}: {row.files} files{without}, {row.unreadable} unreadable, "
            f"{len(table) - kept} copies dropped, {kept} scans kept, "
            f"{row.of_known_patients} of these of known patients, {time.perf_counter() - start:.1f} s"
        )
    ExternalFiles(sets=counts).write(stages.EXTERNAL)
    ExternalPredictions.concatenate(tables).write(stages.PLOTS / "external.csv")
    if not params.external:
        print("external: no data set is named under `external:` in params.yaml")
    for skipped in [each.name for each in params.external if each not in params.external_sets]:
        print(f"external: {skipped}: skipped, as phantoms are no test of a model of real scans")


def _test(chosen: External, params: Params, encoder: Encoder) -> tuple[SetFiles, ExternalPredictions]:
    """Count the files of one data set and classify its scans."""
    workers = params.machine.workers
    with scratch_folder(stages.EXTERNAL) as folder:
        raw = folder / "raw"
        raw.mkdir()
        sources.bring(chosen, raw, stages.repository_root(), params.data.phantom, workers)
        found = external.read(raw, folder, chosen, params.class_names, params.verify, workers)
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        scans = Scans.read(stages.SCANS / "scans.csv")
        known_pixels, means = (np.load(stages.SCANS / name, mmap_mode="r") for name in ("pixels.npy", "thumbnails.npy"))
        known = ScanImages(known_pixels, means, scans.pixel_hash)
        new = ScanImages(pixels, thumbnails(pixels), found.pixel_hash)
        search = params.verify, pick_device(params.verify.device, "verify.device")
        group, dropped = external.audit(known, scans.group, new, found.path, search)
        is_known = slices.of_patients(new.thumbnails, lambda: slices.patients(means)) & (dropped == "")
        answers = _classify(pixels, params, encoder)
    others = [FolderWithoutClass(folder=folder, files=count) for folder, count in found.without_class.items()]
    row = SetFiles(
        set=chosen.name,
        files=found.files,
        unreadable=len(found.unreadable),
        without_class=others,
        of_known_patients=int(is_known.sum()),
    )
    return row, ExternalPredictions(
        class_names=tuple(params.class_names),
        name=np.full(len(group), chosen.name),
        path=found.path,
        pixel_hash=found.pixel_hash,
        group=group,
        dropped=dropped,
        y_true=np.array([params.class_names.index(name) for name in found.class_name]),
        y_pred=answers.argmax(axis=1),
        probabilities=answers,
    )


def _classify(pixels: np.ndarray, params: Params, encoder: Encoder) -> np.ndarray:
    """Probabilities of scans, with the temperature that was fixed on validation: float64 [N, K]."""
    scans = Pixels(pixels, np.arange(len(pixels)), encoder.image_size, encoder.device)
    logits = encoder.classify(encoder.features(scans.all()), list(params.classes.values()))
    return probabilities(logits, TrainedModel.read(stages.FINETUNED / "trueslice.json").temperature)


if __name__ == "__main__":
    stages.run(main)
