"""a curated clip -> the frames and the size that a model takes, its masks along with them, and the ID map.

    150 frames of 1280x720 at 30 frames/s, boy and ball
    ->  49 frames of 720x480 at 8 frames/s: frames 2, 6, 10, ..., the middle 1080x720 of the picture, 49 masks each

The rule, which no paper states for its clips: the picture is cut to the model's shape around its centre (or padded
black), and frames are taken at the base model's rate, each the one that is nearest in time, so that clips with variable
frame rates keep their speed. A longer clip gives the part whose first frame shows the most instances, because the ID
map and the propagation loss look at them there; among those, the part that shows them longest, then the one nearest to
the clip's middle. A clip that is too short for the rate is taken whole, faster, up to a limit. Nothing is repeated.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import cv2
import numpy as np
from pydantic import Field

from schemas.candidate import Box
from schemas.config import StageConfig
from schemas.mask_track import MaskTrack, decode_mask, encode_mask
from schemas.matrix11k import ClipRow, InteractionRow, MaskTrackRow
from schemas.outcome import RowFailed, RowRejected
from schemas.preparation import FittedClip
from schemas.provenance import MadeBy
from schemas.training_samples import SnapshotRow
from tasks.engine.clip_tables import ClipTables
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tasks.media import video
from tasks.media.encoding import encode_video
from tasks.media.id_map import id_map
from tasks.media.png import decode_png, encode_png


class FitConfig(StageConfig):
    """The model's frames and size, and how a clip is brought to them."""

    n_frames: int = Field(49, ge=1, description="Frames of a sample: 4n + 1 (MATRIX 6.1: 49)")
    width: int = Field(720, ge=8, description="Width of a sample, px (MATRIX 6.1)")
    height: int = Field(480, ge=8, description="Height of a sample, px (MATRIX 6.1)")
    fps: float = Field(
        8.0,
        gt=0,
        title="Rate (frames/s)",
        description="Frames a second that are taken: CogVideoX is trained at 8, MATRIX's code takes 16",
    )
    max_fps: float = Field(
        16.0,
        gt=0,
        title="Highest rate (frames/s)",
        description="A clip that is too short for the rate is taken whole, at up to this rate; then it is rejected",
    )
    shape: Literal["crop", "pad"] = Field(
        "crop", description="A picture of another shape: crop cuts its longer side evenly, pad adds black bars"
    )
    max_enlarge: float = Field(
        1.5, ge=1, title="Largest enlargement", description="A picture that would be enlarged more is rejected"
    )
    seen_first: Literal["all", "any"] = Field(
        "all",
        description="Which instances of interactions the first frame must show; others have no place in the ID map",
    )
    min_area: float = Field(
        0.0002,
        ge=0,
        le=1,
        title="Smallest area",
        description="An instance with a smaller share of a sample's picture is not seen there; 0.0002 of 720x480 is a "
        "quarter of a token",
    )
    id_map: bool = Field(
        True, title="ID map", description="Draw the ID map of the first frame, which MATRIX's model takes"
    )
    crf: int = Field(10, ge=0, le=51, description="H.264 quality of the stored video: 0 is the best, 51 the worst")

    @property
    def min_area_px(self) -> int:
        return max(1, math.ceil(self.min_area * self.width * self.height))


class Footage(Protocol):
    """A row's pictures, wherever they come from; nothing is decoded before it is asked for."""

    @property
    def span(self) -> list[object]:
        """What the pictures are a function of, for keys: bytes and times, never a path."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the pictures and masks, px."""

    @property
    def tracks(self) -> Sequence[MaskTrack]:
        """The masks of the instances that the sample is about, in the order of their ids."""

    def times_s(self) -> Sequence[Fraction]:
        """One a frame. Raises RowFailed for a video that cannot be read."""

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB; indices: increasing. Raises RowFailed."""


# --- Time ------------------------------------------------------------------------------------


class Moments(NamedTuple):
    """The frames of a clip that become the sample's."""

    frames: list[int]
    fps: float


