"""valid samples -> a winner and a loser of the same prompt: what DPO learns from (SpatialAlign 3.3, 4.3).

seeds 0, 1, 2 of a prompt with rewards 0.81, 0.74, 0.40  ->  (seed 0, seed 2), (seed 1, seed 2)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Literal

import numpy as np
from pydantic import Field

from schemas.config import StageConfig
from schemas.dsr import DsrLabels, DsrPrompt, PairRow, PromptRow, Reward, SampleRow
from schemas.record import content_hash
from schemas.scene import Split
from tasks.metrics.correctness import reaches, rounded_scores

Pair = tuple[SampleRow, SampleRow]  # winner, loser


class PairConfig(StageConfig):
    """Which samples of a prompt are paired."""

    reward: Reward = Field(
        "dsr_score",
        description="dsr_score: the whole score; endpoint: its first and last relation only; vlm: the share of yes "
        "among a judge's two answers (SpatialAlign 4.3)",
    )
    rule: Literal["threshold", "ranked"] = Field(
        "threshold",
        description="threshold: winners reach tau, losers do not (SpatialAlign 3.3); ranked: of any two samples whose "
        "rewards differ the better one wins, whatever tau is (the ablation of 4.3)",
    )
    tau: float = Field(0.7, allow_inf_nan=False, description="Least reward of a winner (SpatialAlign 4.3)")
    per_prompt: int | None = Field(None, ge=1, description="Pairs that are drawn for each prompt; null: all there are")
    seed: int = Field(0, ge=0, description="Of the draw")


def reward_of(sample: SampleRow, config: PairConfig) -> float:
    """What a sample is paired by.

    endpoint is ours to scale: without the gaps, eq. 3 spans [0.25, 0.75] and hardly anything would reach its tau.
    (r_initial + r_final) / 4 + 0.5 spans [0, 1], as the official score does.
    """
    match config.reward:
        case "dsr_score":
            return sample.dsr_score
        case "endpoint":
            return (sample.r_initial + sample.r_final) / 4 + 0.5
        case "vlm":
            return (sample.initial_yes + sample.final_yes) / 2


def pair_samples(samples: Sequence[SampleRow], config: PairConfig) -> list[PairRow]:
    """All pairs, or those drawn, ordered by prompt and seeds whatever the samples' order.

    Of the training split only: test prompts measure what was trained, so nothing may be trained on their samples.
    """
    train = sorted((sample for sample in samples if sample.split == "train"), key=_order)
    groups = (list(group) for _, group in groupby(train, key=lambda sample: sample.prompt_id))
    return [_pair_row(pair, config) for group in groups for pair in _draw(_combinations(group, config), config)]


def prompt_rows(
    prompts: Sequence[DsrPrompt],
    seeds: Mapping[Split, Sequence[int]],
    samples: Sequence[SampleRow],
    pairs: Sequence[PairRow],
    config: PairConfig,
) -> list[PromptRow]:
    """A row for each prompt, in their order.

    seeds: those that were asked for with the prompts of each split
    """
    rewards = {(sample.prompt_id, sample.seed): reward_of(sample, config) for sample in samples}
    n_pairs = Counter(pair.prompt_id for pair in pairs)
    return [
        PromptRow(
            **prompt.model_dump(),
            type=prompt.dsr_type,
            seeds=list(seeds[prompt.split]),
            rewards=[rewards.get((prompt.prompt_id, seed)) for seed in seeds[prompt.split]],
            n_pairs=n_pairs[prompt.prompt_id],
        )
        for prompt in prompts
    ]


def _order(sample: SampleRow) -> tuple[str, int, str]:
    return sample.prompt_id, sample.seed, sample.clip_id


def _combinations(samples: Sequence[SampleRow], config: PairConfig) -> list[Pair]:
    """Every pair that the rule allows among one prompt's samples, winner by winner."""
    rewards = rounded_scores([reward_of(sample, config) for sample in samples])
    match config.rule:
        case "threshold":
            wins = reaches(rewards, config.tau)
            beats = wins[:, None] & ~wins
        case "ranked":
            beats = rewards[:, None] > rewards
    return [(samples[winner], samples[loser]) for winner, loser in np.argwhere(beats)]


def _draw(pairs: list[Pair], config: PairConfig) -> list[Pair]:
    """per_prompt of one prompt's pairs, each at most once, in the order that they have."""
    if config.per_prompt is None or len(pairs) <= config.per_prompt:
        return pairs
    # By the prompt's content: other prompts in the run change nothing about its draw.
    said = pairs[0][0].model_dump(mode="json", include={*DsrLabels.model_fields, "text"})
    rng = np.random.default_rng([config.seed, int(content_hash("dsr-draw", said), 16)])
    return [pairs[place] for place in sorted(rng.choice(len(pairs), config.per_prompt, replace=False))]


def _pair_row(pair: Pair, config: PairConfig) -> PairRow:
    winner, loser = pair
    return PairRow(
        pair_id="pair-" + content_hash("dsr-pair", winner.clip_id, loser.clip_id, length=16),
        prompt_id=winner.prompt_id,
        text=winner.text,
        type=winner.type,
        reward=config.reward,
        winner_id=winner.clip_id,
        loser_id=loser.clip_id,
        winner_seed=winner.seed,
        loser_seed=loser.seed,
        winner_reward=reward_of(winner, config),
        loser_reward=reward_of(loser, config),
    )
