"""a published snapshot -> its boxes as arrays, and the scores of either variant, without generating anything again.

    score_snapshot(Snapshot.open("data/dsr"), "paper")
        clip_id        ssr_initial          ssr_final             r_initial  ...  dsr_score  n_found
        clip-81b2...   [1.0, 0.98, ...]     [-1.0, -0.98, ...]    0.98       ...  1.22       81

Columns as the table `samples` has them, which hold the scores of the variant that the snapshot was made with.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.dsr import Role
from schemas.scores import Variant
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.metrics.dsr_score import END_FRAMES, directions_of, score_clips


class ClipBoxes(NamedTuple):
    """What B clips are scored by. N is the length of the longest; the others end with frames that show nothing."""

    clip_ids: list[str]
    n_frames: np.ndarray  # (B,) int
    animal: np.ndarray  # (B, N, 4) left, top, right, bottom, in px; NaN where absent
    object_: np.ndarray  # (B, N, 4)
    found: np.ndarray  # (B, N) bool: both are there
    initial: np.ndarray  # (B, 2) direction of the initial relation
    final: np.ndarray  # (B, 2) that of the final one


def score_snapshot(snapshot: Snapshot, variant: Variant = "official", end_frames: int = END_FRAMES) -> pl.DataFrame:
    """One row a valid sample, in the order of the table `samples`. Raises SnapshotError as `read_boxes` does."""
    boxes = read_boxes(snapshot)
    scores = score_clips(
        boxes.animal, boxes.object_, boxes.found, boxes.initial, boxes.final, variant, end_frames=end_frames
    )
    dsr = scores.dsr
    return pl.DataFrame(
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
        }
    )


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
