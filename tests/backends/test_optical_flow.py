"""The embedded propagator on drawn scenes whose masks are known exactly."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from schemas.candidate import Anchor, Box
from schemas.grounding import Wanted
from schemas.mask_track import decode_masks, encode_mask
from tasks.backends.optical_flow import SHORT_SIDE_PX, FlowPropagator, cut, walk
from tasks.backends.optical_flow import frames as flow_frames
from tasks.backends.optical_flow.frames import ScaledClip
from tasks.backends.optical_flow.plate import Guess, Plate
from tasks.backends.optical_flow.shapes import centroid
from tasks.engine.progress import AtWork, LogLines
from tasks.media import footage
from tasks.media.footage import LazyFrames
from tasks.media.pictures import max_side_of, shrunk
from tests.support.clock import Clock

HEIGHT, WIDTH = 144, 256
RED, BLUE, GREEN, GREY = (205, 40, 45), (40, 70, 200), (30, 150, 60), (95, 95, 100)

Masks = np.ndarray  # (N, H, W) bool
Layer = tuple[np.ndarray, tuple[int, int, int]]  # (H, W) bool and its RGB


def background(seed: int = 1, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(height, width, 3) uint8: soft sand-coloured texture."""
    noise = np.random.default_rng(seed).normal(0, 1, (height, width)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 3) * 60
    return np.clip(np.array([190, 180, 150]) + texture[..., None], 0, 255).astype(np.uint8)


