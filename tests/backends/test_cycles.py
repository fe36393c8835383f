"""tasks.backends.cycles: what is drawn of a clip, a process that may fail in every way, and (marker) Blender itself."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import venv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.outcome import RowFailed, ServiceDown
from schemas.scene import Floor, Light, Scene, Trajectory
from schemas.simulation import Rendering
from tasks.backends.cycles import CyclesConfig, process
from tasks.backends.cycles.plan import RenderPlan, compose, lay_over, merge, plan_clip
from tasks.backends.cycles.renderer import CyclesRenderer, blender_job, interpreter, usable_cpus
from tasks.backends.raster import RasterRenderer, decode_srgb
from tasks.media.cast_rays import Window, cast, poses_at, zoom
from tests.support.scenes import BLUE, checkerboard, glide, make_body, make_camera, tiny_scene
from tests.support.told import told_by

blender = pytest.mark.blender

WORKER = process.WORKER
FLOOR = checkerboard()


def crossing(n_frames: int = 6, **changes: Any) -> Scene:
    """Two bodies pass each other in front of a third, one of them leaves the picture, and one lies on its side."""
    bodies = [
        make_body("id1", position=(-0.9, 0.0, 0.25), velocity=(6.0, 1.0, 0.0), controlled=True),
        make_body("id2", "cylinder", rgb=BLUE, position=(0.3, 0.7, 0.25)),
        make_body("id3", position=(1.0, -0.5, 0.25), velocity=(-9.0, 0.0, 0.0), controlled=True),
        make_body("id4", "cylinder", position=(-0.9, 0.8, 0.2), size=(0.4, 0.4, 0.6), rotation=(0.64, 0.64, 0.3, 0.3)),
    ]
    return tiny_scene(n_frames, bodies=bodies, **changes)


def stopping(scene: Scene, last: int) -> list[Trajectory]:
    """Bodies that stand still from frame `last` on."""
    return [
        path.model_copy(
            update={"position": [path.position[min(f, last)] for f in range(scene.n_frames)]},
        )
        for path in glide(scene)
    ]


# --- What is drawn ---------------------------------------------------------------------------


def cast_parts(plan: RenderPlan, scene: Scene, paths: list[Trajectory]) -> np.ndarray:
    """The pixels that an exact renderer would give for a plan; every body has one colour."""
    parts = []
    for part in plan.parts:
        poses = poses_at(paths, part.frame)
        hits = cast(scene.camera, [scene.bodies[k] for k in part.bodies], [poses[k] for k in part.bodies])
        labels = np.array([0, *(k + 1 for k in part.bodies)], np.uint8)[hits.labels]
        inside = labels[part.box.top : part.box.bottom, part.box.left : part.box.right]
        parts.append(np.stack([inside * 50, inside * 20, inside, inside], axis=-1).reshape(-1, 4))
    return np.concatenate(parts)


@pytest.mark.parametrize("surroundings", [0.0, 0.25])
@pytest.mark.parametrize(
    "scene", [crossing(), tiny_scene(5), tiny_scene(3, bodies=[])], ids=["crossing", "two", "none"]
)
def test_labels_of_a_clip_in_parts_are_exact(scene: Scene, surroundings: float) -> None:
    paths = glide(scene)
    plan = plan_clip(scene, paths, CyclesConfig(surroundings=surroundings))
    pictures = compose(plan, cast_parts(plan, scene, paths))
    for frame, labels in enumerate(pictures.labels):
        assert np.array_equal(labels, cast(scene.camera, scene.bodies, poses_at(paths, frame)).labels), frame
    # No body is cut by an edge, so that no colour is blended either.
    assert np.array_equal(pictures.frames[..., 2], pictures.labels)
    assert pictures.frames.shape == (*pictures.labels.shape, 3)


def test_what_rests_is_drawn_once() -> None:
    scene = crossing()
    still = [body.model_copy(update={"velocity": (0.0, 0.0, 0.0)}) for body in scene.bodies]
    scene = scene.model_copy(update={"bodies": still})
    plan = plan_clip(scene, glide(scene), CyclesConfig())
    assert [part.bodies for part in plan.parts] == [(0, 1, 2, 3)]
    assert plan.frames == [[]] * 6


def test_what_comes_to_rest_is_not_drawn_again() -> None:
    scene = tiny_scene(8)
    plan = plan_clip(scene, stopping(scene, last=3), CyclesConfig())
    assert [part.frame for part in plan.parts] == [0, 0, 1, 2, 3]
    assert plan.frames == [[1], [2], [3], [4], [4], [4], [4], [4]]


def test_a_box_is_drawn_again_when_anything_in_it_moves() -> None:
    # The first cube rests from frame 1 on; the other comes into its box later.
    bodies = [
        make_body("id1", position=(-0.4, 0.0, 0.25), velocity=(1.0, 0.0, 0.0)),
        make_body("id2", position=(1.6, 0.0, 0.25), velocity=(-4.0, 0.0, 0.0)),
    ]
    scene = tiny_scene(9, bodies=bodies)
    first, second = stopping(scene, last=1)[0], glide(scene)[1]
    plan = plan_clip(scene, [first, second], CyclesConfig())
    pictures = compose(plan, cast_parts(plan, scene, [first, second]))
    for frame, labels in enumerate(pictures.labels):
        assert np.array_equal(labels, cast(scene.camera, bodies, poses_at([first, second], frame)).labels), frame


def test_a_box_is_drawn_again_for_another_body_in_the_same_place() -> None:
    # Two cubes of one size take turns at a place; the other one is out of the picture.
    bodies = [make_body("id1"), make_body("id2", rgb=BLUE)]
    scene = tiny_scene(2, bodies=bodies)
    here, away = (0.0, 0.0, 0.25), (9.0, 0.0, 0.25)
    paths = [
        path.model_copy(update={"position": position})
        for path, position in zip(glide(scene), ([here, away], [away, here]), strict=True)
    ]
    plan = plan_clip(scene, paths, CyclesConfig())
    labels = compose(plan, cast_parts(plan, scene, paths)).labels
    assert [np.unique(frame).tolist() for frame in labels] == [[0, 1], [0, 2]]


def test_whole_frames_are_drawn_if_asked() -> None:
    scene = crossing()
    plan = plan_clip(scene, glide(scene), CyclesConfig(whole_frames=True))
    assert [part.box for part in plan.parts] == [Window(0, 0, 120, 80)] * 6
    assert plan.n_pixels == 6 * 120 * 80


def test_a_body_that_a_mover_shades_or_hides_is_not_cut_by_the_edge_of_a_part() -> None:
    scene = crossing()
    plan = plan_clip(scene, glide(scene), CyclesConfig(surroundings=0.0))
    resting = cast(scene.camera, [scene.bodies[1]], [poses_at(glide(scene), 0)[1]]).labels > 0
    for part in plan.parts[1:]:
        inside = resting[part.box.top : part.box.bottom, part.box.left : part.box.right].sum()
        hidden = cast(scene.camera, scene.bodies, poses_at(glide(scene), part.frame)).labels[resting] != 2
        assert inside == resting.sum() or not hidden.any()


def test_boxes_are_merged_where_one_costs_less() -> None:
    near, far = [Window(0, 0, 60, 60), Window(50, 0, 110, 60)], Window(500, 300, 560, 360)
    assert merge(near) == [Window(0, 0, 110, 60)]
    assert sorted(merge([*near, far])) == [Window(0, 0, 110, 60), far]
    assert merge([near[0], far]) == [near[0], far]
    assert merge([]) == []
    # An L: the box around it would be mostly empty.
    corner = [Window(0, 0, 400, 20), Window(0, 0, 20, 400)]
    assert merge(corner) == corner


def test_an_edge_blends_but_not_at_the_edge_of_the_picture() -> None:
    picture = np.zeros((40, 60, 4), np.uint8)
    lay_over(picture, np.full((40, 30, 4), 200, np.uint8), Window(0, 0, 30, 40), feather_px=8)
    assert (picture[:, :22, :3] == 200).all()
    across = picture[20, 22:30, 0].astype(int)
    assert (np.diff(across) < 0).all()
    assert across[0] > 180
    assert across[-1] < 20
    assert (picture[:, :30, 3] == 200).all()  # labels do not
    assert not picture[:, 30:].any()


def test_the_same_again_changes_nothing() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 4), np.uint8)
    before = picture.copy()
    lay_over(picture, before[10:30, 5:50], Window(5, 10, 50, 30), feather_px=8)
    assert np.array_equal(picture, before)


# --- The process -----------------------------------------------------------------------------

JOB = {"bpy": "5.0.1", "scene": {"bodies": [{}, {}]}, "parts": [{"frame": 0, "box": [0, 0, 4, 3], "bodies": [0]}]}
REPORT = '{"bpy": "5.0.1"}'

StandIn = Callable[[str], Path]


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    """A program in place of Blender's Python, from Python code; `folder` is where it reads and writes."""

    def write(code: str) -> Path:
        program = tmp_path / "python"
        head = f"#!{sys.executable}\nimport os, sys, time\nfrom pathlib import Path\nfolder = Path(sys.argv[3])\n"
        program.write_text(head + textwrap.dedent(code))
        program.chmod(0o755)
        return program

    return write


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where scratch folders are made; each test sees to it that they are gone."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def failure(program: Path, scratch: Path, timeout_s: float = 30.0) -> RowFailed:
    with pytest.raises(RowFailed) as caught:
        process.draw(program, JOB, FLOOR, timeout_s)
    assert caught.value.retryable
    assert list(scratch.iterdir()) == []
    return caught.value