def choose_frames(times_s: Sequence[Fraction], shown: np.ndarray, config: FitConfig) -> Moments:
    """The rule of this module.

    times_s: one a frame, increasing; shown: (instances, frames) bool, where masks are
    Raises RowRejected: too_short, too_few_frames.
    """
    n, length_s = config.n_frames, times_s[-1] - times_s[0]
    if n == 1:
        return Moments([_best_start(np.arange(len(times_s))[:, None], shown)], config.fps)
    slow, fast = Fraction(config.fps), max(Fraction(config.fps), Fraction(config.max_fps))
    rate = min(slow, fast) if length_s * slow >= n - 1 else None
    if rate is None:
        if length_s * fast < n - 1:
            raise RowRejected(
                "too_short",
                f"{len(times_s)} frames over {float(length_s):.3f} s; {n} at up to {float(fast):g} frames/s take "
                f"{float((n - 1) / fast):.3f} s",
            )
        rate = (n - 1) / length_s
    clock = np.array([float(time - times_s[0]) for time in times_s])
    starts = [i for i, time in enumerate(times_s) if times_s[-1] - time >= (n - 1) / rate]
    steps = np.arange(n) / float(rate)
    picked = nearest(clock, clock[starts][:, None] + steps)  # (starts, n)
    whole = picked[(np.diff(picked, axis=1) > 0).all(axis=1)]
    if not len(whole):
        raise RowRejected(
            "too_few_frames",
            f"{len(times_s)} frames over {float(length_s):.3f} s; at {float(rate):g} frames/s some would be repeated",
        )
    return Moments(whole[_best_start(whole, shown)].tolist(), float(rate))


