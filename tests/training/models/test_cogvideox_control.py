"""The ControlNet of CogVideoX: it changes nothing before training, and what it learns reaches the video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.training.models.cogvideox.denoising import rotary_embedding
from tasks.training.models.control import controlled, halve_time
from tests.training.tiny_cogvideox import (
    CHANNELS,
    GRID,
    HEIGHT,
    LATENT_HEIGHT,
    LATENT_WIDTH,
    N_BLOCKS,
    N_FRAMES,
    N_LATENTS,
    N_TEXT,
    TEXT_DIM,
    WIDTH,
    tiny_transformer,
)
from tests.training.tiny_control import make_trained, pipeline_parts, tiny_control_net

pytestmark = pytest.mark.models


def inputs(batch: int = 2, seed: int = 0) -> dict[str, Any]:
    """What a transformer is called with."""
    import torch

    drawn = torch.Generator().manual_seed(seed)
    return {
        "hidden_states": torch.randn(batch, N_LATENTS, 2 * CHANNELS, LATENT_HEIGHT, LATENT_WIDTH, generator=drawn),
        "encoder_hidden_states": torch.randn(batch, N_TEXT, TEXT_DIM, generator=drawn),
        "timestep": torch.arange(1, batch + 1) * 300,
        "image_rotary_emb": rotary_embedding(tiny_transformer(), N_LATENTS, LATENT_HEIGHT, LATENT_WIDTH),
        "return_dict": False,
    }


def masks(batch: int = 2, seed: int = 0, n_frames: int = N_FRAMES) -> Any:
    import torch

    return torch.rand(batch, n_frames, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed)) - 0.5


def output(transformer: Any, net: Any = None, control: Any = None, weight: float = 0.5, **changes: Any) -> Any:
    import torch

    with torch.no_grad():
        if net is None:
            return transformer(**inputs() | changes)[0]
        with controlled(transformer, net, masks() if control is None else control, weight):
            return transformer(**inputs() | changes)[0]


# --- Time --------------------------------------------------------------------------------------


def test_49_frames_become_25_become_13_and_no_latent_sees_a_later_frame() -> None:
    import torch

    frames = torch.eye(49)[None]  # frame f is the unit vector f: a result tells what it was made of
    once = halve_time(frames)
    twice = halve_time(once)
    assert (once.shape, twice.shape) == ((1, 25, 49), (1, 13, 49))
    for latent, seen in enumerate(twice[0]):
        expected = torch.zeros(49)
        if latent == 0:
            expected[0] = 1
        else:
            expected[4 * latent - 3 : 4 * latent + 1] = 0.25
        assert torch.equal(seen, expected)


def test_a_mask_is_encoded_into_the_latent_of_its_frames_alone() -> None:
    """Also through convolutions and norms, which know one frame each."""
    import torch

    net = tiny_control_net(tiny_transformer())
    with torch.no_grad():
        before = net.encoder(masks(1))
        for frame, latent in [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2)]:
            changed = masks(1)
            changed[:, frame] += 0.3
            differs = (net.encoder(changed) != before).flatten(2).any(-1)[0]
            assert differs.tolist() == [index == latent for index in range(N_LATENTS)]


def test_faster_is_encoded_otherwise_up_to_the_maximum() -> None:
    """Group norm alone would hide a frame's speed; the biases before it keep it."""
    import torch

    net = tiny_control_net(tiny_transformer(), control_max=1.5)
    with torch.no_grad():
        slow, fast, faster, fastest = (net.encoder(speed * (masks(1) > 0).float()) for speed in (0.5, 1.0, 1.5, 3.0))
    assert (slow - fast).abs().max() > 0.01
    assert (fast - faster).abs().max() > 0.01
    assert torch.equal(faster, fastest)


# --- Before training ---------------------------------------------------------------------------


