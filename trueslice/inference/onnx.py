"""The released model as one ONNX graph, which runs without PyTorch, and its comparison with PyTorch."""

import logging
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trueslice.errors import UserError
from trueslice.model.encoder import Encoder
from trueslice.records.onnx import Parity

OPSET = 20  # the first that has GELU as one operation
INPUT, OUTPUT = "pixel_values", "probabilities"
# A file in protobuf ends at 2 GiB. The rest of the graph is small.
LARGEST_FILE = 2_000_000_000  # bytes of weights


class Graph(nn.Module):
    """Image tower, projection, similarity to the classes, float32 [K, D], scale, temperature and softmax."""

    def __init__(self, encoder: Encoder, class_embeddings: torch.Tensor, temperature: float):
        super().__init__()
        self.vision_model = encoder.model.vision_model
        self.projection = encoder.model.visual_projection if encoder.family.projections else nn.Identity()
        scale = encoder.logit_scale.detach() / temperature
        self.register_buffer("classes", scale * class_embeddings.detach().clone().T)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Compute probabilities, float32 [B, K], of inputs, float32 [B, 3, S, S]."""
        embeddings = self.projection(self.vision_model(pixel_values=pixel_values).pooler_output)
        return (nn.functional.normalize(embeddings, dim=-1) @ self.classes).softmax(dim=-1)


def export(graph: Graph, image_size: int, path: Path) -> None:
    """Write the graph, for any number of scans, to `path`. Weights of 2 GB or more go to a second file next to it.

    Raises:
        UserError: the image tower does something that ONNX has no operation for.
    """
    example = torch.zeros(2, 3, image_size, image_size)
    # The exporter's messages about its own steps are not for the user.
    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                graph.eval(),
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        except torch.onnx.OnnxExporterError as error:
            tower = type(graph.vision_model).__name__
            raise UserError(f"PyTorch cannot write a {tower} as ONNX ({type(error).__name__})") from error
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # lines of Python, and their paths on this machine
    weights = sum(value.numel() * value.element_size() for value in graph.state_dict().values())
    program.save(path, external_data=weights >= LARGEST_FILE)


def normalise(pixels: np.ndarray, mean: Sequence[float], deviation: Sequence[float]) -> np.ndarray:
    """Prepare scans, uint8 [B, 1 or 3, S, S], by the channels of pixels from 0 to 1: float32 [B, 3, S, S]."""
    middle, spread = (np.reshape(each, (1, 3, 1, 1)) for each in (mean, deviation))
    return ((pixels / 255 - middle) / spread).astype(np.float32)


def compare(path: Path, batches: Iterable[np.ndarray], expected: np.ndarray, of: str) -> Parity:
    """Compare probabilities of ONNX Runtime on the CPU with PyTorch's, `expected` [N, K], on batches `of` pictures."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = np.concatenate([session.run([OUTPUT], {INPUT: batch})[0] for batch in batches])
    return Parity(
        of=of,
        scans=len(found),
        largest_difference=float(np.nan_to_num(np.abs(found - expected), nan=1).max()),
        answers_changed=int((found.argmax(axis=1) != expected.argmax(axis=1)).sum()),
    )
