"""KineMask's recipe: configs of the paper's tables, masks of each stage, the loss, and the pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.datasets.kinemask.condition_clips import frame_weights
from tasks.training.recipes.kinemask.config import VARIANTS, KinemaskTraining, variant
from tasks.training.recipes.kinemask.model import stage_masks
from tests.datasets.kinemask.test_condition_clips import F

# --- Config ------------------------------------------------------------------------------------


def test_the_papers_numbers_are_the_defaults() -> None:
    config = KinemaskTraining()
    assert (config.control.n_layers, config.control.downscale, config.control.weight) == (8, 8, 0.5)
    for stage in (config.first, config.second):
        assert (stage.n_steps, stage.batch_size, stage.learning_rate, stage.betas) == (1000, 40, 1e-4, (0.9, 0.95))
        assert (stage.schedule, stage.max_grad_norm, stage.checkpoint_every) == ("cosine_with_restarts", 1.0, 250)
        assert stage.precision == "bfloat16"
    assert (config.weights, config.n_frames) == ("THUDM/CogVideoX-5b-I2V", 49)


def test_every_row_of_the_tables_has_a_name() -> None:
    named = {name: variant(name) for name in VARIANTS}
    assert len({config.model_dump_json() for config in named.values()}) == len(named)
    assert named["paper"] == KinemaskTraining()
    assert named["second_stage_only"].stages == "second"
    assert named["simple_motion"].set == "simple_motion"
    assert named["constant_prompt"].prompt == "constant"
    assert named["v_0"].encoding == "v_0"
    assert named["uniform_dropout"].dropout.sampling == "uniform"
    assert named["wan"].weights == "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
    assert (named["wan"].width, named["wan"].control.downscale) == (704, 16)
    assert variant("v_0", seed=3).seed == 3
    with pytest.raises(ValueError, match="no variant 'v0'; there are paper, "):
        variant("v0")


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"n_frames is 48; the models make 4k \+ 1"):
        KinemaskTraining(n_frames=48)
    with pytest.raises(ValidationError, match="728x480; cogvideox needs multiples of 16"):
        KinemaskTraining(width=728)
    with pytest.raises(ValidationError, match="720x480; wan needs multiples of 32"):
        variant("wan", width=720)
    with pytest.raises(ValidationError, match=r"control\.downscale is 8; latents of wan need 16"):
        KinemaskTraining(backbone="wan")
    with pytest.raises(ValidationError, match="n_schedule_steps 10 ends before n_steps 1000"):
        KinemaskTraining(first=KinemaskTraining().first.model_dump() | {"n_schedule_steps": 10})


# --- Masks -------------------------------------------------------------------------------------

COLLISIONS = [0] * 8 + [30, 40, 30] + [0] * (F - 11)  # around frame 9


def shown(stage: Any, name: str = "paper", *key: int) -> np.ndarray:
    """Which of 49 frames a stage shows."""
    config = variant(name).dropout
    masks = np.ones((F, 2, 2, 3), np.float32)
    weights = frame_weights(F, config, COLLISIONS)
    kept: np.ndarray = stage_masks(masks, stage, config, weights, np.random.default_rng(key)).all((1, 2, 3))
    return kept


def test_the_first_stage_shows_all_masks() -> None:
    assert shown("first").all()


def test_the_second_shows_what_its_key_says() -> None:
    assert (shown("second", "paper", 0, 1, 2) == shown("second", "paper", 0, 1, 2)).all()
    assert len({shown("second", "paper", 0, 1, sample).tobytes() for sample in range(20)}) == 20


def test_the_second_favours_frames_of_collisions() -> None:
    """Shares over 400 samples: near collisions most; far from them the evenly spread rest; the first always."""
    share = np.mean([shown("second", "paper", 0, 0, sample) for sample in range(400)], axis=0)
    even = np.mean([shown("second", "uniform_dropout", 0, 0, sample) for sample in range(400)], axis=0)
    assert share[0] == even[0] == 1
    assert share[8:11].min() > 0.75
    assert share[20:].max() < 0.4
    assert np.ptp(even[1:]) < 0.15
    assert abs(share[1:].mean() - 0.25) < 0.02  # a dropout ratio between 0.5 and 1
    assert abs(even[1:].mean() - 0.25) < 0.02


# --- Loss --------------------------------------------------------------------------------------


def batch() -> Any:
    import torch

    from tasks.training.recipes.kinemask.model import CogVideoXBatch
    from tests.training import tiny_cogvideox as tiny

    drawn = torch.Generator().manual_seed(0)
    latents = torch.randn(2, tiny.N_LATENTS, tiny.CHANNELS, tiny.LATENT_HEIGHT, tiny.LATENT_WIDTH, generator=drawn)
    first = torch.zeros_like(latents)
    first[:, 0] = latents[:, 0]
    text = torch.randn(2, tiny.N_TEXT, tiny.TEXT_DIM, generator=drawn)
    return CogVideoXBatch(
        latents, first, text, 1.5 * torch.rand(2, tiny.N_FRAMES, 3, tiny.HEIGHT, tiny.WIDTH, generator=drawn)
    )


@pytest.mark.models
def test_the_loss_is_the_formula() -> None:
    """By hand for two clips of two numbers each, with the schedule's own alpha_bar."""
    import torch

    from tasks.training.models.cogvideox.denoising import denoising_loss
    from tests.training.tiny_cogvideox import scheduler

    schedule = scheduler()
    predicted, noisy, latents = [[0.5, -1.0], [2.0, 0.25]], [[1.0, 2.0], [-0.5, 0.5]], [[0.0, 1.0], [1.0, -1.0]]
    timesteps = [100, 999]
    total = 0.0
    for v, x, z, t in zip(predicted, noisy, latents, timesteps, strict=True):
        alpha = float(schedule.alphas_cumprod[t])
        clean = [alpha**0.5 * b - (1 - alpha) ** 0.5 * a for a, b in zip(v, x, strict=True)]
        total += sum((c - d) ** 2 for c, d in zip(clean, z, strict=True)) / 2 / (1 - alpha)
    assert float(schedule.alphas_cumprod[999]) == 0  # zero terminal SNR: there x_0 is -v
    loss = denoising_loss(*(torch.tensor(x) for x in (predicted, noisy, latents, timesteps)), schedule)
    assert float(loss) == pytest.approx(total / 2, rel=1e-5)


