"""Bring the pretrained dual encoder into models/pretrained, as a clean Hugging Face directory.

After this stage nothing touches the network.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import stages as common
from tumorclip import files
from tumorclip.model import builtin as tiny
from tumorclip.model import hub
from tumorclip.model.encoder import Encoder
from tumorclip.params import Params


def main(params: Params) -> None:
    start, name = time.perf_counter(), params.checkpoint.name
    given = common.repository_root() / Path(name).expanduser()
    # Beside the output rather than in /tmp, which may lie in memory: a checkpoint can be large.
    with files.whole_folder(common.PRETRAINED) as folder, TemporaryDirectory(dir=folder.parent) as temporary:
        source, commit = Path(temporary), None
        if name in tiny.BUILDERS:
            tiny.BUILDERS[name](source, params.checkpoint.seed)
        elif given.is_dir():
            source = given
        else:
            commit = hub.fetch(name, params.checkpoint.revision, source)
        encoder = Encoder.load(source, "cpu")
        encoder.save(folder)
        files.write_json(folder / "checkpoint.json", {"name": name, "revision": commit})
    size = sum(path.stat().st_size for path in common.PRETRAINED.iterdir()) / 1e6
    print(
        f"checkpoint: {name}, {size:.1f} MB, scans of {encoder.image_size} pixels, {time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    common.run(main)
