"""source -> clips, one a shot, with exact times (MATRIX-11K's clips; PySceneDetect finds the cuts).

    Source("news.mp4", caption="A man kicks a ball. ...") with a cut at 4.004 s ->
        Clip(shot_index=0, n_shots=2, start=0/1, end=1001/250, n_frames=120, caption_shared=True, ...)
        Clip(shot_index=1, n_shots=2, start=1001/250, end=1001/125, n_frames=120, caption_shared=True, ...)

The whole span of the source is decoded once, small, and handed to PySceneDetect's own detectors, so that
a file that is damaged or ends early fails here. Every frame of the span belongs to exactly one piece, and
every piece is either a clip or a dropped clip with its reason.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from fractions import Fraction
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import cv2
import numpy as np
from pydantic import Field, field_validator, model_validator
from scenedetect.common import FrameTimecode, Timecode
from scenedetect.detector import SceneDetector
from scenedetect.detectors import AdaptiveDetector, ContentDetector
from scenedetect.scene_manager import compute_downscale_factor

from schemas.clip import Clip, FieldOrder, Trait, traits_of
from schemas.config import StageConfig
from schemas.outcome import RowFailed, RowRejected
from schemas.provenance import MadeBy
from schemas.record import Rational
from schemas.source import Source
from schemas.split import DroppedClip, SplitResult
from tasks.engine.progress import counted
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tasks.media.clock import Clock
from tasks.media.video import DecodedFrame, Scaler, VideoInfo, clock_of, decode_span, probe

logger = logging.getLogger(__name__)

MAX_JUMPS_TOLD = 5


class SplitConfig(StageConfig):
    """How sources are cut. The detectors' defaults are those of PySceneDetect 0.7.2's command line."""

    detector: Literal["content", "adaptive"] = Field(
        "content", description="PySceneDetect's detect-content or detect-adaptive"
    )
    threshold: float = Field(27.0, gt=0, le=255, description="content: a frame that differs by this much is a cut")
    adaptive_threshold: float = Field(
        3.0, gt=0, le=255, description="adaptive: a cut differs this many times as much as the frames around it"
    )
    min_content_val: float = Field(15.0, ge=0, le=255, description="adaptive: and at least by this much")
    min_scene_len_s: float = Field(
        0.6, ge=0, description="Cuts closer than this are merged; rounded to frames at the average rate, as there"
    )
    window_s: float | None = Field(None, gt=0, description="Cut every shot in windows of this length as well")
    min_clip_s: float = Field(1.0, ge=0, description="Shorter clips are dropped as too_short")
    max_clip_s: float = Field(30.0, gt=0, description="Longer shots are too long for a clip")
    long_clips: Literal["split", "reject"] = Field(
        "split", description="A shot that is too long: cut it in equal parts, or drop it as too_long"
    )
    clock: Literal["picture", "container"] = Field(
        "picture",
        description="What start_s and end_s of the manifest count from: the first frame, or the file's beginning as "
        "players and speech recognition count, where sound may start before the picture",
    )

    reject: list[Trait] = Field(
        [], description="Drop sources whose pictures would not be as players show them: hdr, interlaced, anamorphic"
    )
    square_pixels: bool = Field(
        False, description="Stretch pictures whose pixels are not square: the side that is too short grows"
    )

    @field_validator("reject")
    @classmethod
    def _each_once_in_order(cls, reject: list[Trait]) -> list[Trait]:
        """The same choice gives the same keys."""
        return [trait for trait in get_args(Trait) if trait in reject]

    @model_validator(mode="after")
    def _lengths_fit(self) -> SplitConfig:
        if self.min_clip_s > self.max_clip_s:
            raise ValueError(f"min_clip_s {self.min_clip_s} is more than max_clip_s {self.max_clip_s}: no clip fits")
        if self.window_s is not None and self.window_s < self.min_clip_s:
            raise ValueError(f"window_s {self.window_s} is less than min_clip_s {self.min_clip_s}: no window fits")
        return self


class Timeline(NamedTuple):
    """When the frames of a span are shown."""

    times: list[Fraction]  # s, increasing
    end: Fraction  # s, of the last frame
    interlaced: bool = False  # some frame is two fields, by its own flag

    def time(self, frame: int) -> Fraction:
        """When a frame begins; the end, for the number after the last one."""
        return self.times[frame] if frame < len(self.times) else self.end

    def span(self, frames: range) -> tuple[Fraction, Fraction]:
        """[start, end) of successive frames."""
        return self.time(frames.start), self.time(frames.stop)

    def length(self, frames: range) -> Fraction:
        """Seconds that successive frames take."""
        start, end = self.span(frames)
        return end - start


def split_scenes(path: Path, source: Source, config: SplitConfig) -> SplitResult:
    """Cut one source into clips.

    Raises UnreadableVideo (a RowFailed) if the span cannot be decoded to its end, and
    RowRejected("empty_span") if no frame lies in it, or the first of `config.reject` that its pictures are.
    """
    info, clock = probe(path), clock_of(path)
    _warn(source, info, clock)
    _require_wanted(info, info.field_order or "progressive", config)  # before all of it is decoded
    width, height = info.square_size if config.square_pixels else (info.width, info.height)
    start, end = (_first_tick(time, info.time_base) for time in asked_span(source, clock, config))
    timeline, cuts = find_cuts(path, info, start, end, config)
    if not timeline.times:
        raise RowRejected("empty_span", f"no frame between {source.start_s} and {source.end_s} s")
    field_order = info.field_order or ("interlaced" if timeline.interlaced else "progressive")
    _require_wanted(info, field_order, config)
    pictures = {
        "fps": Rational.of(info.fps),
        "width": width,
        "height": height,
        "sample_aspect": Rational.of(info.sample_aspect),
        "stretched": (width, height) != (info.width, info.height),
        "transfer": info.transfer,
        "field_order": field_order,
        "stream_index": info.stream_index,
        "orientation": info.orientation.exif,
    }
    pieces = [piece for shot in shots_from_cuts(len(timeline.times), cuts) for piece in _pieces(timeline, shot, config)]
    clips, dropped = [], []
    for index, piece in enumerate(pieces):
        clip = _clip(source, clock, pictures, timeline, piece, index, len(pieces))
        drop = _drop(clip, timeline.length(piece), config)
        if drop is None:
            clips.append(clip)
        else:
            dropped.append(drop)
    return SplitResult(clips=clips, dropped=dropped)


def _require_wanted(info: VideoInfo, field_order: FieldOrder, config: SplitConfig) -> None:
    """Raises RowRejected for pictures that `config.reject` names."""
    found = traits_of(info.sample_aspect, info.transfer, field_order)
    if unwanted := [trait for trait in config.reject if trait in found]:
        raise RowRejected(unwanted[0], "; ".join(found[trait] for trait in unwanted))


def asked_span(source: Source, clock: Clock, config: SplitConfig) -> tuple[Fraction | None, Fraction | None]:
    """The span that the manifest asks for, in s since the first frame: the only place that converts it.

    Raises RowFailed("timestamps_jump") where the container's clock shows a time twice, or not at all.
    """
    start, end = (None if seconds is None else _decimal(seconds) for seconds in (source.start_s, source.end_s))
    if config.clock == "picture" or start is end is None:
        return start, end
    if clock.n_jumps:
        raise RowFailed(
            "timestamps_jump",
            f"its clock jumps at {_list_s(clock.jumps_s)} of the picture, so start_s and end_s on it are ambiguous; "
            "count them from the first frame (--split.clock picture) or write the file anew, without jumps",
            retryable=False,
        )
    offset = clock.offset_s(Fraction(0))
    return None if start is None else start - offset, None if end is None else end - offset


def _warn(source: Source, info: VideoInfo, clock: Clock) -> None:
    """What a person should know of a source whose file is not as plain as most."""
    if info.n_streams > 1:
        logger.warning("%s: of %d video streams, number %d is read", source.video, info.n_streams, info.stream_index)
    if clock.n_jumps:
        times = _list_s(clock.jumps_s)
        logger.warning("%s: its clock jumps at %s; times go on from the frame before", source.video, times)


def _list_s(times: Sequence[Fraction]) -> str:
    """2.000 s, 4.000 s and 7 more"""
    listed = ", ".join(f"{float(time):.3f} s" for time in times[:MAX_JUMPS_TOLD])
    more = len(times) - MAX_JUMPS_TOLD
    return f"{listed} and {more} more" if more > 0 else listed


# --- Cuts ------------------------------------------------------------------------------------


def find_cuts(
    path: Path, info: VideoInfo, start: Fraction | None, end: Fraction | None, config: SplitConfig
) -> tuple[Timeline, list[int]]:
    """Decode a span, in s: its timeline, and the frames, counted from 0 in the span, that begin a new shot."""
    detector = _detector(info.fps, config)
    scaler = _scaler(info)
    times: list[Fraction] = []
    frame_at: dict[int, int] = {}  # ticks of the time base -> frame
    cut_ticks: list[int] = []
    interlaced = False
    last: DecodedFrame | None = None
    timecode: FrameTimecode | None = None
    for last in counted(decode_span(path, start, end), total=_about_n_frames(info, start, end)):
        ticks = round(last.time / info.time_base)
        frame_at[ticks] = len(times)
        times.append(last.time)
        interlaced = interlaced or last.picture.interlaced_frame
        timecode = FrameTimecode(Timecode(ticks, info.time_base), info.fps)
        cut_ticks += [cut.pts for cut in detector.process_frame(timecode, scaler.array(last.picture))]
    if last is None or timecode is None:
        return Timeline([], Fraction(0)), []
    cut_ticks += [cut.pts for cut in detector.post_process(timecode)]
    last_end = last.time + last.duration
    timeline = Timeline(times, last_end if end is None else min(last_end, end), interlaced)
    return timeline, [frame_at[ticks] for ticks in cut_ticks]


def _about_n_frames(info: VideoInfo, start: Fraction | None, end: Fraction | None) -> int | None:
    """How many frames a span has, by its length; None where the container does not announce it."""
    end = end if info.duration is None else min(end or info.duration, info.duration)
    return None if end is None else max(0, round((end - (start or 0)) * info.fps))


def shots_from_cuts(n_frames: int, cuts: Iterable[int]) -> list[range]:
    """The shots of n_frames >= 1 frames: a cut is the first frame of a shot. Each frame is in exactly one shot.

    shots_from_cuts(10, [4]) -> [range(0, 4), range(4, 10)]
    """
    inner = sorted({cut for cut in cuts if 0 < cut < n_frames})
    return [range(a, b) for a, b in pairwise([0, *inner, n_frames])]


class _Content(ContentDetector):
    """PySceneDetect's content detector with the score computed by OpenCV: the same to the last bit, in a third
    of the time. It overrides a method that is private there: the dependency is pinned, the tests compare scores.
    """

    _planes: Sequence[np.ndarray] | None = None

    def _calculate_frame_score(self, timecode: FrameTimecode, frame_img: np.ndarray) -> float:
        """Mean difference of hue, saturation and brightness to the frame before, 0..255; 0 for the first frame."""
        previous, self._planes = self._planes, cv2.split(cv2.cvtColor(frame_img, cv2.COLOR_BGR2HSV))
        if previous is None:
            return 0.0
        sums = [cv2.norm(a, b, cv2.NORM_L1) for a, b in zip(self._planes, previous, strict=True)]
        return sum(total / previous[0].size for total in sums) / 3.0


class _Adaptive(_Content, AdaptiveDetector):
    """PySceneDetect's adaptive detector on the same scores."""


