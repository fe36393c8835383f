"""The ledger of captioned videos: everything that went in, and what ended before any clip was looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from schemas.clip import Clip
from schemas.matrix11k import OutcomeRow
from schemas.outcome import Outcome
from schemas.record import Record
from schemas.snapshot import FunnelStep
from schemas.source import Source
from schemas.split import SplitResult
from tasks.engine.dataset import Ways, funnel_step


class VideoLedger(BaseModel):
    """Every line of the manifest, its source, and the clips that were cut from it."""

    n_lines: int
    sources: list[Source]
    line_outcomes: list[Outcome]  # lines that never became a source
    splits: dict[str, SplitResult]  # source_id -> what it was split into
    source_outcomes: list[Outcome]  # sources that gave no clip
    parts: dict[str, list[Clip]] = {}  # clip_id of a crowded clip -> the parts it was cut into

    @property
    def clips(self) -> list[Clip]:
        whole = [clip for split in self.splits.values() for clip in split.clips]
        return whole + [part for parts in self.parts.values() for part in parts]

    @property
    def n_given(self) -> int:
        return self.n_lines

    @property
    def row_ids(self) -> list[str]:
        return [clip.clip_id for clip in self.clips]

    def problems(self) -> list[str]:
        found = []
        if self.n_lines != len(self.sources) + len(self.line_outcomes):
            found.append(
                f"{self.n_lines} lines, but {len(self.sources)} sources and {len(self.line_outcomes)} line outcomes"
            )
        sources = Counter(s.source_id for s in self.sources)
        ended = Counter([*self.splits, *(o.row_id for o in self.source_outcomes)])
        if sources != ended:
            lost_or_twice = sorted({*(sources - ended), *(ended - sources)})
            found.append(f"sources that ended nowhere or twice: {', '.join(lost_or_twice)}")
        return found

    def early_outcomes(self) -> list[OutcomeRow]:
        """Manifest lines, sources, and clips that splitting dropped."""
        of_source = {s.source_id: s for s in self.sources}
        rows = [OutcomeRow(**o.model_dump()) for o in self.line_outcomes]
        for outcome in self.source_outcomes:
            source = of_source[outcome.row_id]
            rows.append(
                OutcomeRow(
                    **outcome.model_dump(), source_id=source.source_id, video=source.video, caption=source.caption
                )
            )
        for split in self.splits.values():
            for dropped in split.dropped:
                outcome = Outcome(
                    row_id=dropped.clip.clip_id,
                    kind="clip",
                    status="rejected",
                    stage=SplitResult.stage_name,
                    reason=dropped.reason,
                    detail=dropped.detail,
                    retryable=False,
                )
                rows.append(outcome_row(outcome, dropped.clip))
        return rows

    def tables(self) -> dict[str, tuple[type[Record], Sequence[Any]]]:
        dropped = [dropped.clip for split in self.splits.values() for dropped in split.dropped]
        return {"sources": (Source, self.sources), "all_clips": (Clip, self.clips + dropped)}

    def first_steps(self, ways: Ways) -> list[FunnelStep]:
        n_cut = sum(len(split.clips) + len(split.dropped) for split in self.splits.values())
        return [
            funnel_step(ways, "source", "read_manifest", "lines", self.n_lines),
            funnel_step(ways, "source", SplitResult.stage_name, "sources", len(self.sources), n_cut),
            funnel_step(ways, "clip", SplitResult.stage_name, "clips", n_cut),
        ]


def outcome_row(outcome: Outcome, clip: Clip) -> OutcomeRow:
    return OutcomeRow(
        **outcome.model_dump(),
        source_id=clip.source_id,
        video=clip.video,
        start_s=clip.start_s,
        end_s=clip.end_s,
        caption=clip.caption,
    )
