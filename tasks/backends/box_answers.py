"""Relations judged by the boxes' own scores; no picture is looked at.

BoxAnswers(min_ssr=0.5).judge(sample, generated, scored) -> yes, no    r_initial 0.83, r_final 0.12
"""

from __future__ import annotations

from schemas.dsr import DsrSample
from schemas.generation import Generated
from schemas.scores import Judgement, Scored
from tasks.metrics.correctness import reaches


class BoxAnswers:
    """A Judge (tasks/ask_relations.py) that says yes where the mean SSR-Score at that end is high enough."""

    watches_video = False

    def __init__(self, min_ssr: float) -> None:
        self._min_ssr = min_ssr
        self.identity = {"backend": "boxes", "model": "endpoint-ssr-1", "min_ssr": str(min_ssr)}
        self.concurrency = 1

    def judge(self, sample: DsrSample, generated: Generated, scored: Scored) -> Judgement:
        """Raises ValueError for an invalid sample: it has no scores."""
        if scored.r_initial is None or scored.r_final is None:
            raise ValueError(f"{sample.clip_id}: only valid samples have answers, and this one has no scores")
        initial_yes, final_yes = reaches([scored.r_initial, scored.r_final], self._min_ssr).tolist()
        return Judgement(initial_yes, final_yes)
