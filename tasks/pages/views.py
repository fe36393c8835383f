"""Views: what pages and apps show of a clip, as data. No HTML and no SVG; each can be written as JSON.

    ClipView(clip_id="clip-81b2...", text=[("A boy", "#ff6b4a"), (" kicks ", None), ...], fps=24.0,
             film=Film(video="clips/clip-81b2....mp4", ...), trouble=None)
    view.model_dump_json()

A dataset's view.py derives its own from ClipView: tasks/datasets/*/view.py. Pictures are named relative to the folder
that the view was made with.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from tasks.pages.marks import Marked

T = TypeVar("T")
U = TypeVar("U")

Point = tuple[float, float]


class View(BaseModel):
    """Something shown, as data."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Film(View):
    """Where a clip's pictures lie."""

    video: str  # MP4
    poster: str | None  # JPEG: what to show before the film plays
    stills: dict[int, str]  # {frame of the clip: JPEG}
    width: int  # px
    height: int
    step: int  # every step-th frame of the clip is in the film


class ClipView(View):
    """What every dataset shows of a clip."""

    clip_id: str
    text: Marked  # its caption or prompt in pieces, each with the CSS colour of the instance that it names
    fps: float
    film: Film | None
    trouble: str | None  # why there is no film


def make_views(make: Callable[[T], U], clips: Iterable[T]) -> list[U]:
    """A view of each clip, in order, on all cores: decoding and encoding release the GIL.

    What a clip's view tells of its progress is told of the step that runs.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        in_step = [(copy_context(), clip) for clip in clips]
        return list(pool.map(lambda one: one[0].run(make, one[1]), in_step))


def evenly_spaced(items: Sequence[T], n: int) -> list[T]:
    """n of the items, the first among them; all of them if there are no more.

    evenly_spaced(range(10), 3) -> [0, 3, 6]
    """
    n = min(n, len(items))
    return [items[i * len(items) // n] for i in range(n)]
