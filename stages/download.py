"""Bring the scans into data/raw: drawn phantoms, a data set from Kaggle, or a folder or .zip on disk."""

import time
from pathlib import Path

import stages as common
from tumorclip import files
from tumorclip.data.sources import folder as archive
from tumorclip.data.sources import kaggle, phantom
from tumorclip.params import Params


def main(params: Params) -> None:
    start, data, passed_over = time.perf_counter(), params.data, 0
    with files.whole_folder(common.RAW) as folder:
        if data.source == "phantom":
            made = data.phantom
            phantom.draw(folder, made.seed, made.train_per_class, made.test_per_class, params.machine.workers)
        elif data.source == "kaggle":
            # Outside the outputs, which DVC deletes before every run.
            cache = common.repository_root() / ".cache/kaggle"
            wanted = data.kaggle
            source = kaggle.download(wanted.dataset, wanted.version, wanted.sha256, cache)
            passed_over = archive.take(source, folder)
        else:
            source = common.repository_root() / Path(data.source).expanduser()
            passed_over = archive.take(source, folder)
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    without = f", {passed_over} files outside class folders passed over" if passed_over else ""
    seconds = time.perf_counter() - start
    print(f"download: {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB from {data.source}{without}, {seconds:.1f} s")


if __name__ == "__main__":
    common.run(main)
