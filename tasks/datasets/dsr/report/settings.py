"""What the stages of a snapshot were told, as far as the page speaks of it.

Settings.of(manifest) -> Settings(scoring=ScoreConfig(...), pairing=PairConfig(...), generator="Wan-AI/Wan2.1-...", ...)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from schemas.snapshot import SnapshotManifest
from tasks.datasets.dsr.pairs import PairConfig
from tasks.datasets.dsr.report.correctness import TAU
from tasks.metrics.dsr_score import GAP_WEIGHTS
from tasks.score_dsr import ScoreConfig


@dataclass(frozen=True)
class Settings:
    """What the snapshot's videos, scores, answers and pairs were made with."""

    scoring: ScoreConfig
    pairing: PairConfig
    generator: str
    judge: str
    judged_by_boxes: bool  # the answers come from the very scores that they are held against

    @classmethod
    def of(cls, manifest: SnapshotManifest) -> Settings:
        configs: dict[str, dict[str, Any]] = json.loads(manifest.configs)
        makers = {maker.stage: maker for maker in manifest.made_by}
        generator, judge = makers.get("generate_samples"), makers.get("ask_relations")
        return cls(
            scoring=ScoreConfig.model_validate(configs.get("score_dsr", {})),
            pairing=PairConfig.model_validate(configs.get("pair_samples", {})),
            generator=generator.model if generator else "not told",
            judge=judge.model if judge else "not told",
            judged_by_boxes=judge is not None and judge.backend == "boxes",
        )

    @property
    def tau(self) -> float:
        """The score that winners reach; that of Correctness@0.7 where pairs are not made by the score."""
        by_score = self.pairing.reward == "dsr_score" and self.pairing.rule == "threshold"
        return self.pairing.tau if by_score else TAU

    @property
    def span(self) -> tuple[float, float]:
        """The least and the greatest score there can be."""
        half = (2 + 4 * GAP_WEIGHTS[self.scoring.score]) / 8
        return 0.5 - half, 0.5 + half
