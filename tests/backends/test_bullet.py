"""tasks.backends.bullet: known motion, exact starts, contacts that push, and the same bytes whatever else runs."""

from __future__ import annotations

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.outcome import ServiceDown
from schemas.scene import Body, Scene, Shape
from tasks.backends import bullet, extras
from tasks.backends.bullet import Motion
from tests.support.scenes import make_body, tiny_scene

HZ = 480
GRAVITY = 9.81


def slider(
    shape: Shape = "cube", speed_mps: float = 1.0, heading: float = 0.0, friction: float = 0.06, turn: float = 0.0
) -> Body:
    return make_body(
        shape=shape,
        friction=friction,
        rotation=(math.cos(turn / 2), 0.0, 0.0, math.sin(turn / 2)),
        velocity=(speed_mps * math.cos(heading), speed_mps * math.sin(heading), 0.0),
        controlled=True,
    )


def pair(gap_m: float = 0.2, **changes: object) -> Scene:
    """A cube that slides towards a resting one, face to face."""
    mover = make_body("id1", position=(0.0, 0.0, 0.25), velocity=(1.0, 0.0, 0.0), controlled=True, **changes)
    target = make_body("id2", colour="blue", position=(0.5 + gap_m, 0.0, 0.25), **changes)
    return tiny_scene(25, bodies=[mover, target])


def move(scene: Scene) -> Motion:
    return bullet.load().move(scene, HZ)


def bytes_of(motion: Motion) -> bytes:
    arrays = [motion.position, motion.rotation, motion.velocity, motion.angular_velocity]
    contacts = [np.concatenate([[c.step, c.first, c.second, c.force_n], c.point, c.normal]) for c in motion.contacts]
    return b"".join(array.tobytes() for array in [*arrays, *contacts])


def braked(speed_mps: float, friction: float) -> np.ndarray:
    """The speeds of a body that only its friction slows down, by mu g, over a second."""
    return np.maximum(speed_mps - friction * GRAVITY * np.arange(HZ + 1) / HZ, 0.0)


@pytest.mark.parametrize("friction", [0.03, 0.1])
@pytest.mark.parametrize("speed_mps", [0.5, 1.5])
def test_a_free_body_slows_down_by_mu_g(speed_mps: float, friction: float) -> None:
    motion = move(tiny_scene(25, bodies=[slider("cube", speed_mps, 0.0, friction)]))
    assert np.linalg.norm(motion.velocity[:, 0], axis=1) == pytest.approx(braked(speed_mps, friction), abs=0.002)
    assert np.abs(motion.position[:, 0, 1]).max() < 1e-3


@settings(max_examples=12, deadline=None)
@given(
    shape=st.sampled_from(["cube", "cylinder"]),
    speed_mps=st.floats(0.5, 1.5),
    heading=st.floats(-math.pi, math.pi),
    friction=st.floats(0.03, 0.1),
    turn=st.floats(-math.pi, math.pi),
)
def test_a_free_body_slows_down_much_the_same_in_all_directions(
    shape: Shape, speed_mps: float, heading: float, friction: float, turn: float
) -> None:
    motion = move(tiny_scene(25, bodies=[slider(shape, speed_mps, heading, friction, turn)]))
    assert np.linalg.norm(motion.velocity[:, 0], axis=1) == pytest.approx(braked(speed_mps, friction), abs=0.07)
    way = motion.position[-1, 0, :2]
    bend = (math.atan2(way[1], way[0]) - heading + math.pi) % (2 * math.pi) - math.pi
    assert abs(bend) < math.radians(6)
    assert np.abs(motion.position[:, 0, 2] - 0.25).max() < 5e-4


@pytest.mark.parametrize("shape", ["cube", "cylinder"])
def test_a_body_at_rest_stays(shape: Shape) -> None:
    motion = move(tiny_scene(49, bodies=[make_body(shape=shape)]))
    assert np.abs(motion.position - motion.position[0]).max() < 1e-4
    assert motion.contacts == []  # the floor's are none


def test_a_body_in_the_air_falls() -> None:
    motion = move(tiny_scene(13, bodies=[make_body(position=(0.0, 0.0, 3.0))]))
    assert motion.velocity[-1, 0, 2] == pytest.approx(-GRAVITY * 0.5)
    assert motion.position[-1, 0, 2] == pytest.approx(3.0 - GRAVITY * 0.5**2 / 2, abs=GRAVITY * 0.5 / HZ)


