# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw boxes of a scene's frames with Cycles: `python worker.py FOLDER PARENT_PID`, with Blender's Python.

    FOLDER/job.json      what to draw; see `blender_job` in renderer.py
    FOLDER/floor.png     the floor's texture
    FOLDER/pixels        output: red, green, blue in sRGB and the body's number (0: none), one byte each, box by box,
                         rows from top to bottom; named pixels.part until all are drawn
    FOLDER/report.json   output, written last: it marks the job as finished

This is a separate program because it imports bpy: it has bpy's licence and interpreter. It dies with its parent. Exit
status 3: no Blender here, or not the version that the job names.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

NO_BLENDER = 3  # exit status

try:
    import numpy as np
except ImportError as error:
    print(f"{sys.executable}: {error}", file=sys.stderr)
    sys.exit(NO_BLENDER)

CYLINDER_SIDES = 256
ROUGHNESS = 0.5  # of bodies; the floor is matt
SENSOR_MM = 36.0

JsonObject = dict[str, Any]

bpy: Any = None  # imported by main, after the check that the parent lives: the import takes a second

# --- Process ---------------------------------------------------------------------------------


def main() -> None:
    global bpy
    folder, parent_pid = Path(sys.argv[1]), int(sys.argv[2])
    die_with(parent_pid)
    job = json.loads((folder / "job.json").read_text())
    bpy = import_blender(job["bpy"])
    scene = BlenderScene(job, folder)
    with (folder / "pixels.part").open("wb") as file:  # its size shows the parent the progress
        for part in job["parts"]:
            file.write(scene.draw(part).tobytes())
            file.flush()
    os.replace(folder / "pixels.part", folder / "pixels")
    write_whole(folder / "report.json", json.dumps({"bpy": bpy.app.version_string}).encode())


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however that happens."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it had ended before
        sys.exit(f"the parent process {parent_pid} has ended")


def import_blender(version: str) -> ModuleType:
    try:
        with one_cpu():
            import bpy
    except ImportError as error:
        print(f"{sys.executable} cannot import bpy: {error}", file=sys.stderr)
        sys.exit(NO_BLENDER)
    if bpy.app.version_string != version:
        print(f"{sys.executable} has bpy {bpy.app.version_string}, not {version}", file=sys.stderr)
        sys.exit(NO_BLENDER)
    return bpy


