"""Bring the pretrained dual encoder into models/pretrained; after this stage nothing touches the network."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import stages
from trueslice.checkpoints import hub
from trueslice.checkpoints.drawn import BUILDERS
from trueslice.checkpoints.image_size import set_image_size
from trueslice.checkpoints.normal import normalise
from trueslice.files import printable, read_json, whole_folder
from trueslice.model.encoder import check_captions
from trueslice.params import Params
from trueslice.records.trained import Checkpoint


def main(params: Params) -> None:
    start = time.perf_counter()
    name = params.checkpoint.name
    given = stages.repository_root() / Path(name).expanduser()
    commit = None
    # Next to the output and not in /tmp, which may be in memory: a checkpoint can be large.
    with whole_folder(stages.PRETRAINED) as folder, TemporaryDirectory(dir=folder.parent) as temporary:
        if name in BUILDERS:
            BUILDERS[name](folder, params.seed)
        elif given.is_dir():
            normalise(given, folder)
        else:
            commit = hub.fetch(name, params.checkpoint.revision, Path(temporary))
            normalise(Path(temporary), folder)
        if params.checkpoint.image_size:
            set_image_size(folder, params.checkpoint.image_size)
        check_captions(folder, params.classes)
        Checkpoint(name=name, revision=commit).write(folder / "checkpoint.json")
    size = sum(path.stat().st_size for path in stages.PRETRAINED.iterdir()) / 1e6
    side = read_json(stages.PRETRAINED / "config.json")["vision_config"]["image_size"]
    print(f"checkpoint: {printable(name)}, {size:.1f} MB, scans of {side} pixels, {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    stages.run(main)