def test_the_first_state_is_the_scene() -> None:
    body = slider(speed_mps=0.734211, heading=2.1, turn=0.4)
    scene = tiny_scene(2, bodies=[body, make_body("id2", "cylinder", position=(2.0, 0.3, 0.25))])
    motion = move(scene)
    assert motion.velocity[0].tolist() == [list(b.velocity) for b in scene.bodies]
    assert motion.position[0].tolist() == [list(b.position) for b in scene.bodies]
    assert motion.rotation[0] == pytest.approx(np.array([b.rotation for b in scene.bodies]), abs=1e-9)
    assert motion.angular_velocity[0].tolist() == [[0.0] * 3] * 2


def test_bodies_push_when_they_touch_and_not_before() -> None:
    motion = move(pair(gap_m=0.2, friction=0.0))
    first = motion.contacts[0]
    assert first.step / HZ == pytest.approx(0.2, abs=2 / HZ)
    assert (first.first, first.second) == (0, 1)
    assert first.normal == pytest.approx([-1, 0, 0], abs=1e-3)  # from the second to the first
    assert first.point[0] == pytest.approx(0.45, abs=5e-3)
    assert min(contact.force_n for contact in motion.contacts) > bullet.MIN_FORCE_N


def test_the_order_of_bodies_turns_the_normal_only() -> None:
    scene = pair(friction=0.0)
    swapped = scene.model_copy(update={"bodies": scene.bodies[::-1]})
    first = move(swapped).contacts[0]
    assert (first.first, first.second) == (0, 1)
    assert first.normal == pytest.approx([1, 0, 0], abs=1e-3)


@pytest.mark.parametrize("restitution", [0.0, 0.5, 0.9])
def test_momentum_stays_and_restitution_is_the_product(restitution: float) -> None:
    scene = pair(friction=0.0, restitution=restitution)
    heavy = scene.bodies[0].model_copy(update={"mass_kg": 3.0})
    motion = move(scene.model_copy(update={"bodies": [heavy, scene.bodies[1]]}))
    along = motion.velocity[:, :, 0]
    assert along @ [3.0, 1.0] == pytest.approx(3.0, abs=0.01)
    assert along[-1, 1] - along[-1, 0] == pytest.approx(restitution**2, abs=0.02)
    impulse_ns = sum(contact.force_n for contact in motion.contacts) / HZ
    assert impulse_ns == pytest.approx(1.0 * along[-1, 1], abs=0.02)


def test_what_ran_before_does_not_matter() -> None:
    scene = pair()
    before = bytes_of(move(scene))
    pybullet = bullet.load().pybullet
    client = pybullet.connect(pybullet.DIRECT)
    try:
        # Process-wide in Bullet: with this as it stays, cylinders and cubes move otherwise.
        pybullet.setPhysicsEngineParameter(contactBreakingThreshold=0.001, physicsClientId=client)
        move(tiny_scene(5))
        assert bytes_of(move(scene)) == before
    finally:
        pybullet.disconnect(physicsClientId=client)


def test_threads_do_not_disturb_each_other() -> None:
    scenes = [pair(gap_m) for gap_m in (0.1, 0.2, 0.3)]
    alone = [bytes_of(move(scene)) for scene in scenes]
    with ThreadPoolExecutor(len(scenes)) as pool:
        assert [bytes_of(motion) for motion in pool.map(move, scenes * 3)] == alone * 3


def test_sub_steps_must_fit_frames() -> None:
    with pytest.raises(ValueError, match="no multiple of 24"):
        bullet.load().move(tiny_scene(), 100)


def test_loading_prints_nothing_to_stdout() -> None:
    code = "print('a'); from tasks.backends import bullet; bullet.load(); print('b')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "a\nb\n"


def test_importing_loads_no_pybullet() -> None:
    code = "import sys, tasks.simulate_scenes; sys.exit('pybullet' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_another_version_is_a_service_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "version", lambda package: "3.0.0")
    bullet._load.cache_clear()
    with pytest.raises(ServiceDown, match=r"pybullet 3\.0\.0 is installed, but 3\.2\.7 .*\[kinemask\]"):
        bullet.load()


def test_a_missing_pybullet_is_a_service_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pybullet", None)
    bullet._load.cache_clear()
    with pytest.raises(ServiceDown, match=r"pybullet is not installed: .*\[kinemask\]"):
        bullet.load()


def test_rows_name_the_pinned_version_even_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "version", lambda package: "3.0.0")
    assert bullet.identity() == {"backend": "bullet", "model": "pybullet 3.2.7"}


def test_an_installation_from_before_the_extra_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "requires", lambda distribution: ['pybullet==3.2.7; extra == "dev"'])
    with pytest.raises(ServiceDown, match="installed before"):
        bullet.identity()
