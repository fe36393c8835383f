"""condition_image and its command: an arrow is the velocity that it shows, a mistake is told."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flows.commands import condition as command
from schemas.scene import Vector
from tasks.datasets.kinemask.condition_clips import CONSTANT_PROMPT, drop_masks
from tasks.datasets.kinemask.condition_image import (
    Conditioning,
    UnusableInput,
    arrow_velocity,
    first_frame_masks,
    floor_point,
    read_mask,
    read_picture,
)
from tasks.media.velocity_masks import normalised, velocity_masks
from tests.datasets.kinemask.test_examples import TOLD, make_clip_row, write_clips
from tests.media.test_velocity_masks import make_labels, make_tracks, make_trajectories
from tests.support.endpoint import LocalEndpoint
from tests.support.scenes import make_camera

H, W = 48, 64
CAMERA = make_camera()

# --- Arrows ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "velocity"),
    [
        ((40, 10), (1.0, 0.0, 0.0)),
        ((10, 2), (0.0, 1.0, 0.0)),
        ((2, 10), (-1.0, 0.0, 0.0)),
        ((10, 40), (0.0, -1.0, 0.0)),
        ((40, 40), (0.707107, -0.707107, 0.0)),
        ((20, 0), (0.707107, 0.707107, 0.0)),
        ((6, 7), (-0.8, 0.6, 0.0)),
        ((7, 14), (-0.6, -0.8, 0.0)),
    ],
)
def test_to_the_right_is_x_and_up_is_y(end: tuple[float, float], velocity: Vector) -> None:
    assert str(arrow_velocity((10, 10), end, 1.0)) == str(velocity), "no minus before a zero either"


points = st.tuples(st.floats(0, 4000), st.floats(0, 4000))


@given(start=points, end=points, speed_mps=st.floats(0.5, 1.5))
def test_an_arrow_has_the_asked_speed_whatever_its_length(
    start: tuple[float, float], end: tuple[float, float], speed_mps: float
) -> None:
    assume(math.dist(start, end) > 0.01)
    x, y, z = arrow_velocity(start, end, speed_mps)
    assert math.hypot(x, y) == pytest.approx(speed_mps, abs=2e-6)
    assert z == 0
    assert x * (end[0] - start[0]) >= 0
    assert y * (end[1] - start[1]) <= 0


@given(
    start=st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)),
    angle=st.floats(0, 2 * math.pi),
    length_m=st.floats(0.2, 1.0),
    eye=st.tuples(st.floats(-3, 3), st.floats(-6, -4), st.floats(1, 4)),
)
def test_through_a_camera_the_floors_own_direction_comes_back(
    start: tuple[float, float], angle: float, length_m: float, eye: Vector
) -> None:
    camera = make_camera(position=eye)
    along = math.cos(angle), math.sin(angle)
    floor = np.array([(*start, 0.0), (start[0] + length_m * along[0], start[1] + length_m * along[1], 0.0)])
    (tail, head), _ = camera.project(floor)
    assert floor_point(tuple(tail), camera) == pytest.approx(start, abs=1e-6)
    velocity = arrow_velocity(tuple(tail), tuple(head), 0.8, camera)
    assert velocity == pytest.approx((0.8 * along[0], 0.8 * along[1], 0.0), abs=1e-5)


def test_the_default_view_agrees_with_a_camera_in_front() -> None:
    """To the right and away, seen in the middle of the picture from straight ahead."""
    middle = CAMERA.width / 2, CAMERA.height / 2
    for end in ((middle[0] + 9, middle[1]), (middle[0], middle[1] - 9), (middle[0], middle[1] + 9)):
        assert arrow_velocity(middle, end, 1.0, CAMERA) == pytest.approx(arrow_velocity(middle, end, 1.0), abs=1e-6)


def test_above_the_horizon_there_is_no_floor() -> None:
    level = make_camera(position=(0.0, -4.0, 1.0), target=(0.0, 0.0, 1.0))
    for y in (0.0, level.height / 2):
        with pytest.raises(UnusableInput, match="above the horizon"):
            arrow_velocity((60, 79), (60, y), 1.0, level)
    assert arrow_velocity((60, 79), (60, 41), 1.0, level) == pytest.approx((0, 1, 0))


@pytest.mark.parametrize("camera", [None, CAMERA])
def test_an_arrow_of_no_length_has_no_direction(camera: object) -> None:
    with pytest.raises(UnusableInput, match="no direction"):
        arrow_velocity((30, 30), (30, 30), 1.0, camera)  # type: ignore[arg-type]


@pytest.mark.parametrize("speed_mps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_is_positive(speed_mps: float) -> None:
    with pytest.raises(UnusableInput, match="give a positive one"):
        arrow_velocity((0, 0), (1, 0), speed_mps)


def test_a_speed_that_the_data_does_not_have_is_told_and_taken(caplog: pytest.LogCaptureFixture) -> None:
    arrow_velocity((0, 0), (1, 0), 0.5)
    arrow_velocity((0, 0), (1, 0), 1.5)
    assert not caplog.records
    assert arrow_velocity((0, 0), (1, 0), 3.0) == (3.0, 0.0, 0.0)
    assert "3 m/s is out of the training data's 0.5 to 1.5" in caplog.text


# --- Masks -----------------------------------------------------------------------------------


def test_first_frame_masks_are_what_training_drops_to() -> None:
    labels, trajectories = make_labels(), make_trajectories()
    trained = drop_masks(velocity_masks(make_tracks(labels), trajectories, [True, False, True]), [0])
    given_ = first_frame_masks(
        np.stack([labels[0] == 1, labels[0] == 3]),
        [trajectories[0].velocity[0], trajectories[2].velocity[0]],
        len(labels),
    )
    assert given_.dtype == trained.dtype == np.float32
    np.testing.assert_array_equal(given_, trained)


def test_masks_that_overlap_or_do_not_fit_are_refused() -> None:
    mask = np.ones((1, 4, 4), bool)
    with pytest.raises(UnusableInput, match="overlap"):
        first_frame_masks(np.concatenate([mask, mask]), [(1, 0, 0)] * 2)
    for wrong in (mask[0], mask.astype(np.uint8), np.concatenate([mask, mask])):
        with pytest.raises(ValueError, match="bool it is"):
            first_frame_masks(wrong, [(1, 0, 0)])


def png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


@pytest.mark.parametrize("bright", [1, 255])
def test_a_mask_is_what_is_bright(bright: int) -> None:
    inside = np.zeros((H, W), bool)
    inside[10:20, 30:50] = True
    np.testing.assert_array_equal(read_mask(png(inside * np.uint8(bright)), "mask.png", H, W), inside)


def test_pictures_are_rgb() -> None:
    red = np.zeros((H, W, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    assert read_picture(png(red), "red.png")[0, 0].tolist() == [255, 0, 0]


# --- The command -----------------------------------------------------------------------------


class Folder:
    """A picture with two masked objects, and the command's words about the first one."""

    def __init__(self, root: Path) -> None:
        self.root, self.out = root, root / "out"
        self.left, self.right = np.zeros((2, H, W), np.uint8)
        self.left[10:30, 5:25] = 255
        self.right[10:30, 40:60] = 255
        self.write("photo.png", np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8))
        self.write("left.png", self.left)
        self.write("right.png", self.right)

    def write(self, name: str, picture: np.ndarray) -> None:
        (self.root / name).write_bytes(png(picture))

    def words(self, **changes: str) -> list[str]:
        values = {
            "image": "photo.png",
            "mask": "left.png",
            "arrow": "15,20,35,20",
            "speed": "1.2",
            "out": "out",
        } | changes
        paths = {"image", "mask", "out", "camera", "examples"}
        return [
            w for key, value in values.items() for w in (f"--{key}", str(self.root / value) if key in paths else value)
        ]

    @property
    def masks(self) -> np.ndarray:
        with np.load(self.out / "velocity_mask.npz") as arrays:
            assert sorted(arrays) == ["normalised", "velocity_mps"]
            np.testing.assert_array_equal(arrays["normalised"], normalised(arrays["velocity_mps"]))
            return np.asarray(arrays["velocity_mps"])

    @property
    def conditioning(self) -> Conditioning:
        return Conditioning.from_json((self.out / "conditioning.json").read_bytes())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_one_object(folder: Folder) -> None:
    command.main(folder.words())
    masks = folder.masks
    assert masks.shape == (49, H, W, 3)
    assert masks.dtype == np.float32
    assert (masks[0][folder.left > 0] == np.array((1.2, 0, 0), np.float32)).all()
    assert not masks[0][folder.left == 0].any()
    assert not masks[1:].any()
    assert (folder.out / "prompt.txt").read_text() == f"{CONSTANT_PROMPT}\n"
    told = folder.conditioning
    assert [(o.velocity, o.area) for o in told.objects] == [((1.2, 0.0, 0.0), 400)]
    assert (told.width, told.height, told.n_frames, told.made_by[0].backend) == (W, H, 49, "constant")


