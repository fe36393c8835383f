"""tasks.media.cast_rays: against projected outlines, which know nothing of rays."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from schemas.scene import Body, Camera, Quaternion
from tasks.media.cast_rays import RayHits, Solid, Window, cast, poses_at, rotation_matrix, zoom
from tests.support.scenes import glide, make_body, make_camera, tiny_scene

UPRIGHT: Quaternion = (1.0, 0.0, 0.0, 0.0)
TILTED: Quaternion = tuple((np.array([0.8, 0.3, -0.4, 0.2]) / np.linalg.norm([0.8, 0.3, -0.4, 0.2])).tolist())


def see(*bodies: Body, camera: Camera | None = None) -> RayHits:
    return cast(camera or make_camera(), bodies, [(body.position, body.rotation) for body in bodies])


def outline_mask(camera: Camera, body: Body) -> np.ndarray:
    """(H, W) bool: the pixels whose middles lie in the convex hull of the body's projected edges."""
    w, d, h = np.array(body.size) / 2
    if body.shape == "cube":
        points = np.array(list(itertools.product((-w, w), (-d, d), (-h, h))))
    else:
        turn = np.linspace(0, 2 * math.pi, 20_000, endpoint=False)
        rim = np.stack([w * np.cos(turn), w * np.sin(turn)], axis=1)
        points = np.concatenate([np.insert(rim, 2, z, axis=1) for z in (-h, h)])
    image, _ = camera.project(points @ rotation_matrix(body.rotation).T + np.array(body.position))
    hull = cv2.convexHull(image.astype(np.float32))[:, 0].astype(float)
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    inside = np.zeros((camera.height, camera.width), bool)
    left, top, right, bottom = [*np.floor(hull.min(0)).astype(int), *np.ceil(hull.max(0)).astype(int)]
    part = slice(max(0, top), max(0, bottom)), slice(max(0, left), max(0, right))
    edges = list(zip(hull, np.roll(hull, -1, axis=0), strict=True))
    sides = [(b[0] - a[0]) * (y[part] - a[1]) - (b[1] - a[1]) * (x[part] - a[0]) for a, b in edges]
    inside[part] = np.all(np.array(sides) > 0, axis=0) | np.all(np.array(sides) < 0, axis=0)
    return inside


@pytest.mark.parametrize("shape", ["cube", "cylinder"])
@pytest.mark.parametrize("rotation", [UPRIGHT, TILTED], ids=["upright", "tilted"])
@pytest.mark.parametrize("x", [0.1, -1.9, 2.05], ids=["inside", "cut by the left edge", "cut by the right edge"])
def test_labels_are_the_pixels_whose_middles_lie_in_the_outline(shape: str, rotation: Quaternion, x: float) -> None:
    camera = make_camera()
    body = make_body(shape=shape, position=(x, 0.2, 0.8), size=(0.6, 0.6, 0.8), rotation=rotation)
    labels = see(body, camera=camera).labels
    assert labels.any()
    # The outline's single precision is worth about 1e-5 px.
    assert (labels.astype(bool) != outline_mask(camera, body)).sum() == 0


def test_the_nearer_body_hides_the_farther_whatever_their_order() -> None:
    near, far = make_body("id1", position=(0, -0.4, 0.25)), make_body("id2", "cylinder", position=(0.1, 0.4, 0.25))
    one, other = see(near, far), see(far, near)
    assert np.array_equal(one.labels == 1, other.labels == 2)
    assert np.array_equal(one.labels == 2, other.labels == 1)
    assert np.array_equal(one.labels == 1, see(near).labels == 1)
    assert one.silhouette_px == [see(near).visible_px[0], see(far).visible_px[0]]
    assert 0 < one.visible_px[1] < one.silhouette_px[1]


def test_what_is_below_the_floor_is_not_seen() -> None:
    buried, sunk = make_body(position=(0, 0, -0.3)), make_body(position=(0, 0, 0.0))
    assert see(buried).visible_px == [0]
    halved = make_body(position=(0, 0, 0.125), size=(0.5, 0.5, 0.25))
    assert np.array_equal(see(sunk).labels, see(halved).labels)


def test_an_empty_scene_is_all_floor() -> None:
    hits = see()
    assert not hits.labels.any()
    assert hits.visible_px == hits.silhouette_px == []
    assert np.allclose(hits.points[2], 0)


@pytest.mark.parametrize("position", [(0, -9, 0.25), (0, -4, 6.0), (30, 0, 0.25)], ids=["behind", "above", "aside"])
def test_a_body_out_of_view_has_no_pixel(position: tuple[float, float, float]) -> None:
    hits = see(make_body(position=position))
    assert hits.visible_px == [0]
    assert hits.silhouette_px == [0]


