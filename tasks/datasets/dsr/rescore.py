"""a published snapshot -> its boxes as arrays, and the scores of either variant, without generating anything again.

    score_snapshot(Snapshot.open("data/dsr"), "paper")
        clip_id        ssr_initial          ssr_final             r_initial  ...  dsr_score  n_found  invalid
        clip-81b2...   [1.0, 0.98, ...]     [-1.0, -0.98, ...]    0.98       ...  1.22       81       null

Columns as the table `samples` has them, which hold the scores of the variant that the snapshot was made with; `invalid`
is a reason by the rule that is asked for. What was invalid by the snapshot's own rule has no tracks in it.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.dsr import Role, SampleRow, TrackRow
from schemas.scores import Validity, Variant
from schemas.tables import CandidateRow
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.media.video import sample_indices
from tasks.metrics.dsr_score import END_FRAMES, directions_of, score_clips, with_inclusive_edges
from tasks.metrics.dsr_validity import ValidityConfig, find_faults, gather_evidence


class ClipBoxes(NamedTuple):
    """What B clips are scored by. N is the length of the longest; the others end with frames that show nothing."""

    clip_ids: list[str]
    n_frames: np.ndarray  # (B,) int
    animal: np.ndarray  # (B, N, 4) left, top, right, bottom, in px; NaN where absent
    object_: np.ndarray  # (B, N, 4)
    found: np.ndarray  # (B, N) bool: both are there
    initial: np.ndarray  # (B, 2) direction of the initial relation
    final: np.ndarray  # (B, 2) that of the final one


def score_snapshot(
    snapshot: Snapshot,
    variant: Variant = "official",
    end_frames: int = END_FRAMES,
    validity: Validity | None = None,
) -> pl.DataFrame:
    """One row a published sample, in the order of the table `samples`.

    validity: the rule; None: the one that the snapshot was made with, by which all its samples are valid
    Raises SnapshotError as `read_boxes` does, or if `official` is asked for and the detector was not given every frame.
    """
    boxes = read_boxes(snapshot)
    rule = rule_of(snapshot, validity)
    animal, object_ = boxes.animal, boxes.object_
    if rule.validity == "official":
        animal, object_ = with_inclusive_edges(animal), with_inclusive_edges(object_)
    scores = score_clips(animal, object_, boxes.found, boxes.initial, boxes.final, variant, end_frames=end_frames)
    dsr = scores.dsr
    scored = pl.DataFrame(
        {
            "clip_id": pl.Series(boxes.clip_ids, dtype=pl.String),
            "ssr_initial": _curves(scores.ssr_initial, boxes.n_frames),
            "ssr_final": _curves(scores.ssr_final, boxes.n_frames),
            "r_initial": dsr.r_initial,
            "r_final": dsr.r_final,
            "g_initial": dsr.g_initial,
            "g_final": dsr.g_final,
            "dsr_score": dsr.score,
            "n_found": dsr.n_found,
            "invalid": _reasons(snapshot, boxes, dsr.n_found, rule),
        }
    )
    parts = ("r_initial", "r_final", "g_initial", "g_final", "dsr_score")
    return scored.with_columns(pl.when(pl.col("invalid").is_null()).then(pl.col(name)).alias(name) for name in parts)


def rule_of(snapshot: Snapshot, validity: Validity | None = None) -> ValidityConfig:
    """The snapshot's own rule and thresholds, with another rule if one is named."""
    own = _configs(snapshot, "score_dsr")
    fields = {name: value for name, value in own.items() if name in ValidityConfig.model_fields}
    return ValidityConfig(**fields | ({"validity": validity} if validity else {}))


