import inspect

import pytest
import torch
from test_loop import CONFIG

from tumorclip.choices import LOSSES, TUNING
from tumorclip.params import Train
from tumorclip.train import losses
from tumorclip.train.trainable import DualEncoder, make_trainable, parameter_groups


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
    make_trainable(encoder, Train(**(CONFIG | {"tune": tune})))
    names = learning(encoder)
    dual = DualEncoder(encoder, tune, ["bright", "dark"])
    size = encoder.model.visual_projection.in_features
    from_features = TUNING[tune].images == "features"
    inputs = torch.rand(3, size) if from_features else torch.randint(0, 255, (3, 1, 64, 64))
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


def test_lower_layers_learn_slower(encoder):
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
    assert peaks["text_model.encoder.layers.0.mlp.fc1.weight"] == 0.5
    assert peaks["text_model.embeddings.token_embedding.weight"] == 0.5**2


def test_only_matrices_decay(encoder):
    for group in parameter_groups(encoder.model, Train(**CONFIG)):
        assert all((parameter.ndim >= 2) == (group["weight_decay"] > 0) for parameter in group["params"])
