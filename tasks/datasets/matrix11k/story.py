"""The story of a captioned video: from its manifest line to its checked tracks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from schemas.matrix11k import ClipRow, InstanceRow, InteractionRow, TrackCheckRow
from schemas.tables import CandidateRow
from tasks.datasets.story import box_text, candidate_lines, maker_lines, one_line
from tasks.engine.dataset import Story
from tasks.engine.snapshots import Snapshot


def find(snapshot: Snapshot, name: str) -> pl.DataFrame:
    """Outcomes of a clip, source or line: by an id (or its beginning), a video, the user's own id."""
    sources = snapshot.scan("sources").filter((pl.col("external_id") == name) | (pl.col("video") == name)).collect()
    meant = (
        pl.col("row_id").str.starts_with(name)
        | pl.col("source_id").str.starts_with(name).fill_null(False)
        | pl.col("source_id").is_in(sources["source_id"].to_list()).fill_null(False)
    )
    return snapshot.scan("outcomes").filter(meant).sort("video", "start_s", nulls_last=True).collect()


def tell(snapshot: Snapshot, outcome: dict[str, Any]) -> Iterator[str]:
    if outcome["video"]:
        yield f"  source     {outcome['source_id']} {one_line(outcome['video'])}"
    if outcome["start_s"] is not None:
        yield f"  span       {outcome['start_s']:.3f} to {outcome['end_s']:.3f} s"
    if outcome["caption"]:
        yield f"  caption    {one_line(outcome['caption'])}"
    if outcome["kind"] != "clip":
        return

    clip = [outcome["row_id"]]
    for it in snapshot.rows(InteractionRow, clip) + snapshot.rows(InteractionRow, clip, table="dropped_interactions"):
        end = "kept" if it.kept else f"dropped: {it.drop_reason}"
        scores = f"contact {it.contactness}, dynamism {it.dynamism}, confidence {it.confidence:g}"
        yield f"  triplet    {it.subject_id} {one_line(it.verb)} {it.object_id} ({scores}) {end}"
    for i in snapshot.rows(InstanceRow, clip):
        anchor = f"{box_text(i.anchor_box_xyxy)} on frame {i.anchor_frame}"
        yield f"  instance   {i.instance_id} '{one_line(i.noun)}': anchor {anchor}"
    yield from candidate_lines(snapshot.rows(CandidateRow, clip))
    for c in snapshot.rows(TrackCheckRow, clip):
        end = "passed" if c.passed else "FAILED"
        yield f"  check      {c.instance_id} {c.measure} {c.value:.3g} (limit {c.threshold:g}) {end}"
    for row in snapshot.rows(ClipRow, clip):
        for remark in row.remarks:
            yield f"  file       {remark}"
        yield from maker_lines(row.made_by)


def name_of(outcome: dict[str, Any]) -> str:
    return one_line(outcome["video"])


STORY = Story(find, tell, name_of)
