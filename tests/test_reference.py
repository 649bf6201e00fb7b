"""The float model is ImageGPT, and the integer model codes as well as the float model it was made from."""

import numpy as np
import pytest
import torch

from codec.network.coding import encode_groups
from codec.network.config import ModelConfig
from codec.network.engines import engine_of
from codec.network.layers import Layer
from codec.tiling.context import FEATURES
from codec.tiling.planes import RGB, pixels_to_planes
from codec.training.data import as_tensors
from codec.training.loop import bits_per_sample
from codec.training.quantize import integer_model
from codec.training.reference import ImageGPT
from tests.conftest import CPU


@pytest.mark.parametrize("window", [1024, 96])
def test_equals_transformers(window):
    """The same weights under the same names give the same hidden states as `transformers.ImageGPTModel`."""
    from transformers import ImageGPTConfig, ImageGPTModel

    torch.manual_seed(0)
    ours = ImageGPT(ModelConfig(n_embd=32, n_layer=2, n_head=2, n_inner=64, attention_window=window, head_inner=16))
    config = ImageGPTConfig(n_embd=32, n_layer=2, n_head=2, n_inner=64, n_positions=1024, attn_implementation="eager")
    theirs = ImageGPTModel(config).eval()
    state = {
        name: tensor for name, tensor in ours.transformer.state_dict().items() if not name.startswith("wce") and not name.endswith("step")
    }
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert {name.rsplit(".", 1)[-1] for name in missing} <= {"bias", "masked_bias"} or missing == ["wte.weight"]
    embeddings = ours.transformer.wce(torch.randn(2, 1024, FEATURES))
    for block in theirs.h:  # its causal mask, narrowed to our window
        causal = torch.ones(1024, 1024).tril().bool() & ~torch.ones(1024, 1024).tril(-window).bool()
        block.attn.bias = causal[None, None]
    with torch.no_grad():
        expected = theirs(inputs_embeds=embeddings).last_hidden_state
        found = ours.transformer(embeddings)
    assert torch.allclose(found, expected, atol=2e-4)


def test_the_integer_model_costs_at_most_one_percent(photograph, shipped_checkpoint):
    model = ImageGPT.load(shipped_checkpoint)
    integer = integer_model(model, "x", CPU)
    layer = Layer(RGB, pixels_to_planes(photograph[64:192, 100:260]))
    float_bits = integer_bits = 0.0
    turns = layer.turns(layer.grid.whole)
    for turn, samples in turns:
        float_bits += bits_per_sample(model, {RGB: (torch.from_numpy(samples), as_tensors(turn.around))})[RGB] * samples.size
    (payload,) = encode_groups(engine_of(integer, layer.grid.tiles), [turns], lambda _: None)
    integer_bits += 8 * len(payload)
    assert integer_bits < 1.01 * float_bits


def test_quantisation_is_deterministic_and_the_shipped_model_is_its_result(shipped_checkpoint):
    from codec import models

    made = integer_model(ImageGPT.load(shipped_checkpoint), "x", CPU)
    assert made.digest == models.load(None, "rgb", CPU).digest


@torch.no_grad()
def test_quantized_forward_is_close_to_the_float_one():
    torch.manual_seed(0)
    model = ImageGPT(ModelConfig(n_embd=32, n_layer=1, n_head=2, n_inner=64, head_inner=16))
    features = torch.from_numpy(np.random.default_rng(0).integers(-127, 128, (1, 1024, FEATURES)).astype(np.int8))
    model.observe()
    plain = model.hidden(features)
    model.choose_steps()
    model.set_quantized(True)
    rounded = model.hidden(features)
    assert 0 < float((plain - rounded).square().mean() / plain.square().mean()) < 0.01