@pytest.mark.models
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_true_velocity_has_no_loss_at_any_timestep(dtype: str) -> None:
    import torch

    from tasks.training.models.cogvideox.denoising import denoising_loss
    from tests.training.tiny_cogvideox import scheduler

    schedule = scheduler()
    timesteps = torch.tensor([0, 1, 500, 998, 999])
    drawn = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(5, 1000, generator=drawn) for _ in range(2))
    noisy = schedule.add_noise(latents, noise, timesteps)
    v = schedule.get_velocity(latents, noise, timesteps)
    exact = denoising_loss(v, noisy, latents, timesteps, schedule)
    assert exact < 1e-6
    rounded = denoising_loss(*(x.to(getattr(torch, dtype)) for x in (v, noisy, latents)), timesteps, schedule)
    assert rounded.dtype == torch.float32
    assert rounded < 0.01  # rounding to bfloat16, over a noise share of 0.001 at timestep 0


@pytest.mark.models
def test_a_scheduler_of_another_prediction_is_refused() -> None:
    import torch
    from diffusers import CogVideoXDDIMScheduler

    from tasks.training.models.cogvideox.denoising import denoising_loss

    zeros = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="the scheduler has epsilon; CogVideoX predicts v"):
        denoising_loss(zeros, zeros, zeros, torch.tensor([5]), CogVideoXDDIMScheduler())


@pytest.mark.models
def test_training_moves_the_control_alone_and_lowers_the_loss() -> None:
    import torch

    from tasks.training.recipes.kinemask.loss import cogvideox_loss
    from tasks.training.recipes.kinemask.model import freeze, new_control_net
    from tests.training.tiny_cogvideox import scheduler, tiny_transformer

    transformer = tiny_transformer()
    config = variant("paper", control={"n_layers": 2})
    torch.manual_seed(0)
    net = new_control_net(transformer, config)
    freeze(transformer)
    before = {name: weight.clone() for name, weight in transformer.named_parameters()}

    def loss(key: int) -> Any:
        generator = torch.Generator().manual_seed(key)
        return cogvideox_loss(transformer, net, batch(), scheduler(), generator, config.control.weight)

    first = loss(0)
    assert torch.equal(loss(0), first)
    assert not torch.equal(loss(1), first)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(8):
        optimizer.zero_grad()
        loss(0).backward()
        optimizer.step()
    assert loss(0) < first
    assert all(torch.equal(weight, before[name]) for name, weight in transformer.named_parameters())
    assert all(weight.grad is None for weight in transformer.parameters())
    assert net.config.control_max == 1.5