def test_a_new_one_changes_nothing_at_all() -> None:
    import torch

    transformer = tiny_transformer()
    stock = output(transformer)
    assert stock.std() > 0.1
    assert torch.equal(output(transformer, tiny_control_net(transformer)), stock)
    assert torch.equal(output(transformer, make_trained(tiny_control_net(transformer)), weight=0.0), stock)


def test_its_blocks_are_the_transformers_first_ones() -> None:
    """Before training its inner state is the transformer's own: the control's kernels are zero."""
    import torch

    transformer = tiny_transformer()
    net = tiny_control_net(transformer)
    for index, projection in enumerate(net.projections):
        with torch.no_grad():
            projection.weight.copy_(torch.eye(len(projection.weight)))
        states: list[Any] = []
        hook = transformer.transformer_blocks[index].register_forward_hook(
            lambda block, args, out, states=states: states.append(out[0])
        )
        output(transformer)
        hook.remove()
        call = inputs() | {"control": masks()}
        call.pop("return_dict")
        assert torch.allclose(net(**call)[index], states[0], atol=1e-6)
    assert net.patch_embed.proj.weight.dtype == torch.float32


def test_the_rotary_embedding_is_the_pipelines(tmp_path: Path) -> None:
    import torch
    from diffusers import CogVideoXImageToVideoPipeline

    transformer = tiny_transformer()
    pipeline = CogVideoXImageToVideoPipeline(**pipeline_parts(transformer, tmp_path))
    theirs = pipeline._prepare_rotary_positional_embeddings(HEIGHT, WIDTH + 32, N_LATENTS, torch.device("cpu"))
    ours = rotary_embedding(transformer, N_LATENTS, LATENT_HEIGHT, LATENT_WIDTH + 4)
    assert ours is not None
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


# --- Control -----------------------------------------------------------------------------------


def test_control_reaches_the_output_with_its_weight_and_leaves_no_trace() -> None:
    import torch

    transformer = tiny_transformer()
    net = make_trained(tiny_control_net(transformer))
    stock = output(transformer)
    steered = output(transformer, net)
    assert (steered - stock).abs().max() > 0.01
    assert not torch.equal(output(transformer, net, masks(seed=1)), steered)
    assert not torch.equal(output(transformer, net, weight=1.0), steered)
    assert torch.equal(output(transformer), stock)


def test_what_is_added_to_each_block() -> None:
    """Against the blocks called one by one, with residuals added by hand."""
    import torch

    transformer = tiny_transformer()
    net = make_trained(tiny_control_net(transformer))
    call = inputs()
    call.pop("return_dict")
    with torch.no_grad():
        residuals = net(**call, control=masks())
        moment = transformer.time_embedding(transformer.time_proj(call["timestep"]))
        tokens = transformer.patch_embed(call["encoder_hidden_states"], call["hidden_states"])
        text, video = tokens[:, :N_TEXT], tokens[:, N_TEXT:]
        for index, block in enumerate(transformer.transformer_blocks):
            video, text = block(video, text, moment, call["image_rotary_emb"])
            if index < 2:
                video = video + 0.5 * residuals[index]
        tokens = transformer.proj_out(transformer.norm_out(transformer.norm_final(video), temb=moment))
    by_hand = tokens.reshape(2, *GRID, CHANNELS, 2, 2)
    by_hand = by_hand.permute(0, 1, 4, 2, 5, 3, 6).reshape(2, N_LATENTS, CHANNELS, LATENT_HEIGHT, LATENT_WIDTH)
    assert torch.allclose(output(transformer, net), by_hand, atol=1e-6)


def test_guidance_gives_both_branches_the_same_control() -> None:
    import torch

    transformer = tiny_transformer()
    net = make_trained(tiny_control_net(transformer))
    assert torch.allclose(output(transformer, net, masks(1)), output(transformer, net, masks(1).repeat(2, 1, 1, 1, 1)))