def _detector(fps: Fraction, config: SplitConfig) -> SceneDetector:
    min_scene_len = round(config.min_scene_len_s * fps)  # frames: the command line rounds likewise
    if config.detector == "content":
        return _Content(threshold=config.threshold, min_scene_len=min_scene_len)
    return _Adaptive(
        adaptive_threshold=config.adaptive_threshold,
        min_content_val=config.min_content_val,
        min_scene_len=min_scene_len,
    )


def _scaler(info: VideoInfo) -> Scaler:
    """Frames as small as PySceneDetect's command line makes them, as BGR.

    It samples a few points of the full frame without smoothing (cv2's linear interpolation); taking single
    points straight from the decoder's planes comes closest to its scores, within 0.5 of 255, and costs least.
    The detectors' scores are means over pixels, so orientation need not be applied.
    """
    width, height = (info.height, info.width) if info.orientation.transposed else (info.width, info.height)
    factor = compute_downscale_factor(max(width, height))
    return Scaler(max(1, round(width / factor)), max(1, round(height / factor)), pixels="bgr24", interpolation="POINT")


# --- Pieces ----------------------------------------------------------------------------------


def _pieces(timeline: Timeline, shot: range, config: SplitConfig) -> list[range]:
    """A shot as it is, in windows, or in parts that are short enough."""
    if config.window_s is not None:
        return cut_windows(timeline, shot, _decimal(config.window_s))
    if config.long_clips == "split":
        return cut_equally(timeline, shot, _decimal(config.max_clip_s))
    return [shot]


