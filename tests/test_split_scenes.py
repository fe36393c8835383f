"""tasks/split_scenes.py: PySceneDetect's cuts, exact times, and no frame lost."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.reformatter import ColorTrc
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scenedetect import SceneManager, open_video
from scenedetect.detector import SceneDetector
from scenedetect.detectors import AdaptiveDetector, ContentDetector

from schemas.clip import Clip
from schemas.outcome import RowFailed, RowRejected
from schemas.record import Rational, to_table
from schemas.source import Source
from schemas.split import SplitResult
from tasks.backends.shot_detectors import Transition, pyscenedetect
from tasks.backends.torch_runtime import TorchConfig
from tasks.media.decoding import decode_span, probe
from tasks.media.video import read_frames
from tasks.split_scenes import (
    SplitConfig,
    Timeline,
    cut_equally,
    cut_parts,
    cut_pieces,
    cut_windows,
    find_transitions,
    load_detectors,
    shots_from_cuts,
    split_scenes,
    unite,
)
from tests.support import hostile
from tests.support.told import told_by

ANY_LENGTH = SplitConfig(min_clip_s=0)


def source_of(path: Path, *, caption: str | None = "A man kicks a ball.", start_s=None, end_s=None) -> Source:
    return Source(
        source_id="src-1", line=1, video=path.name, video_sha256="ab" * 32, n_bytes=path.stat().st_size,
        caption=caption, start_s=start_s, end_s=end_s,
    )  # fmt: skip


def pieces_of(result: SplitResult) -> list:
    return sorted([*result.clips, *(drop.clip for drop in result.dropped)], key=lambda clip: clip.shot_index)


# --- Cuts ------------------------------------------------------------------------------------


@given(st.integers(1, 200), st.lists(st.integers(-5, 250)))
def test_every_frame_is_in_exactly_one_shot(n_frames: int, cuts: list[int]) -> None:
    shots = shots_from_cuts(n_frames, cuts)
    assert [frame for shot in shots for frame in shot] == list(range(n_frames))
    assert all(len(shot) > 0 for shot in shots)
    assert {shot.start for shot in shots} == {0} | {cut for cut in cuts if 0 < cut < n_frames}


def test_known_cuts_are_found_to_the_frame(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([40, 55, 30]), fps=Fraction(30_000, 1001))
    result = split_scenes(path, source_of(path), SplitConfig(min_clip_s=1.0))
    assert result.dropped == []
    assert [clip.n_frames for clip in result.clips] == [40, 55, 30]
    edges = [Fraction(frame * 1001, 30_000) for frame in (0, 40, 95, 125)]
    assert [(c.start.fraction, c.end.fraction) for c in result.clips] == list(itertools.pairwise(edges))
    assert all((c.n_shots, c.caption_shared, c.width, c.height) == (3, True, 160, 96) for c in result.clips)
    assert [c.shot_index for c in result.clips] == [0, 1, 2]
    assert len({c.clip_id for c in result.clips}) == 3
    for clip in result.clips:
        assert len(read_frames(path, clip)) == clip.n_frames


def test_the_same_file_gives_the_same_clips(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([40, 40]))
    assert split_scenes(path, source_of(path), ANY_LENGTH) == split_scenes(path, source_of(path), ANY_LENGTH)


@pytest.mark.parametrize(
    ("lengths", "caption", "shared"), [([60], "A dog.", False), ([30, 30], "A dog.", True), ([30, 30], None, False)]
)
def test_a_caption_is_shared_where_there_are_several_shots(tmp_path: Path, lengths, caption, shared) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots(lengths))
    clips = split_scenes(path, source_of(path, caption=caption), ANY_LENGTH).clips
    assert [(c.caption, c.caption_shared) for c in clips] == [(caption, shared)] * len(lengths)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(pyscenedetect._Content, ContentDetector), (pyscenedetect._Adaptive, AdaptiveDetector)],
)
def test_scores_equal_those_of_pyscenedetect_to_the_last_bit(ours, theirs) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (12, 36, 64, 3), np.uint8)
    a, b = ours(), theirs()
    scores = [
        (a._calculate_frame_score(None, frame), b._calculate_frame_score(None, frame)) for frame in [*frames, frames[0]]
    ]
    assert all(x == y for x, y in scores)
    assert sum(x > 0 for x, _ in scores) == 12
    assert ours.process_frame is theirs.process_frame  # and those scores are what it decides on


def command_line_cuts(path: Path, detector: str) -> list[int]:
    """Frames that begin a shot, from 0, as PySceneDetect's own program lists them."""
    command = [sys.executable, "-m", "scenedetect", "-i", str(path), detector, "list-scenes", "-n"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [int(start) - 1 for start in re.findall(r"^ \| +\d+ +\| +(\d+) \|", listing, re.MULTILINE)][1:]


def transitions_of(path: Path, config: SplitConfig) -> list[Transition]:
    return find_transitions(path, probe(path), None, None, load_detectors(config, TorchConfig()), config)[1]


def faded(frames: np.ndarray, first: int, n_out: int, n_plain: int, n_in: int, level: int = 0) -> np.ndarray:
    """The same frames, from `first` on through a plain level."""
    share = np.concatenate([np.linspace(1, 0, n_out), np.zeros(n_plain), np.linspace(0, 1, n_in)])
    part = frames[first : first + len(share)].astype(float)
    frames[first : first + len(share)] = level + (part - level) * share[:, None, None, None]
    return frames


@pytest.mark.slow
@pytest.mark.parametrize(
    ("detector", "command"), [("content", "content"), ("adaptive", "adaptive"), ("fades", "threshold")]
)
@pytest.mark.parametrize("fps", [Fraction(24), Fraction(60_000, 1001)])
def test_the_command_line_finds_the_same_cuts(tmp_path: Path, detector, command, fps: Fraction) -> None:
    frames = hostile.shots([45, 9, 60, 50, 3, 40, 8, 60, 90], width=480, height=270)  # some closer than 0.6 s
    frames[80] = 255  # a flash
    faded(frames, 220, 6, 7, 9)
    frames[-8:] = 0
    path = hostile.make_video(tmp_path / "a.mp4", frames, fps=fps)
    found = transitions_of(path, SplitConfig(detector=[detector]))
    assert [transition.cut for transition in found] == command_line_cuts(path, f"detect-{command}")
    assert len(found) >= (2 if detector == "fades" else 3)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((480, 270), {}),
        ((476, 268), {"pix_fmt": "yuv420p10le"}),
        ((613, 345), {"pix_fmt": "yuv444p"}),  # neither a multiple of the small size
        ((480, 270), {"rotation": 90}),
        ((480, 270), {"pix_fmt": "yuvj420p", "codec": "mjpeg"}),
    ],
)
def test_the_detectors_see_the_pixels_of_the_command_line(tmp_path: Path, size, options) -> None:
    """Grain shows every difference of sampling; one point a pixel made scores higher, and so other cuts."""
    frames = np.random.default_rng(0).integers(0, 256, (4, size[1], size[0], 3), np.uint8)
    path = hostile.make_video(tmp_path / ("a.avi" if "codec" in options else "a.mp4"), frames, **options)
    manager, stream = SceneManager(), open_video(str(path))
    manager.add_detector(told := Told())
    manager.detect_scenes(stream)
    small = pyscenedetect._SmallFrames(probe(path))
    ours = [small.bgr(frame) for frame in decode_span(path)]
    assert len(ours) == len(told.frames) == 4
    for a, b in zip(ours, told.frames, strict=True):
        np.testing.assert_array_equal(a, b)


