"""tasks/media/video.py: the frames of a clip, of a file, of bytes in memory."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.clip import Clip
from schemas.outcome import RowFailed
from schemas.record import Rational
from tasks.media import pictures, video
from tasks.media.container import UnreadableVideo
from tasks.media.decoding import decode_span, probe
from tasks.media.video import decode_bytes, iter_frames, read_frames, sample_indices, survey
from tests.support import hostile


def clip_of(start: Fraction, end: Fraction, n_frames: int, size: tuple[int, int] = (160, 96)) -> Clip:
    return Clip(
        clip_id="clip-1", source_id="src-1", video="a.mp4", video_sha256="0" * 64, shot_index=0, n_shots=1,
        start=Rational.of(start), end=Rational.of(end), start_s=float(start), end_s=float(end), n_frames=n_frames,
        clock_offset_s=0.0, n_clock_jumps=0, stream_index=0, orientation=1,
        fps=Rational.of(30), width=size[0], height=size[1], sample_aspect=Rational.of(1), stretched=False,
        transfer="bt709", field_order="progressive", caption_shared=False,
    )  # fmt: skip


def test_read_frames_gives_all_of_a_clips_span(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(60))
    frames = read_frames(path, clip_of(Fraction(1, 2), Fraction(3, 2), 30))
    assert [hostile.number_of(frame) for frame in frames] == list(range(15, 45))


def test_read_frames_gives_the_asked_ones(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(60))
    clip = clip_of(Fraction(1, 2), Fraction(3, 2), 30)
    frames = read_frames(path, clip, sample_indices(30, 4), max_side=80)
    assert frames.shape == (4, 48, 80, 3)
    assert [hostile.number_of(frame) for frame in frames] == [15 + i for i in (3, 11, 18, 26)]
    for indices in ([3, 30], [-1, 3], [3, 3], []):
        with pytest.raises(ValueError, match="do not increase"):
            read_frames(path, clip, indices)


@pytest.mark.parametrize(
    "options",
    [{"x264-params": "open-gop=1:bframes=3"}, {"x264-params": "keyint=300:bframes=2"}, {"x264-params": "keyint=1"}],
    ids=["open groups", "a key frame at the start only", "key frames only"],
)
def test_frames_far_into_a_clip_are_the_same_bits_and_cost_less(
    tmp_path: Path, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "SEEK_FROM_FRAME", 20)
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(120), options=options)
    clip = clip_of(Fraction(1, 2), Fraction(4), 105)
    whole = read_frames(path, clip)
    asked: list[Fraction | None] = []
    monkeypatch.setattr(video, "decode_span", lambda *span: asked.append(span[1]) or decode_span(*span))
    for indices in ([19, 21], [25, 104], [20], [41, 50, 82], range(60, 80)):
        np.testing.assert_array_equal(read_frames(path, clip, indices), whole[indices])
    begin = Fraction(1, 2)
    # The third is the pass in which times are learnt.
    assert asked == [begin, begin, begin, *(begin + Fraction(first, 30) for first in (20, 41, 60))]


def test_a_clip_that_lost_frames_is_noticed_far_into_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "SEEK_FROM_FRAME", 20)
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(60))
    with pytest.raises(RowFailed, match="frame_count_changed"):
        read_frames(path, clip_of(Fraction(1, 2), Fraction(3, 2), 31), [25])


@pytest.mark.parametrize("n_frames", [29, 31])
def test_a_clip_with_another_number_of_frames_fails(tmp_path: Path, n_frames: int) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(60))
    with pytest.raises(RowFailed) as failure:
        read_frames(path, clip_of(Fraction(1, 2), Fraction(3, 2), n_frames))
    assert (failure.value.reason, failure.value.retryable) == ("frame_count_changed", False)


def test_a_clip_that_does_not_fit_in_memory_fails_before_it_is_decoded(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(3))
    with pytest.raises(RowFailed, match="clip_too_large") as failure:
        read_frames(path, clip_of(Fraction(0), Fraction(10**5), 10**6))
    assert "max_side" in failure.value.detail


def test_sample_indices_are_the_centres_of_equal_parts() -> None:
    assert sample_indices(10, 2) == [2, 7]
    assert sample_indices(10, 1) == [5]
    assert sample_indices(3, 8) == [0, 1, 2]
    assert sample_indices(8, 8) == list(range(8))


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_sample_indices_are_distinct_symmetric_and_inside(n_frames: int, t: int) -> None:
    indices = sample_indices(n_frames, t)
    assert len(indices) == min(n_frames, t)
    assert all(0 <= a < b < n_frames for a, b in itertools.pairwise(indices))
    assert abs(indices[0] - (n_frames - 1 - indices[-1])) <= 1


# --- In memory -------------------------------------------------------------------------------


def test_a_video_in_memory_gives_the_frames_of_its_file(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(12))
    np.testing.assert_array_equal(decode_bytes(path.read_bytes()), [frame for _, frame in iter_frames(path)])


def test_some_frames_of_a_video_in_memory(tmp_path: Path) -> None:
    data = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(60)).read_bytes()
    frames = decode_bytes(data)
    for indices in ([0], [7, 8, 59], list(range(60))):
        np.testing.assert_array_equal(decode_bytes(data, indices), frames[indices])
    for indices in ([59, 60], [60], []):
        with pytest.raises(IndexError, match="asked for frames"):
            decode_bytes(data, indices)


def test_a_video_in_memory_at_a_smaller_size_shows_what_its_file_does(tmp_path: Path) -> None:
    path = hostile.make_video(tmp_path / "a.mp4", hostile.shots([12]))
    frames = decode_bytes(path.read_bytes(), [3, 7], max_side=80)
    np.testing.assert_array_equal(
        frames, read_frames(path, clip_of(Fraction(0), Fraction(12, 30), 12), [3, 7], max_side=80)
    )


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_survey_tells_what_probing_and_decoding_tell(tmp_path: Path, as_bytes: bool) -> None:
    for number, path in enumerate(
        (
            hostile.make_video(tmp_path / "a.mp4", hostile.numbered(12), rotation=90),
            hostile.variable_rate(tmp_path / "b.mp4"),
            hostile.odd_size(tmp_path / "c.mp4"),
        )
    ):
        info, n_frames = survey(path.read_bytes() if as_bytes else path)
        assert (info, n_frames) == (probe(path), len(list(iter_frames(path)))), number


@pytest.mark.parametrize("name", hostile.BROKEN)
def test_a_survey_refuses_what_decoding_refuses(tmp_path: Path, name: str) -> None:
    path = hostile.BROKEN[name](tmp_path / "a.mp4")
    with pytest.raises(UnreadableVideo) as surveyed:
        survey(path)
    with pytest.raises(UnreadableVideo) as decoded:
        list(iter_frames(path))
    assert (surveyed.value.reason, surveyed.value.detail) == (decoded.value.reason, decoded.value.detail)


@pytest.mark.parametrize("name", hostile.BROKEN)
def test_broken_bytes_are_an_unreadable_video(tmp_path: Path, name: str) -> None:
    data = hostile.BROKEN[name](tmp_path / "a.mp4").read_bytes()
    with pytest.raises(UnreadableVideo):
        decode_bytes(data)


@pytest.mark.parametrize("make", [hostile.concat_list, hostile.hls_playlist])
def test_a_playlist_in_memory_opens_no_file(tmp_path: Path, make) -> None:
    target = hostile.make_video(tmp_path / "secret.ts", hostile.numbered(5))
    with pytest.raises(UnreadableVideo):
        decode_bytes(make(tmp_path / "list.mp4", target).read_bytes())


def test_a_video_in_memory_that_decodes_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = hostile.make_video(tmp_path / "a.mp4", hostile.numbered(12)).read_bytes()
    monkeypatch.setattr(pictures, "MAX_CLIP_BYTES", 11 * 160 * 96 * 3)
    for read in (decode_bytes, survey):
        with pytest.raises(RowFailed, match="more than 11 frames") as failure:
            read(data)
        assert failure.value.reason == "clip_too_large"
    assert len(decode_bytes(data, range(11))) == 11