@pytest.mark.models
def test_a_bfloat16_backbone_trains_a_float32_control() -> None:
    """As on a GPU: the frozen weights in half the memory, those that are trained in full."""
    import torch

    from tasks.training.recipes.kinemask.loss import cogvideox_loss
    from tasks.training.recipes.kinemask.model import freeze, new_control_net
    from tests.training.tiny_cogvideox import scheduler, tiny_transformer

    transformer = tiny_transformer()
    net = new_control_net(transformer, variant("paper", control={"n_layers": 2}))
    exact = cogvideox_loss(transformer, net, batch(), scheduler(), torch.Generator().manual_seed(0), 0.5)
    freeze(transformer.to(torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16):
        loss = cogvideox_loss(transformer, net, batch(), scheduler(), torch.Generator().manual_seed(0), 0.5)
    loss.backward()
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(float(exact.detach()), rel=0.02)
    assert {weight.grad.dtype for weight in net.projections.parameters()} == {torch.float32}
    assert all(weight.grad.abs().max() > 0 for weight in net.projections.parameters())


# --- Wan ---------------------------------------------------------------------------------------


def wan_batch() -> Any:
    import torch

    from tasks.training.models.tiny import CHANNELS, TEXT_DIM
    from tasks.training.recipes.kinemask.model import WanBatch
    from tests.training import tiny_wan_control as tiny

    drawn = torch.Generator().manual_seed(0)
    latents = torch.randn(2, CHANNELS, tiny.N_LATENTS, tiny.LATENT_HEIGHT, tiny.LATENT_WIDTH, generator=drawn)
    text = torch.randn(2, tiny.N_TEXT, TEXT_DIM, generator=drawn)
    return WanBatch(latents, text, 1.5 * torch.rand(2, tiny.N_FRAMES, 3, tiny.HEIGHT, tiny.WIDTH, generator=drawn))


@pytest.mark.models
def test_wan_is_shown_the_first_frame_clean_and_judged_on_the_others() -> None:
    import torch

    from tasks.training.flow_matching import shifted_sigmas
    from tasks.training.recipes.kinemask.loss import wan_loss
    from tests.training import tiny_wan_control as tiny

    transformer = tiny.tiny_transformer()
    net = tiny.tiny_control_net(transformer)
    asked: list[dict[str, Any]] = []
    told: list[Any] = []
    transformer.register_forward_pre_hook(lambda _, args, call: asked.append(call), with_kwargs=True)
    transformer.register_forward_hook(lambda _, args, out: told.append(out[0]))
    made = wan_loss(transformer, net, wan_batch(), shifted_sigmas(1000, 5.0), torch.Generator().manual_seed(0), 0.5)

    latents = wan_batch().latents
    drawn = torch.Generator().manual_seed(0)
    levels = shifted_sigmas(1000, 5.0)[torch.randint(1000, (2,), generator=drawn)]
    noise = torch.randn(latents.shape, generator=drawn)
    seen, level = asked[0]["hidden_states"], levels.view(2, 1, 1, 1, 1)
    assert torch.equal(seen[:, :, 0], latents[:, :, 0])
    assert torch.allclose(seen[:, :, 1:], ((1 - level) * latents + level * noise)[:, :, 1:])
    times = asked[0]["timestep"].unflatten(1, (tiny.N_LATENTS, tiny.TOKENS_PER_FRAME))
    assert times[:, 0].eq(0).all()
    assert torch.allclose(times[:, 1:], 1000 * levels.view(2, 1, 1).expand(-1, 2, tiny.TOKENS_PER_FRAME))
    assert torch.allclose(made, (told[0] - (noise - latents))[:, :, 1:].square().mean())


@pytest.mark.models
def test_training_wan_moves_the_control_alone_and_lowers_the_loss() -> None:
    import torch

    from tasks.training.flow_matching import shifted_sigmas
    from tasks.training.recipes.kinemask.loss import wan_loss
    from tasks.training.recipes.kinemask.model import freeze, new_control_net
    from tests.training.tiny_wan_control import tiny_transformer

    transformer = tiny_transformer()
    # The tiny VAE shrinks by 8, the real one by 16: so the tiny network gets the masks at half their size.
    net = new_control_net(transformer, variant("wan", control={"n_layers": 2, "downscale": 16}))
    assert net.config.control_max == 1.5
    freeze(transformer)
    batch = wan_batch()
    batch = replace(batch, masks=batch.masks.repeat_interleave(2, 3).repeat_interleave(2, 4))

    def loss() -> Any:
        drawn = torch.Generator().manual_seed(0)
        return wan_loss(transformer, net, batch, shifted_sigmas(1000, 5.0), drawn, 0.5)

    first = loss()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(8):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss() < first
    assert all(weight.grad is None for weight in transformer.parameters())


# --- Pipeline ----------------------------------------------------------------------------------


@pytest.mark.models
def test_the_pipeline_makes_videos_that_follow_masks(tmp_path: Path) -> None:
    import torch
    from diffusers import CogVideoXImageToVideoPipeline

    from tasks.training.models.cogvideox.control import CogVideoXControlNet
    from tasks.training.recipes.kinemask.pipeline import KineMaskPipeline
    from tests.training.tiny_cogvideox import HEIGHT, N_FRAMES, N_TEXT, WIDTH, tiny_transformer
    from tests.training.tiny_control import make_trained, pipeline_parts, tiny_control_net

    transformer = tiny_transformer()
    parts = pipeline_parts(transformer, tmp_path)
    stock = CogVideoXImageToVideoPipeline(**parts)
    stock.set_progress_bar_config(disable=True)
    picture = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    masks = np.zeros((1, HEIGHT, WIDTH, 3), np.float32)
    masks[0, 8:20, 8:20] = (1.2, 0, 0)

    def video(pipeline: Any, **settings: Any) -> Any:
        made = pipeline(
            image=picture,
            prompt="a fox walks",
            height=HEIGHT,
            width=WIDTH,
            num_frames=N_FRAMES,
            num_inference_steps=2,
            max_sequence_length=N_TEXT,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
            **settings,
        ).frames[0]
        assert made.shape == (N_FRAMES, HEIGHT, WIDTH, 3)
        return made

    def steered(net: Any) -> Any:
        pipeline = KineMaskPipeline(**parts, control_net=net)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    base = video(stock)
    assert (video(steered(tiny_control_net(transformer)), masks=masks) == base).all()
    pipeline = steered(make_trained(tiny_control_net(transformer, control_max=1.5)))
    right = video(pipeline, masks=masks)
    assert np.abs(right - base).max() > 0.001
    assert (video(pipeline, masks=-masks) != right).any()
    blanks = np.zeros((N_FRAMES - 1, HEIGHT, WIDTH, 3), np.float32)
    assert (video(pipeline, masks=np.concatenate([masks, blanks])) == right).all()
    assert (video(pipeline, masks=masks, control_weight=0.0) == base).all()

    # Saved apart from the backbone, as a run publishes it.
    pipeline.control_net.save_pretrained(tmp_path / "net")
    stock.save_pretrained(tmp_path / "base")
    net = CogVideoXControlNet.from_pretrained(tmp_path / "net")
    loaded = KineMaskPipeline.from_pretrained(tmp_path / "base", control_net=net)
    loaded.set_progress_bar_config(disable=True)
    assert (video(loaded, masks=masks) == right).all()

    with pytest.raises(ValueError, match=r"masks \(10, 64, 96, 3\); give \(F, H, W, 3\), one to 9 frames"):
        video(pipeline, masks=np.zeros((N_FRAMES + 1, HEIGHT, WIDTH, 3), np.float32))


@pytest.mark.models
def test_the_pipeline_of_wan_too(tmp_path: Path) -> None:
    import torch
    from diffusers import WanImageToVideoPipeline

    from tasks.training.recipes.kinemask.pipeline import KineMaskWanPipeline
    from tests.training.tiny_wan_control import HEIGHT, N_FRAMES, WIDTH, make_trained, save_stock, tiny_control_net

    folder = save_stock(tmp_path)
    picture = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    masks = np.zeros((1, HEIGHT, WIDTH, 3), np.float32)
    masks[0, 8:20, 8:20] = (1.2, 0, 0)

    def video(pipeline: Any, **settings: Any) -> Any:
        pipeline.set_progress_bar_config(disable=True)
        made = pipeline(
            image=picture,
            prompt="a fox walks",
            height=HEIGHT,
            width=WIDTH,
            num_frames=N_FRAMES,
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
            **settings,
        ).frames[0]
        assert made.shape == (N_FRAMES, HEIGHT, WIDTH, 3)
        return made

    def steered(trained: bool) -> Any:
        stock = WanImageToVideoPipeline.from_pretrained(folder)
        net = tiny_control_net(stock.transformer)
        return KineMaskWanPipeline.from_pretrained(folder, control_net=make_trained(net) if trained else net)

    base = video(WanImageToVideoPipeline.from_pretrained(folder))
    assert (video(steered(trained=False), masks=masks) == base).all()
    right = video(steered(trained=True), masks=masks)
    assert np.abs(right - base).max() > 0.001
    assert (video(steered(trained=True), masks=-masks) != right).any()
