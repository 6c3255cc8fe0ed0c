"""One interface over CLIP-like dual encoders: scans and captions into one space, where classes are told apart."""

import hashlib
import json
import pickle
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import functional

from trueslice.errors import UserError
from trueslice.files import is_lfs_pointer
from trueslice.model.families import FAMILIES
from trueslice.model.preprocessing import TOKENIZERS, Preprocessing, read_object
from trueslice.startup import quick_transformers, silence_transformers

AGAIN = "fetch the checkpoint again, or take another one"
# Of a tower; the rest is known by the shapes of the weights.
HIGHEST = {"image_size": 2048, "num_hidden_layers": 1000}
# Of a tower, where they are given; from 0 to 1.
FRACTIONS = ("layer_norm_eps", "attention_dropout", "dropout", "hidden_dropout_prob", "attention_probs_dropout_prob")
LARGEST_SCALE = 10  # of the logarithm: a scale of 22,026, where CLIP has 100
UNCUT = 100_000  # tokens: more than any caption has
BATCH = 64  # scans at once where nothing is learned; it changes memory, not results


class Encoder:
    """A Hugging Face model and its preprocessing. Embeddings have unit length, float32, and the same dimension D.

    A tower pools its input into features, which a projection then takes into the common space. Where a family has no
    projections, the features are the embeddings. Training changes the parameters of `model`.
    """

    def __init__(self, model: nn.Module, preprocessing: Preprocessing, device: torch.device):
        self.model = model.to(device).eval()
        self.preprocessing = preprocessing
        self.device = device
        self.family = FAMILIES[model.config.model_type]
        self.image_size = model.config.vision_config.image_size  # side in pixels
        # Scans are bytes from 0 to 255; the checkpoint's mean and deviation are for 0 to 1.
        self._mean = 255 * torch.tensor(preprocessing.images["image_mean"], device=device).view(1, 3, 1, 1)
        self._deviation = 255 * torch.tensor(preprocessing.images["image_std"], device=device).view(1, 3, 1, 1)

    @classmethod
    def load(cls, folder: Path, device: torch.device | str) -> Self:
        """Load a directory that the stage `checkpoint` or `save` wrote, offline; the errors are those of `check`."""
        model = load_model(folder)
        return cls(model, Preprocessing.read(folder), torch.device(device))

    def save(self, folder: Path) -> None:
        """Write a directory that `AutoModel` and `AutoProcessor` load as it is."""
        with quick_transformers():
            self.model.save_pretrained(folder)
        self.preprocessing.write(folder)

    def hash(self, captions: Iterable[str] = ()) -> str:
        """Return the SHA-256 of configuration, image processor, names and weights, and tokens of captions."""
        digest = hashlib.sha256(self.model.config.to_json_string().encode())
        digest.update(json.dumps(self.preprocessing.images, sort_keys=True).encode())
        tokens = self.tokenize(list(captions)) if captions else {}
        for name, value in [*sorted(self.model.state_dict().items()), *tokens.items()]:
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pool scans from 0 to 255, any dtype [B, 1 or 3, S, S], S = `image_size`, before the projection: [B, F]."""
        return self.model.vision_model(pixel_values=self.normalise(pixels)).pooler_output

    @property
    def has_patches(self) -> bool:
        """True if the image tower is a transformer over patches, False if it is convolutional."""
        return hasattr(self.model.config.vision_config, "num_attention_heads")

    def image_features_and_states(self, pixels: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Return the features and the hidden states of the image tower: inputs of all blocks, and the last output.

        States are tokens, [B, L, C], the patches last and row by row, or in a convolutional tower maps, [B, C, H, W].
        """
        output = self.model.vision_model(pixel_values=self.normalise(pixels), output_hidden_states=True)
        return output.pooler_output, output.hidden_states

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn scans, given as `image_features` takes them, into the input of the image tower: float32 [B, 3, S, S]."""
        normalised = (pixels.float().expand(-1, 3, -1, -1) - self._mean) / self._deviation
        if self.has_patches:
            return normalised
        return normalised.contiguous(memory_format=torch.channels_last)  # convolutions are faster so

    def project_images(self, features: torch.Tensor) -> torch.Tensor:
        """Project features of `image_features` to unit embeddings: float32 [B, D]."""
        embeddings = self.model.visual_projection(features) if self.family.projections else features
        return functional.normalize(embeddings.float(), dim=-1)

    def encode_images(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embed scans, given as `image_features` takes them: float32 [B, D]."""
        return self.project_images(self.image_features(pixels))

    def tokenize(self, captions: list[str]) -> dict[str, torch.Tensor]:
        """Turn captions into the inputs of the text tower, int64 [C, L] each; longer captions are cut off."""
        length = self.model.config.text_config.max_position_embeddings
        tokens = self.preprocessing.tokenize(captions, length, self.family.pad_to_length)
        names = ("input_ids", "attention_mask") if self.family.attention_mask else ("input_ids",)
        return {name: torch.from_numpy(tokens[name]).to(self.device) for name in names}

    def text_features(self, tokens: dict[str, torch.Tensor]) -> torch.Tensor:
        """Pool C tokenized captions in the text tower, before the projection: [C, F]."""
        return self.model.text_model(**tokens).pooler_output

    def project_texts(self, features: torch.Tensor) -> torch.Tensor:
        """Project features of `text_features` to unit embeddings: float32 [C, D]."""
        embeddings = self.model.text_projection(features) if self.family.projections else features
        return functional.normalize(embeddings.float(), dim=-1)

    def encode_tokens(self, tokens: dict[str, torch.Tensor]) -> torch.Tensor:
        """Embed C tokenized captions: float32 [C, D]."""
        return self.project_texts(self.text_features(tokens))

    def encode_classes(self, captions: list[list[str]]) -> torch.Tensor:
        """Embed each of K classes as the mean direction of its captions: float32 [K, D]."""
        embeddings = self.encode_tokens(self.tokenize(list(chain(*captions))))
        means = [part.mean(dim=0) for part in embeddings.split(list(map(len, captions)))]
        return functional.normalize(torch.stack(means), dim=-1)

    @property
    def logit_scale(self) -> torch.Tensor:
        """The learned factor from cosine similarities to logits: float32 scalar."""
        return self.model.logit_scale.squeeze().exp()

    @property
    def logit_bias(self) -> torch.Tensor:
        """The learned bias that the sigmoid loss adds to logits: float32 scalar; 0 where the family has none."""
        return self.model.logit_bias.squeeze() if self.family.logit_bias else torch.zeros((), device=self.device)

    def score(self, features: torch.Tensor, class_embeddings: torch.Tensor) -> torch.Tensor:
        """Compute logits of scans, from features of `image_features`, against K classes, [K, D]: float32 [B, K].

        SigLIP's bias is left out: it is the same for all classes, and softmax does not see it.
        """
        return self.logit_scale * self.project_images(features) @ class_embeddings.T

    @torch.inference_mode()
    def features(self, batches: Iterable[torch.Tensor]) -> torch.Tensor:
        """Pool N scans, in batches as `image_features` takes them: float32 [N, F] on the CPU."""
        return torch.cat([self.image_features(batch).float().cpu() for batch in batches])

    @torch.inference_mode()
    def classify(self, features: torch.Tensor, captions: list[list[str]]) -> torch.Tensor:
        """Compute logits of N scans from `features` against K classes of captions: float32 [N, K] on the CPU."""
        classes = self.encode_classes(captions)
        return torch.cat([self.score(part.to(self.device), classes).cpu() for part in features.split(BATCH)])

    @torch.inference_mode()
    def logits(self, batches: Iterable[torch.Tensor], class_embeddings: torch.Tensor) -> torch.Tensor:
        """Compute logits of N scans, in batches as `image_features` takes them: float32 [N, K] on the CPU."""
        return torch.cat([self.score(self.image_features(batch), class_embeddings).cpu() for batch in batches])


