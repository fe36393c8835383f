"""tasks.backends.raster: light, shadows, and that only what moves is drawn again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from schemas.scene import Floor, Light, Scene
from schemas.simulation import Rendering
from tasks.backends import raster
from tasks.backends.raster import RasterRenderer, decode_srgb, encode_srgb, sun_direction
from tasks.media.cast_rays import Window, cast, poses_at
from tests.support.scenes import BLUE, checkerboard, glide, make_body, make_camera, tiny_scene

GREY = np.full((8, 8, 3), 188, np.uint8)  # half of the light


def render(scene: Scene, floor: np.ndarray = GREY) -> Rendering:
    return RasterRenderer().render(scene, glide(scene), floor)


def seen_at(scene: Scene, x: float, y: float, z: float = 0.0) -> tuple[int, int]:
    """Row and column of the pixel that shows a place."""
    image, _ = scene.camera.project(np.array([x, y, z]))
    column, row = np.floor(image).astype(int).tolist()
    return row, column


def light(**changes: Any) -> Light:
    return Light(**{"azimuth_deg": 0.0, "elevation_deg": 45.0, "sun": 2.0, "sky": 0.25} | changes)


def test_a_floor_in_the_sun_is_as_bright_as_physics_says() -> None:
    scene = tiny_scene(1, bodies=[], light=light())
    frame = render(scene).frames[0]
    radiance = decode_srgb(GREY)[0, 0] * (2.0 / np.pi * np.sin(np.pi / 4) + 0.25)
    assert np.unique(frame.reshape(-1, 3), axis=0).tolist() == [encode_srgb(radiance).tolist()]


def test_a_shadow_lies_where_the_sun_cannot_be_seen() -> None:
    # The sun stands over x at 45 degrees: a cube's shadow is as long as the cube is high, towards -x.
    scene = tiny_scene(1, bodies=[make_body(position=(0, 0, 0.25))], light=light())
    frame = render(scene).frames[0].astype(int)
    sunny = encode_srgb(decode_srgb(GREY)[0, 0] * (2.0 / np.pi * np.sin(np.pi / 4) + 0.25))
    shady = encode_srgb(decode_srgb(GREY)[0, 0] * 0.25)
    for x, expected in ((-0.35, shady), (-0.65, shady), (-0.85, sunny), (0.5, sunny)):
        assert frame[seen_at(scene, x, 0.0)].tolist() == expected.tolist(), x


def test_bodies_throw_shadows_on_each_other_but_not_on_themselves() -> None:
    cube = make_body("id1", position=(0.0, 0.0, 0.25))
    tower = make_body("id2", position=(0.6, 0.0, 0.75), size=(0.3, 0.5, 1.5))
    alone = tiny_scene(1, bodies=[cube], light=light())
    both = alone.model_copy(update={"bodies": [cube, tower]})
    top = seen_at(alone, 0.0, 0.0, 0.5)
    assert render(both).frames[0][top].astype(int).sum() < 0.7 * render(alone).frames[0][top].astype(int).sum()
    facing_sun = (2.0 / np.pi * np.sin(np.pi / 4) + 0.25) * decode_srgb(np.array(cube.rgb))
    assert render(alone).frames[0][top].tolist() == encode_srgb(facing_sun).tolist()


def test_what_lies_aside_of_the_light_is_darker() -> None:
    body = make_body(position=(0, 0, 0.25), size=(0.8, 0.8, 0.5))
    towards, away = (tiny_scene(1, bodies=[body], light=light(azimuth_deg=azimuth)) for azimuth in (-90.0, 90.0))
    front = seen_at(towards, 0.0, -0.4, 0.25)
    assert render(towards).frames[0][front].sum() > 1.5 * render(away).frames[0][front].sum()


def test_a_side_that_the_sun_does_not_reach_has_half_the_sky_and_half_the_floor_before_it() -> None:
    body = make_body(position=(0, 0, 0.25), size=(0.8, 0.8, 0.5))
    scene = tiny_scene(1, bodies=[body], light=light(azimuth_deg=90.0))
    floor = decode_srgb(GREY)[0, 0] * (2.0 / np.pi * np.sin(np.pi / 4) + 0.25)
    expected = encode_srgb(decode_srgb(np.array(body.rgb)) * (0.25 + floor) / 2)
    assert render(scene).frames[0][seen_at(scene, 0.0, -0.4, 0.25)].tolist() == expected.tolist()


def test_bodies_have_their_colours() -> None:
    scene = tiny_scene(1)
    pictures = render(scene)
    cube, cylinder = (pictures.frames[0][pictures.labels[0] == label].mean(axis=0) for label in (1, 2))
    assert cube.argmax() == 0
    assert cylinder.argmax() == 2
    assert cube[0] > 3 * cube[1:].max()


def test_a_texture_lies_as_the_scene_says() -> None:
    floor = Floor(texture="t", noun="t", tile_m=2.0, offset_m=(-1.0, -1.0), turn_deg=0.0)
    quarters = ((-0.5, 0.5), (0.5, 0.5), (-0.5, -0.5), (0.5, -0.5))  # upper left, upper right, lower left, lower right
    colours = np.array([(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0)], np.uint8)
    texture = colours.reshape(2, 2, 3).repeat(32, 0).repeat(32, 1)
    scene = tiny_scene(1, bodies=[], floor=floor, light=light())

    def shown(scene: Scene) -> list[list[bool]]:
        frame = render(scene, texture).frames[0]
        return [(frame[seen_at(scene, x, y)] > 60).tolist() for x, y in quarters]

    assert shown(scene) == (colours > 60).tolist()
    turned = scene.model_copy(update={"floor": floor.model_copy(update={"turn_deg": 90.0, "offset_m": (1.0, -1.0)})})
    # Counter-clockwise: what was at the upper right is now at the upper left.
    assert shown(turned) == (colours[[1, 3, 0, 2]] > 60).tolist()


def test_labels_are_those_of_the_ray_caster() -> None:
    scene = tiny_scene(5)
    labels = render(scene).labels
    for frame in range(5):
        assert np.array_equal(labels[frame], cast(scene.camera, scene.bodies, poses_at(glide(scene), frame)).labels)


def test_what_is_drawn_again_is_what_a_whole_frame_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [
        make_body("id1", position=(-0.9, 0.0, 0.25), velocity=(6.0, 1.0, 0.0), controlled=True),
        make_body("id2", "cylinder", rgb=BLUE, position=(0.5, 0.5, 0.25)),
        make_body("id3", position=(0.9, -0.5, 0.25), velocity=(-9.0, 0.0, 0.0), controlled=True),
    ]
    scene = tiny_scene(6, bodies=bodies, light=light(elevation_deg=30.0))
    quick = render(scene, checkerboard())

    def everything(painter: object, before: object, after: object) -> list[Window]:
        return [Window(0, 0, scene.camera.width, scene.camera.height)]

    monkeypatch.setattr(raster._Painter, "changed", everything)
    whole = render(scene, checkerboard())
    assert np.array_equal(quick.labels, whole.labels)
    # A window's rays are worth the same but for rounding.
    assert np.abs(quick.frames.astype(int) - whole.frames).max() <= 1


def test_a_body_that_moves_moves_its_pixels_and_nothing_far_from_it() -> None:
    scene = tiny_scene(3)
    pictures = render(scene, checkerboard())
    changed = (pictures.frames[2] != pictures.frames[0]).any(axis=2)
    assert changed[pictures.labels[0] == 1].mean() > 0.1
    columns = [np.nonzero(labels == 1)[1].mean() for labels in pictures.labels]
    assert columns[0] + 1 < columns[1] < columns[2] - 1
    assert not changed[:, -20:].any()


def test_frames_in_which_nothing_moves_are_equal() -> None:
    still = [body.model_copy(update={"velocity": (0.0, 0.0, 0.0)}) for body in tiny_scene().bodies]
    pictures = render(tiny_scene(3, bodies=still), checkerboard())
    assert (pictures.frames == pictures.frames[0]).all()
    assert (pictures.labels == pictures.labels[0]).all()


def test_windows_that_overlap_become_one_until_none_do() -> None:
    apart, touching = Window(0, 0, 10, 10), Window(10, 0, 20, 10)
    assert raster._merge([apart, touching]) == [apart, touching]
    bridge = Window(8, 5, 12, 8)
    assert raster._merge([apart, touching, bridge, Window(50, 50, 60, 60)]) == [(0, 0, 20, 10), (50, 50, 60, 60)]
    # The one around the first two overlaps the third only as a whole.
    assert raster._merge([Window(15, 15, 18, 18), apart, Window(9, 9, 16, 12), Window(8, 11, 9, 20)]) == [
        (0, 0, 18, 20)
    ]


def test_a_texture_finer_than_the_pixels_is_seen_as_its_mean() -> None:
    threads = ((np.indices((512, 512)).sum(axis=0) % 2) * 255).astype(np.uint8)
    scene = tiny_scene(1, bodies=[], light=light())
    scene = scene.model_copy(update={"floor": scene.floor.model_copy(update={"turn_deg": 20.0})})
    frame = render(scene, np.dstack([threads] * 3)).frames[0]
    assert frame.std() < 2


def test_a_camera_that_sees_the_sky_draws_it() -> None:
    camera = make_camera(target=(0, 20, 4))
    scene = tiny_scene(2, camera=camera, bodies=[make_body(position=(0, 0, 1.0), size=(1, 1, 2))], light=light())
    pictures = render(scene, checkerboard())
    assert pictures.frames[0][0, 0].tolist() == encode_srgb(np.full(3, 0.25)).tolist()
    assert (pictures.labels == 1).any()


def test_srgb_goes_there_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(encode_srgb(decode_srgb(levels)), levels)
    assert encode_srgb(np.array([-1.0, 0.0, 0.18, 1.0, 7.0])).tolist() == [0, 0, 118, 255, 255]


def test_the_suns_direction() -> None:
    assert sun_direction(light(azimuth_deg=90.0, elevation_deg=30.0)) == pytest.approx([0, np.sqrt(0.75), 0.5])
    assert sun_direction(light(elevation_deg=90.0)) == pytest.approx([0, 0, 1])