def disc(centre: tuple[float, float], radius: float, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    y, x = np.ogrid[:height, :width]
    return np.hypot(x - centre[0], y - centre[1]) <= radius


def bar(left: int, right: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:, left:right] = True
    return mask


def paint(
    layers: list[tuple[np.ndarray, tuple[int, int, int]]], back: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Layers from back to front -> the picture, and what is visible of each layer."""
    picture, visible = back.copy(), [mask.copy() for mask, _ in layers]
    for k, (mask, colour) in enumerate(layers):
        picture[mask] = colour
        for behind in visible[:k]:
            behind &= ~mask
    return picture, visible


def anchor(instance_id: str, masks: Masks, frame: int) -> Anchor:
    x, y, w, h = cv2.boundingRect(masks[frame].astype(np.uint8))
    box: Box = (float(x), float(y), float(x + w), float(y + h))
    return Anchor(instance_id=instance_id, frame=frame, box_xyxy=box)


def propagate(frames: np.ndarray, *anchors: Anchor) -> dict[str, Masks]:
    height, width = frames.shape[1:3]
    tracks = FlowPropagator().propagate(frames, list(anchors))
    return {name: decode_masks(counts, height, width) for name, counts in tracks.items()}


def iou(found: Masks, truth: Masks) -> np.ndarray:
    """(N,) float, 1 where both are empty."""
    inter, union = (found & truth).sum((1, 2)), (found | truth).sum((1, 2))
    return np.where(union == 0, 1.0, inter / np.maximum(union, 1))


def scene(n_frames: int, layers_at: Callable[[int], list[Layer]]) -> tuple[np.ndarray, list[Masks]]:
    """layers_at(t) -> layers; returns (N, H, W, 3) frames and each layer's (N, H, W) visible masks."""
    painted = [paint(layers_at(t), background()) for t in range(n_frames)]
    frames = np.stack([picture for picture, _ in painted])
    return frames, [np.stack(layer) for layer in zip(*(visible for _, visible in painted), strict=True)]


@pytest.mark.parametrize("speed_px", [1.5, 6, 14])
def test_a_disc_that_crosses_a_textured_background(speed_px):
    n_frames = min(24, int(210 / speed_px))
    frames, (truth,) = scene(n_frames, lambda t: [(disc((24 + speed_px * t, 70), 15), RED)])
    found = propagate(frames, anchor("id1", truth, 0))["id1"]
    assert iou(found, truth).min() > 0.9
    assert iou(found, truth).mean() > 0.95


def test_a_thrown_ball_moves_several_diameters_a_frame():
    def flight(t):
        return [(disc((20 + 34 * t, 110 - 45 * t + 7 * t * t), 7), RED)]

    frames, (truth,) = scene(7, flight)
    found = propagate(frames, anchor("id1", truth, 0))["id1"]
    assert iou(found, truth).mean() > 0.9


def test_hidden_behind_a_bar_is_empty_and_found_again():
    frames, (truth, _) = scene(36, lambda t: [(disc((20 + 6 * t, 80), 13), RED), (bar(100, 145), GREY)])
    hidden = ~truth.any((1, 2))
    assert hidden.sum() >= 3
    found = propagate(frames, anchor("id1", truth, 0))["id1"]
    assert not found[hidden].any()
    whole = truth.sum((1, 2)) > 0.9 * truth[0].sum()
    assert iou(found, truth)[whole].mean() > 0.95
    assert iou(found, truth).mean() > 0.9


def test_two_discs_that_overlap_share_no_pixel():
    frames, (red, blue) = scene(30, lambda t: [(disc((40 + 5 * t, 70), 18), RED), (disc((200 - 4 * t, 78), 18), BLUE)])
    assert min(red.sum((1, 2))) < 0.4 * red[0].sum()  # the scene does hide most of the red one
    found = propagate(frames, anchor("red", red, 0), anchor("blue", blue, 0))
    assert not (found["red"] & found["blue"]).any()
    assert iou(found["red"], red).mean() > 0.95
    assert iou(found["blue"], blue).mean() > 0.95


def test_leaving_the_frame_leaves_no_mask():
    frames, (truth,) = scene(26, lambda t: [(disc((150 + 9 * t, 60), 14), BLUE)])
    gone = ~truth.any((1, 2))
    assert gone.sum() >= 8
    found = propagate(frames, anchor("id1", truth, 0))["id1"]
    assert not found[gone].any()
    assert iou(found, truth)[~gone].mean() > 0.9


def test_a_look_alike_is_not_taken_for_it():
    frames, (near, other) = scene(24, lambda t: [(disc((40 + 3 * t, 60), 14), RED), (disc((60 + 3 * t, 100), 14), RED)])
    found = propagate(frames, anchor("id1", near, 0))["id1"]
    assert iou(found, near).mean() > 0.95
    assert not (found & other).any()


def test_a_hidden_disc_is_not_replaced_by_its_look_alike():
    frames, (mine, _, other) = scene(
        24,
        lambda t: [(disc((60 + 6 * min(t, 10), 80), 12), RED), (bar(100, 145), GREY), (disc((200, 50), 12), RED)],
    )
    found = propagate(frames, anchor("id1", mine, 0))["id1"]
    assert not found[~mine.any((1, 2))].any()
    assert not (found & other).any()


def test_an_anchor_in_the_middle_is_carried_both_ways():
    frames, (truth,) = scene(25, lambda t: [(disc((30 + 7 * t, 50 + 2 * t), 14 + 0.3 * t), GREEN)])
    found = propagate(frames, anchor("id1", truth, 12))["id1"]
    assert iou(found, truth).min() > 0.9


def test_a_carried_ball_anchored_on_another_frame_is_not_part_of_its_carrier():
    def carry(t):
        body = np.zeros((HEIGHT, WIDTH), bool)
        body[40:120, 40 + 4 * t : 70 + 4 * t] = True
        return [(body, BLUE), (disc((58 + 4 * t, 80), 9), RED)]

    frames, (body, ball) = scene(20, carry)
    found = propagate(frames, anchor("body", body, 14), anchor("ball", ball, 2))
    assert iou(found["body"], body).mean() > 0.95
    assert iou(found["ball"], ball).mean() > 0.93
    assert not (found["body"] & found["ball"]).any()


def test_a_slowly_moving_camera():
    wide = background(3, HEIGHT + 60, WIDTH + 120)
    frames, masks = [], []
    for t in range(20):
        picture = wide[t : t + HEIGHT, 3 * t : 3 * t + WIDTH].copy()
        mask = disc((60 + 5 * t, 70), 16)
        picture[mask] = GREEN
        frames.append(picture)
        masks.append(mask)
    truth = np.stack(masks)
    found = propagate(np.stack(frames), anchor("id1", truth, 0))["id1"]
    assert iou(found, truth).min() > 0.9


def test_nothing_is_invented_after_a_cut_to_another_scene():
    frames, (truth,) = scene(12, lambda t: [(disc((60 + 4 * t, 70), 16), RED)] if t < 6 else [(bar(0, 1), GREY)])
    found = propagate(frames, anchor("id1", truth, 0))["id1"]
    assert iou(found[:6], truth[:6]).mean() > 0.95
    assert not found[6:].any()


def test_large_frames_are_worked_on_small_and_come_back_at_their_size():
    scale = 5
    small, (truth,) = scene(6, lambda t: [(disc((60 + 4 * t, 70), 20), RED)])
    frames = small.repeat(scale, axis=1).repeat(scale, axis=2)
    assert min(frames.shape[1:3]) > SHORT_SIDE_PX
    large = truth.repeat(scale, axis=1).repeat(scale, axis=2)
    found = propagate(frames, anchor("id1", large, 0))["id1"]
    assert found.shape == large.shape
    assert iou(found, large).min() > 0.95


@pytest.mark.parametrize("shape", [(1080, 1920), (721, 1283), (1279, 719), (541, 541)])
def test_masks_of_reduced_frames_lie_exactly_on_the_clips_own_pixels(shape):
    height, width = shape
    full, truth = background(2, height, width), disc((0.41 * width, 0.57 * height), min(shape) / 5, height, width)
    full[truth] = RED
    frames = np.stack([shrunk(full, max_side_of(width, height, SHORT_SIDE_PX))] * 2)
    clip = ScaledClip(frames, shape)
    assert min(clip.height, clip.width) == SHORT_SIDE_PX
    reduced = cv2.resize(truth.astype(np.float32), (clip.width, clip.height), interpolation=cv2.INTER_AREA) > 0.5
    grown = decode_masks([clip.full_size(encode_mask(reduced))], height, width)
    assert iou(grown, truth[None]).min() > 0.99
    tracked = decode_masks(FlowPropagator().propagate(frames, [anchor("id1", truth[None], 0)], shape)["id1"], *shape)
    assert iou(tracked, np.stack([truth] * 2)).min() > 0.97
    # If one side took pixels' corners for their centres, it would be half a pixel or more.
    for found in (*grown, *tracked):
        np.testing.assert_allclose(centroid(found), centroid(truth), atol=0.2)


@pytest.mark.parametrize("shape", [(721, 1283), (1080, 1920), (1000, 563)])
def test_masks_that_share_a_border_share_none_of_its_pixels_at_the_clips_size(shape):
    height, width = shape
    small = ScaledClip(np.zeros((1, *shape, 3), np.uint8))
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(small.height, small.width)), (0, 0), 2)
    one = noise > 0
    one[::2, : small.width // 4] = True  # single lines too
    large = [decode_masks([small.full_size(encode_mask(mask))], height, width)[0] for mask in (one, ~one)]
    assert not (large[0] & large[1]).any()
    assert (large[0] | large[1]).mean() > 0.9


class SlowFilm:
    """Frames of which a part is in memory at a time, as LazyFrames has them; reading, flow and cuts take time."""

    def __init__(self, frames: np.ndarray) -> None:
        self.n_frames, self.size, self._frames = len(frames), frames.shape[1:3], frames
        self.parts: list[range] = []

    span: list[object] = []  # noqa: RUF012
    wanted = Wanted("", [], [])

    def frames(self, indices: Sequence[int] | None = None, max_side_px: int | None = None) -> np.ndarray:
        assert isinstance(indices, range)
        self.parts.append(indices)
        return self._frames[indices.start : indices.stop]


def test_a_clip_of_which_a_part_is_in_memory_has_the_same_masks(monkeypatch):
    frames, (red, blue) = scene(20, lambda t: [(disc((40 + 5 * t, 70), 18), RED), (disc((200 - 4 * t, 78), 18), BLUE)])
    anchors = [anchor("red", red, 3), anchor("blue", blue, 12)]
    whole = FlowPropagator().propagate(frames, anchors)
    monkeypatch.setattr(footage, "HELD_BYTES", 6 * frames[0].nbytes)
    film = SlowFilm(frames)
    lazy = LazyFrames(film, SHORT_SIDE_PX)
    assert FlowPropagator().propagate(lazy, anchors, film.size) == whole
    assert max(len(part) for part in film.parts) == 6
    assert len(film.parts) <= 5 * 4, "each part at most once for the guess, a walk or the end"


def test_a_slow_machine_is_never_silent_for_long(monkeypatch):
    """Whatever of a row takes long, a line comes within ten seconds, and says where it is."""
    clock, lines = Clock(), []

    def slow(module, name, seconds):
        function = getattr(module, name)

        def slowed(*args, **kwargs):
            clock.now_s += seconds
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, slowed)

    for place, name, seconds in [
        (flow_frames, "dense_flow", 2), (cut, "grabcut", 1), (flow_frames, "smoothed", 0.3), (walk, "shared_out", 2),
        (flow_frames.ScaledClip, "full_size", 3),
    ]:  # fmt: skip
        slow(place, name, seconds)
    frames, (red, blue) = scene(12, lambda t: [(disc((40 + 5 * t, 70), 18), RED), (disc((120 - 4 * t, 78), 18), BLUE)])
    log = SimpleNamespace(info=lambda form, *values: lines.append((clock.now_s, form % values)))
    row = AtWork("clip-1", clock)
    with LogLines(log, clock).follow(row) as row.look:
        row.run(FlowPropagator().propagate, frames, [anchor("red", red, 0), anchor("blue", blue, 11)])
    assert max(b - a for (a, _), (b, _) in pairwise([(100.0, ""), *lines, (clock.now_s, "")])) <= 10
    for where in ("frames forward", "frames backward", "masks of"):
        assert any(re.search(rf"clip-1: \d+ of 12 {where}", line) for _, line in lines), lines