class Told(SceneDetector):
    """Keeps the frames that PySceneDetect hands to a detector."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[np.ndarray] = []

    def process_frame(self, timecode, frame_img: np.ndarray) -> list:
        self.frames.append(frame_img.copy())
        return []


# --- Transitions -----------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 255])
def test_a_fade_is_cut_in_its_middle_or_taken_out(tmp_path: Path, level: int) -> None:
    frames = faded(hostile.shots([100, 70]), 80, 20, 11, 20, level)
    path = hostile.make_video(tmp_path / "a.mp4", frames)
    (found,) = transitions_of(path, SplitConfig(detector=["fades"]))
    assert 96 <= found.start <= 100  # the plain frames, and those that are nearly so
    assert 111 <= found.stop <= 115
    assert found.cut == pytest.approx(105.5, abs=1)

    halves = split_scenes(path, source_of(path), SplitConfig(detector=["fades"], transitions="halve"))
    assert [clip.n_frames for clip in halves.clips] == [found.cut, 170 - found.cut]
    result = split_scenes(path, source_of(path), SplitConfig(detector=["fades"], transitions="drop"))
    assert [clip.n_frames for clip in result.clips] == [found.start, 170 - found.stop]
    assert [(d.reason, d.clip.n_frames) for d in result.dropped] == [("transition", found.n_frames)]
    pieces = sorted(pieces_of(result), key=lambda clip: clip.start.fraction)
    assert all(a.end == b.start for a, b in itertools.pairwise(pieces))
    assert [(c.shot_index, c.n_shots, c.caption_shared) for c in result.clips] == [(0, 2, True), (1, 2, True)]


def test_black_at_the_end_is_no_shot_and_shares_no_caption(tmp_path: Path) -> None:
    frames = hostile.shots([60])
    frames[45:] = 0
    path = hostile.make_video(tmp_path / "a.mp4", frames)
    result = split_scenes(path, source_of(path), SplitConfig(detector=["fades"], transitions="drop"))
    assert [(c.n_frames, c.n_shots, c.caption_shared) for c in result.clips] == [(45, 1, False)]
    assert [(d.reason, d.clip.n_frames) for d in result.dropped] == [("transition", 15)]


def test_a_video_that_is_black_has_no_clip(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", np.zeros((60, 96, 160, 3), np.uint8))
    result = split_scenes(path, source_of(path), SplitConfig(detector=["content", "fades"], transitions="drop"))
    assert (result.clips, [d.reason for d in result.dropped]) == ([], ["transition"])
    to_table(Clip, [d.clip for d in result.dropped])


ten_a_second = Timeline([Fraction(i, 10) for i in range(100)], Fraction(10))


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        ([(40, 40, 40), (41, 41, 41)], [(40, 40, 40)]),  # a cut, told by two
        ([(40, 40, 40), (46, 46, 46)], [(40, 40, 40), (46, 46, 46)]),  # 0.6 s apart
        ([(50, 50, 50), (48, 54, 60), (65, 65, 65)], [(48, 54, 60)]),  # the longer one says more
        ([(48, 54, 60), (66, 66, 66), (42, 42, 42)], [(42, 42, 42), (48, 54, 60), (66, 66, 66)]),
        ([(40, 45, 50), (45, 50, 60), (58, 60, 62)], [(45, 50, 60)]),
        ([], []),
    ],
)
def test_a_change_that_is_found_twice_is_one(found, kept) -> None:
    united = unite(ten_a_second, [Transition(*t) for t in found], Fraction(10), 0.6)
    assert united == [Transition(*t) for t in kept]


spans = st.tuples(st.integers(0, 100), st.integers(0, 8), st.integers(0, 8)).map(
    lambda t: Transition(t[0], min(t[0] + t[1], 100), min(t[0] + t[1] + t[2], 100))
)


@given(st.lists(spans), st.sampled_from(["drop", "halve"]), st.floats(0, 2))
def test_pieces_hold_every_frame_once_whatever_is_found(found, transitions, min_scene_len_s) -> None:
    config = SplitConfig(transitions=transitions, min_scene_len_s=min_scene_len_s)
    united = unite(ten_a_second, found, Fraction(10), min_scene_len_s)
    assert all(a.stop <= b.start for a, b in itertools.pairwise(united))
    pieces = cut_pieces(ten_a_second, united, config)
    assert [frame for piece, _ in pieces for frame in piece] == list(range(100))
    if transitions == "drop":
        assert {piece.start for piece, apart in pieces if apart} == {t.start for t in united if t.start < t.stop}
    else:
        assert not any(apart for _, apart in pieces)


def test_the_same_detectors_in_any_order_are_one_config() -> None:
    both = SplitConfig(detector=["fades", "content", "fades"])
    assert both == SplitConfig(detector="content,fades") == SplitConfig.model_validate({"detector": "fades,content"})
    assert both.detector == ["content", "fades"]
    for wrong in ([], ["cuts"], ""):
        with pytest.raises(ValidationError):
            SplitConfig(detector=wrong)


# --- Spans -----------------------------------------------------------------------------------


def test_only_the_asked_span_is_cut(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([60, 60]))
    clips = split_scenes(path, source_of(path, start_s=1.0, end_s=3.1), ANY_LENGTH).clips
    assert [(c.start.fraction, c.end.fraction, c.n_frames) for c in clips] == [(1, 2, 30), (2, Fraction(31, 10), 33)]
    assert [len(read_frames(path, clip)) for clip in clips] == [30, 33]


@pytest.mark.parametrize(("span", "n_frames"), [({}, 120), ({"start_s": 1.0, "end_s": 3.1}, 63), ({"end_s": 9.0}, 120)])
def test_the_frames_of_the_span_are_told_with_about_their_number(
    tmp_path: Path, span: dict[str, float], n_frames: int
) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([60, 60]))
    told = told_by(split_scenes, path, source_of(path, **span), ANY_LENGTH)
    assert (told[0], told[-1]) == (f"0 of {n_frames} frames", f"{n_frames} of {n_frames} frames")


def test_a_span_that_ends_within_a_frame_stays_storable(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([30]))
    (dropped,) = split_scenes(path, source_of(path, end_s=1e-300), ANY_LENGTH).dropped
    assert dropped.clip.n_frames == 1
    assert 0 < dropped.clip.end.fraction <= Fraction(1, 1000)
    to_table(Clip, [dropped.clip])


@pytest.mark.parametrize(("start_s", "end_s"), [(2.0, None), (1e300, None), (0.01, 0.02)])
def test_a_span_without_frames_is_rejected(tmp_path: Path, start_s, end_s) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([60]))
    with pytest.raises(RowRejected) as rejection:
        split_scenes(path, source_of(path, start_s=start_s, end_s=end_s), ANY_LENGTH)
    assert rejection.value.reason == "empty_span"


# --- Lengths ---------------------------------------------------------------------------------


def test_short_shots_are_dropped_with_a_reason(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([25, 45, 20]))
    result = split_scenes(path, source_of(path), SplitConfig(min_clip_s=1.5, max_clip_s=5))
    assert [(c.shot_index, c.n_shots, c.n_frames) for c in result.clips] == [(1, 3, 45)]  # exactly 1.5 s is kept
    assert [(d.clip.n_frames, d.reason) for d in result.dropped] == [(25, "too_short"), (20, "too_short")]
    assert result.dropped[0].detail == "0.833 s < 1.5 s"


@pytest.mark.parametrize("long_clips", ["split", "reject"])
def test_long_shots_are_split_or_dropped(tmp_path: Path, long_clips) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([100, 30]))
    config = SplitConfig(min_clip_s=0.5, max_clip_s=1.5, long_clips=long_clips)
    result = split_scenes(path, source_of(path), config)
    if long_clips == "split":
        assert [c.n_frames for c in result.clips] == [34, 33, 33, 30]
        assert result.dropped == []
    else:
        assert [c.n_frames for c in result.clips] == [30]
        assert [(d.clip.n_frames, d.reason) for d in result.dropped] == [(100, "too_long")]


def test_windows_cut_each_shot_and_keep_the_rest_apart(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([70, 40]))
    result = split_scenes(path, source_of(path), SplitConfig(window_s=1.0, min_clip_s=0.5))
    assert [c.n_frames for c in pieces_of(result)] == [30, 30, 10, 30, 10]
    assert [d.clip.shot_index for d in result.dropped] == [2, 4]
    assert all(c.caption_shared for c in result.clips)


gaps = st.lists(st.fractions(Fraction(1, 1000), Fraction(5), max_denominator=1000), min_size=1, max_size=40)


@given(gaps, st.fractions(Fraction(1, 100), Fraction(20), max_denominator=100), st.data())
def test_parts_hold_every_frame_once_and_are_short_enough(gaps: list[Fraction], limit_s: Fraction, data) -> None:
    edges = list(itertools.accumulate(gaps, initial=Fraction(0)))
    timeline = Timeline(edges[:-1], edges[-1])
    start = data.draw(st.integers(0, len(gaps) - 1))
    shot = range(start, data.draw(st.integers(start + 1, len(gaps))))
    for parts in (cut_equally(timeline, shot, limit_s), cut_windows(timeline, shot, limit_s)):
        assert [frame for part in parts for frame in part] == list(shot)
    for part in cut_equally(timeline, shot, limit_s):
        assert len(part) == 1 or timeline.length(part) <= limit_s


def test_a_frame_that_lasts_for_centuries_is_cut_at_once() -> None:
    timeline = Timeline([Fraction(0), Fraction(1, 30), Fraction(10**10), Fraction(10**10) + 1], Fraction(10**10) + 2)
    assert cut_equally(timeline, range(4), Fraction(2)) == [range(1), range(1, 2), range(2, 4)]
    assert cut_windows(timeline, range(4), Fraction(2)) == [range(2), range(2, 4)]


def test_a_shot_that_is_short_enough_stays_whole() -> None:
    timeline = Timeline([Fraction(i) for i in range(10)], Fraction(10))
    assert cut_equally(timeline, range(10), Fraction(10)) == [range(10)]
    assert cut_windows(timeline, range(10), Fraction(10)) == [range(10)]
    assert cut_equally(timeline, range(10), Fraction(9)) == [range(5), range(5, 10)]


@pytest.mark.parametrize("limits", [{"min_clip_s": 5, "max_clip_s": 4}, {"window_s": 0.5, "min_clip_s": 1}])
def test_limits_that_no_clip_can_meet_are_refused(limits: dict) -> None:
    with pytest.raises(ValidationError, match="fits"):
        SplitConfig(**limits)


# --- Odd and broken files --------------------------------------------------------------------


@pytest.mark.parametrize("name", hostile.BROKEN)
def test_a_broken_file_fails(tmp_path: Path, name: str) -> None:
    path = hostile.BROKEN[name](tmp_path / "a.mp4")
    with pytest.raises(RowFailed) as failure:
        split_scenes(path, source_of(path), ANY_LENGTH)
    assert failure.value.reason in {"unreadable_video", "truncated_video"}


def test_a_single_frame_is_too_short(tmp_path: Path) -> None:
    path = hostile.one_frame(tmp_path / "a.mp4")
    result = split_scenes(path, source_of(path), ANY_LENGTH)
    assert [(d.reason, d.detail) for d in result.dropped] == [("too_short", "a single frame")]
    assert result.clips == []


@pytest.mark.parametrize(
    ("make", "n_frames"),
    [(hostile.slow, 5), (hostile.fast, 60), (hostile.variable_rate, 60), (hostile.odd_size, 30)],
)
def test_odd_files_are_cut_without_losing_a_frame(tmp_path: Path, make, n_frames: int) -> None:
    path = make(tmp_path / "a.mp4")
    pieces = pieces_of(split_scenes(path, source_of(path), SplitConfig(min_clip_s=0, max_clip_s=0.5)))
    assert sum(piece.n_frames for piece in pieces) == n_frames
    assert all(a.end == b.start for a, b in itertools.pairwise(pieces))
    for piece in pieces[:3]:
        assert len(read_frames(path, piece)) == piece.n_frames


def test_rotation_is_in_the_size(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([40, 40]), rotation=90)
    clips = split_scenes(path, source_of(path), ANY_LENGTH).clips
    assert [(c.width, c.height, c.n_frames) for c in clips] == [(96, 160, 40), (96, 160, 40)]


# --- Pictures that players would convert ------------------------------------------------------

PQ_SQUEEZED_FIELDS = {
    "transfer": ColorTrc.SMPTE2084,
    "sample_aspect": Fraction(4, 3),
    "options": {"x264-params": "tff=1"},
}


def test_clips_tell_what_their_pictures_are(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([40, 40]), **PQ_SQUEEZED_FIELDS)
    clips = split_scenes(path, source_of(path), ANY_LENGTH).clips
    seen = ("smpte2084", "tt", Rational(num=4, den=3), False, 160, 96)
    assert [(c.transfer, c.field_order, c.sample_aspect, c.stretched, c.width, c.height) for c in clips] == [seen] * 2
    assert clips[0].traits == {"hdr": "HDR (smpte2084)", "interlaced": "interlaced (tt)", "anamorphic": "pixels of 4:3"}


def test_plain_pictures_have_no_traits(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([40]))
    (clip,) = split_scenes(path, source_of(path), SplitConfig(reject=["hdr", "interlaced", "anamorphic"])).clips
    assert (clip.traits, clip.stretched, clip.field_order) == ({}, False, "progressive")


@pytest.mark.parametrize(
    ("reject", "reason", "detail"),
    [
        (["hdr"], "hdr", "HDR (smpte2084)"),
        (["interlaced"], "interlaced", "interlaced (tt)"),
        (["anamorphic", "hdr"], "hdr", "HDR (smpte2084); pixels of 4:3"),
        (["anamorphic"], "anamorphic", "pixels of 4:3"),
    ],
)
def test_unwanted_pictures_are_rejected_by_name(tmp_path: Path, reject: list, reason: str, detail: str) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([40]), **PQ_SQUEEZED_FIELDS)
    with pytest.raises(RowRejected) as rejection:
        split_scenes(path, source_of(path), SplitConfig(reject=reject))
    assert (rejection.value.reason, rejection.value.detail) == (reason, detail)


def test_stretched_pictures_are_rejected_for_other_reasons_only(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([40]), **PQ_SQUEEZED_FIELDS)
    config = SplitConfig(reject=["anamorphic"], square_pixels=True)
    assert all(clip.stretched for clip in pieces_of(split_scenes(path, source_of(path), config)))
    with pytest.raises(RowRejected) as rejection:
        split_scenes(path, source_of(path), config.model_copy(update={"reject": ["hdr", "anamorphic"]}))
    assert (rejection.value.reason, rejection.value.detail) == ("hdr", "HDR (smpte2084)")


def test_one_interlaced_frame_of_the_span_is_enough(tmp_path: Path) -> None:
    """Telecined and mixed streams begin as they like."""
    path = hostile.interlaced_from(tmp_path / "a.ts", 40, 20)
    assert probe(path).field_order is None
    config = SplitConfig(min_clip_s=0, reject=["interlaced"])
    assert {c.field_order for c in split_scenes(path, source_of(path), ANY_LENGTH).clips} == {"interlaced"}
    with pytest.raises(RowRejected, match="interlaced"):
        split_scenes(path, source_of(path), config)
    assert {c.field_order for c in split_scenes(path, source_of(path, end_s=1.0), config).clips} == {"progressive"}


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(4, 3), (213, 96)), (Fraction(3, 4), (160, 128))])
def test_stretched_clips_have_the_size_of_their_pictures(tmp_path: Path, aspect: Fraction, size) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([40, 41]), sample_aspect=aspect)
    result = split_scenes(path, source_of(path), SplitConfig(square_pixels=True))
    assert [(c.width, c.height, c.stretched, c.traits) for c in result.clips] == [(*size, True, {})] * 2
    assert all(c.sample_aspect.fraction == aspect for c in result.clips)
    for piece in [*result.clips, *cut_parts(path, result.clips[1], 2)]:
        assert read_frames(path, piece).shape == (piece.n_frames, size[1], size[0], 3)


def test_only_stretched_pictures_have_other_keys(tmp_path: Path) -> None:
    squeezed = hostile.make_video(tmp_path / "a.mp4", hostile.shots([40]), sample_aspect=Fraction(4, 3))
    square = hostile.make_video(tmp_path / "b.mp4", hostile.shots([40]))
    for path, same in ((squeezed, False), (square, True)):
        (stored,) = split_scenes(path, source_of(path), ANY_LENGTH).clips
        (shown,) = split_scenes(path, source_of(path), SplitConfig(min_clip_s=0, square_pixels=True)).clips
        assert stored.video_span == [stored.video_sha256, stored.start, stored.end]
        assert (shown.video_span == stored.video_span) is same
        assert (shown == stored) is same


def test_pixels_that_cannot_be_meant_are_not_stretched(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([40]), sample_aspect=Fraction(4, 3))
    hostile.set_pixel_aspect(path, 1, 1000)
    with pytest.raises(RowFailed, match="160x96000"):
        split_scenes(path, source_of(path), SplitConfig(square_pixels=True))
    (clip,) = split_scenes(path, source_of(path), ANY_LENGTH).clips
    assert (clip.height, clip.traits) == (96, {"anamorphic": "pixels of 1:1000"})


def test_what_is_rejected_is_a_list_without_order() -> None:
    chosen = SplitConfig(reject=["anamorphic", "hdr", "hdr"])
    assert chosen.reject == ["hdr", "anamorphic"]
    with pytest.raises(ValidationError, match="'hdr', 'interlaced' or 'anamorphic'"):
        SplitConfig(reject=["hrd"])


# --- Parts -----------------------------------------------------------------------------------


def test_a_crowded_clip_is_cut_into_parts_that_hold_every_frame(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([30, 51]))
    clip = split_scenes(path, source_of(path), ANY_LENGTH).clips[1]
    parts = cut_parts(path, clip, 2)
    assert [(p.part, p.n_parts, p.shot_index, p.n_frames) for p in parts] == [(0, 2, 1, 26), (1, 2, 1, 25)]
    assert (parts[0].start, parts[0].end, parts[1].end) == (clip.start, parts[1].start, clip.end)
    assert len({clip.clip_id, *(p.clip_id for p in parts)}) == 3
    for part in parts:
        assert len(read_frames(path, part)) == part.n_frames


# --- The container's clock, and files that are not plain --------------------------------------


def late_picture(path: Path) -> Path:
    """Sound from 0, the picture from half a second on: two seconds of a shot, two of another."""
    return hostile.make_video(
        path, hostile.shots([60, 60]), pts=lambda i: i + 15, time_base=Fraction(1, 30), with_audio=True
    )


@pytest.mark.parametrize(("clock", "span"), [("picture", (1.0, 3.0)), ("container", (1.5, 3.5))])
def test_a_span_counts_from_the_first_frame_or_on_the_containers_clock(tmp_path: Path, clock, span) -> None:
    path = late_picture(tmp_path / "a.mp4")
    config = SplitConfig(min_clip_s=0, clock=clock)
    clips = split_scenes(path, source_of(path, start_s=span[0], end_s=span[1]), config).clips
    assert [(c.start.fraction, c.end.fraction, c.n_frames) for c in clips] == [(1, 2, 30), (2, 3, 30)]
    assert [(c.start_s + c.clock_offset_s, c.end_s + c.clock_offset_s) for c in clips] == [(1.5, 2.5), (2.5, 3.5)]


def test_a_span_on_the_containers_clock_may_begin_before_the_picture(tmp_path: Path) -> None:
    path = late_picture(tmp_path / "a.mp4")
    config = SplitConfig(min_clip_s=0, clock="container")
    (clip,) = split_scenes(path, source_of(path, start_s=0.1, end_s=1.5), config).clips
    assert (clip.start.fraction, clip.end.fraction, clip.n_frames) == (0, 1, 30)
    with pytest.raises(RowRejected, match="empty_span"):
        split_scenes(path, source_of(path, start_s=0.1, end_s=0.4), config)


@pytest.fixture
def joined(tmp_path: Path) -> Path:
    """Two transport streams of two seconds each, whose clocks begin anew."""
    parts = [hostile.make_video(tmp_path / f"{n}.ts", hostile.shots([60], seed=n), fps=30) for n in range(2)]
    return hostile.joined(tmp_path / "joined.ts", parts)


def test_a_source_whose_clock_jumps_says_so(joined: Path) -> None:
    pieces = pieces_of(split_scenes(joined, source_of(joined), ANY_LENGTH))
    assert sum(clip.n_frames for clip in pieces) == 120
    assert (pieces[0].start.fraction, pieces[-1].end.fraction) == (0, 4)
    assert {clip.n_clock_jumps for clip in pieces} == {1}
    assert pieces[0].remarks == ["its clock jumps once: times go on from the frame before"]
    (clip,) = split_scenes(joined, source_of(joined, start_s=2.0), ANY_LENGTH).clips
    assert (clip.start.fraction, clip.start_s + clip.clock_offset_s, clip.n_frames) == (2, 0, 60)
    assert len(read_frames(joined, clip)) == 60


def test_a_span_on_a_clock_that_jumps_fails_by_name(joined: Path) -> None:
    config = SplitConfig(min_clip_s=0, clock="container")
    assert len(pieces_of(split_scenes(joined, source_of(joined), config))) >= 1  # without a span nothing is ambiguous
    with pytest.raises(RowFailed, match=r"jumps at 2\.000 s") as failure:
        split_scenes(joined, source_of(joined, start_s=1.0), config)
    assert (failure.value.reason, failure.value.retryable) == ("timestamps_jump", False)


def test_a_source_with_several_video_streams_says_so(tmp_path: Path) -> None:
    parts = [hostile.make_video(tmp_path / f"{n}.mp4", hostile.shots([n, n])) for n in (30, 40)]
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as written, av.open(str(parts[0])) as first, av.open(str(parts[1])) as second:
        streams = [written.add_stream_from_template(read.streams.video[0]) for read in (first, second)]
        streams[0].disposition, streams[1].disposition = 0, Disposition.default
        for stream, read in zip(streams, (first, second), strict=True):
            for packet in read.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    written.mux(packet)
    clips = split_scenes(path, source_of(path), ANY_LENGTH).clips
    assert [(clip.stream_index, clip.n_frames) for clip in clips] == [(1, 40), (1, 40)]
    assert {*clips[0].remarks, *clips[1].remarks} == {"of 2 video streams, number 1 is read"}


def test_a_plain_source_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([40]))
    (clip,) = split_scenes(path, source_of(path), ANY_LENGTH).clips
    assert (clip.stream_index, clip.orientation, clip.n_clock_jumps, clip.clock_offset_s) == (0, 1, 0, 0.0)
    assert clip.video_span == [clip.video_sha256, clip.start, clip.end]
    assert caplog.messages == []


def test_parts_of_a_crowded_clip_know_the_clock_where_they_begin(joined: Path) -> None:
    config = SplitConfig(min_clip_s=0, threshold=255, detector="content")
    (clip,) = split_scenes(joined, source_of(joined), config).clips
    parts = cut_parts(joined, clip, 4)
    assert [(p.start_s, p.start_s + p.clock_offset_s) for p in parts] == [(0, 0), (1, 1), (2, 0), (3, 1)]
