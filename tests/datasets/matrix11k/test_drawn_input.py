"""The demo's input: does the truth say what the picture shows, and is it the same every time?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from scenedetect import ContentDetector, detect

from schemas.mask_track import decode_masks
from schemas.source import ManifestRow
from schemas.truth import Truth, read_truths
from tasks.datasets.matrix11k.drawn_input import DROPPED, SCENES, draw_scenes, draw_shot
from tasks.datasets.matrix11k.drawn_input.actions import Cast
from tasks.media.drawing.backdrops import paint_backdrop
from tasks.media.drawing.canvas import COLOURS, FPS, HEIGHT, WIDTH, Canvas, disc, flight
from tasks.media.drawing.figures import joint, step
from tasks.media.encoding import encode_video

N_SCENES = 3  # push, throw and a source of three shots


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    draw_scenes(folder, seed=0, n_scenes=N_SCENES)
    return folder


@pytest.fixture(scope="module")
def truths(folder: Path) -> dict[str, Truth]:
    return {truth.id: truth for truth in read_truths(folder)}


def read_video(path: Path) -> tuple[np.ndarray, list[Fraction]]:
    """(N, H, W, 3) frames and their exact times in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return np.stack([f.to_ndarray(format="rgb24") for f in frames]), [f.pts * f.time_base for f in frames]


def masks_of(truth: Truth, name: str) -> np.ndarray:
    (instance,) = (i for i in truth.instances if i.name == name)
    return decode_masks(instance.counts, truth.height, truth.width)


def rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


# --- Files -----------------------------------------------------------------------------------


