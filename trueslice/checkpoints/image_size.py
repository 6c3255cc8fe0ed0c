"""Another side of the scans that a convolutional image tower gets."""

from pathlib import Path

from trueslice.errors import UserError
from trueslice.files import write_json
from trueslice.model.preprocessing import IMAGES, read_object


def set_image_size(folder: Path, side: int) -> None:
    """Write `side`, in pixels, into configuration and image processor of a checkpoint that `Encoder.load` takes.

    Raises:
        UserError: the image tower is a transformer, which knows each patch by its place in a grid of one size.
    """
    config = read_object(folder / "config.json")
    vision = config["vision_config"]
    if "num_attention_heads" in vision:
        problem = f"its image tower is a transformer over patches and takes {vision['image_size']} only"
        raise UserError(f"checkpoint.image_size is {side}, but {problem}; set it to null, or take lite")
    vision["image_size"] = side
    write_json(folder / "config.json", config)
    path = next(folder / name for name in IMAGES if (folder / name).exists())
    settings = read_object(path)
    images = settings.get("image_processor", settings)
    images |= {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    write_json(path, settings)