def test_what_the_process_writes_is_what_comes_back(stand_in: StandIn, scratch: Path) -> None:
    program = stand_in(f"""
        assert (folder / "job.json").is_file() and (folder / "floor.png").is_file()
        (folder / "pixels").write_bytes(bytes([7, 8, 9, 2]) * 12)
        (folder / "report.json").write_text({REPORT!r})
    """)
    assert process.draw(program, JOB, FLOOR, timeout_s=30).tolist() == [[7, 8, 9, 2]] * 12
    assert list(scratch.iterdir()) == []


def test_how_far_the_process_is_is_told(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOOK_EVERY_S", 0.02)
    program = stand_in(f"""
        for n_pixels in (0, 11, 12):
            (folder / "pixels.part").write_bytes(bytes([7, 8, 9, 2]) * n_pixels)
            time.sleep(0.5)
        os.replace(folder / "pixels.part", folder / "pixels")
        (folder / "report.json").write_text({REPORT!r})
    """)
    told = told_by(process.draw, program, JOB, FLOOR, timeout_s=30)
    assert sorted(set(told)) == ["0 of 1 parts of frames", "1 of 1 parts of frames"]


def test_a_crash_fails_the_row_and_tells_the_last_words(stand_in: StandIn, scratch: Path) -> None:
    error = failure(stand_in("print('x' * 5000); sys.exit('the mesh is empty')"), scratch)
    assert error.reason == "renderer_died"
    assert "exit status 1" in error.detail
    assert error.detail.endswith("the mesh is empty")
    assert len(error.detail) < 2500


def test_a_kill_fails_the_row(stand_in: StandIn, scratch: Path) -> None:
    error = failure(stand_in("os.kill(os.getpid(), 9)"), scratch)
    assert error.reason == "renderer_died"
    assert "signal 9" in error.detail


def test_a_process_that_hangs_is_killed_with_all_that_it_started(
    stand_in: StandIn, scratch: Path, tmp_path: Path
) -> None:
    program = stand_in(f"""
        child = os.fork()
        Path({str(tmp_path)!r}, f"pid-{{os.getpid()}}").touch()
        time.sleep(60)
    """)
    start = time.monotonic()
    error = failure(program, scratch, timeout_s=2.0)
    assert error.reason == "renderer_timeout"
    assert time.monotonic() - start < 20
    pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    assert len(pids) == 2
    wait_for(lambda: all(gone(pid) for pid in pids), 10)  # the kernel kills them one after the other


PIXELS = "(folder / 'pixels').write_bytes({}); "
SAYS = "(folder / 'report.json').write_text({!r})"
HALF_WRITTEN = {
    "nothing": "",
    "no report": PIXELS.format("bytes(48)"),
    "no pixels": SAYS.format(REPORT),
    "too few pixels": PIXELS.format("bytes(44)") + SAYS.format(REPORT),
    "no such body": PIXELS.format("bytes([3]) * 48") + SAYS.format(REPORT),
    "half a report": PIXELS.format("bytes(48)") + SAYS.format('{"bpy": '),
    "another Blender": PIXELS.format("bytes(48)") + SAYS.format('{"bpy": "4.2.0"}'),
}


@pytest.mark.parametrize("code", HALF_WRITTEN.values(), ids=HALF_WRITTEN.keys())
def test_what_is_not_whole_is_not_taken(code: str, stand_in: StandIn, scratch: Path) -> None:
    assert failure(stand_in(code), scratch).reason == "renderer_wrote_nonsense"


@pytest.mark.parametrize("mode", [None, 0o644], ids=["missing", "not executable"])
def test_a_missing_interpreter_is_no_matter_of_a_row(mode: int | None, tmp_path: Path) -> None:
    program = tmp_path / "python"
    if mode:
        program.write_text("text")
        program.chmod(mode)
    with pytest.raises(ServiceDown, match="make blender"):
        process.draw(program, JOB, FLOOR, timeout_s=30)


def test_an_interpreter_without_blender_is_no_matter_of_a_row(tmp_path: Path) -> None:
    with pytest.raises(ServiceDown, match=r"(?s)No module named 'bpy'.*make blender"):
        process.draw(Path(sys.executable), JOB, FLOOR, timeout_s=60)
    venv.create(tmp_path / "bare", symlinks=True, with_pip=False)
    with pytest.raises(ServiceDown, match=r"(?s)No module named 'numpy'.*make blender"):
        process.draw(tmp_path / "bare" / "bin" / "python", JOB, FLOOR, timeout_s=60)


def test_a_full_disk_is_told_as_one(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = process.shutil.disk_usage("/")
    monkeypatch.setattr(process.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OSError) as caught:
        process.draw(stand_in("sys.exit(1)"), JOB, FLOOR, timeout_s=30)
    assert caught.value.errno == errno.ENOSPC


def test_keys_and_settings_stay_here(stand_in: StandIn, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OCIO", "/another/colour/management.ocio")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    detail = failure(stand_in("sys.exit(str(sorted(os.environ)))"), scratch).detail
    assert "'TMPDIR'" in detail
    assert not any(name in detail for name in ("OPENAI_API_KEY", "OCIO", "PYTHONPATH"))


# Draws with the program it is given, in the main thread or in another, as a stage does.
PARENT = """
import sys, threading
from pathlib import Path
import numpy as np
from tasks.backends.cycles import process
job = {"bpy": "0", "scene": {"bodies": []}, "parts": []}
def draw():
    process.draw(Path(sys.argv[1]), job, np.zeros((4, 4, 3), np.uint8), timeout_s=100)
if sys.argv[2] == "thread":
    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
else:
    draw()
"""
# Does as worker.py does at its start, and then says who it is.
FAITHFUL = f"""
    from runpy import run_path
    run_path({str(WORKER)!r})["die_with"](int(sys.argv[4]))
    (folder.parent / "started").write_text(str(os.getpid()))
    time.sleep(100)
"""


def start_parent(program: Path, where: str, scratch: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A process that draws, and the pid of the one it has started."""
    environment = os.environ | {"TMPDIR": str(scratch)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, program, where], env=environment)
    started = scratch / "started"
    wait_for(lambda: started.exists() and bool(started.read_text()), seconds=60)
    return parent, int(started.read_text())


@pytest.mark.parametrize("where", ["main", "thread"])
def test_the_process_dies_with_its_parent(where: str, stand_in: StandIn, scratch: Path) -> None:
    parent, pid = start_parent(stand_in(FAITHFUL), where, scratch)
    parent.kill()
    parent.wait()
    wait_for(lambda: gone(pid), seconds=10)


def test_an_interrupt_ends_the_process(stand_in: StandIn, scratch: Path) -> None:
    parent, pid = start_parent(stand_in(FAITHFUL), "main", scratch)
    parent.send_signal(signal.SIGINT)
    assert parent.wait(30) != 0
    assert gone(pid)


def test_a_process_that_comes_too_late_for_its_parent_ends() -> None:
    done = subprocess.run([sys.executable, "-I", WORKER, "/nowhere", "1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "the parent process 1 has ended" in done.stderr


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"  # dead, and only its new parent has not asked yet


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


# --- The renderer ----------------------------------------------------------------------------


def test_the_interpreter_is_the_configs_or_the_environments_or_the_projects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIPTYCH_BLENDER_PYTHON", raising=False)
    root = Path(__file__).parents[2]
    assert interpreter(CyclesConfig()) == root / ".venv-blender" / "bin" / "python"
    monkeypatch.setenv("TRIPTYCH_BLENDER_PYTHON", "/opt/blender/python")
    assert interpreter(CyclesConfig()) == Path("/opt/blender/python")
    assert interpreter(CyclesConfig(python=Path("/usr/bin/python3"))) == Path("/usr/bin/python3")


def test_the_identity_tells_what_pixels_depend_on_and_nothing_else() -> None:
    identity = CyclesRenderer(CyclesConfig()).identity
    assert identity["model"] == "Cycles of bpy 5.0.1"
    elsewhere = CyclesConfig(python=Path("/opt/python"), timeout_s=5, workers=3)
    assert CyclesRenderer(elsewhere).identity == identity
    changes: list[dict[str, Any]] = [
        {"samples": 8},
        {"denoise": False},
        {"denoise_quality": "HIGH"},
        {"sun_angle_deg": 0.5},
        {"whole_frames": True},
        {"surroundings": 1.0},
        {"feather_px": 4},
    ]
    others = [CyclesRenderer(CyclesConfig(**change)).identity for change in changes]
    assert all(a != b for a, b in itertools.combinations([identity, *others], 2))


def test_as_many_clips_are_drawn_at_once_as_there_are_cpus() -> None:
    assert CyclesRenderer(CyclesConfig()).concurrency == usable_cpus() >= 1
    assert CyclesRenderer(CyclesConfig(workers=3)).concurrency == 3


# --- Blender ---------------------------------------------------------------------------------


def render(scene: Scene, floor: np.ndarray = FLOOR, paths: list[Trajectory] | None = None, **config: Any) -> Rendering:
    return CyclesRenderer(CyclesConfig(**config)).render(scene, paths or glide(scene), floor)


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


@blender
@pytest.mark.parametrize("window", [None, Window(30, 5, 120, 65)], ids=["centred", "off centre"])
def test_labels_are_those_of_an_independent_ray_caster(window: Window | None) -> None:
    camera = make_camera(position=(0.03, -4.01, 3.02))  # from where no edge runs through the middles of pixels
    scene = crossing(3, camera=zoom(camera, 2.0, window or Window(0, 0, 120, 80)))
    pictures = render(scene)
    for frame, labels in enumerate(pictures.labels):
        expected = cast(scene.camera, scene.bodies, poses_at(glide(scene), frame)).labels
        assert len(np.unique(expected)) >= 4
        assert (labels != expected).sum() <= 2  # on edges, by rounding


@blender
def test_the_same_clip_has_the_same_bytes_whatever_runs_beside_it() -> None:
    scene = crossing(4)
    alone = render(scene)
    with ThreadPoolExecutor(3) as pool:
        beside = list(pool.map(render, [scene] * 3))
    for pictures in beside:
        assert np.array_equal(pictures.frames, alone.frames)
        assert np.array_equal(pictures.labels, alone.labels)


@blender
def test_parts_over_what_rests_look_like_whole_frames() -> None:
    scene = crossing(3, camera=make_camera(240, 160))
    parts, whole = render(scene), render(scene, whole_frames=True)
    assert np.array_equal(parts.labels, whole.labels)
    assert psnr_db(parts.frames, whole.frames) > 42
    assert np.abs(parts.frames.astype(int) - whole.frames).max() < 60  # nothing is missing


@blender
def test_a_floor_in_the_sun_is_as_bright_as_physics_says() -> None:
    grey = np.full((8, 8, 3), 150, np.uint8)
    scene = tiny_scene(1, bodies=[], light=Light(azimuth_deg=70.0, elevation_deg=40.0, sun=2.5, sky=0.3))
    middle = render(scene, grey).frames[0, 8:-8, 8:-8]  # OpenImageDenoise errs in the very corners
    radiance = decode_srgb(grey)[0, 0] * (2.5 / np.pi * np.sin(np.deg2rad(40)) + 0.3)
    assert np.abs(decode_srgb(middle) - radiance).max() < 0.01


@blender
def test_light_shadows_and_texture_lie_where_the_ray_caster_puts_them() -> None:
    colours = np.array([(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40)], np.uint8)
    texture = colours.reshape(2, 2, 3).repeat(32, 0).repeat(32, 1)
    floor = Floor(texture="t", noun="t", tile_m=2.0, offset_m=(0.3, -0.2), turn_deg=25.0)
    low_sun = Light(azimuth_deg=200.0, elevation_deg=35.0, sun=3.0, sky=0.2)
    scene = crossing(2, floor=floor, light=low_sun, camera=make_camera(240, 160))
    cycles = render(scene, texture, sun_angle_deg=0.0, samples=16)
    raster = RasterRenderer().render(scene, glide(scene), texture)
    assert psnr_db(cycles.frames, raster.frames) > 25
    assert np.median(np.abs(cycles.frames.astype(int) - raster.frames)) <= 3


@blender
def test_another_blender_is_no_matter_of_a_row() -> None:
    scene = tiny_scene(1)
    config = CyclesConfig()
    job = blender_job(scene, glide(scene), plan_clip(scene, glide(scene), config), config) | {"bpy": "4.2.0"}
    with pytest.raises(ServiceDown, match=r"has bpy 5\.0\.1, not 4\.2\.0"):
        process.draw(interpreter(config), job, FLOOR, timeout_s=60)


@blender
def test_a_scene_that_blender_cannot_draw_fails_alone() -> None:
    scene = tiny_scene(1)
    (focal, skew, x), (_, _, y), last = scene.camera.intrinsics
    stretched = scene.camera.model_copy(update={"intrinsics": ((focal, skew, x), (0.0, 2 * focal, y), last)})
    with pytest.raises(RowFailed, match="square pixels") as caught:
        render(scene.model_copy(update={"camera": stretched}))
    assert caught.value.reason == "renderer_died"
