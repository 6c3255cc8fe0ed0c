"""The shape of all pixels in the pipeline: a square, with the picture centred on black."""

import numpy as np
from PIL import Image


def fit(image: Image.Image, size: int) -> np.ndarray:
    """Resize an image into a black square, with its sides in proportion and centred (bicubic, antialiased).

    Args:
        image: an image in mode L or RGB.
        size: pixels per side of the square.

    Returns:
        uint8 [size, size], or [size, size, 3] for RGB.
    """
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    square = Image.new(image.mode, (size, size))
    fitted = image.resize((width, height), Image.Resampling.BICUBIC)
    square.paste(fitted, ((size - width) // 2, (size - height) // 2))
    return np.asarray(square)