def read_boxes(snapshot: Snapshot) -> ClipBoxes:
    """The boxes of a snapshot's valid samples.

    Raises SnapshotError if it is no snapshot of curate-dsr, or has not both tracks of each sample.
    """
    snapshot.require_flow("curate-dsr")
    samples = pq.read_table(snapshot.files("samples"), columns=["clip_id", "initial", "final", "n_frames"])
    tracks = pq.read_table(snapshot.files("tracks"), columns=["clip_id", "role", "box_xyxy"])
    n_frames = samples["n_frames"].to_numpy()
    boxes = _padded(tracks["box_xyxy"].combine_chunks(), int(n_frames.max(initial=1)))
    animal = boxes[_rows_of(samples, tracks, "animal")]
    object_ = boxes[_rows_of(samples, tracks, "object")]
    return ClipBoxes(
        clip_ids=samples["clip_id"].to_pylist(),
        n_frames=n_frames,
        animal=animal,
        object_=object_,
        found=~np.isnan(animal[..., 0] + object_[..., 0]),
        initial=directions_of(samples["initial"].to_pylist()),
        final=directions_of(samples["final"].to_pylist()),
    )


def _rows_of(samples: pa.Table, tracks: pa.Table, role: Role) -> np.ndarray:
    """(B,) int: the row of `tracks` that is each sample's track of that role."""
    rows = np.flatnonzero(pc.equal(tracks["role"], role).to_numpy())
    places = pc.index_in(samples["clip_id"], value_set=tracks["clip_id"].take(rows))
    if places.null_count:
        missing = samples["clip_id"].filter(places.is_null())[0]
        raise SnapshotError(f"{missing} has no track of its {role}; was a part of the snapshot deleted?")
    return rows[places.to_numpy()]


def _padded(column: pa.ListArray, n_frames: int) -> np.ndarray:
    """A column of boxes a frame, null where absent -> (rows, n_frames, 4) float, NaN where absent or past the end."""
    frames = column.flatten()
    present = np.arange(n_frames) < column.value_lengths().to_numpy()[:, None]
    present[present] = frames.is_valid().to_numpy(zero_copy_only=False)
    boxes = np.full((len(column), n_frames, 4), np.nan)
    boxes[present] = frames.flatten().to_numpy().reshape(-1, 4)  # flattening leaves nulls out
    return boxes


def _curves(ssr: np.ndarray, n_frames: np.ndarray) -> pl.Series:
    """(B, N) -> a list a clip, as long as the clip; null where not both were found."""
    padded = pl.Series(ssr.ravel(), dtype=pl.Float64).fill_nan(None).reshape(ssr.shape)
    curves = pl.DataFrame({"padded": padded, "n_frames": n_frames})
    return curves.select(pl.col("padded").arr.to_list().list.head(pl.col("n_frames"))).to_series()


def _reasons(snapshot: Snapshot, boxes: ClipBoxes, n_found: np.ndarray, rule: ValidityConfig) -> pl.Series:
    """(B,) why each published sample is invalid by a rule; null: it is valid."""
    reasons: list[str | None] = [None] * len(boxes.clip_ids)
    if rule.validity != rule_of(snapshot).validity:
        samples = {sample.clip_id: sample for sample in snapshot.rows(SampleRow)}
        candidates = snapshot.rows_by_clip(CandidateRow, boxes.clip_ids)
        tracks = snapshot.rows_by_clip(TrackRow, boxes.clip_ids)
        n_searched = _configs(snapshot, "ground_instances")["n_frames"]
        for place, clip_id in enumerate(boxes.clip_ids):
            n_frames = samples[clip_id].n_frames
            tracked = {track.instance_id: track.box_xyxy for track in tracks[clip_id]}
            n_sampled = len(sample_indices(n_frames, n_searched))
            try:
                evidence = gather_evidence(candidates[clip_id], tracked, n_frames, n_sampled, rule)
            except ValueError as error:
                raise SnapshotError(f"{snapshot.id}, {clip_id}: {error}") from error
            faults = find_faults(evidence, int(n_found[place]), samples[clip_id], rule)
            reasons[place] = faults[0][0] if faults else None
    return pl.Series(reasons, dtype=pl.String)


def _configs(snapshot: Snapshot, stage: str) -> dict[str, Any]:
    """A stage's settings, as the snapshot was made with them."""
    settings: dict[str, Any] = json.loads(snapshot.manifest.configs).get(stage, {})
    return settings