def nearest(clock: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Which of the increasing times is nearest to each asked one; the earlier of two as near."""
    after = np.clip(np.searchsorted(clock, asked), 1, max(1, len(clock) - 1))
    after = np.minimum(after, len(clock) - 1)
    before = np.maximum(after - 1, 0)
    # Nanoseconds decide nothing: times of frames are sums of floats here.
    chosen: np.ndarray = np.where(clock[after] - asked < asked - clock[before] - 1e-9, after, before)
    return chosen


def _best_start(picked: np.ndarray, shown: np.ndarray) -> int:
    """Which of the choices (choices, n) shows most in its first frame, then longest, then is nearest to the middle."""
    if not len(shown):
        shown = np.zeros((1, int(picked.max()) + 1), bool)
    first, long = shown[:, picked[:, 0]].sum(axis=0), shown[:, picked].sum(axis=(0, 2))
    from_middle = np.abs(2 * np.arange(len(picked)) - (len(picked) - 1))
    return min(range(len(picked)), key=lambda i: (-first[i], -long[i], from_middle[i], i))


# --- Space -----------------------------------------------------------------------------------


def fit_box(size: tuple[int, int], config: FitConfig) -> tuple[int, int, int, int]:
    """What of a picture is shown, in its px, left, top, right, bottom; with bars, it reaches beyond the picture.

    fit_box((1280, 720), FitConfig()) -> (100, 0, 1180, 720)
    Raises RowRejected("too_small") for a picture that would be enlarged too much.
    """
    width, height = size
    by_width, by_height = Fraction(width, config.width), Fraction(height, config.height)
    scale = min(by_width, by_height) if config.shape == "crop" else max(by_width, by_height)
    enlarged = float(1 / scale)
    if enlarged > config.max_enlarge:
        raise RowRejected(
            "too_small",
            f"{width}x{height} would be enlarged {enlarged:.2f} times to {config.width}x{config.height}, at most "
            f"{config.max_enlarge:g} are allowed",
        )
    shown_width, shown_height = max(1, round(config.width * scale)), max(1, round(config.height * scale))
    left, top = (width - shown_width) // 2, (height - shown_height) // 2
    return left, top, left + shown_width, top + shown_height


def fit_picture(picture: np.ndarray, box: tuple[int, int, int, int], config: FitConfig) -> np.ndarray:
    """(H, W, 3) uint8 -> (height, width, 3): the box's pixels, by area where it shrinks, else cubic."""
    return _resized(_cut(picture, box), config, cv2.INTER_CUBIC)


def fit_mask(mask: np.ndarray, box: tuple[int, int, int, int], config: FitConfig) -> np.ndarray:
    """(H, W) bool -> (height, width): a pixel is the mask's if at least half of it is, on the same grid as pictures."""
    # 255 steps are too few: half of them is no number.
    cover = _resized(_cut(mask.astype(np.float32), box), config, cv2.INTER_LINEAR)
    fitted: np.ndarray = cover >= 0.5
    return fitted


def _cut(picture: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    height, width = picture.shape[:2]
    inside = picture[max(0, top) : min(height, bottom), max(0, left) : min(width, right)]
    bars = ((max(0, -top), max(0, bottom - height)), (max(0, -left), max(0, right - width)))
    return np.pad(inside, (*bars, *((0, 0),) * (picture.ndim - 2)))


def _resized(picture: np.ndarray, config: FitConfig, enlarging: int) -> np.ndarray:
    shrinks = picture.shape[0] >= config.height and picture.shape[1] >= config.width
    how = cv2.INTER_AREA if shrinks else enlarging
    resized: np.ndarray = cv2.resize(np.ascontiguousarray(picture), (config.width, config.height), interpolation=how)
    return resized


# --- Both ------------------------------------------------------------------------------------


def fit_clip(footage: Footage, config: FitConfig, made_by: Sequence[MadeBy] = ()) -> FittedClip:
    """Raises RowRejected: too_small, too_short, too_few_frames, not_seen, not_seen_first; RowFailed for its video."""
    tracks, box = footage.tracks, fit_box(footage.size, config)
    width, height = footage.size
    if wrong := [track for track in tracks if (track.width, track.height) != footage.size]:
        what = f"{wrong[0].instance_id} has masks of {wrong[0].width}x{wrong[0].height}, the clip is {width}x{height}"
        raise RowFailed("mask_size", what, retryable=False)
    times_s = footage.times_s()
    shown = np.array([_in_box(track, box, config) for track in tracks]).reshape(len(tracks), len(times_s))
    moments = choose_frames(times_s, shown, config)
    fitted_tracks = [_fit_track(track, moments.frames, box, config) for track in tracks]
    _require_seen(fitted_tracks, moments.frames[0], config)
    fitted = [fit_picture(picture, box, config) for picture in footage.frames(moments.frames)]
    stored = encode_video(fitted, Fraction(moments.fps).limit_denominator(60_060), config.crf)
    first_masks = [track.masks(slice(0, 1))[0] for track in fitted_tracks]
    picture = encode_png(id_map(first_masks)) if first_masks and config.id_map else None
    return FittedClip(
        video=stored,
        video_sha256=hashlib.sha256(stored).hexdigest(),
        psnr_db=round(psnr_db(fitted, video.decode_bytes(stored)[:, : config.height, : config.width]), 2),
        fps=round(moments.fps, 6),
        n_frames=config.n_frames,
        width=config.width,
        height=config.height,
        source_frames=moments.frames,
        source_box_xyxy=box,
        tracks=fitted_tracks,
        id_map=picture,
        id_map_sha256=None if picture is None else hashlib.sha256(picture).hexdigest(),
        made_by=list(made_by),
    )


def _in_box(track: MaskTrack, box: tuple[int, int, int, int], config: FitConfig) -> list[bool]:
    """In which frames something of the mask lies in the box: judged by its own box, as no mask is decoded for it."""
    left, top, right, bottom = box
    scale = (config.width / (right - left)) * (config.height / (bottom - top))

    def is_in(inner: Box | None, area: int) -> bool:
        if inner is None or area * scale < config.min_area_px:
            return False
        return inner[0] < right and inner[2] > left and inner[1] < bottom and inner[3] > top

    return [is_in(inner, area) for inner, area in zip(track.box_xyxy, track.area, strict=True)]


def _fit_track(track: MaskTrack, frames: Sequence[int], box: tuple[int, int, int, int], config: FitConfig) -> MaskTrack:
    masks = (decode_mask(track.counts[frame], track.height, track.width) for frame in frames)
    return MaskTrack.of(
        track.instance_id,
        [encode_mask(fit_mask(mask, box, config)) for mask in masks],
        height=config.height,
        width=config.width,
        anchor_frame=0,
    )


def _require_seen(tracks: Sequence[MaskTrack], first_frame: int, config: FitConfig) -> None:
    for track in tracks:
        if max(track.area) < config.min_area_px:
            raise RowRejected(
                "not_seen", f"{track.instance_id} has {max(track.area)} px in the sample at most, the limit is "
                f"{config.min_area_px}"
            )  # fmt: skip
    hidden = [track for track in tracks if track.area[0] < config.min_area_px]
    if hidden and (config.seen_first == "all" or len(hidden) == len(tracks)):
        told = ", ".join(f"{track.instance_id} {track.area[0]} px" for track in hidden)
        raise RowRejected(
            "not_seen_first",
            f"the sample's first frame, {first_frame} of the clip, shows too little of {told}; the limit is "
            f"{config.min_area_px}",
        )


def psnr_db(frames: Iterable[np.ndarray], others: Iterable[np.ndarray]) -> float:
    """Of all frames together; 100 where they are the same. uint8, of one shape"""
    errors = [np.square(a.astype(np.int32) - b).mean() for a, b in zip(frames, others, strict=True)]
    error = float(np.mean(errors))
    return min(100.0, 10 * math.log10(255**2 / error)) if error else 100.0


# --- The stage -------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClipFootage:
    """A clip of matrix11k: a span of an input video, and the masks of its instances."""

    inputs: Inputs
    clip: ClipRow
    tracks: Sequence[MaskTrack] = field(default_factory=list)

    @property
    def span(self) -> list[object]:
        return self.clip.video_span

    @property
    def size(self) -> tuple[int, int]:
        return self.clip.width, self.clip.height

    @cached_property
    def _path(self) -> Path:
        return self.inputs.verified(self.clip.video, self.clip.video_sha256)

    def times_s(self) -> Sequence[Fraction]:
        times = video.frame_times(self._path, self.clip.start.fraction, self.clip.end.fraction)
        video.require_count(self.clip, len(times))
        return times

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        return video.read_frames(self._path, self.clip, indices)


@dataclass(frozen=True)
class FittedSample:
    """A fitted clip with its prompt, as encode_samples takes it: what is encoded is what is stored."""

    prompt: str
    fitted: FittedClip
    wants_first_frame: bool = True

    @property
    def content(self) -> list[object]:
        return [self.fitted.video_sha256, self.fitted.id_map_sha256]

    def frames(self) -> np.ndarray:
        return video.decode_bytes(self.fitted.video)[:, : self.fitted.height, : self.fitted.width]

    def id_map(self) -> np.ndarray | None:
        return None if self.fitted.id_map is None else decode_png(self.fitted.id_map)


FootageOf = Callable[[Row[SnapshotRow]], Footage]


def clip_footage(work: Work, tables: ClipTables) -> FootageOf:
    """Footage of matrix11k's clips, with the masks of the instances that its interactions name."""

    def footage(row: Row[SnapshotRow]) -> ClipFootage:
        clip_id = row.payload.clip_id
        (clip,) = tables.rows(ClipRow, clip_id)
        interactions = tables.rows(InteractionRow, clip_id)
        taking_part = {one for it in interactions for one in (it.subject_id, it.object_id)}
        tracks = [row for row in tables.rows(MaskTrackRow, clip_id) if row.instance_id in taking_part]
        return ClipFootage(
            work.inputs, clip, sorted(tracks, key=lambda track: int(track.instance_id.removeprefix("id")))
        )

    return footage


def stage(config: FitConfig, footage: FootageOf) -> Stage[SnapshotRow, Footage, FittedClip]:
    identity = {"backend": "rule", "model": "fit-clips-1", "av": version("av"), "opencv": cv2.__version__}
    made_by = [MadeBy.of(FittedClip.stage_name, identity)]
    return Stage(
        version=1,
        result=FittedClip,
        config=config,
        made_by=made_by,
        read=footage,
        key_of=lambda seen: [seen.span, list(seen.size), [[t.instance_id, t.counts] for t in seen.tracks]],
        compute=lambda seen: fit_clip(seen, config, made_by),
    )
