"""Rows that the tables of several datasets of samples have alike."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.preparation import FittedClip
from schemas.provenance import MadeBy
from schemas.training_samples import SampleRow, SnapshotRow


def sample_row(row: SnapshotRow, prompt: str, fitted: FittedClip, made_by: Sequence[MadeBy]) -> SampleRow:
    """The row of the table `samples`. made_by: of all stages"""
    of_fitted = ("fps", "n_frames", "width", "height", "source_frames", "source_box_xyxy")
    return SampleRow(
        clip_id=row.clip_id,
        split=row.split,
        prompt=prompt,
        **fitted.model_dump(include=set(of_fitted)),
        made_by=[maker.model_dump() for maker in made_by],
    )
