"""GameCraft-2's stages 1 and 2 on tiny experts: the paper's numbers, what is trained, and what cameras change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.media.plucker import plucker_embeddings
from tasks.training.recipes.gameplay.config import CaptionConfig, GameplayTraining
from tasks.training.recipes.gameplay.model import Captions, choose_prompt
from tests.training.tiny_wan_control import (
    HEIGHT,
    LATENT_HEIGHT,
    LATENT_WIDTH,
    N_FRAMES,
    N_LATENTS,
    N_TEXT,
    TOKENS_PER_FRAME,
    WIDTH,
)


def test_the_paper_s_numbers_are_the_defaults() -> None:
    config = GameplayTraining()
    assert [phase.n_frames for phase in config.first] == [45, 81, 149]
    assert sum(phase.optimisation.n_steps for phase in config.first) == 100_000
    assert config.second.optimisation.n_steps == 20_000
    with pytest.raises(ValidationError, match="n_frames is 80; the model makes 4k"):
        GameplayTraining(second={"n_frames": 80, "optimisation": config.second.optimisation})


def test_a_prompt_is_long_or_short_with_the_interaction_behind_it() -> None:
    said = Captions("A long hall with a door.", "A hall.", "The door opens.")
    rng = np.random.default_rng(0)
    prompts = [choose_prompt(said, CaptionConfig(), rng) for _ in range(200)]
    assert set(prompts) == {"A long hall with a door. The door opens.", "A hall. The door opens."}
    assert 70 < prompts.count("A hall. The door opens.") < 130
    assert choose_prompt(said._replace(interaction=None), CaptionConfig(long_share=0), rng) == "A hall."


# --- Networks ----------------------------------------------------------------------------------


def tiny_expert(seed: int = 0, **changes: Any) -> Any:
    """A Wan as the A14B's: its input is noise, mask and first frame."""
    import torch
    from diffusers import WanTransformer3DModel

    from tasks.training.models.tiny import CHANNELS, draw_wan_transformer, make_lively

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = dict(draw_wan_transformer(n_blocks=2).config) | {"in_channels": 2 * CHANNELS + 4} | changes
        expert = WanTransformer3DModel.from_config(config)
        make_lively(expert)
    return expert.eval()


