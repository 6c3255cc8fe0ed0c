"""Bring the pretrained dual encoder into models/pretrained, as a clean Hugging Face directory.

After this stage nothing touches the network.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import stages
from trueslice.checkpoints import hub
from trueslice.checkpoints.drawn import BUILDERS
from trueslice.files import whole_folder, write_json
from trueslice.model.encoder import Encoder
from trueslice.params import Params


def main(params: Params) -> None:
    start = time.perf_counter()
    name = params.checkpoint.name
    given = stages.repository_root() / Path(name).expanduser()
    # Beside the output rather than in /tmp, which may lie in memory: a checkpoint can be large.
    with whole_folder(stages.PRETRAINED) as folder, TemporaryDirectory(dir=folder.parent) as temporary:
        source = Path(temporary)
        commit = None
        if name in BUILDERS:
            BUILDERS[name](source, params.seed)
        elif given.is_dir():
            source = given
        else:
            commit = hub.fetch(name, params.checkpoint.revision, source)
        encoder = Encoder.load(source, "cpu")
        encoder.save(folder)
        write_json(folder / "checkpoint.json", {"name": name, "revision": commit})
    size = sum(path.stat().st_size for path in stages.PRETRAINED.iterdir()) / 1e6
    seconds = time.perf_counter() - start
    print(f"checkpoint: {name}, {size:.1f} MB, scans of {encoder.image_size} pixels, {seconds:.1f} s")


if __name__ == "__main__":
    stages.run(main)
