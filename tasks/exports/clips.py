"""A clip as any trainer wants it, whichever dataset it is of: pictures, text, and who is where in every frame.

TRACKED = Tracked(read, class_names)                a dataset's, in its export.py
for clip in TRACKED.read(snapshot, clip_ids):
    clip.instances[0].class_name, clip.instances[0].track.counts[16]
    for frame in frames_of(clip): ...               (H, W, 3) uint8 RGB, one at a time
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from schemas.mask_track import MaskTrack
from schemas.outcome import RowFailed
from tasks.engine.export import PlannedClip, by_shard
from tasks.engine.snapshots import ClipVideo, Snapshot
from tasks.media.video import iter_frames


@dataclass(frozen=True)
class TrackedInstance:
    """Something that is followed through a clip."""

    class_name: str  # base noun: 'ball'
    noun: str  # what tells it apart: 'a red ball'
    track: MaskTrack

    @property
    def boxes_xywh(self) -> list[list[float] | None]:
        """One a frame, px, as COCO has boxes; None where it is absent."""
        return [
            None if box is None else [box[0], box[1], box[2] - box[0], box[3] - box[1]] for box in self.track.box_xyxy
        ]

    @property
    def segmentations(self) -> list[dict[str, Any] | None]:
        """One a frame: COCO's compressed run lengths as pycocotools takes them; None where it is absent."""
        size = [self.track.height, self.track.width]
        shown = zip(self.track.counts, self.track.present, strict=True)
        return [{"size": size, "counts": counts} if present else None for counts, present in shown]

    @property
    def areas(self) -> list[int | None]:
        """One a frame, px; None where it is absent."""
        return [area or None for area in self.track.area]


@dataclass(frozen=True)
class TrackedClip:
    """A clip with its tracks; masks have its size."""

    clip_id: str
    caption: str
    fps: Fraction  # frames/s
    n_frames: int
    width: int  # px
    height: int  # px
    instances: Sequence[TrackedInstance]
    interactions: Sequence[dict[str, Any]]  # as its dataset tells them, as JSON
    find_video: Callable[[], ClipVideo]  # raises RowFailed if it is gone or has changed
    file: bytes | None = None  # its video file, if it has one of its own


@dataclass(frozen=True)
class Tracked:
    """How a dataset's clips are read."""

    read: Callable[[Snapshot, Sequence[str]], Iterator[TrackedClip]]  # accepted clips, of one shard
    class_names: Callable[[Snapshot], set[str]]  # of all instances


def read_planned(
    snapshot: Snapshot, tracked: Tracked, planned: Sequence[PlannedClip]
) -> Iterator[tuple[PlannedClip, TrackedClip]]:
    """Clips with their plans; rows of a shard are in memory at a time."""
    for shard in by_shard(planned):
        clips = {clip.clip_id: clip for clip in tracked.read(snapshot, [plan.clip_id for plan in shard])}
        yield from ((plan, clips[plan.clip_id]) for plan in shard)


def frames_of(clip: TrackedClip) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 RGB of each frame, one at a time. Raises RowFailed, after the last one for a wrong number."""
    video, n_seen = clip.find_video(), 0
    for _, frame in iter_frames(video.source, video.start, video.end, size=video.size):
        yield frame
        n_seen += 1
    if n_seen != clip.n_frames:
        raise RowFailed(
            "frame_count_changed",
            f"{n_seen} frames in its span, {clip.n_frames} when it was curated; is it the same file?",
            retryable=False,
        )
