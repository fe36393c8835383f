"""What was looked at in clips that could not be grounded.

make_cases(snapshot, groups, work, folder)
->  {"clip-07aa...": Case(shots=[(candidate, "clips/clip-07aa...-candidate0.jpg"), ...])}
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.clip import Clip
from schemas.matrix11k import CandidateRow, OutcomeRow
from schemas.outcome import RowFailed
from schemas.storage import AnyPath
from tasks.datasets.matrix11k.report.pictures import draw_candidates
from tasks.engine.work import Work
from tasks.pages.ended import EndedGroup
from tasks.pages.rows import read_rows

logger = logging.getLogger(__name__)

MAX_CASES = 24  # clips rejected in ground_instances that are shown with pictures
MAX_BOXES_PER_CASE = 4


@dataclass(frozen=True)
class Case:
    """A clip of which no interaction could be grounded: what was looked at."""

    shots: list[tuple[CandidateRow, str | None]]  # best candidate of each instance, its picture
    trouble: str | None


def make_cases(
    snapshot: AnyPath, groups: Sequence[EndedGroup[OutcomeRow]], work: Work, folder: AnyPath
) -> dict[str, Case]:
    """By clip, for the first of those rejected in ground_instances that had any candidate."""
    ended = [group.rows for group in groups if (group.stage, group.status) == ("ground_instances", "rejected")]
    rejected = [row.row_id for rows in ended for row in rows]
    candidates = read_rows(snapshot, "candidates", CandidateRow, rejected)
    shown = [clip_id for clip_id in rejected if candidates[clip_id]][:MAX_CASES]
    clips = read_rows(snapshot, "all_clips", Clip, shown)
    return {clip_id: make_case(clips[clip_id][0], candidates[clip_id], work, folder) for clip_id in shown}


def make_case(clip: Clip, candidates: Sequence[CandidateRow], work: Work, folder: AnyPath) -> Case:
    best = best_candidates(candidates)
    try:
        names = draw_candidates(clip, best, work.inputs.verified(clip.video, clip.video_sha256), folder)
    except RowFailed as error:
        logger.warning("%s: no pictures: %s", clip.clip_id, error)
        return Case(shots=[(candidate, None) for candidate in best], trouble=str(error))
    return Case(shots=list(zip(best, names, strict=True)), trouble=None)


def best_candidates(candidates: Sequence[CandidateRow]) -> list[CandidateRow]:
    """One an instance: the accepted one, else the one the detector was surest of."""
    best: dict[str, CandidateRow] = {}
    for candidate in sorted(candidates, key=lambda c: (c.verdict != "accepted", -c.score, c.frame, c.box_xyxy)):
        best.setdefault(candidate.instance_id, candidate)
    return [best[instance_id] for instance_id in sorted(best)][:MAX_BOXES_PER_CASE]
