"""What is shown of a sample of matrix11k: its video beside its masks, its ID map, its prompt with each role's words.

    matrix_views(Snapshot.open("training/matrix"), ["clip-81b2..."], Path("pictures"))
    ->  [MatrixView(text=[("A ", None), ("boy", "#ff6b4a"), (" kicks ", None), ...], id_map="clips/...png", ...)]

Pictures lie below the folder: clips/clip-81b2....mp4 and clips/clip-81b2...-id-map.png.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import numpy as np

from schemas.mask_track import MaskTrack
from schemas.storage import AnyPath, write_atomic
from schemas.training_samples import RoleRow, SampleMaskRow, SampleRow, SampleVideoRow
from tasks.datasets.samples.report import SampleView
from tasks.engine.snapshots import Snapshot
from tasks.pages.colours import colour_of, css
from tasks.pages.film import film_of, paint_masks
from tasks.pages.marks import mark_spans
from tasks.pages.views import make_views

GAP_PX = 4  # between the video and its masks
VERB = "var(--soft)"


class ShownRole(NamedTuple):
    """A role, with the CSS colour of its instance."""

    row: RoleRow
    colour: str


class MatrixView(SampleView):
    """A sample."""

    roles: list[ShownRole]
    id_map: str | None  # PNG, relative to the folder
    absent: list[str]  # instances that some frame does not show, with how many


def matrix_views(snapshot: Snapshot, clip_ids: Sequence[str], folder: AnyPath) -> list[MatrixView]:
    """Samples in the given order; writes their pictures below `folder`."""
    samples = snapshot.rows_by_clip(SampleRow, clip_ids)
    roles = snapshot.rows_by_clip(RoleRow, clip_ids)
    masks = snapshot.rows_by_clip(SampleMaskRow, clip_ids)
    videos = snapshot.rows_by_clip(SampleVideoRow, clip_ids)

    def view(clip_id: str) -> MatrixView:
        (row,), (video,), tracks = samples[clip_id], videos[clip_id], masks[clip_id]
        paint = partial(beside_masks, tracks)
        film, trouble = film_of(
            snapshot, clip_id, row.n_frames, Fraction(row.fps).limit_denominator(1000), paint, folder
        )
        id_map = None
        if video.id_map is not None:
            id_map = f"clips/{clip_id}-id-map.png"
            write_atomic(folder / id_map, video.id_map)
        shown = [
            ShownRole(role, VERB if role.kind == "verb" else css(colour_of(role.role_id))) for role in roles[clip_id]
        ]
        spans = [(span.start, span.end, role.colour) for role in shown for span in role.row.spans]
        return MatrixView(
            clip_id=clip_id,
            text=mark_spans(row.prompt, spans),
            fps=row.fps,
            film=film,
            trouble=trouble,
            row=row,
            roles=shown,
            id_map=id_map,
            absent=[
                f"{t.instance_id} in {n} of {row.n_frames} frames" for t in tracks if (n := t.present.count(False))
            ],
        )

    return make_views(view, clip_ids)


def beside_masks(tracks: Sequence[MaskTrack], frame: np.ndarray, index: int) -> np.ndarray:
    """The frame on the left, and with the masks on the right."""
    gap = np.zeros((frame.shape[0], GAP_PX, 3), np.uint8)
    return np.hstack([frame, gap, paint_masks(tracks, frame, index)])
