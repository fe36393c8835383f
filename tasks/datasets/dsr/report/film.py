"""A sample's video with the boxes of its animal and its object.

draw_film(sample, tracks, video, folder) ->
    clips/clip-81b2....mp4    every frame, at most 480 px
    clips/clip-81b2....jpg    its first frame
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from schemas.dsr import SampleRow, TrackRow
from schemas.outcome import RowFailed
from schemas.storage import AnyPath, write_atomic
from tasks.media.video import encode_video, iter_frames
from tasks.pages.palette import colour_of
from tasks.pages.pictures import draw_box, write_jpeg

MAX_SIDE_PX = 480
CRF = 23
MAX_FPS_DENOMINATOR = 60_060  # an encoder holds a rate's parts in 32 bits


@dataclass(frozen=True)
class Film:
    """Where a sample's pictures lie, relative to the report."""

    video: str
    poster: str


def draw_film(sample: SampleRow, tracks: Sequence[TrackRow], video: bytes, folder: AnyPath) -> Film:
    """Write the sample's film and poster. Raises RowFailed if the video cannot be decoded or has other frames."""
    film = Film(f"clips/{sample.clip_id}.mp4", f"clips/{sample.clip_id}.jpg")
    fps = Fraction(sample.fps).limit_denominator(MAX_FPS_DENOMINATOR)
    frames = boxed_frames(sample, tracks, video)
    first = next(frames)
    write_atomic(folder / film.video, encode_video(itertools.chain([first], frames), fps, CRF))
    write_jpeg(folder / film.poster, first)
    return film


def boxed_frames(sample: SampleRow, tracks: Sequence[TrackRow], video: bytes) -> Iterator[np.ndarray]:
    """Each frame of the sample with its boxes: (H, W, 3) uint8 RGB."""
    n_seen = 0
    for _, frame in iter_frames(video, max_side=MAX_SIDE_PX):
        if n_seen < sample.n_frames:
            yield boxed(frame, tracks, n_seen, sample.width)
        n_seen += 1
    if n_seen != sample.n_frames:
        raise RowFailed("frame_count", f"{n_seen} frames instead of {sample.n_frames}", retryable=False)


def boxed(frame: np.ndarray, tracks: Sequence[TrackRow], index: int, width: int) -> np.ndarray:
    """frame: (H, W, 3), scaled from a video that is `width` px wide -> a copy with the boxes of frame `index`."""
    picture = frame.copy()
    for track in tracks:
        box = track.box_xyxy[index]
        if box is not None:
            draw_box(picture, box, picture.shape[1] / width, track.role, colour_of(track.instance_id))
    return picture