def test_every_row_has_a_truth_and_every_video_but_the_missing_one_a_file(folder, truths):
    rows = [ManifestRow.model_validate_json(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert [(row.id, row.video, row.caption) for row in rows] == [(t.id, t.video, t.caption) for t in truths.values()]
    assert len(truths) == N_SCENES + len(DROPPED) + 5
    assert [row.id for row in rows if not (folder / row.video).is_file()] == ["missing"]


@pytest.mark.slow
def test_another_process_draws_the_same_bytes(folder, tmp_path):
    code = (
        "import sys, pathlib; from tasks.datasets.matrix11k.drawn_input import draw_scenes;"
        "draw_scenes(pathlib.Path(sys.argv[1]), 0, int(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(N_SCENES)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    first = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    second = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert first == second


def test_the_same_frames_are_encoded_to_the_same_bytes(folder, truths):
    frames, _ = read_video(folder / truths["landscape"].video)  # the one that showed it: see X264_OPTIONS
    assert len({encode_video(frames, 24) for _ in range(12)}) == 1


def test_another_seed_paints_another_backdrop():
    first, again, other = (paint_backdrop("park", np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_videos_have_a_constant_exact_frame_rate_and_the_stated_length(folder, truths):
    for name in ("push-0", "shots-0"):
        frames, times = read_video(folder / truths[name].video)
        assert frames.shape == (truths[name].n_frames, HEIGHT, WIDTH, 3)
        assert times == [Fraction(number, FPS) for number in range(len(frames))]
        assert truths[name].fps.fraction == FPS


def test_the_number_of_scenes_must_exist(tmp_path):
    for n_scenes in (0, len(SCENES) + 1):
        with pytest.raises(ValueError, match="scenes to draw"):
            draw_scenes(tmp_path, n_scenes=n_scenes)
    assert not list(tmp_path.iterdir())


# --- Truth -----------------------------------------------------------------------------------


def test_masks_lie_on_pixels_of_the_described_colour(folder, truths):
    truth = truths["push-0"]
    frames, _ = read_video(folder / truth.video)
    for number in (0, 23, 47):
        hsv = cv2.cvtColor(frames[number], cv2.COLOR_RGB2HSV)
        green = (abs(hsv[..., 0].astype(int) - 68) < 14) & (hsv[..., 1] > 120)
        box = masks_of(truth, "box")[number]
        assert green[box].mean() > 0.8  # the rest is outline
        assert green[~box].sum() < 0.02 * box.sum()


def test_masks_of_one_frame_share_no_pixel(truths):
    for truth in truths.values():
        stacks = [masks_of(truth, instance.name) for instance in truth.instances]
        if stacks:
            assert np.sum(stacks, axis=0).max() <= 1


def test_every_instance_of_a_triplet_is_seen_in_its_shot(truths):
    for truth in truths.values():
        bounds = [0, *truth.cuts, truth.n_frames]
        for triplet in truth.triplets:
            for name in (triplet.subject, triplet.object):
                seen = masks_of(truth, name)[bounds[triplet.shot] : bounds[triplet.shot + 1]].any(axis=(1, 2))
                assert seen.mean() > 0.6, (truth.id, name)


def test_what_is_described_is_absent_from_the_other_shots(truths):
    truth = truths["shots-0"]
    assert truth.cuts == [48, 96]
    assert masks_of(truth, "boy").any(axis=(1, 2)).nonzero()[0].max() < 48
    assert masks_of(truth, "woman").any(axis=(1, 2)).nonzero()[0].min() >= 96


def test_cuts_are_found_where_the_truth_has_them(folder, truths):
    for name in ("push-0", "throw-0", "shots-0"):
        scenes = detect(str(folder / truths[name].video), ContentDetector())
        assert [start.frame_num for start, _ in scenes[1:]] == truths[name].cuts


def test_the_ball_vanishes_behind_the_wall_and_comes_back():
    rng = np.random.default_rng(0)
    scene = SCENES["hide-0"]
    (shot,), cast = scene.shots, Cast(scene.nouns, rng)
    seen = np.array([masks["ball"].any() for _, masks in draw_shot(shot, cast, ["girl", "ball"], rng)])
    hidden = np.flatnonzero(~seen)
    assert len(hidden) >= 4
    assert (np.diff(hidden) == 1).all()
    assert seen[0]
    assert seen[-1]


def test_a_caption_names_every_instance_with_its_colour():
    for name, scene in {**SCENES, **DROPPED}.items():
        for noun in scene.nouns.values():
            assert noun in scene.caption.lower(), name
            assert set(noun.split()) & set(COLOURS), name


def test_bad_rows_expect_to_fail_and_cannot_be_decoded(folder, truths):
    for name in ("truncated", "not-a-video"):
        assert truths[name].expect[0].status == "failed"
        with pytest.raises(av.FFmpegError):
            read_video(folder / truths[name].video)
    assert len(read_video(folder / truths["one-frame"].video)[0]) == 1
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    first, last = rows[0], rows[-1]
    assert (last["id"], last["video"], last["caption"]) == ("duplicate", first["video"], first["caption"])


# --- Canvas and movement ---------------------------------------------------------------------


@pytest.fixture
def canvas() -> Canvas:
    canvas = Canvas(["back", "front"])
    canvas.begin(np.full((HEIGHT * 3, WIDTH * 3, 3), 255, np.uint8))
    return canvas


def test_what_lies_in_front_takes_the_pixels_of_what_lies_behind(canvas):
    canvas.draw_as("back")
    canvas.detail((255, 0, 0), rectangle(10, 10, 30, 30))
    canvas.draw_as("front")
    canvas.detail((0, 0, 255), rectangle(20, 10, 40, 30))
    assert canvas.mask("back").sum() == 10 * 20
    assert canvas.mask("front").sum() == 20 * 20
    assert (canvas.picture()[canvas.mask("back")] == (255, 0, 0)).all()
    canvas.draw_as(None)
    canvas.detail((0, 0, 0), rectangle(0, 0, WIDTH, HEIGHT))
    assert not canvas.mask("front").any()


@pytest.mark.parametrize(("right", "width"), [(20.25, 10), (20.75, 11)])
def test_a_pixel_counts_if_half_of_it_is_covered(canvas, right, width):
    canvas.draw_as("back")
    canvas.detail((255, 0, 0), rectangle(10, 10, right, 20))
    assert canvas.mask("back").sum() == width * 10


def test_a_shadow_darkens_the_floor_and_is_in_no_mask(canvas):
    canvas.draw_as("back")
    canvas.shadow(100, 200, 20)
    canvas.shadow(-200, 200, 20)  # outside
    assert canvas.picture()[200, 100].max() < 230
    assert not canvas.mask("back").any()


def test_zoom_enlarges_about_its_centre(canvas):
    canvas.begin(np.zeros((HEIGHT * 3, WIDTH * 3, 3), np.uint8), zoom=2.0, centre=(60.0, 50.0))
    canvas.draw_as("back")
    canvas.detail((255, 0, 0), disc((60, 50), 20))
    rows, columns = np.nonzero(canvas.mask("back"))
    assert abs(rows.mean() + 0.5 - HEIGHT / 2) < 0.2
    assert abs(columns.mean() + 0.5 - WIDTH / 2) < 0.2
    assert abs(np.ptp(columns) + 1 - 80) <= 1


def test_a_thrown_ball_flies_a_parabola():
    points = np.array([flight((0, 100), (80, 60), u, rise=30) for u in np.linspace(0, 1, 9)])
    assert points[0].tolist() == [0, 100]
    assert points[-1].tolist() == [80, 60]
    assert np.allclose(np.diff(points[:, 0]), 10)
    assert np.allclose(np.diff(points[:, 1], 2), np.diff(points[:, 1], 2)[0])
    assert np.diff(points[:, 1], 2)[0] > 0  # falls: y runs down


def test_a_foot_on_the_ground_does_not_slide():
    walked = np.linspace(0, 19.9, 12)
    feet = [step(travelled, stride=10, lead=0.0) for travelled in walked]
    assert all(up == 0 for _, up in feet)
    assert np.allclose([x + forward for x, (forward, _) in zip(walked, feet, strict=True)], 10)
    assert step(30, stride=10, lead=0.0)[1] > 0
    assert step(30, stride=0, lead=0.0) == (0, 0)


def test_elbows_keep_the_length_of_the_bones():
    elbow = joint((0, 0), (12, 9), length=10, bend=1)
    assert np.hypot(*elbow) == pytest.approx(10)
    assert np.hypot(elbow[0] - 12, elbow[1] - 9) == pytest.approx(10)
