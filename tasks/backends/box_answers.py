"""Relations judged by the SSR-Scores of the tracked boxes, without looking at a picture.

BoxAnswers(min_ssr=0.5).judge(sample, generated, scored) -> yes, no    r_initial 0.83, r_final 0.12
"""

from __future__ import annotations

from schemas.dsr import DsrSample
from schemas.generation import Generated
from schemas.scores import Judgement, Scored
from tasks.metrics.correctness import reaches


class BoxAnswers:
    """A Judge (tasks/ask_relations.py) that says yes if the mean SSR-Score at that end reaches `min_ssr`."""

    watches_video = False

    def __init__(self, min_ssr: float) -> None:
        self._min_ssr = min_ssr
        self.identity = {"backend": "boxes", "model": "endpoint-ssr-1", "min_ssr": str(min_ssr)}
        self.concurrency = 1

    def judge(self, sample: DsrSample, generated: Generated, scored: Scored) -> Judgement:
        """Raises ValueError for an invalid sample: it has no scores."""
        if scored.r_initial is None or scored.r_final is None:
            raise ValueError(
                f"{sample.clip_id}: an invalid sample has no scores to answer from; judge valid samples only"
            )
        initial_yes, final_yes = reaches([scored.r_initial, scored.r_final], self._min_ssr).tolist()
        return Judgement(initial_yes, final_yes)
