"""SpatialAlign's recipe: the LoRA, the losses against hand-computed ones, and weights that the stock pipeline loads."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.training.models.tiny import CHANNELS, TEXT_DIM, draw_wan_transformer, save_tiny_wan
from tasks.training.recipes.dsr.config import VARIANTS, DsrTraining, LoraConfig, LossConfig, variant
from tests.support.tiny_wan import N_FRAMES, SIDE

LORA = LoraConfig(rank=2, alpha=2)
N_TEXT = 6

# --- Config ------------------------------------------------------------------------------------


def test_the_papers_numbers_are_the_defaults() -> None:
    config = DsrTraining()
    assert (config.lora.rank, config.lora.alpha) == (16, 16)
    assert (config.loss.beta, config.loss.regulariser, config.loss.regulariser_weight) == (1.0, "zeroth_order", 0.25)
    assert (config.pairs.reward, config.pairs.rule, config.pairs.tau) == ("dsr_score", "threshold", 0.7)
    optimisation = config.optimisation
    assert (optimisation.learning_rate, optimisation.batch_size, optimisation.n_steps) == (1e-4, 48, 2400)
    assert (optimisation.n_warmup_steps, optimisation.n_schedule_steps) == (300, 3000)
    assert (config.n_frames, config.height, config.width) == (81, 480, 832)


def test_every_alternative_has_a_name() -> None:
    named = {name: variant(name) for name in VARIANTS}
    assert len({config.model_dump_json() for config in named.values()}) == len(named)
    assert named["paper"] == DsrTraining()
    assert named["sft_top2"].loss.objective == "sft"
    assert named["sft_regulariser"].loss.regulariser == "sft"
    assert named["dpo_only"].loss.regulariser == "none"
    assert named["no_threshold"].pairs.rule == "ranked"
    assert (named["endpoint_reward"].pairs.reward, named["vlm_reward"].pairs.reward) == ("endpoint", "vlm")
    assert [named[f"tau_{tau}"].pairs.tau for tau in (0.6, 0.8)] == [0.6, 0.8]
    with pytest.raises(ValueError, match=r"no variant 'tau_0\.7'; there are paper, "):
        variant("tau_0.7")


# --- Network -----------------------------------------------------------------------------------


def tiny_transformer(n_blocks: int = 2) -> Any:
    from tasks.backends.torch_runtime import import_torchvision

    import_torchvision()
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return draw_wan_transformer(n_blocks=n_blocks)


def with_lora(transformer: Any, *, trained: bool = False) -> Any:
    """trained: with second matrices that are not zero."""
    import torch

    from tasks.training.recipes.dsr.model import add_lora, trained_weights

    torch.manual_seed(0)
    add_lora(transformer, LORA)
    if trained:
        with torch.no_grad():
            for name, weight in trained_weights(transformer).items():
                if "lora_B" in name:
                    weight.normal_(std=0.3)
    return transformer


def pairs() -> Any:
    import torch

    from tasks.training.recipes.dsr.loss import Pairs

    drawn = torch.Generator().manual_seed(0)
    winners, losers = (torch.randn(2, CHANNELS, 2, 4, 4, generator=drawn) for _ in range(2))
    return Pairs(winners, losers, torch.randn(2, N_TEXT, TEXT_DIM, generator=drawn))


def loss_of(transformer: Any, key: int = 0, **settings: Any) -> Any:
    import torch

    from tasks.training.flow_matching import shifted_sigmas
    from tasks.training.recipes.dsr.loss import pair_loss

    generator = torch.Generator().manual_seed(key)
    sigmas = shifted_sigmas(1000, DsrTraining().flow_shift)
    return pair_loss(transformer, transformer, pairs(), LossConfig(**settings), sigmas, generator)


@pytest.mark.models
def test_the_lora_sits_on_the_texts_projection_and_the_cross_attentions_keys_and_values() -> None:
    import torch

    from tasks.training.recipes.dsr.model import trained_weights

    transformer = tiny_transformer()
    stock = {name for name, _ in transformer.named_parameters()}
    weights = trained_weights(with_lora(transformer))
    layers = ["condition_embedder.text_embedder.linear_1", "condition_embedder.text_embedder.linear_2"]
    layers += [f"blocks.{block}.attn2.to_{part}" for block in range(2) for part in "kv"]
    assert set(weights) == {f"{layer}.lora_{half}.default.weight" for layer in layers for half in "AB"}
    assert all(weight.dtype == torch.float32 for weight in weights.values())
    assert {
        name.replace(".base_layer", "") for name, _ in transformer.named_parameters() if "lora_" not in name
    } == stock


@pytest.mark.models
def test_a_target_that_names_no_layer_is_refused() -> None:
    from tasks.training.recipes.dsr.model import add_lora

    with pytest.raises(ValueError, match=r"attn9.* not found"):
        add_lora(tiny_transformer(), LoraConfig(target="attn9.*"))


@pytest.mark.models
def test_the_reference_is_the_model_before_training() -> None:
    import torch

    from tasks.training.recipes.dsr.model import reference

    call = {
        "hidden_states": pairs().winners,
        "timestep": torch.tensor([500, 500]),
        "encoder_hidden_states": pairs().text,
        "return_dict": False,
    }
    transformer = tiny_transformer()
    before = transformer(**call)[0]
    with_lora(transformer, trained=True)
    trained = transformer(**call)[0]
    with reference(transformer):
        found = transformer(**call)[0]
        assert not found.requires_grad
    assert torch.equal(found, before)
    assert (trained - before).abs().max() > 0.01
    assert torch.equal(transformer(**call)[0], trained)
    with pytest.raises(RuntimeError), reference(transformer):
        raise RuntimeError
    assert torch.equal(transformer(**call)[0], trained)


# --- Noise levels ------------------------------------------------------------------------------


@pytest.mark.models
@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
def test_noise_levels_are_diffusers_own(shift: float) -> None:
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler

    from tasks.training.flow_matching import add_noise, shifted_sigmas, velocity

    theirs = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)
    sigmas = shifted_sigmas(1000, shift)
    assert torch.allclose(sigmas, theirs.sigmas, rtol=1e-6)
    assert torch.allclose(1000 * sigmas, theirs.timesteps, rtol=1e-6)
    latents, noise = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    level = sigmas[[700, 10]]
    noisy = theirs.scale_noise(latents, theirs.timesteps[[700, 10]], noise)
    assert torch.allclose(add_noise(latents, noise, level), noisy, atol=1e-6)
    # The velocity leads from the noisy latents to the clean ones, as an Euler step goes.
    clean = noisy - level.view(2, 1, 1, 1) * velocity(latents, noise)
    assert torch.allclose(clean, latents, atol=1e-5)
    with pytest.raises(ValueError, match=r"a shift of 0\.0"):
        shifted_sigmas(1000, 0.0)


# --- Losses ------------------------------------------------------------------------------------


def tensors(**rows: list[list[float]]) -> list[Any]:
    """Predicted, anchor, target: winners first, then losers."""
    import torch

    return [torch.tensor(rows[name]) for name in ("predicted", "anchor", "target")]


# Squared errors of two numbers a video: the model (1, 4 | 9, 1), the reference (4, 4 | 4, 4), between them by hand.
BY_HAND: dict[str, list[list[float]]] = {
    "predicted": [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [1.0, -1.0]],
    "anchor": [[2.0, 2.0], [2.0, -2.0], [2.0, 2.0], [-2.0, 2.0]],
    "target": [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
}
SCORES = {"winner": [3.0, 0.0], "loser": [-5.0, 3.0]}  # mse of the reference less that of the model
MARGINS = [8.0, -3.0]
ANCHORED = [1.0 + 1.0, 8.0 + 9.0]  # mse to the anchor: winner + loser, of each pair
DENOISED = [1.0 + 9.0, 4.0 + 1.0]  # mse to the target


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


@pytest.mark.models
@pytest.mark.parametrize(
    ("settings", "preference", "regulariser"),
    [
        ({}, -(log_sigmoid(5.0) + log_sigmoid(-3.0)) / 2, sum(ANCHORED) / 2),
        ({"beta": 0.5}, -(log_sigmoid(4.0) + log_sigmoid(-1.5)) / 2, sum(ANCHORED) / 2),
        ({"max_margin": None}, -(log_sigmoid(8.0) + log_sigmoid(-3.0)) / 2, sum(ANCHORED) / 2),
        ({"max_margin": 2.0}, -(log_sigmoid(2.0) + log_sigmoid(-2.0)) / 2, sum(ANCHORED) / 2),
        ({"regulariser": "sft"}, -(log_sigmoid(5.0) + log_sigmoid(-3.0)) / 2, sum(DENOISED) / 2),
        ({"regulariser": "none"}, -(log_sigmoid(5.0) + log_sigmoid(-3.0)) / 2, 0.0),
    ],
    ids=str,
)
def test_the_loss_is_the_formula(settings: dict[str, Any], preference: float, regulariser: float) -> None:
    from tasks.training.recipes.dsr.loss import preference_loss

    made = preference_loss(*tensors(**BY_HAND), LossConfig(**settings))
    assert float(made.preference) == pytest.approx(preference, rel=1e-5)
    assert float(made.regulariser) == pytest.approx(regulariser, rel=1e-5)
    assert float(made.total) == pytest.approx(preference + 0.25 * regulariser, rel=1e-5)
    assert float(made.winner_score) == pytest.approx(sum(SCORES["winner"]) / 2)
    assert float(made.loser_score) == pytest.approx(sum(SCORES["loser"]) / 2)
    assert float(made.margin) == pytest.approx(sum(MARGINS) / 2)
    assert float(made.preferred) == 0.5


@pytest.mark.models
def test_winners_denoised_better_lower_the_loss_and_losers_denoised_better_raise_it() -> None:
    """The sign of equation 1; with that of appendix A4 both would turn."""
    import torch

    from tasks.training.recipes.dsr.loss import preference_loss

    anchor, target = torch.ones(2, 8), torch.zeros(2, 8)  # one winner, one loser

    def loss(winner: float, loser: float) -> float:
        predicted = torch.tensor([[winner] * 8, [loser] * 8])
        return float(preference_loss(predicted, anchor, target, LossConfig(regulariser="none")).total)

    assert loss(0.5, 1.0) < loss(1.0, 1.0) < loss(1.0, 0.5)
    assert loss(1.0, 1.5) < loss(1.0, 1.0) < loss(1.5, 1.0)
    assert loss(1.0, 1.0) == pytest.approx(math.log(2))


@pytest.mark.models
def test_the_code_of_the_authors_gives_the_same() -> None:
    """Their weights: 0.5 times half the sum of both means."""
    import torch
    from torch.nn import functional as F

    from tasks.training.recipes.dsr.loss import preference_loss

    drawn = torch.Generator().manual_seed(0)
    predicted, anchor, target = (torch.randn(6, 4, 2, 3, 3, generator=drawn) for _ in range(3))

    def mse(a: Any, b: Any) -> Any:
        return F.mse_loss(a, b, reduction="none").mean(dim=[1, 2, 3, 4])

    better = mse(anchor, target) - mse(predicted, target)
    margin = torch.clip(better[:3] - better[3:], -5.0, 5.0)
    anchored = 0.5 * (F.mse_loss(predicted[:3], anchor[:3]) + F.mse_loss(predicted[3:], anchor[3:]))
    theirs = -torch.log(torch.sigmoid(margin)).mean() + 0.5 * anchored
    assert torch.allclose(preference_loss(predicted, anchor, target, LossConfig()).total, theirs)


@pytest.mark.models
def test_at_step_0_the_loss_is_ln_2_and_the_regulariser_0() -> None:
    made = loss_of(with_lora(tiny_transformer()))
    assert float(made.preference) == pytest.approx(math.log(2), rel=1e-6)
    assert float(made.regulariser) == float(made.winner_score) == float(made.margin) == 0
    assert float(made.total.detach()) == float(made.preference)


@pytest.mark.models
def test_in_bfloat16_too_with_the_lora_in_float32() -> None:
    import torch

    from tasks.training.recipes.dsr.model import trained_weights

    transformer = with_lora(tiny_transformer().to(torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16):
        made = loss_of(transformer)
    made.total.backward()
    assert float(made.preference) == pytest.approx(math.log(2), rel=1e-6)
    assert float(made.regulariser) == 0
    weights = trained_weights(transformer)
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert {w.grad.dtype for w in weights.values()} == {torch.float32}


@pytest.mark.models
def test_gradients_reach_the_lora_alone() -> None:
    """Of a new LoRA only the second matrices have one; then all."""
    from tasks.training.recipes.dsr.model import trained_weights

    for trained in (False, True):
        transformer = with_lora(tiny_transformer(), trained=trained)
        loss_of(transformer).total.backward()
        moved = {n for n, w in transformer.named_parameters() if w.grad is not None and w.grad.abs().max() > 0}
        assert moved == {name for name in trained_weights(transformer) if trained or "lora_B" in name}


@pytest.mark.models
def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    import torch

    from tasks.training.recipes.dsr.model import trained_weights

    found = []
    for checkpointing in (False, True):
        transformer = with_lora(tiny_transformer(), trained=True)
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        loss_of(transformer.train()).total.backward()
        found.append({name: weight.grad for name, weight in trained_weights(transformer).items()})
    assert all(torch.allclose(found[1][name], gradient, atol=1e-7) for name, gradient in found[0].items())


@pytest.mark.models
def test_a_batch_has_one_noise_level_and_every_video_its_own_noise() -> None:
    """The key decides both."""
    import torch

    from tasks.training.flow_matching import shifted_sigmas
    from tasks.training.recipes.dsr.loss import pair_loss

    seen: list[dict[str, Any]] = []

    class Watched:
        """A network that predicts nothing and keeps what it is asked."""

        def __call__(self, **call: Any) -> tuple[Any]:
            seen.append(call)
            return (torch.zeros_like(call["hidden_states"]),)

        def disable_adapters(self) -> None: ...
        def enable_adapters(self) -> None: ...

    sigmas = shifted_sigmas(1000, 5.0)
    batch = replace(pairs(), losers=pairs().winners)  # the same videos: what differs is the noise
    for key in (0, 0, 1):
        pair_loss(Watched(), Watched(), batch, LossConfig(), sigmas, torch.Generator().manual_seed(key))
    ours, anchor, again, _, other, _ = seen
    assert len(set(ours["timestep"].tolist())) == 1
    assert ours["timestep"][0] in 1000 * sigmas
    videos = ours["hidden_states"]
    assert len({video.sum().item() for video in videos}) == len(videos) == 4
    for name in ("hidden_states", "timestep", "encoder_hidden_states"):
        assert torch.equal(ours[name], anchor[name])
        assert torch.equal(ours[name], again[name])
    assert not torch.equal(other["hidden_states"], videos)


@pytest.mark.models
@pytest.mark.parametrize("regulariser", ["zeroth_order", "sft", "none"])
def test_a_few_steps_prefer_the_winners(regulariser: str) -> None:
    import torch

    from tasks.training.recipes.dsr.model import trained_weights

    transformer = with_lora(tiny_transformer())
    optimizer = torch.optim.AdamW(trained_weights(transformer).values(), lr=0.02)
    for _ in range(6):
        optimizer.zero_grad()
        loss_of(transformer, regulariser=regulariser).total.backward()
        optimizer.step()
    made = loss_of(transformer, regulariser=regulariser)
    assert made.margin > 0
    assert made.preference < math.log(2)


@pytest.mark.models
def test_imitation_is_the_denoising_error() -> None:
    import torch

    from tasks.training.flow_matching import add_noise, shifted_sigmas
    from tasks.training.recipes.dsr.loss import Samples, imitation_loss

    transformer = with_lora(tiny_transformer(), trained=True)
    videos = Samples(pairs().winners, pairs().text)
    sigmas = shifted_sigmas(1000, 5.0)
    made = imitation_loss(transformer, videos, sigmas, torch.Generator().manual_seed(3))
    drawn = torch.Generator().manual_seed(3)
    level = sigmas[torch.randint(1000, (1,), generator=drawn)]
    noise = torch.randn(videos.latents.shape, generator=drawn)
    predicted = transformer(
        hidden_states=add_noise(videos.latents, noise, level),
        timestep=(1000 * level).expand(2),
        encoder_hidden_states=videos.text,
    ).sample
    assert torch.allclose(made, ((predicted - (noise - videos.latents)) ** 2).mean())
    made.backward()


# --- Saved -------------------------------------------------------------------------------------


@pytest.mark.models
def test_the_stock_pipeline_loads_it_and_makes_other_videos(tmp_path: Path) -> None:
    """With an alpha that is not the rank, which weights alone do not tell."""
    import torch
    from diffusers import WanPipeline

    from tasks.training.recipes.dsr.model import add_lora, save_lora, trained_weights

    save_tiny_wan(tmp_path / "wan")
    trained, loaded, stock = (WanPipeline.from_pretrained(tmp_path / "wan") for _ in range(3))

    def video(pipeline: Any) -> Any:
        pipeline.set_progress_bar_config(disable=True)
        return pipeline(
            "a fox is on the left of a stump",
            height=SIDE,
            width=SIDE,
            num_frames=N_FRAMES,
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(0),
        ).frames[0]

    add_lora(trained.transformer, LoraConfig(rank=2, alpha=5))
    assert (video(trained) == video(stock)).all()
    with torch.no_grad():
        for name, weight in trained_weights(trained.transformer).items():
            if "lora_B" in name:
                weight.normal_(generator=torch.Generator().manual_seed(0))
    file = save_lora(trained.transformer, tmp_path / "lora")
    assert file.is_file()
    loaded.load_lora_weights(tmp_path / "lora")
    assert (video(loaded) == video(trained)).all()
    assert abs(video(loaded) - video(stock)).max() > 0.01
