"""What every renderer owes the stage, however beautiful its pictures are."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from schemas.scene import Scene
from schemas.simulation import Rendering
from tasks.backends.raster import RasterRenderer
from tasks.media.cast_rays import cast, poses_at
from tasks.render_clips import Renderer
from tests.support.scenes import checkerboard, glide, make_body, make_camera, tiny_scene
from tests.support.told import told_by


@pytest.fixture(scope="module", params=["raster", pytest.param("cycles", marks=pytest.mark.blender)])
def renderer(request: pytest.FixtureRequest) -> Renderer:
    if request.param == "raster":
        return RasterRenderer()
    from tasks.backends.cycles import CyclesConfig
    from tasks.backends.cycles.renderer import CyclesRenderer

    python = os.environ.get("TRIPTYCH_BLENDER_PYTHON")
    if not python:
        pytest.fail("TRIPTYCH_BLENDER_PYTHON names no Python with Blender in it")
    return CyclesRenderer(CyclesConfig(python=Path(python)))


def render(renderer: Renderer, scene: Scene) -> Rendering:
    return renderer.render(scene, glide(scene), checkerboard())


def true_labels(scene: Scene) -> np.ndarray:
    """(T, H, W) by exact intersection."""
    trajectories = glide(scene)
    return np.stack([cast(scene.camera, scene.bodies, poses_at(trajectories, t)).labels for t in range(scene.n_frames)])


@pytest.mark.parametrize(("n_frames", "width", "height"), [(3, 96, 64), (1, 64, 80), (2, 75, 51)])
def test_one_frame_and_one_label_map_a_pose(renderer: Renderer, n_frames: int, width: int, height: int) -> None:
    pictures = render(renderer, tiny_scene(n_frames, camera=make_camera(width, height)))
    assert pictures.frames.shape == (n_frames, height, width, 3)
    assert pictures.labels.shape == (n_frames, height, width)
    assert pictures.frames.dtype == pictures.labels.dtype == np.uint8


def test_the_ray_caster_tells_each_frame() -> None:
    scene = tiny_scene(3)
    told = told_by(RasterRenderer().render, scene, glide(scene), checkerboard())
    assert told == [f"{n} of 3 frames" for n in range(4)]


def test_a_pixel_is_a_bodys_if_its_middle_is(renderer: Renderer) -> None:
    tilted = (0.9, 0.3, 0.2, float(np.sqrt(1 - 0.81 - 0.09 - 0.04)))
    bodies = [
        make_body("id1", position=(-0.6, 0.0, 0.25), velocity=(3.0, 0.5, 0.0), controlled=True),
        make_body("id2", "cylinder", rgb=(0.1, 0.2, 0.7), position=(0.2, 0.5, 0.3), size=(0.5, 0.5, 0.6)),
        make_body("id3", "cylinder", rgb=(0.8, 0.7, 0.1), position=(0.6, -0.5, 0.5), rotation=tilted),
        make_body("id4", rgb=(0.9, 0.9, 0.9), position=(1.6, 0.2, 0.6), rotation=tilted),  # cut by the picture's edge
    ]
    scene = tiny_scene(3, bodies=bodies, camera=make_camera(240, 160))
    labels, truth = render(renderer, scene).labels, true_labels(scene)
    assert set(np.unique(truth)) == {0, 1, 2, 3, 4}
    # Single precision, and a cylinder made of flat faces, decide some pixels at the very edge otherwise.
    assert (labels != truth).mean() < 2e-4
    edges = (truth[:, 1:, 1:] != truth[:, :-1, 1:]) | (truth[:, 1:, 1:] != truth[:, 1:, :-1])
    assert edges.mean() > 100 * (labels != truth).mean(), "no body is shifted by a hundredth of a pixel"


def test_a_hidden_body_has_no_pixel_and_one_that_leaves_has_none_left(renderer: Renderer) -> None:
    bodies = [
        make_body("id1", position=(0.0, -1.0, 0.6), size=(1.0, 0.2, 1.2)),
        make_body("id2", "cylinder", rgb=(0.1, 0.2, 0.7), position=(0.0, 0.1, 0.1), size=(0.2, 0.2, 0.2)),
        make_body("id3", rgb=(0.1, 0.6, 0.2), position=(1.7, 0.0, 0.25), velocity=(60.0, 0.0, 0.0), controlled=True),
    ]
    labels = render(renderer, tiny_scene(2, bodies=bodies)).labels
    assert not (labels == 2).any()
    assert (labels[0] == 3).any()
    assert not (labels[1] == 3).any()


def test_a_scene_without_bodies_shows_its_floor(renderer: Renderer) -> None:
    pictures = render(renderer, tiny_scene(2, bodies=[]))
    assert not pictures.labels.any()
    assert pictures.frames[0].std() > 5
    assert np.array_equal(pictures.frames[0], pictures.frames[1])


def test_what_the_labels_name_has_the_bodys_colour(renderer: Renderer) -> None:
    pictures = render(renderer, tiny_scene(1))
    cube, cylinder = (pictures.frames[0][pictures.labels[0] == label].mean(axis=0) for label in (1, 2))
    assert cube[0] > 1.5 * cube[1:].max()
    assert cylinder[2] > 1.5 * cylinder[:2].max()


def test_a_shadow_makes_the_floor_darker(renderer: Renderer) -> None:
    scene = tiny_scene(1, bodies=[make_body(position=(0, 0, 0.25))])
    empty = scene.model_copy(update={"bodies": []})
    with_cube, without = (render(renderer, s) for s in (scene, empty))
    floor = with_cube.labels[0] == 0
    change = with_cube.frames[0].astype(float).mean(axis=2) - without.frames[0].astype(float).mean(axis=2)
    darker, brighter = (change[floor] < -15).sum(), (change[floor] > 15).sum()
    assert darker > 50
    assert brighter < darker / 10, "only at the cube's edges, where pixels show some of it"


def test_where_nothing_moves_frames_are_equal(renderer: Renderer) -> None:
    bodies = [body.model_copy(update={"velocity": (0.0, 0.0, 0.0)}) for body in tiny_scene().bodies]
    pictures = render(renderer, tiny_scene(3, bodies=bodies))
    assert (pictures.frames == pictures.frames[0]).all()
    assert (pictures.labels == pictures.labels[0]).all()


def test_same_scene_same_bytes_in_any_thread(renderer: Renderer) -> None:
    scene = tiny_scene(2)
    first = render(renderer, scene)
    with ThreadPoolExecutor(2) as pool:
        others = list(pool.map(lambda _: render(renderer, scene), range(2)))
    for other in others:
        assert other.frames.tobytes() == first.frames.tobytes()
        assert other.labels.tobytes() == first.labels.tobytes()


def test_the_texture_is_left_alone(renderer: Renderer) -> None:
    scene, floor = tiny_scene(1), checkerboard()
    floor.setflags(write=False)
    renderer.render(scene, glide(scene), floor)
    assert np.array_equal(floor, checkerboard())


def test_it_says_what_it_is(renderer: Renderer) -> None:
    assert renderer.identity["backend"] in ("raster", "cycles")
    assert renderer.identity["model"]
    assert all(isinstance(value, str) for value in renderer.identity.values())
    assert renderer.concurrency >= 1
