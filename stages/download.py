"""Bring the scans into data/raw: drawn phantoms, a data set from Kaggle, or a folder or .zip on disk."""

import time

import stages
from trueslice.files import printable, whole_folder
from trueslice.params import Params
from trueslice.sources.fetch import Context, fetch


def main(params: Params) -> None:
    start = time.perf_counter()
    source, root = params.data.source, stages.repository_root()
    # Downloads are kept outside the outputs, which DVC deletes before every run.
    context = Context(root, root / ".cache", params.machine.workers)
    with whole_folder(stages.RAW) as folder:
        skipped = fetch(params.data, folder, context)
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    without = f", besides {skipped} outside class folders" if skipped else ""
    seconds = time.perf_counter() - start
    print(f"download: {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB from {printable(source)}{without}, {seconds:.1f} s")


if __name__ == "__main__":
    stages.run(main)
