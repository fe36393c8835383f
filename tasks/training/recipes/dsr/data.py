"""Samples -> batches of winners and losers, or of videos to imitate.

    pairs = PairSamples(snapshot, config)        those that config.pairs makes of the training prompts' rewards
    pairs.batch([0, 7])                          Pairs(winners=(2, 16, 21, 60, 104), losers=..., text=...)
    best = BestSamples(snapshot, config)         config.loss.n_sft_samples of every prompt, by the same reward

Pairs are made here, not when samples are prepared: one snapshot serves every reward and threshold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from schemas.training_samples import EncodingRow, SampleRow, SampleScoreRow
from tasks.datasets.dsr.pairs import pair_samples, reward_of
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.metrics.correctness import rounded_scores
from tasks.training.recipes.dsr.config import DsrTraining
from tasks.training.recipes.dsr.loss import Pairs, Samples
from tasks.training.samples import RowsByClip, require_size, tensor


class PairSamples:
    """Pairs of training samples."""

    def __init__(self, snapshot: Snapshot, config: DsrTraining) -> None:
        """Raises SnapshotError for another dataset, another size, or if no pair can be made."""
        scores, self._encodings = _trained_on(snapshot, config)
        self.pairs = pair_samples(scores, config.pairs)
        if not self.pairs:
            raise SnapshotError(
                f"{snapshot.id} has no pair: no training prompt has samples on both sides by {config.pairs.reward}, "
                f"{config.pairs.rule}, tau {config.pairs.tau:g}"
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, indices: Sequence[int]) -> Pairs:
        """On the CPU, in float32."""
        pairs = [self.pairs[index] for index in indices]
        winners = [self._encodings.one(pair.winner_id) for pair in pairs]
        losers = [self._encodings.one(pair.loser_id) for pair in pairs]
        return Pairs(_latents(winners), _latents(losers), _text(winners))


class BestSamples:
    """Each training prompt's best samples: "SFT, top-2" of table 4a."""

    def __init__(self, snapshot: Snapshot, config: DsrTraining) -> None:
        """Raises SnapshotError for another dataset, another size, or no training samples."""
        scores, self._encodings = _trained_on(snapshot, config)
        of_prompt: dict[str, list[SampleScoreRow]] = defaultdict(list)
        for row in scores:
            of_prompt[row.prompt_id].append(row)

        def order(row: SampleScoreRow) -> tuple[float, int, str]:  # of equal ones, the first seed
            return -float(rounded_scores(reward_of(row, config.pairs))), row.seed, row.clip_id

        n = config.loss.n_sft_samples
        self.samples = [row for prompt_id in sorted(of_prompt) for row in sorted(of_prompt[prompt_id], key=order)[:n]]

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, indices: Sequence[int]) -> Samples:
        """On the CPU, in float32."""
        rows = [self._encodings.one(self.samples[index].clip_id) for index in indices]
        return Samples(_latents(rows), _text(rows))


def _trained_on(snapshot: Snapshot, config: DsrTraining) -> tuple[list[SampleScoreRow], RowsByClip[EncodingRow]]:
    """The training samples' scores, and the encodings of all."""
    snapshot.require_flow("prepare-dsr-samples")
    samples = {row.clip_id: row for row in snapshot.rows(SampleRow) if row.split == "train"}
    if not samples:
        raise SnapshotError(f"{snapshot.id} has no training samples; prepare training prompts")
    require_size(snapshot, samples.values(), config.n_frames, config.width, config.height)
    return [row for row in snapshot.rows(SampleScoreRow) if row.clip_id in samples], RowsByClip(snapshot, EncodingRow)


def _latents(rows: Sequence[EncodingRow]) -> Any:
    import torch

    return torch.stack([tensor(row.latents).float() for row in rows])


def _text(rows: Sequence[EncodingRow]) -> Any:
    import torch

    return torch.stack([tensor(row.text).float() for row in rows])