@contextmanager
def one_cpu() -> Iterator[None]:
    """For the import: Blender starts a thread per visible CPU, and they waste half of the time busy waiting."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[os.getpid() % len(allowed)]})
    yield
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), allowed)


def write_whole(path: Path, content: bytes) -> None:
    aside = path.with_suffix(".part")
    aside.write_bytes(content)
    os.replace(aside, path)


# --- Scene -----------------------------------------------------------------------------------


class BlenderScene:
    """A scene in Blender; from box to box only poses and visibility change."""

    def __init__(self, job: JsonObject, folder: Path) -> None:
        scene = job["scene"]
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self._scene = bpy.context.scene
        self._width, self._height = scene["camera"]["width"], scene["camera"]["height"]
        self._trajectories = job["trajectories"]
        self._picture = folder / "picture.exr"
        set_up_cycles(self._scene, job)
        set_up_output(self._scene, self._picture)
        self._scene.render.resolution_x, self._scene.render.resolution_y = self._width, self._height
        self._scene.camera = self._link("camera", make_camera(scene["camera"]), camera_matrix(scene["camera"]))
        self._link("sun", make_sun(scene["light"], job["sun_angle_deg"]), sun_matrix(scene["light"]))
        self._scene.world = make_sky(scene["light"]["sky"])
        self._link("floor", make_floor(job["floor"], folder / "floor.png"))
        self._bodies = [self._link(body["instance_id"], make_body(body)) for body in scene["bodies"]]
        for number, body in enumerate(self._bodies, start=1):
            body.pass_index = number
            body.rotation_mode = "QUATERNION"

    def _link(self, name: str, data: Any, matrix: np.ndarray | None = None) -> Any:
        thing = bpy.data.objects.new(name, data)
        if matrix is not None:
            thing.matrix_world = matrix.T.tolist()  # Blender expects columns
        self._scene.collection.objects.link(thing)
        return thing

    def draw(self, part: JsonObject) -> np.ndarray:
        """(h, w, 4) uint8: red, green, blue, label inside one box of a frame."""
        for place, (body, trajectory) in enumerate(zip(self._bodies, self._trajectories, strict=True)):
            body.location = trajectory["position"][part["frame"]]
            body.rotation_quaternion = trajectory["rotation"][part["frame"]]
            body.hide_render = place not in part["bodies"]
        left, top, right, bottom = part["box"]
        render = self._scene.render
        # Blender truncates: half a pixel more keeps rounding from losing a whole one.
        render.border_min_x, render.border_max_x = (left + 0.5) / self._width, (right + 0.5) / self._width
        render.border_min_y = (self._height - bottom + 0.5) / self._height
        render.border_max_y = (self._height - top + 0.5) / self._height
        bpy.ops.render.render(write_still=True)
        values = read_exr(self._picture)
        if values.shape != (bottom - top, right - left, 4):
            raise RuntimeError(f"Cycles drew {values.shape} for the box {part['box']}")
        return np.dstack([encode_srgb(values[..., :3]), values[..., 3:].astype(np.uint8)])


def set_up_cycles(scene: Any, job: JsonObject) -> None:
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    render.threads_mode, render.threads = "FIXED", 1
    render.use_persistent_data = True
    render.use_border = render.use_crop_to_border = True
    cycles.device = "CPU"
    cycles.samples = job["samples"]
    cycles.use_adaptive_sampling = False
    cycles.seed, cycles.use_animated_seed = 0, False  # the same noise in every frame: no flicker
    cycles.use_light_tree = False  # the light tree helps with many lights only
    cycles.use_denoising = job["denoise"]
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.denoising_prefilter = "FAST"
    cycles.denoising_quality = job["denoise_quality"]


def set_up_output(scene: Any, path: Path) -> None:
    """Make renders write linear colours, with the body's number as alpha, to one uncompressed EXR file."""
    bpy.context.view_layer.use_pass_object_index = True
    tree = bpy.data.node_groups.new("output", "CompositorNodeTree")
    tree.interface.new_socket(name="Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    layers = tree.nodes.new("CompositorNodeRLayers")
    alpha = tree.nodes.new("CompositorNodeSetAlpha")
    alpha.inputs["Type"].default_value = "Replace Alpha"
    tree.links.new(layers.outputs["Image"], alpha.inputs["Image"])
    tree.links.new(layers.outputs["Object Index"], alpha.inputs["Alpha"])
    tree.links.new(alpha.outputs["Image"], tree.nodes.new("NodeGroupOutput").inputs["Image"])
    scene.compositing_node_group = tree
    scene.render.filepath = str(path)
    picture = scene.render.image_settings
    picture.file_format, picture.color_mode, picture.color_depth = "OPEN_EXR", "RGBA", "32"
    picture.exr_codec = "NONE"


def read_exr(path: Path) -> np.ndarray:
    """(h, w, 4) float32, rows from top to bottom."""
    image = bpy.data.images.load(str(path))
    image.alpha_mode, image.colorspace_settings.name = "CHANNEL_PACKED", "Non-Color"
    width, height = image.size
    values = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    bpy.data.images.remove(image)
    path.unlink()
    return values.reshape(height, width, 4)[::-1]


# --- Things ----------------------------------------------------------------------------------


def make_camera(camera: JsonObject) -> Any:
    (focal_px, skew, centre_x), (_, focal_y_px, centre_y), _ = camera["intrinsics"]
    if skew != 0 or focal_px != focal_y_px:
        raise ValueError(f"needs a camera with square pixels and no skew, got {camera['intrinsics']}")
    width, height = camera["width"], camera["height"]
    data = bpy.data.cameras.new("camera")
    data.sensor_fit, data.sensor_width = "HORIZONTAL", SENSOR_MM
    data.lens = focal_px / width * SENSOR_MM
    data.shift_x, data.shift_y = (width / 2 - centre_x) / width, (centre_y - height / 2) / width
    data.clip_start, data.clip_end = 0.01, 1e5
    return data


def camera_matrix(camera: JsonObject) -> np.ndarray:
    """(4, 4): from Blender's camera, x right, y up, z back, to the world."""
    rotation = np.array(camera["rotation"])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.T * (1, -1, -1)
    matrix[:3, 3] = -rotation.T @ np.array(camera["translation"])
    return matrix


def make_sun(light: JsonObject, angle_deg: float) -> Any:
    data = bpy.data.lights.new("sun", "SUN")
    data.energy, data.angle = light["sun"], np.deg2rad(angle_deg)
    return data


def sun_matrix(light: JsonObject) -> np.ndarray:
    """(4, 4): the rotation that turns z towards the sun; the light shines along -z."""
    azimuth, polar = np.deg2rad(light["azimuth_deg"]), np.deg2rad(90 - light["elevation_deg"])
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [np.cos(azimuth) * np.cos(polar), -np.sin(azimuth), np.cos(azimuth) * np.sin(polar)],
        [np.sin(azimuth) * np.cos(polar), np.cos(azimuth), np.sin(azimuth) * np.sin(polar)],
        [-np.sin(polar), 0, np.cos(polar)],
    ]
    return matrix


