"""Views of clips that a page shows as they are, each with its prompt: samples, generated videos.

class SampleView(ClipView):
    row: SampleRow

prompted_views(snapshot, SampleRow, SampleView, clip_ids, folder)    [SampleView(text=[("A boy kicks ...", None)], ...)]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from schemas.record import Record
from schemas.storage import AnyPath
from tasks.engine.snapshots import Snapshot
from tasks.pages.film import film_of
from tasks.pages.views import ClipView, make_views

V = TypeVar("V", bound=ClipView)


def prompted_views(
    snapshot: Snapshot, record: type[Record], make: Callable[..., V], clip_ids: Sequence[str], folder: AnyPath
) -> list[V]:
    """Clips in the given order; writes their films below `folder`.

    record: one row a clip, with prompt, n_frames and fps
    make:   a ClipView that has such a row as `row`
    """
    rows: dict[str, list[Any]] = snapshot.rows_by_clip(record, clip_ids)

    def view(clip_id: str) -> V:
        (row,) = rows[clip_id]
        film, trouble = film_of(snapshot, clip_id, row.n_frames, Fraction(row.fps), _as_it_is, folder)
        return make(clip_id=clip_id, text=[(row.prompt, None)], fps=row.fps, film=film, trouble=trouble, row=row)

    return make_views(view, clip_ids)


def _as_it_is(frame: np.ndarray, index: int) -> np.ndarray:
    return frame