def test_a_figure_of_several_colours_pushes_a_box_behind_a_post():
    def figure(x: float) -> np.ndarray:
        """(H, W) int: 1 head, 2 shirt, 3 trousers."""
        parts = np.zeros((HEIGHT, WIDTH), np.uint8)
        left = round(x)
        cv2.rectangle(parts, (left - 6, 88), (left + 6, 122), 3, -1)
        cv2.rectangle(parts, (left - 9, 56), (left + 9, 90), 2, -1)
        cv2.rectangle(parts, (left + 9, 66), (left + 24, 72), 2, -1)
        cv2.circle(parts, (left, 46), 10, 1, -1)
        return parts

    def push(t: int) -> list[Layer]:
        parts = figure(30 + 4 * t)
        box = np.zeros((HEIGHT, WIDTH), bool)
        box[96:122, 54 + 4 * t : 82 + 4 * t] = True
        return [
            (parts == 1, (230, 190, 160)),
            (parts == 2, BLUE),
            (parts == 3, GREY),
            (box, RED),
            (bar(150, 162), GREEN),
        ]

    frames, (head, shirt, trousers, box, _) = scene(36, push)
    person = head | shirt | trousers
    found = propagate(frames, anchor("person", person, 3), anchor("box", box, 0))
    assert iou(found["person"], person).mean() > 0.9
    assert iou(found["box"], box).mean() > 0.9