def make_sky(radiance: float) -> Any:
    world = bpy.data.worlds.new("sky")
    sky = world.node_tree.nodes["Background"]
    sky.inputs["Color"].default_value = (1, 1, 1, 1)
    sky.inputs["Strength"].default_value = radiance
    return world


def make_floor(floor: JsonObject, picture: Path) -> Any:
    mesh = bpy.data.meshes.new("floor")
    mesh.from_pydata([(x, y, 0) for x, y in floor["corners"]], [], [(0, 1, 2, 3)])
    layer = mesh.uv_layers.new()
    for corner, uv in zip(layer.data, floor["uv"], strict=True):
        corner.uv = uv
    nodes, links = empty_material(mesh)
    texture = nodes.new("ShaderNodeTexImage")
    texture.image = bpy.data.images.load(str(picture))
    surface = nodes.new("ShaderNodeBsdfDiffuse")
    links.new(texture.outputs["Color"], surface.inputs["Color"])
    links.new(surface.outputs["BSDF"], nodes.new("ShaderNodeOutputMaterial").inputs["Surface"])
    return mesh


def make_body(body: JsonObject) -> Any:
    mesh = bpy.data.meshes.new(body["instance_id"])
    vertices, faces = box(body["size"]) if body["shape"] == "cube" else cylinder(body["size"])
    mesh.from_pydata(vertices.tolist(), [], faces)
    if body["shape"] == "cylinder":
        round_off(mesh)
    nodes, links = empty_material(mesh)
    surface = nodes.new("ShaderNodeBsdfPrincipled")
    surface.inputs["Base Color"].default_value = (*decode_srgb(np.array(body["rgb"])), 1)
    surface.inputs["Roughness"].default_value = ROUGHNESS
    links.new(surface.outputs["BSDF"], nodes.new("ShaderNodeOutputMaterial").inputs["Surface"])
    return mesh


def empty_material(mesh: Any) -> tuple[Any, Any]:
    material = bpy.data.materials.new(mesh.name)
    mesh.materials.append(material)
    material.node_tree.nodes.clear()
    return material.node_tree.nodes, material.node_tree.links


def box(size: list[float]) -> tuple[np.ndarray, list[list[int]]]:
    """Vertices (8, 3) in m and faces of a box around the origin."""
    corners = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return corners * size, faces


def cylinder(size: list[float]) -> tuple[np.ndarray, list[list[int]]]:
    """Vertices (2 CYLINDER_SIDES, 3) in m and faces, caps first, of a prism with the circle's area."""
    step = 2 * np.pi / CYLINDER_SIDES
    radius = 0.5 * np.sqrt(step / np.sin(step))
    angle = step * np.arange(CYLINDER_SIDES)
    ring = radius * np.column_stack([np.cos(angle), np.sin(angle)])
    vertices = np.concatenate([np.insert(ring, 2, z, axis=1) for z in (-0.5, 0.5)])
    low = list(range(CYLINDER_SIDES))
    high = [k + CYLINDER_SIDES for k in low]
    sides = [[k, (k + 1) % CYLINDER_SIDES, high[(k + 1) % CYLINDER_SIDES], high[k]] for k in low]
    return vertices * size, [low[::-1], high, *sides]


def round_off(mesh: Any) -> None:
    """Shade a cylinder's side smoothly; the caps (the first two faces) stay flat."""
    for number, face in enumerate(mesh.polygons):
        face.use_smooth = number >= 2
    rims = {key for face in list(mesh.polygons)[:2] for key in face.edge_keys}
    for edge in mesh.edges:
        edge.use_edge_sharp = edge.key in rims


# --- Colours ---------------------------------------------------------------------------------


def decode_srgb(srgb: np.ndarray) -> np.ndarray:
    """0..1 -> linear 0..1 (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


# Code k starts half way between k - 1 and k.
THRESHOLDS = decode_srgb((np.arange(1, 256) - 0.5) / 255).astype(np.float32)


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear -> uint8 by Blender's view transform "Standard", clipped to 0..1."""
    return np.searchsorted(THRESHOLDS, linear, side="right").astype(np.uint8)


if __name__ == "__main__":
    main()