def test_hooks_go_even_after_an_error() -> None:
    import torch

    transformer = tiny_transformer()
    stock = output(transformer)
    net = make_trained(tiny_control_net(transformer))
    with pytest.raises(ValueError, match="3 controls for a batch of 2; give one each"):
        output(transformer, net, masks(3))
    with (
        pytest.raises(TypeError, match="keyword arguments only"),
        controlled(transformer, net, masks()),
    ):
        transformer(inputs()["hidden_states"])
    assert torch.equal(output(transformer), stock)


# --- Gradients ---------------------------------------------------------------------------------


def gradients(transformer: Any, net: Any, *, backward_inside: bool = False) -> dict[str, Any]:
    transformer.requires_grad_(False)
    net.zero_grad()
    with controlled(transformer, net, masks()):
        loss = transformer(**inputs())[0].square().mean()
        if backward_inside:
            loss.backward()
    if not backward_inside:
        loss.backward()
    assert all(weight.grad is None for weight in transformer.parameters())
    return {name: weight.grad.clone() for name, weight in net.named_parameters()}


def test_gradients_reach_every_weight_of_the_control_and_none_of_the_backbone() -> None:
    transformer = tiny_transformer()
    found = gradients(transformer, make_trained(tiny_control_net(transformer)))
    assert [name for name, gradient in found.items() if not gradient.abs().max() > 0] == []


def test_at_first_only_the_projections_have_one() -> None:
    transformer = tiny_transformer()
    found = gradients(transformer, tiny_control_net(transformer))
    moved = {name for name, gradient in found.items() if gradient.abs().max() > 0}
    assert moved == {f"projections.{index}.{part}" for index in (0, 1) for part in ("weight", "bias")}


def test_three_steps_later_all_have_moved() -> None:
    """First the projections, then the kernels that meet the control, then its encoder."""
    import torch

    transformer = tiny_transformer()
    net = tiny_control_net(transformer)
    before = {name: weight.clone() for name, weight in net.named_parameters()}
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for _ in range(3):
        gradients(transformer, net)
        optimizer.step()
    assert [name for name, weight in net.named_parameters() if torch.equal(weight, before[name])] == []


@pytest.mark.parametrize("backward_inside", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(backward_inside: bool) -> None:
    import torch

    transformer = tiny_transformer()
    net = make_trained(tiny_control_net(transformer))
    plain = gradients(transformer, net)
    for network in (transformer, net):
        network.enable_gradient_checkpointing()
        network.train()
    checkpointed = gradients(transformer, net, backward_inside=backward_inside)
    assert all(torch.allclose(checkpointed[name], plain[name], atol=1e-7) for name in plain)


# --- Saved and refused -------------------------------------------------------------------------


def test_saved_and_loaded_it_steers_as_before(tmp_path: Path) -> None:
    import torch

    from tasks.training.models.cogvideox.control import CogVideoXControlNet

    transformer = tiny_transformer()
    net = make_trained(tiny_control_net(transformer, control_max=1.5))
    net.save_pretrained(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "diffusion_pytorch_model.safetensors"]
    loaded = CogVideoXControlNet.from_pretrained(tmp_path)
    assert loaded.config.control_max == 1.5
    assert torch.equal(output(transformer, loaded), output(transformer, net))


def test_what_does_not_fit_is_refused() -> None:
    transformer = tiny_transformer()
    net = tiny_control_net(transformer)
    with pytest.raises(ValueError, match=r"a control of 10 frames; give 4k \+ 1"):
        output(transformer, net, masks(n_frames=10))
    with pytest.raises(ValueError, match=r"a control \(2, 5, 3, 64, 96\) encodes to"):
        output(transformer, net, masks(n_frames=5))
    with pytest.raises(ValueError, match=r"a control \(2, 9, 3, 96, 64\) encodes to"):
        output(transformer, net, masks().transpose(3, 4))
    with pytest.raises(ValueError, match=rf"4 layers to control of {N_BLOCKS}"):
        tiny_control_net(transformer, n_layers=4)
    with pytest.raises(ValueError, match="8 frames cannot be halved behind the first"):
        halve_time(masks(n_frames=8))