def test_a_body_that_reaches_behind_the_camera_is_seen_where_it_is_before_it() -> None:
    camera = make_camera(position=(0, -4, 1), target=(0, 4, 0.9))
    beam = make_body(position=(0, -4, 0.2), size=(0.2, 12.0, 0.4))
    labels = see(beam, camera=camera).labels
    assert labels[-1, camera.width // 2] == 1
    assert labels[0].max() == 0


def test_the_inside_of_a_body_is_not_seen() -> None:
    assert see(make_body(position=(0, -4, 3), size=(1, 1, 1))).visible_px == [0]


def test_points_lie_on_the_surfaces_and_on_the_rays() -> None:
    scene = tiny_scene()
    hits = cast(scene.camera, scene.bodies, poses_at(glide(scene), 0))
    image, depth = scene.camera.project(np.moveaxis(hits.points, 0, -1))
    rows, columns = np.indices(hits.labels.shape)
    assert np.allclose(image, np.stack([columns + 0.5, rows + 0.5], axis=-1), atol=1e-6)
    assert np.allclose(depth, hits.depth)
    cube, cylinder = (hits.points[:, hits.labels == label] for label in (1, 2))
    cube, cylinder = (
        points - np.array(body.position)[:, None] for points, body in zip((cube, cylinder), scene.bodies, strict=True)
    )
    assert np.allclose(np.abs(cube).max(axis=0), 0.25)
    radius, height = np.hypot(cylinder[0], cylinder[1]), np.abs(cylinder[2])
    assert np.allclose(np.maximum(radius, height), 0.25)


@pytest.mark.parametrize("rotation", [UPRIGHT, TILTED], ids=["upright", "tilted"])
def test_normals_have_length_one_and_face_the_camera(rotation: Quaternion) -> None:
    camera = make_camera()
    cube = make_body(position=(-0.6, 0, 0.6), rotation=rotation)
    cylinder = make_body("id2", "cylinder", position=(0.6, 0, 0.6), rotation=rotation)
    hits = see(cube, cylinder, camera=camera)
    seen = hits.labels > 0
    assert np.allclose(np.linalg.norm(hits.normals, axis=0), 1)
    to_camera = camera.position[:, None] - hits.points[:, seen]
    assert ((hits.normals[:, seen] * to_camera).sum(axis=0) > -1e-9).all()
    axes = rotation_matrix(rotation)
    on_cube = axes.T @ hits.normals[:, hits.labels == 1]
    assert np.allclose(np.sort(np.abs(on_cube), axis=0), [[0], [0], [1]])
    on_cylinder = axes.T @ hits.normals[:, hits.labels == 2]
    assert (np.isclose(on_cylinder[2], 0) | np.isclose(np.abs(on_cylinder[2]), 1)).all()
    assert np.isclose(on_cylinder[2], 0).any()
    assert np.isclose(np.abs(on_cylinder[2]), 1).any()


def test_a_ray_enters_and_leaves_where_it_should() -> None:
    cylinder = Solid.of(make_body(shape="cylinder", size=(2, 2, 4)), ((0.0, 0.0, 2.0), UPRIGHT))
    origins = np.array([[-3, 0, 2], [0, 0, 9], [-3, 0.6, 2], [-3, 1.1, 2], [0, 0, 2], [2, 0, 0]], float).T
    directions = np.array([[1, 0, 0], [0, 0, -1], [1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]], float).T
    near, far = cylinder.span(origins, directions)
    assert near[:3] == pytest.approx([2, 5, 2.2])
    assert far[:3] == pytest.approx([4, 9, 3.8])
    assert (near > far).tolist() == [False, False, False, True, False, True]
    assert (near[4], far[4]) == pytest.approx((-2, 2))


def test_the_sky_is_no_floor() -> None:
    hits = see(camera=make_camera(target=(0, 20, 4)))
    assert np.isinf(hits.depth[0]).all()
    assert np.isfinite(hits.depth[-1]).all()


def test_a_window_of_the_picture_shows_the_same_pixels() -> None:
    scene, window = tiny_scene(), Window(31, 17, 88, 60)
    poses = poses_at(glide(scene), 1)
    whole = cast(scene.camera, scene.bodies, poses).labels
    part = cast(zoom(scene.camera, 1, window), scene.bodies, poses).labels
    assert np.array_equal(part, whole[17:60, 31:88])


@pytest.mark.parametrize("scale", [0.25, 0.5, 3])
def test_pixel_counts_grow_with_the_square_of_the_scale(scale: float) -> None:
    scene = tiny_scene(camera=make_camera(480, 320))
    poses = poses_at(glide(scene), 0)
    scaled = cast(zoom(scene.camera, scale), scene.bodies, poses)
    assert scaled.labels.shape == (320 * scale, 480 * scale)
    expected = np.array(cast(scene.camera, scene.bodies, poses).visible_px) * scale**2
    assert scaled.visible_px == pytest.approx(expected, rel=0.05)


def test_more_bodies_than_a_label_can_name_are_refused() -> None:
    with pytest.raises(ValueError, match="256 bodies"):
        see(*[make_body(f"id{n}") for n in range(256)])


def test_same_scene_same_labels_in_any_thread() -> None:
    scene = tiny_scene()
    poses = poses_at(glide(scene), 2)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: cast(scene.camera, scene.bodies, poses).points.tobytes(), range(2))
    assert one == other == cast(scene.camera, scene.bodies, poses).points.tobytes()
