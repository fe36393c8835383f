"""What is shown of a simulated clip's sample: its video beside its velocity masks.

kinemask_views(Snapshot.open("training/kinemask"), ["clip-81b2..."], Path("pictures"))
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import partial

import numpy as np

from schemas.storage import AnyPath
from schemas.training_samples import SampleObjectRow, SampleRow
from tasks.datasets.samples.report import SampleView
from tasks.engine.snapshots import Snapshot
from tasks.media.velocity_masks import velocity_masks_of, velocity_picture
from tasks.pages.film import film_of
from tasks.pages.views import make_views

GAP_PX = 4  # between the video and its masks


def kinemask_views(snapshot: Snapshot, clip_ids: Sequence[str], folder: AnyPath) -> list[SampleView]:
    """Samples in the given order; writes their films below `folder`."""
    samples = snapshot.rows_by_clip(SampleRow, clip_ids)
    objects = snapshot.rows_by_clip(SampleObjectRow, clip_ids)

    def view(clip_id: str) -> SampleView:
        (row,) = samples[clip_id]
        paint = partial(beside_velocities, objects[clip_id])
        fps = Fraction(row.fps).limit_denominator(1000)
        film, trouble = film_of(snapshot, clip_id, row.n_frames, fps, paint, folder)
        return SampleView(clip_id=clip_id, text=[(row.prompt, None)], fps=row.fps, film=film, trouble=trouble, row=row)

    return make_views(view, clip_ids)


def beside_velocities(objects: Sequence[SampleObjectRow], frame: np.ndarray, index: int) -> np.ndarray:
    """The frame on the left, its velocity mask on the right."""
    (mask,) = velocity_masks_of(objects, frames=slice(index, index + 1))
    gap = np.zeros((frame.shape[0], GAP_PX, 3), np.uint8)
    return np.hstack([frame, gap, velocity_picture(mask)])
