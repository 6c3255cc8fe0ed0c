import inspect

import pytest
import torch

from tests.train.training import CONFIG
from trueslice.choices import LOSSES, TUNING
from trueslice.params import Train
from trueslice.train import losses
from trueslice.train.trainable import DualEncoder, layer_of, make_trainable, parameter_groups, training_mode

TIMM = "vision_model.timm_model"


def learning(encoder) -> set[str]:
    return {name for name, parameter in encoder.model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_a_function_that_states_its_formula(name):
    assert list(inspect.signature(getattr(losses, name)).parameters) == ["batch"]
    assert "loss = " in getattr(losses, name).__doc__


@pytest.mark.parametrize("tune", TUNING)
def test_what_is_computed_once_does_not_depend_on_what_learns(family, tune):
    """Every parameter that learns gets a gradient, and no other."""
    encoder = family("tiny")
    config = Train(**(CONFIG | {"tune": tune}))
    make_trainable(encoder, config)
    names = learning(encoder)
    dual = DualEncoder(encoder, config, ["bright", "dark"])
    width = encoder.model.visual_projection.in_features
    inputs = {
        "pixels": torch.randint(0, 255, (3, 1, 64, 64)),
        "states": torch.rand(3, 65, width),
        "features": torch.rand(3, width),
    }[TUNING[tune].images]
    images, texts, logit_scale, logit_bias = dual(inputs, torch.tensor([1, 0]))
    assert images.shape == (3, 64) and texts.shape == (2, 64) and logit_bias == 0
    (logit_scale * images @ texts.T).square().sum().backward()
    assert {name for name, parameter in encoder.model.named_parameters() if parameter.grad is not None} == names


@pytest.mark.parametrize("objective", ["caption", "sigmoid"])
def test_the_logit_bias_learns_only_where_the_loss_uses_it(family, objective):
    encoder = family("siglip")
    make_trainable(encoder, Train(**(CONFIG | {"objective": objective})))
    assert ("logit_bias" in learning(encoder)) == (objective == "sigmoid")
    assert "logit_scale" in learning(encoder)


def test_lower_layers_learn_slower(family):
    encoder = family("tiny")
    make_trainable(encoder, Train(**CONFIG))
    names = {id(parameter): name for name, parameter in encoder.model.named_parameters()}
    peaks = {
        names[id(parameter)]: group["peak"]
        for group in parameter_groups(encoder.model, Train(**(CONFIG | {"learning_rate": 1.0, "layer_decay": 0.5})))
        for parameter in group["params"]
    }
    assert len(peaks) == len(names)
    assert peaks["visual_projection.weight"] == peaks["logit_scale"] == 1
    assert peaks["vision_model.post_layernorm.weight"] == 1
    assert peaks["vision_model.encoder.layers.3.mlp.fc1.weight"] == 0.5
    assert peaks["vision_model.encoder.layers.0.mlp.fc1.weight"] == 0.5**4
    assert peaks["vision_model.embeddings.patch_embedding.weight"] == 0.5**5
    assert peaks["vision_model.pre_layrnorm.weight"] == 0.5**5
    assert peaks["text_model.encoder.layers.0.mlp.fc1.weight"] == 0.5
    assert peaks["text_model.embeddings.token_embedding.weight"] == 0.5**2


def test_lower_layers_of_lite_learn_slower(family):
    encoder = family("lite")
    layers = {name: layer_of(name) for name, _ in encoder.model.vision_model.timm_model.named_parameters(TIMM)}
    assert layers[f"{TIMM}.conv_stem.weight"] == layers[f"{TIMM}.bn1.weight"] == 0
    assert {layer for name, layer in layers.items() if ".blocks." in name} == set(range(1, 8))
    assert layers[f"{TIMM}.blocks.6.0.bn1.weight"] == 7
    assert layers[f"{TIMM}.conv_head.weight"] == layers[f"{TIMM}.bn2.weight"] == -1


def test_batch_normalisation_keeps_the_statistics_of_the_checkpoint(family):
    encoder = family("lite")
    before = {name: value.clone() for name, value in encoder.model.named_buffers()}
    training_mode(encoder.model)
    assert encoder.model.training and encoder.model.vision_model.timm_model.conv_stem.training
    encoder.encode_images(torch.randint(0, 255, (3, 1, 96, 96)))
    assert all(torch.equal(value, before[name]) for name, value in encoder.model.named_buffers())


def test_only_matrices_decay(encoder):
    for group in parameter_groups(encoder.model, Train(**CONFIG)):
        assert all((parameter.ndim >= 2) == (group["weight_decay"] > 0) for parameter in group["params"])
