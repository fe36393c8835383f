"""source -> clips, one a shot, with exact times (MATRIX-11K's clips; PySceneDetect or TransNet finds the shots).

    Source("news.mp4", caption="A man kicks a ball. ...") with a cut at 4.004 s ->
        Clip(shot_index=0, n_shots=2, start=0/1, end=1001/250, n_frames=120, caption_shared=True, ...)
        Clip(shot_index=1, n_shots=2, start=1001/250, end=1001/125, n_frames=120, caption_shared=True, ...)

The whole span of the source is decoded once and handed to the detectors, so that a file that is damaged or ends early
fails here. Every frame of the span belongs to exactly one piece, and every piece is either a clip or a dropped clip
with its reason.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from fractions import Fraction
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

from pydantic import Field, field_validator, model_validator

from schemas.clip import Clip, FieldOrder, Trait, traits_of
from schemas.outcome import RowFailed, RowRejected
from schemas.provenance import MadeBy
from schemas.record import Rational
from schemas.source import Source
from schemas.split import DroppedClip, SplitResult
from tasks.backends.shot_detectors import ShotDetectorConfig, Transition
from tasks.backends.shot_detectors.pyscenedetect import PySceneDetect
from tasks.backends.shot_detectors.transnet import TransNet
from tasks.backends.torch_runtime import TorchConfig
from tasks.engine.progress import counted
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tasks.media.clock import Clock
from tasks.media.decoding import DecodedFrame, VideoInfo, clock_of, decode_span, probe

MAX_JUMPS_TOLD = 5


class SplitConfig(ShotDetectorConfig):
    """How sources are cut."""

    transitions: Literal["drop", "halve"] = Field(
        "drop",
        description="Frames of a dissolve (transnet) and those that are black or white (fades): drop them, or give "
        "each shot its half",
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


class ShotDetector(Protocol):
    """Finds where shots change."""

    identity: dict[str, str]

    def begin(self, info: VideoInfo) -> Watch: ...


class Watch(Protocol):
    """One pass over the frames of a span."""

    def see(self, frame: DecodedFrame) -> None:
        """The frames in order, each once."""

    def transitions(self) -> list[Transition]:
        """Where shots change, in any order; asked once, after the last frame."""


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


def split_scenes(
    path: Path, source: Source, config: SplitConfig, detectors: Sequence[ShotDetector] | None = None
) -> SplitResult:
    """Cut one source into clips. detectors: those of the config, where they are loaded already.

    Raises UnreadableVideo (a RowFailed) if the span cannot be decoded to its end, and
    RowRejected("empty_span") if no frame lies in it, or the first of `config.reject` that its pictures are.
    """
    info, clock = probe(path), clock_of(path)
    _require_wanted(info, info.field_order or "progressive", config)  # before all of it is decoded
    size = info.square_size if config.square_pixels else (info.width, info.height)
    start, end = (_first_tick(time, info.time_base) for time in asked_span(source, clock, config))
    detectors = detectors or load_detectors(config, TorchConfig())
    timeline, transitions = find_transitions(path, info, start, end, detectors, config)
    if not timeline.times:
        raise RowRejected("empty_span", f"no frame between {source.start_s} and {source.end_s} s")
    field_order = info.field_order or ("interlaced" if timeline.interlaced else "progressive")
    _require_wanted(info, field_order, config)
    pieces = cut_pieces(timeline, transitions, config)
    n_shots = max(1, sum(not is_transition for _, is_transition in pieces))
    same_for_all = _source_columns(source, info, clock) | {
        "width": size[0],
        "height": size[1],
        "stretched": size != (info.width, info.height),
        "field_order": field_order,
        "n_shots": n_shots,
        "caption_shared": source.caption is not None and n_shots > 1,
    }
    clips, dropped, index = [], [], 0
    for frames, is_transition in pieces:
        own = _span_columns(source.source_id, clock, *timeline.span(frames), len(frames))
        clip = Clip(shot_index=min(index, n_shots - 1), **same_for_all, **own)
        drop = _transition(clip) if is_transition else _drop(clip, timeline.length(frames), config)
        if drop is None:
            clips.append(clip)
        else:
            dropped.append(drop)
        index += not is_transition
    return SplitResult(clips=clips, dropped=dropped)


def _require_wanted(info: VideoInfo, field_order: FieldOrder, config: SplitConfig) -> None:
    """Raises RowRejected for pictures that `config.reject` names; those that are stretched are not anamorphic."""
    found = traits_of(info.sample_aspect, info.transfer, field_order, stretched=config.square_pixels)
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


def _list_s(times: Sequence[Fraction]) -> str:
    """2.000 s, 4.000 s and 7 more"""
    listed = ", ".join(f"{float(time):.3f} s" for time in times[:MAX_JUMPS_TOLD])
    more = len(times) - MAX_JUMPS_TOLD
    return f"{listed} and {more} more" if more > 0 else listed


# --- Cuts ------------------------------------------------------------------------------------


def find_transitions(
    path: Path,
    info: VideoInfo,
    start: Fraction | None,
    end: Fraction | None,
    detectors: Sequence[ShotDetector],
    config: SplitConfig,
) -> tuple[Timeline, list[Transition]]:
    """Decode a span, in s: its timeline, and where its shots change, in order."""
    watches = [detector.begin(info) for detector in detectors]
    times: list[Fraction] = []
    interlaced = False
    last: DecodedFrame | None = None
    for last in counted(decode_span(path, start, end), total=_about_n_frames(info, start, end)):
        times.append(last.time)
        interlaced = interlaced or last.picture.interlaced_frame
        for watch in watches:
            watch.see(last)
    if last is None:
        return Timeline([], Fraction(0)), []
    last_end = last.time + last.duration
    timeline = Timeline(times, last_end if end is None else min(last_end, end), interlaced)
    found = [transition for watch in watches for transition in watch.transitions()]
    return timeline, unite(timeline, found, info.fps, config.min_scene_len_s)


def unite(timeline: Timeline, found: Iterable[Transition], fps: Fraction, min_scene_len_s: float) -> list[Transition]:
    """Each change of shots once, in order, however many detectors found it.

    Two are the same if they overlap or if the shot between them would be shorter than min_scene_len_s; the longer
    one stays, as it says more, else the earlier one.

    unite(..., [(48, 54, 60), (58, 58, 58), (90, 90, 90)], fps=24, 0.6) -> [(48, 54, 60), (90, 90, 90)]
    """
    min_frames = round(min_scene_len_s * fps)

    def are_one(a: Transition, b: Transition) -> bool:
        between = (timeline.time(b.start) - timeline.time(a.stop)) * fps
        return b.start < a.stop or a == b or round(between) < min_frames

    kept: list[Transition] = []
    for transition in sorted(found, key=lambda t: (-t.n_frames, t)):
        place = bisect(kept, transition)
        before, after = kept[max(place - 1, 0) : place], kept[place : place + 1]
        if not any(are_one(a, transition) for a in before) and not any(are_one(transition, b) for b in after):
            kept.insert(place, transition)
    return kept


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


# --- Pieces ----------------------------------------------------------------------------------


def cut_pieces(timeline: Timeline, transitions: Sequence[Transition], config: SplitConfig) -> list[tuple[range, bool]]:
    """The frames of each piece, and whether it is a transition: of two shots or of none, and so of no use."""
    apart = config.transitions == "drop"
    cuts = [cut for t in transitions for cut in ((t.start, t.stop) if apart else (t.cut,))]
    between = {t.start for t in transitions if apart and t.n_frames}
    pieces: list[tuple[range, bool]] = []
    for shot in shots_from_cuts(len(timeline.times), cuts):
        if shot.start in between:
            pieces.append((shot, True))
        else:
            pieces += [(piece, False) for piece in _pieces(timeline, shot, config)]
    return pieces


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


def _source_columns(source: Source, info: VideoInfo, clock: Clock) -> dict[str, Any]:
    """The columns of a clip that its source and the headers decide."""
    return {
        "source_id": source.source_id,
        "video": source.video,
        "video_sha256": source.video_sha256,
        "caption": source.caption,
        "fps": Rational.of(info.fps),
        "sample_aspect": Rational.of(info.sample_aspect),
        "transfer": info.transfer,
        "stream_index": info.stream_index,
        "n_streams": info.n_streams,
        "orientation": info.orientation.exif,
        "n_clock_jumps": clock.n_jumps,
    }


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


def _transition(clip: Clip) -> DroppedClip:
    return DroppedClip(clip=clip, reason="transition", detail=f"{clip.n_frames} frames of two shots or of none")


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


def load_detectors(config: SplitConfig, torch: TorchConfig) -> list[ShotDetector]:
    detectors: list[ShotDetector] = []
    if set(config.detector) - {"transnet"}:
        detectors.append(PySceneDetect(config))
    if "transnet" in config.detector:
        detectors.append(TransNet(config, torch))
    return detectors


def stage(work: Work, config: SplitConfig, torch: TorchConfig) -> Stage[Source, Source, SplitResult]:
    detectors = load_detectors(config, torch)

    def compute(source: Source) -> SplitResult:
        return split_scenes(work.inputs.verified(source.video, source.video_sha256), source, config, detectors)

    return Stage(
        version=2,
        result=SplitResult,
        config=config,
        made_by=[MadeBy.of(SplitResult.stage_name, d.identity | {"av": version("av")}) for d in detectors],
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
