"""Films: every frame is painted with what belongs to it, long ones are thinned, stills lie where they are asked for."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from schemas.outcome import RowFailed
from tasks.engine.snapshots import ClipVideo
from tasks.media.decoding import probe
from tasks.media.encoding import encode_video
from tasks.media.video import iter_frames
from tasks.pages import film
from tasks.pages.film import draw_film, film_step
from tasks.pages.views import make_views
from tests.support.told import told_by

N_FRAMES = 9


def grey_video(width: int = 60, height: int = 40) -> ClipVideo:
    """N_FRAMES black frames."""
    return ClipVideo(encode_video([np.zeros((height, width, 3), np.uint8)] * N_FRAMES, 12))


def paint_number(frame: np.ndarray, index: int) -> np.ndarray:
    """As bright as its number says."""
    return np.full_like(frame, 20 * index)


@pytest.mark.parametrize(("n_frames", "fps", "step"), [(48, 24, 1), (600, 30, 2), (100, 60, 2), (301, 24, 2)])
def test_long_and_fast_clips_are_thinned(n_frames: int, fps: int, step: int) -> None:
    assert film_step(n_frames, Fraction(fps)) == step


def test_frames_are_painted_by_their_number_and_stills_may_lie_between_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film, "MAX_FILM_FRAMES", 5)
    drawn = draw_film("clip-1", grey_video(), N_FRAMES, Fraction(12), paint_number, tmp_path, stills=[7, 2])
    assert (drawn.step, drawn.width, drawn.height) == (2, 60, 40)
    assert drawn.stills == {2: "clips/clip-1-2.jpg", 7: "clips/clip-1-7.jpg"}
    assert drawn.poster == drawn.stills[7]
    frames = [frame.mean() for _, frame in iter_frames(tmp_path / drawn.video)]
    assert frames == pytest.approx([0, 40, 80, 120, 160], abs=3)
    assert probe(tmp_path / drawn.video).fps == 6
    assert cv2.imread(str(tmp_path / drawn.stills[7])).mean() == pytest.approx(140, abs=3)


def test_without_stills_there_is_no_poster(tmp_path: Path) -> None:
    drawn = draw_film("clip-1", grey_video(), N_FRAMES, Fraction(12), paint_number, tmp_path, stills=[])
    assert (drawn.poster, drawn.stills) == (None, {})


def test_large_frames_are_made_small_before_they_are_painted(tmp_path: Path) -> None:
    drawn = draw_film("clip-1", grey_video(960, 320), N_FRAMES, Fraction(12), paint_number, tmp_path)
    assert (drawn.width, drawn.height) == (480, 160)


def test_each_frame_of_a_film_is_told_wherever_it_is_drawn(tmp_path: Path) -> None:
    def draw(clip_id: str) -> None:
        draw_film(clip_id, grey_video(), N_FRAMES, Fraction(12), paint_number, tmp_path)

    told = told_by(make_views, draw, ["clip-1", "clip-2"])
    for clip_id in ("clip-1", "clip-2"):
        texts = [f"{n} of {N_FRAMES} frames of the film of {clip_id}" for n in range(N_FRAMES + 1)]
        assert [text for text in told if text.endswith(clip_id)] == texts


@pytest.mark.parametrize("n_frames", [N_FRAMES - 1, N_FRAMES + 1])
def test_a_video_of_another_length_gives_no_film(tmp_path: Path, n_frames: int) -> None:
    with pytest.raises(RowFailed, match=f"{N_FRAMES} frames instead of {n_frames}"):
        draw_film("clip-1", grey_video(), n_frames, Fraction(12), paint_number, tmp_path)
    assert not list(tmp_path.rglob("*.*"))
