"""The ControlNet of Wan: it changes nothing before training, and what it learns reaches the video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.training.models.control import controlled
from tasks.training.models.tiny import CHANNELS, TEXT_DIM
from tests.training.tiny_wan_control import (
    HEIGHT,
    LATENT_HEIGHT,
    LATENT_WIDTH,
    N_FRAMES,
    N_LATENTS,
    N_TEXT,
    TOKENS_PER_FRAME,
    WIDTH,
    make_trained,
    tiny_control_net,
    tiny_transformer,
)

pytestmark = pytest.mark.models


def inputs(*, first_frame_given: bool = True) -> dict[str, Any]:
    """What a transformer is called with: a timestep a token if the first frame is given."""
    import torch

    drawn = torch.Generator().manual_seed(0)
    timestep = torch.tensor([300.0, 600.0])
    if first_frame_given:
        timestep = timestep[:, None].repeat(1, N_LATENTS * TOKENS_PER_FRAME)
        timestep[:, :TOKENS_PER_FRAME] = 0
    return {
        "hidden_states": torch.randn(2, CHANNELS, N_LATENTS, LATENT_HEIGHT, LATENT_WIDTH, generator=drawn),
        "encoder_hidden_states": torch.randn(2, N_TEXT, TEXT_DIM, generator=drawn),
        "timestep": timestep,
        "return_dict": False,
    }


def masks(seed: int = 0) -> Any:
    import torch

    return torch.rand(2, N_FRAMES, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed)) - 0.5


def output(transformer: Any, net: Any = None, control: Any = None, **kind: bool) -> Any:
    import torch

    with torch.no_grad():
        if net is None:
            return transformer(**inputs(**kind))[0]
        with controlled(transformer, net, masks() if control is None else control):
            return transformer(**inputs(**kind))[0]


@pytest.mark.parametrize("first_frame_given", [True, False])
def test_a_new_one_changes_nothing_and_a_trained_one_steers(first_frame_given: bool) -> None:
    import torch

    kind = {"first_frame_given": first_frame_given}
    transformer = tiny_transformer()
    stock = output(transformer, **kind)
    assert stock.std() > 0.1
    assert torch.equal(output(transformer, tiny_control_net(transformer), **kind), stock)
    net = make_trained(tiny_control_net(transformer))
    steered = output(transformer, net, **kind)
    assert (steered - stock).abs().max() > 0.01
    assert not torch.equal(output(transformer, net, masks(1), **kind), steered)
    assert torch.equal(output(transformer, **kind), stock)


def test_its_blocks_are_the_transformers_first_ones() -> None:
    import torch

    transformer = tiny_transformer()
    net = tiny_control_net(transformer)
    call = inputs()
    call.pop("return_dict")
    for index, projection in enumerate(net.projections):
        with torch.no_grad():
            projection.weight.copy_(torch.eye(len(projection.weight)))
        states: list[Any] = []
        hook = transformer.blocks[index].register_forward_hook(
            lambda block, args, out, states=states: states.append(out)
        )
        output(transformer)
        hook.remove()
        assert torch.allclose(net(**call, control=masks())[index], states[0], atol=1e-6)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_every_weight_of_the_control_and_none_of_the_backbone(checkpointing: bool) -> None:
    transformer = tiny_transformer().requires_grad_(False)
    net = make_trained(tiny_control_net(transformer))
    if checkpointing:
        for network in (transformer, net):
            network.enable_gradient_checkpointing()
    with controlled(transformer, net, masks()):
        loss = transformer(**inputs())[0].square().mean()
    loss.backward()
    assert all(weight.grad is None for weight in transformer.parameters())
    assert [name for name, weight in net.named_parameters() if not weight.grad.abs().max() > 0] == []


def test_saved_and_loaded_it_steers_as_before(tmp_path: Path) -> None:
    import torch

    from tasks.training.models.wan.control import WanControlNet

    transformer = tiny_transformer()
    net = make_trained(tiny_control_net(transformer))
    net.save_pretrained(tmp_path)
    assert torch.equal(output(transformer, WanControlNet.from_pretrained(tmp_path)), output(transformer, net))


def test_what_does_not_fit_is_refused() -> None:
    transformer = tiny_transformer()
    with pytest.raises(ValueError, match=r"a control \(2, 9, 3, 48, 32\) encodes to \(2, 3, 32, 6, 4\)"):
        output(transformer, tiny_control_net(transformer), masks().transpose(3, 4))
    with pytest.raises(ValueError, match="4 layers to control of 3"):
        tiny_control_net(transformer, n_layers=4)