def cut_windows(timeline: Timeline, shot: range, window_s: Fraction) -> list[range]:
    """Cut a shot every window_s seconds, each time at the first frame not before that; the rest is the last piece.

    Goes by frames, not by windows: a broken time stamp can make a shot of ten frames last for centuries.
    """
    start = timeline.time(shot.start)
    windows = [(timeline.time(frame) - start) // window_s for frame in shot]
    return _cut(shot, [i for i in range(1, len(shot)) if windows[i] != windows[i - 1]])


def cut_equally(timeline: Timeline, shot: range, max_s: Fraction) -> list[range]:
    """Cut a shot in equal parts, as few as possible, each at most max_s long or a single frame.

    Where the frames are too far apart for equal parts, each part takes as many as fit.
    """
    length_s = timeline.length(shot)
    n_parts = max(1, -(-length_s // max_s))
    for n in (n_parts, n_parts + 1):  # parts end with a frame, so the longest can exceed its share by one
        parts = cut_windows(timeline, shot, length_s / n)
        if all(len(part) == 1 or timeline.length(part) <= max_s for part in parts):
            return parts
    return _fill(timeline, shot, max_s)


def _fill(timeline: Timeline, shot: range, max_s: Fraction) -> list[range]:
    """Cut a shot before each frame that would make its part longer than max_s."""
    cuts, first = [], shot.start
    for frame in shot[1:]:
        if timeline.length(range(first, frame + 1)) > max_s:
            cuts.append(frame - shot.start)
            first = frame
    return _cut(shot, cuts)


def _cut(shot: range, cuts: Iterable[int]) -> list[range]:
    """Cut a shot before some of its frames, counted from 0 in the shot."""
    return [shot[piece.start : piece.stop] for piece in shots_from_cuts(len(shot), cuts)]


def cut_parts(path: Path, clip: Clip, n_parts: int) -> list[Clip]:
    """A crowded clip in equal parts; fewer than asked where it has too few frames."""
    clock = clock_of(path)
    times = [frame.time for frame in decode_span(path, clip.start.fraction, clip.end.fraction)]
    timeline = Timeline(times, clip.end.fraction)
    whole = range(len(times))
    pieces = cut_windows(timeline, whole, timeline.length(whole) / n_parts)
    parts = []
    for part, piece in enumerate(pieces):
        start, end = timeline.span(piece)
        changes = _span_columns(clip.source_id, clock, start, end, len(piece)) | {"part": part, "n_parts": len(pieces)}
        parts.append(clip.model_copy(update=changes))
    return parts


def _clip(
    source: Source,
    clock: Clock,
    pictures: dict[str, Any],
    timeline: Timeline,
    frames: range,
    shot_index: int,
    n_shots: int,
) -> Clip:
    """pictures: the columns that are the same for the whole source"""
    start, end = timeline.span(frames)
    return Clip(
        source_id=source.source_id,
        video=source.video,
        video_sha256=source.video_sha256,
        shot_index=shot_index,
        n_shots=n_shots,
        n_clock_jumps=clock.n_jumps,
        caption=source.caption,
        caption_shared=source.caption is not None and n_shots > 1,
        **pictures,
        **_span_columns(source.source_id, clock, start, end, len(frames)),
    )


def _span_columns(source_id: str, clock: Clock, start: Fraction, end: Fraction, n_frames: int) -> dict[str, Any]:
    """The columns of a clip that follow from its span."""
    return {
        "clip_id": Clip.id_of(source_id, start, end),
        "start": Rational.of(start),
        "end": Rational.of(end),
        "start_s": float(start),
        "end_s": float(end),
        "clock_offset_s": float(clock.offset_s(start)),
        "n_frames": n_frames,
    }


def _drop(clip: Clip, length_s: Fraction, config: SplitConfig) -> DroppedClip | None:
    """The clip as a dropped one if its length is outside the limits, which are inclusive, or it does not move."""
    if clip.n_frames == 1:
        return DroppedClip(clip=clip, reason="too_short", detail="a single frame")
    if length_s < _decimal(config.min_clip_s):
        return DroppedClip(clip=clip, reason="too_short", detail=f"{float(length_s):.3f} s < {config.min_clip_s} s")
    if config.window_s is None and length_s > _decimal(config.max_clip_s):
        return DroppedClip(clip=clip, reason="too_long", detail=f"{float(length_s):.3f} s > {config.max_clip_s} s")
    return None


def _decimal(seconds: float) -> Fraction:
    """Seconds as a person wrote them: 0.1 is a tenth, not the double next to it."""
    return Fraction(repr(seconds))


def _first_tick(time: Fraction | None, tick: Fraction) -> Fraction | None:
    """The first time not before `time`, in s, that a frame can have; so times stay multiples of the stream's tick."""
    return None if time is None else -(-time // tick) * tick


# --- The stage -------------------------------------------------------------------------------


def stage(work: Work, config: SplitConfig) -> Stage[Source, Source, SplitResult]:
    def compute(source: Source) -> SplitResult:
        return split_scenes(work.inputs.verified(source.video, source.video_sha256), source, config)

    model = f"{config.detector} detector, PySceneDetect {version('scenedetect-headless')}"
    return Stage(
        version=2,
        result=SplitResult,
        config=config,
        made_by=[MadeBy.of(SplitResult.stage_name, {"backend": "scenedetect", "model": model, "av": version("av")})],
        read=lambda row: row.payload,
        key_of=lambda source: source.source_id,  # which is derived from the bytes, the span and the caption
        compute=compute,
        concurrency=2,  # decoding has threads of its own
    )


def result_of(work: Work, row: Row[Source]) -> SplitResult:
    """What a source was split into, under the path that it has now: the key knows no paths."""
    split = work.result(row, SplitResult)
    path = {"video": row.payload.video}
    return SplitResult(
        clips=[clip.model_copy(update=path) for clip in split.clips],
        dropped=[d.model_copy(update={"clip": d.clip.model_copy(update=path)}) for d in split.dropped],
    )