def check_captions(folder: Path, classes: Mapping[str, Sequence[str]]) -> None:
    """Check that the text tower of a directory reads every caption to its end, and tells the classes apart.

    Raises:
        UserError: a caption has more tokens than the tower reads, or two classes have one with the same tokens, or
            the tower has fewer tokens than the tokenizer.
    """
    tower = read_object(folder / "config.json")["text_config"]
    length = tower["max_position_embeddings"]
    tokens = Preprocessing.read(folder).tokenize(list(chain(*classes.values())), UNCUT, pad_to_length=False)
    if tokens["input_ids"].max() >= tower["vocab_size"]:
        problem = f"its tokenizer has tokens beyond the {tower['vocab_size']} of config.json"
        raise UserError(f"the checkpoint in {folder} cannot be used: {problem}; {AGAIN}")
    owners = [(name, caption) for name, captions in classes.items() for caption in captions]
    first: dict[bytes, tuple[str, str]] = {}
    for owner, row, count in zip(owners, tokens["input_ids"], tokens["attention_mask"].sum(axis=1), strict=True):
        name, caption = owner
        if count > length:
            problem = f"a caption of {name} has {count} tokens, of which this checkpoint reads {length}"
            raise UserError(f"{problem}; shorten it under `classes:` in params.yaml: {caption[:40]}…")
        other, same = first.setdefault(row.tobytes(), owner)
        if other != name:
            problem = f"for this checkpoint {same!r} of {other} and {caption!r} of {name} are the same"
            raise UserError(f"{problem}; change one under `classes:` in params.yaml")


