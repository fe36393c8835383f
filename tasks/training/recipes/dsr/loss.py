"""SpatialAlign's losses: DPO with zeroth-order regularisation, and the alternatives of its ablations.

    pair_loss(transformer, transformer, batch, LossConfig(), sigmas, generator).total.backward()

At step 0 model and reference agree: the DPO part is ln 2, the zeroth-order part 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.training.flow_matching import N_TIMESTEPS, add_noise, velocity
from tasks.training.recipes.dsr.config import LossConfig
from tasks.training.recipes.dsr.model import reference

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Pairs:
    """A batch of winners and losers, encoded."""

    winners: torch.Tensor  # (B, 16, 21, 60, 104) latents of Wan2.1's VAE, normalised
    losers: torch.Tensor  # the same shape, of the same prompts
    text: torch.Tensor  # (B, 512, 4096)


@dataclass(frozen=True)
class Samples:
    """A batch of videos to imitate, encoded: for supervised fine-tuning."""

    latents: torch.Tensor  # (B, 16, 21, 60, 104)
    text: torch.Tensor  # (B, 512, 4096)


@dataclass(frozen=True)
class PairLoss:
    """The loss of a batch of pairs, and what to watch (figure A7). All scalars; only `total` has a gradient."""

    total: torch.Tensor
    preference: torch.Tensor
    regulariser: torch.Tensor  # before its weight
    winner_score: torch.Tensor  # > 0: the winner is denoised better than by the reference
    loser_score: torch.Tensor
    margin: torch.Tensor  # winner_score - loser_score, unclipped
    preferred: torch.Tensor  # share of pairs with a margin above 0


def pair_loss(
    model: Any,
    transformer: Any,
    batch: Pairs,
    config: LossConfig,
    sigmas: torch.Tensor,
    generator: torch.Generator,
) -> PairLoss:
    """The loss of a batch, at one noise level for all of it and independent noise for every video, as in [code].

    model:       what is called for a gradient: the transformer, or its wrapper of distributed training. Winners and
                 losers go through it in one pass, so that a wrapper counts one
    transformer: the same without a wrapper
    sigmas:      the levels to draw from, `shifted_sigmas(1000, config.flow_shift)`
    generator:   on the CPU, keyed by the step and the rank: it decides level and noise on any device
    """
    import torch

    latents = torch.cat([batch.winners, batch.losers])
    text = torch.cat([batch.text, batch.text])
    noisy, target, timestep = _noised(latents, sigmas, generator)
    predicted = _predict(model, noisy, timestep, text)
    with reference(transformer):
        anchor = _predict(transformer, noisy, timestep, text)
    return preference_loss(predicted, anchor, target, config)


def preference_loss(
    predicted: torch.Tensor, anchor: torch.Tensor, target: torch.Tensor, config: LossConfig
) -> PairLoss:
    """The loss from predictions (SpatialAlign, eq. 1, 4 and 5, as [code] has them).

        score = mse(anchor, target) - mse(predicted, target)           of a video: a mean, where the paper has a sum
        L = -log sigmoid(clip(beta (score_winner - score_loser)))
            + weight (mse(predicted, anchor)_winner + mse(predicted, anchor)_loser)

    predicted, anchor, target: (2 B, ...) of the model, the reference and the truth; B winners, then their B losers.
    Appendix A4 writes the preference without equation 1's minus sign; that would reward denoising losers well.
    """
    from torch.nn import functional as F

    predicted, anchor, target = predicted.float(), anchor.float(), target.float()
    winner_score, loser_score = (_errors(anchor, target) - _errors(predicted, target)).chunk(2)
    margin = winner_score - loser_score
    logits = config.beta * margin
    if config.max_margin is not None:
        logits = logits.clamp(-config.max_margin, config.max_margin)
    preference = -F.logsigmoid(logits).mean()
    match config.regulariser:
        case "zeroth_order":
            winner, loser = _errors(predicted, anchor).chunk(2)
        case "sft":
            winner, loser = _errors(predicted, target).chunk(2)
        case "none":
            winner = loser = predicted.new_zeros(1)
    regulariser = (winner + loser).mean()
    return PairLoss(
        total=preference + config.regulariser_weight * regulariser,
        preference=preference.detach(),
        regulariser=regulariser.detach(),
        winner_score=winner_score.mean().detach(),
        loser_score=loser_score.mean().detach(),
        margin=margin.mean().detach(),
        preferred=(margin > 0).float().mean(),
    )


def imitation_loss(model: Any, batch: Samples, sigmas: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Supervised fine-tuning: the denoising error of the batch, a scalar (table 4a, "SFT, top-2").

    Which samples are a prompt's best is for the data to say: `LossConfig.n_sft_samples`, by the pairs' reward.
    """
    noisy, target, timestep = _noised(batch.latents, sigmas, generator)
    return _errors(_predict(model, noisy, timestep, batch.text).float(), target.float()).mean()


def _noised(
    latents: torch.Tensor, sigmas: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noisy latents, what to predict from them, and the timestep (B,) that the network is told."""
    import torch

    level = sigmas[torch.randint(len(sigmas), (1,), generator=generator)]
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    timestep = (N_TIMESTEPS * level).to(latents.device).expand(len(latents))
    return add_noise(latents, noise, level), velocity(latents, noise), timestep


def _predict(model: Any, noisy: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    predicted: torch.Tensor = model(
        hidden_states=noisy, timestep=timestep, encoder_hidden_states=text, return_dict=False
    )[0]
    return predicted


def _errors(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of each of a batch: (B,)."""
    return (a - b).square().flatten(1).mean(1)