def test_a_box_in_which_nothing_stands_out_gives_no_mask_and_harms_no_other():
    frames = np.full((8, HEIGHT, WIDTH, 3), 140, np.uint8)
    truth = np.stack([disc((50 + 4 * t, 70), 14) for t in range(8)])
    frames[truth] = RED
    nothing = Anchor(instance_id="nothing", frame=2, box_xyxy=(180, 20, 220, 60))
    found = propagate(frames, anchor("ball", truth, 0), nothing)
    assert not found["nothing"].any()
    assert iou(found["ball"], truth).min() > 0.9


def test_a_background_of_its_own_colour_does_not_stick_to_a_figure_that_passes_it():
    poster = np.zeros((HEIGHT, WIDTH), bool)
    poster[30:70, 110:150] = True

    def walk(t: int) -> list[Layer]:
        parts = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.rectangle(parts, (30 + 5 * t, 50), (50 + 5 * t, 90), 1, -1)
        cv2.rectangle(parts, (50 + 5 * t, 60), (66 + 5 * t, 66), 1, -1)  # an arm: the figure is not compact
        cv2.rectangle(parts, (33 + 5 * t, 90), (47 + 5 * t, 130), 2, -1)
        return [(poster, (52, 80, 185)), (parts == 1, BLUE), (parts == 2, GREY)]

    frames, (_, shirt, trousers) = scene(32, walk)
    figure = shirt | trousers
    found = propagate(frames, anchor("id1", figure, 0))["id1"]
    assert iou(found, figure).mean() > 0.95
    assert (found & poster)[-6:].sum() < 0.02 * poster.sum()


def plate_of(frame: np.ndarray) -> tuple[Plate, ScaledClip]:
    clip = ScaledClip(frame[None])
    return Plate(Guess.of(clip)), clip


def test_the_plate_knows_what_it_has_seen_and_no_more():
    frame = background()
    plate, clip = plate_of(frame)
    instance = disc((60, 70), 15)
    plate.learn(clip.view(0), np.zeros_like(instance), instance)
    shown = plate.compare(clip.view(0)).plate
    assert not shown[instance].any()  # only guessed there
    assert shown[:, 120:].mean() > 0.99
    changed = frame.copy()
    changed[20:60, 180:220] = RED
    scenery = plate.compare(ScaledClip(changed[None]).view(0))
    assert scenery.other[22:58, 182:218].all()
    assert not scenery.plate[22:58, 182:218].any()


def test_the_plate_takes_a_shadow_for_neither_background_nor_instance():
    plate, clip = plate_of(background())
    plate.learn(clip.view(0), np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool))
    shadow = (background() * 0.75).astype(np.uint8)
    scenery = plate.compare(ScaledClip(shadow[None]).view(0))
    assert scenery.other.mean() < 0.01
    assert scenery.plate.mean() < 0.01


def test_the_plate_is_forgotten_when_the_camera_moves():
    plate, clip = plate_of(background())
    plate.learn(clip.view(0), np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool))
    plate.follow(np.array([0.4, 0.0]))
    assert plate.compare(clip.view(0)).plate.mean() > 0.99
    plate.follow(np.array([0.8, 0.0]))
    assert not plate.compare(clip.view(0)).plate.any()