def probabilities(logits: torch.Tensor, temperature: float = 1.0) -> np.ndarray:
    """Return calibrated probabilities, float64 [N, K], of logits [N, K]."""
    return (logits.double() / temperature).softmax(dim=1).cpu().numpy()


def load_model(folder: Path) -> nn.Module:
    """Load the model of a Hugging Face directory in float32, with the errors of `check`; no code of it is run."""
    family = check(folder)
    how: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False, "output_loading_info": True}
    # In memory, a file that is overwritten or cut off later changes nothing. Shapes are compared below.
    how |= {"dtype": torch.float32, "disable_mmap": True, "ignore_mismatched_sizes": True}
    try:
        quickly = quick_transformers() if FAMILIES[family].loads_quickly else nullcontext()
        with quickly, warnings.catch_warnings(action="ignore"):
            from transformers import AutoModel

            silence_transformers()
            model, report = AutoModel.from_pretrained(folder, **how)
            kinds = _kinds(folder)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"the weights in {folder} are a pickle that is damaged or holds more than weights, so it is not "
            "opened; take a checkpoint with model.safetensors"
        ) from error
    except SafetensorError as error:
        raise UserError(f"the weights in {folder} are damaged or cut off; {AGAIN}") from error
    except Exception as error:  # transformers and torch raise many kinds
        problem = f"its config.json and weights make no model of type {family}"
        raise UserError(f"the checkpoint in {folder} cannot be loaded: {problem}; {AGAIN}") from error
    if missing := sorted(report["missing_keys"]):
        # transformers would leave these at random values, in silence.
        raise UserError(f"the checkpoint in {folder} lacks {len(missing)} of its weights, such as {missing[0]}")
    if others := sorted(report["mismatched_keys"]):
        name, found, expected = others[0]
        problem = f"{list(found)}, not {list(expected)} as config.json says"
        raise UserError(f"{name} of the checkpoint in {folder} has the shape {problem}; {AGAIN}")
    if unknown := sorted(report["unexpected_keys"]):
        left_out = f"{len(unknown)} left out of those in {folder}, such as {unknown[0]!a:.100}"
        print(f"note: weights that a model of type {family} has not: {left_out}", file=sys.stderr)
    whole = {name.split(".")[-1] for name, buffer in model.named_buffers() if not buffer.is_floating_point()}
    for name, kind in kinds.items():
        is_weight = name.split(".")[-1] not in whole and name not in unknown
        if is_weight and not re.fullmatch(r"(torch\.b?float|B?F)(16|32|64)", kind):
            problem = f"are stored as {kind}, such as {name!a:.100}, and not as floating point of 16 bits or more"
            raise UserError(f"weights in {folder} {problem}; take another checkpoint")
    _check_weights(model, folder)
    return model