def test_the_picture_to_look_at_shows_arrow_and_velocity(folder: Folder) -> None:
    folder.write("photo.png", np.zeros((H, W, 3), np.uint8))
    command.main(folder.words())
    shown = cv2.imread(str(folder.out / "overview.png"), cv2.IMREAD_COLOR_RGB)
    assert shown.shape == (H, 2 * W, 3)
    assert shown[20, 20].tolist() == [255, 255, 255], "the arrow"
    assert shown[12, W + 7].tolist() == [round(127.5 + 127.5 * 0.8), 128, 128]
    assert not shown[40, W + 40].any()


def test_two_objects_through_a_camera(folder: Folder) -> None:
    camera = make_camera(W, H)
    (folder.root / "camera.json").write_bytes(camera.to_json())
    more = ["--mask", str(folder.root / "right.png"), "--arrow", "50,40,50,30", "--speed", "0.7", "--frames", "5"]
    command.main(folder.words(camera="camera.json") + more)
    masks = folder.masks
    assert len(masks) == 5
    left, right = masks[0, 20, 15], masks[0, 20, 50]
    np.testing.assert_allclose(left, arrow_velocity((15, 20), (35, 20), 1.2, camera), rtol=1e-6)
    np.testing.assert_allclose(right, arrow_velocity((50, 40), (50, 30), 0.7, camera), rtol=1e-6)
    assert abs(right[0]) > 0.05, "perspective: up in the picture is not straight away on its right"