def tiny_model(n_experts: int = 2, *, trained: bool = False) -> Any:
    """trained: the projection, which starts at zero, has weights."""
    import torch

    from tasks.training.recipes.gameplay.model import new_model

    experts = [tiny_expert(seed) for seed in range(n_experts)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = new_model(experts, GameplayTraining())
        if trained:
            torch.nn.init.normal_(model.camera.projection.weight, std=0.2)
    return model


def cameras(*steps_to_the_right: float) -> Any:
    """(clips, N_FRAMES, 6, HEIGHT, WIDTH): each clip's camera moves so far a frame."""
    import torch

    clips = []
    for step in steps_to_the_right:
        poses = np.tile(np.eye(4), (N_FRAMES, 1, 1))
        poses[:, 0, 3] = step * np.arange(N_FRAMES)
        clips.append(plucker_embeddings(poses, np.array([40.0, 40, WIDTH / 2, HEIGHT / 2]), WIDTH, HEIGHT))
    return torch.from_numpy(np.stack(clips))


def tiny_batch() -> Any:
    import torch

    from tasks.training.models.tiny import CHANNELS, TEXT_DIM
    from tasks.training.recipes.gameplay.model import Batch

    drawn = torch.Generator().manual_seed(0)
    shape = (2, CHANNELS, N_LATENTS, LATENT_HEIGHT, LATENT_WIDTH)
    return Batch(
        latents=torch.randn(shape, generator=drawn),
        image_latents=torch.randn(shape, generator=drawn),
        text=torch.randn(2, N_TEXT, TEXT_DIM, generator=drawn),
        cameras=cameras(0.1, -0.1),
    )


LEVELS = (0.95, 0.5)  # one clip for each expert


def predict(model: Any, batch: Any, levels: tuple[float, ...] = LEVELS) -> Any:
    import torch

    with torch.no_grad():
        return model(batch.latents, torch.tensor(levels), batch)


@pytest.mark.models
def test_at_step_0_it_is_the_base_model_and_each_level_has_its_expert() -> None:
    import torch

    model, batch = tiny_model(), tiny_batch()
    made = predict(model, batch)
    given = torch.zeros(2, 4, *batch.latents.shape[2:])
    given[:, :, 0] = 1
    hidden = torch.cat([batch.latents, given, batch.image_latents], dim=1)
    for clip, (level, expert) in enumerate(zip(LEVELS, model.experts, strict=True)):
        with torch.no_grad():
            stock = expert(
                hidden_states=hidden[clip : clip + 1],
                encoder_hidden_states=batch.text[clip : clip + 1],
                timestep=torch.tensor([1000 * level]),
                return_dict=False,
            )[0]
        assert stock.std() > 0.1
        assert torch.equal(made[clip], stock[0])
    single = tiny_model(n_experts=1)
    assert torch.allclose(predict(single, batch)[0], made[0], atol=1e-5)  # seeded as the high-noise expert
    assert not torch.allclose(predict(single, batch)[1], made[1], atol=1e-2)


@pytest.mark.models
@pytest.mark.parametrize("stage", ["first", "second"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_exactly_what_a_stage_trains(stage: Any, checkpointing: bool) -> None:
    import torch

    from tasks.training.recipes.gameplay.loss import gameplay_loss
    from tasks.training.recipes.gameplay.model import set_trained

    model = tiny_model(trained=True)
    set_trained(model, "first")  # as before the second
    set_trained(model, stage)
    if checkpointing:
        for expert in model.experts:
            expert.enable_gradient_checkpointing()
            expert.train()
    for level in (0.95, 0.5):
        gameplay_loss(model, tiny_batch(), torch.tensor([level]), torch.Generator().manual_seed(0)).backward()
    reached = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert all(model.get_parameter(name).grad.abs().max() > 0 for name in reached)
    trained = {name for name, _ in model.named_parameters() if stage == "first" or name.startswith("experts.")}
    assert reached == trained


@pytest.mark.models
def test_the_loss_is_flow_matching_over_all_latent_frames() -> None:
    import torch

    from tasks.training.flow_matching import shifted_sigmas
    from tasks.training.recipes.gameplay.loss import gameplay_loss

    model, batch, sigmas = tiny_model(trained=True), tiny_batch(), shifted_sigmas(1000, 5.0)
    with torch.no_grad():
        made = gameplay_loss(model, batch, sigmas, torch.Generator().manual_seed(0))
        drawn = torch.Generator().manual_seed(0)
        levels = sigmas[torch.randint(1000, (2,), generator=drawn)]
        noise = torch.randn(batch.latents.shape, generator=drawn)
        level = levels.view(2, 1, 1, 1, 1)
        predicted = model((1 - level) * batch.latents + level * noise, levels, batch)
    assert torch.allclose(made, (predicted - (noise - batch.latents)).square().mean())


@pytest.mark.models
def test_after_a_step_another_camera_changes_the_prediction() -> None:
    import torch

    from tasks.training.recipes.gameplay.loss import gameplay_loss
    from tasks.training.recipes.gameplay.model import set_trained

    model, batch = tiny_model(), tiny_batch()
    other = replace(batch, cameras=cameras(0.1, 0.1))
    assert torch.equal(predict(model, batch), predict(model, other))
    set_trained(model, "first")
    optimizer = torch.optim.AdamW(model.camera.parameters(), lr=1e-2)
    gameplay_loss(model, batch, torch.tensor([0.5]), torch.Generator().manual_seed(0)).backward()
    optimizer.step()
    here, there = predict(model, batch), predict(model, other)
    assert torch.equal(here[0], there[0])  # the clip whose camera is the same
    assert (here[1] - there[1]).abs().max() > 1e-4


@pytest.mark.models
def test_tokens_get_the_cameras_of_their_own_frames_and_both_branches_of_guidance_get_them() -> None:
    import torch

    from tasks.training.models.wan.camera import steered

    model = tiny_model(trained=True)
    expert = model.experts[0]
    seen: list[Any] = []
    expert.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    one, late = cameras(0.0), cameras(0.0)
    late[:, 5:] = cameras(0.3)[:, 5:]  # frames 5 to 8: the last latent frame's
    for shown in (one, late):
        with steered(expert, model.camera, shown), torch.no_grad():
            expert(
                hidden_states=torch.zeros(2, expert.config.in_channels, N_LATENTS, LATENT_HEIGHT, LATENT_WIDTH),
                encoder_hidden_states=torch.zeros(2, N_TEXT, expert.config.text_dim),
                timestep=torch.tensor([500.0, 500.0]),
            )
    difference = (seen[0] - seen[1]).abs().amax(-1).unflatten(1, (N_LATENTS, TOKENS_PER_FRAME))
    assert difference[:, :2].eq(0).all()
    assert difference[:, 2].gt(0).all()
    assert torch.equal(seen[1][0], seen[1][1])


@pytest.mark.models
def test_a_saved_encoder_is_loaded(tmp_path: Path) -> None:
    import torch

    from tasks.training.models.wan.camera import CameraEncoder

    encoder = tiny_model(trained=True).camera
    encoder.save_pretrained(tmp_path)
    with torch.no_grad():
        coded = encoder(cameras(0.1))
        assert torch.equal(CameraEncoder.from_pretrained(tmp_path)(cameras(0.1)), coded)
    assert coded.abs().max() > 0


@pytest.mark.models
def test_what_does_not_fit_is_refused() -> None:
    from tasks.training.recipes.gameplay.model import new_model

    model, batch = tiny_model(), tiny_batch()
    with pytest.raises(ValueError, match=r"cameras \(1, 9, 6, 48, 32\) encode to \(1, 24, 3, 3, 2\)"):
        predict(model, replace(batch, cameras=batch.cameras.transpose(3, 4)))
    with pytest.raises(ValueError, match="a control of 8 frames"):
        predict(model, replace(batch, cameras=batch.cameras[:, :8]))
    with pytest.raises(ValueError, match=r"a transformer of 4 input channels, where .* are 12"):
        new_model([tiny_expert(in_channels=4)], GameplayTraining())
    with pytest.raises(ValueError, match="3 experts"):
        new_model([tiny_expert()] * 3, GameplayTraining())