def _kinds(folder: Path) -> dict[str, str]:
    """Return the dtypes in the files of weights by name: loading makes float32 of all that it finds."""
    kinds: dict[str, str] = {}
    for path in (files := sorted(folder.glob("model*.safetensors"))):
        with safe_open(path, "pt") as file:
            kinds |= {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    for path in [] if files else sorted(folder.glob("pytorch_model*.bin")):
        found = torch.load(path, map_location="meta", weights_only=True)
        kinds |= {name: str(value.dtype) for name, value in found.items() if isinstance(value, torch.Tensor)}
    return kinds


def _check_weights(model: nn.Module, folder: Path) -> None:
    for name, weight in model.state_dict().items():
        # Both are NaN if one value is; a test of each value would take far longer.
        if not torch.stack(weight.aminmax()).isfinite().all():
            raise UserError(f"weights in {folder} are not finite, such as {name}; take another checkpoint")
    scale = float(model.logit_scale.detach())
    if not -LARGEST_SCALE <= scale <= LARGEST_SCALE:
        problem = f"is {scale:.6g}; it is the logarithm of the scale, from -{LARGEST_SCALE} to {LARGEST_SCALE}"
        raise UserError(f"logit_scale in {folder} {problem}; take another checkpoint")


def check(folder: Path) -> str:
    """Return the family of a directory, and refuse what transformers would ask about, or complete by itself.

    Raises:
        FileNotFoundError: there is no such directory.
        UserError: the directory is incomplete, needs code of its own, or holds an unsupported family.
    """
    names = {path.name for path in folder.iterdir() if path.is_file()}
    if "config.json" not in names:
        raise UserError(f"{folder} has no config.json, so it is not a Hugging Face checkpoint")
    for name in sorted(names):
        if is_lfs_pointer(folder / name):
            raise UserError(f"{folder / name} is a Git LFS pointer, not the file itself; run `git lfs pull` there")
        if name.endswith("config.json") and '"auto_map"' in json.dumps(read_object(folder / name)):
            code = "code that comes with the checkpoint (auto_map)"
            raise UserError(f"{folder / name} asks to run {code}, which is never done; take one without auto_map")
        if name.endswith(".index.json"):
            parts = read_object(folder / name).get("weight_map")
            if not isinstance(parts, dict) or not names.issuperset(map(str, parts.values())):
                raise UserError(f"{folder / name} names files that are not beside it; {AGAIN}")
    config = read_object(folder / "config.json")
    family = config.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise UserError(f"{folder} holds a model of type {family!r:.40}; supported are: {', '.join(FAMILIES)}")
    _check_towers(config, folder / "config.json")
    if not names & {*TOKENIZERS}:
        # transformers would make up a tokenizer of two tokens without a word.
        raise UserError(f"{folder} has none of {', '.join(TOKENIZERS)}; the checkpoint is incomplete")
    if not any(name.endswith((".safetensors", ".bin")) for name in names):
        raise UserError(f"{folder} has no model.safetensors; the checkpoint is incomplete")
    return family


def _check_towers(config: dict[str, Any], path: Path) -> None:
    for tower in ("vision_config", "text_config"):
        values = config.get(tower, {})
        for key, highest in HIGHEST.items():
            value = values.get(key, 1) if isinstance(values, dict) else values
            if type(value) is not int or not 1 <= value <= highest:
                problem = f"is {value!r:.40}; it must be a whole number from 1 to {highest}"
                raise UserError(f"{path}: {tower}.{key} {problem}")
        for key in FRACTIONS:
            value = values.get(key, 0)
            if type(value) not in (int, float) or not 0 <= value <= 1:
                raise UserError(f"{path}: {tower}.{key} is {value!r:.40}; it must be a number from 0 to 1")