def test_the_same_words_write_the_same_bytes(folder: Folder) -> None:
    command.main(folder.words())
    command.main(folder.words(out="again"))
    for name in ("velocity_mask.npz", "prompt.txt", "overview.png", "conditioning.json"):
        assert (folder.out / name).read_bytes() == (folder.root / "again" / name).read_bytes()


def test_a_vlm_predicts_the_outcome_by_example(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = write_clips(folder.root, [make_clip_row(seed) for seed in range(5)])
    words = folder.words(name="blue mug", scene="on a wooden table", outcome="openai", examples=snapshot.id)
    with LocalEndpoint(answers=lambda request: {"description": TOLD}) as server:
        monkeypatch.setenv("TRIPTYCH_VLM_BASE_URL", server.base_url)
        monkeypatch.setenv("TRIPTYCH_VLM_MODEL", "tiny-vlm")
        command.main(words)
    text, *pictures = server.requests[0]["messages"][1]["content"]
    assert len(pictures) == 6
    assert json.loads(text["text"])["moving"] == [{"object": "blue mug", "direction": "to the right", "speed_mps": 1.2}]
    assert (folder.out / "prompt.txt").read_text() == f"{TOLD}\n"
    told = folder.conditioning
    assert told.example_clip_ids == [f"clip-{seed:04}" for seed in range(5)]
    assert (told.made_by[0].backend, told.made_by[0].model) == ("openai", "tiny-vlm")


def _truncate(folder: Folder) -> None:
    data = (folder.root / "photo.png").read_bytes()
    (folder.root / "photo.png").write_bytes(data[: len(data) // 2])


def _empty_file(folder: Folder) -> None:
    (folder.root / "photo.png").write_bytes(b"")


MISTAKES: list[tuple[dict[str, str], Callable[[Folder], object] | None, str]] = [
    ({"image": "none.png"}, None, "none.png: No such file"),
    ({}, _truncate, "photo.png cannot be read as a picture"),
    ({}, _empty_file, "photo.png cannot be read as a picture"),
    ({}, lambda f: f.write("left.png", f.left[:-1]), "left.png is 64x47, the picture 64x48"),
    ({}, lambda f: f.write("left.png", f.left * 0), "left.png is empty"),
    (
        {},
        lambda f: f.write("photo.png", np.zeros((2049, 2048), np.uint8)),
        "49 masks of 2048x2049 are 2.3 GiB; scale photo.png",
    ),
    ({"arrow": "20,20,20,20"}, None, "no direction"),
    ({"arrow": "20,20,65,20"}, None, "65,20; are x and y swapped"),
    ({"speed": "0"}, None, "a speed of 0.0 m/s"),
    ({"frames": "0"}, None, "at least the first"),
    ({"camera": "camera.json"}, lambda f: (f.root / "camera.json").write_text("{}"), "camera.json is no camera"),
    ({"camera": "camera.json"}, lambda f: (f.root / "camera.json").write_bytes(CAMERA.to_json()), "sees 120x80"),
    ({"outcome": "openai", "name": "mug"}, None, "wants --examples"),
    ({"outcome": "openai", "examples": "."}, None, "a --name for each"),
]


@pytest.mark.parametrize(("changes", "prepare", "told"), MISTAKES)
def test_a_mistake_is_told_and_nothing_is_written(
    folder: Folder, changes: dict[str, str], prepare: Callable[[Folder], object] | None, told: str
) -> None:
    if prepare:
        prepare(folder)
    with pytest.raises(SystemExit) as ended:
        command.main(folder.words(**changes))
    assert told in str(ended.value.code)
    assert not folder.out.exists()


def test_each_object_has_a_mask_an_arrow_a_speed_and_a_name(folder: Folder) -> None:
    with pytest.raises(SystemExit, match="2 --mask, 1 --arrow, 1 --speed, 2 --name: give each object one"):
        command.main([*folder.words(), "--mask", str(folder.root / "right.png")])


def test_masks_that_overlap_are_told(folder: Folder) -> None:
    with pytest.raises(SystemExit, match="overlap"):
        command.main(folder.words() * 2)


@pytest.mark.parametrize("arrow", ["1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,3,nan", "1,2,3,inf"])
def test_an_arrow_has_four_numbers(folder: Folder, arrow: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(folder.words(arrow=arrow))
    assert ended.value.code == 2
    assert "X0,Y0,X1,Y1" in capsys.readouterr().err


def test_examples_that_are_no_snapshot_are_told(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_VLM_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("TRIPTYCH_VLM_MODEL", "tiny-vlm")
    with pytest.raises(SystemExit, match=r"^SnapshotError: .* is no snapshot: give its folder"):
        command.main(folder.words(outcome="openai", name="mug", examples="."))
    assert not (folder.out / "prompt.txt").exists()


def test_without_a_server_it_says_what_to_export(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIPTYCH_VLM_BASE_URL", raising=False)
    with pytest.raises(SystemExit, match="export TRIPTYCH_VLM_BASE_URL"):
        command.main(folder.words(outcome="openai", name="mug", examples="."))
