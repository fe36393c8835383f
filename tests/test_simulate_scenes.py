"""tasks.simulate_scenes: scenes are what was asked for, physics holds, and every rejected draw says why."""

from __future__ import annotations

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.outcome import RowRejected
from schemas.record import content_hash
from schemas.scene import DIGITS, Body, Collision, Scene, SceneSeed, SceneSet, Split, Trajectory
from schemas.simulation import Simulation
from tasks.backends import bullet
from tasks.backends.bullet import Contact, RigidMotion
from tasks.backends.colour.palette import COLOUR_WORDS, FULL_MEMBERSHIP, STRONG_MEMBERSHIP, Picture
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Row
from tasks.engine.work import Work
from tasks.media.cast_rays import cast, poses_at
from tasks.media.floors import Floors
from tasks.simulate_scenes import SceneConfig, run_scene, simulate, stage
from tasks.simulate_scenes.draw import draw_plan, draw_scene
from tasks.simulate_scenes.judge import Simulated, find_fault, mechanical_energy_j
from tasks.simulate_scenes.palette import MAX_BODIES, REGIONS, ColourRegion, colour_names, draw_colour
from tasks.simulate_scenes.recording import closing_speed, collisions, trajectories
from tests.support.scenes import make_body, make_camera, tiny_scene

CONFIG = SceneConfig(width=180, height=120)
GRASS = (70, 150, 50)
N_SEEDS = 10
HZ = CONFIG.substeps_per_s


@pytest.fixture(scope="module")
def floors(tmp_path_factory: pytest.TempPathFactory) -> Floors:
    """Plain ones: it takes seconds to paint them all."""
    folder = tmp_path_factory.mktemp("floors")
    for name, rgb in [("train/grass", GRASS), ("train/planks", (150, 110, 70)), ("test/marble", (200, 195, 190))]:
        path = folder / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), np.full((16, 16, 3), rgb[::-1], np.uint8))
    return Floors(folder=folder)


def seed_of(set_: SceneSet, number: int = 0, split: Split = "train", config: SceneConfig = CONFIG) -> SceneSeed:
    return SceneSeed.of(config, set_, split, number)


def simulate_all(set_: SceneSet, floors: Floors) -> list[Simulation]:
    """Both splits, in turns."""
    splits: list[Split] = ["train", "test"]
    return [simulate(seed_of(set_, number, splits[number % 2]), CONFIG, floors) for number in range(N_SEEDS)]


@pytest.fixture(scope="module")
def simple_motion(floors: Floors) -> list[Simulation]:
    return simulate_all("simple_motion", floors)


@pytest.fixture(scope="module")
def interactions(floors: Floors) -> list[Simulation]:
    return simulate_all("interactions", floors)


@pytest.fixture(scope="module")
def both(simple_motion: list[Simulation], interactions: list[Simulation]) -> list[Simulation]:
    return simple_motion + interactions


@pytest.fixture(scope="module")
def motions(both: list[Simulation]) -> list[RigidMotion]:
    """Every state of what `both` hold the frames of."""
    return [bullet.load().move(simulation.scene, HZ) for simulation in both]


def moved(scene: Scene) -> Simulated:
    return run_scene(bullet.load(), scene, HZ)


# --- What was asked for ----------------------------------------------------------------------


def test_frame_0_is_exactly_what_was_asked(both: list[Simulation]) -> None:
    for simulation in both:
        for body, trajectory in zip(simulation.scene.bodies, simulation.trajectories, strict=True):
            assert trajectory.instance_id == body.instance_id
            assert trajectory.velocity[0] == body.velocity
            assert trajectory.position[0] == body.position
            assert trajectory.rotation[0] == body.rotation
            assert trajectory.angular_velocity[0] == (0.0, 0.0, 0.0)


def test_scenes_are_within_their_config(both: list[Simulation]) -> None:
    for simulation in both:
        scene = simulation.scene
        numbers = CONFIG.n_bodies_interactions if scene.set == "interactions" else CONFIG.n_bodies_simple
        assert numbers[0] <= len(scene.bodies) <= numbers[1]
        assert 1 <= sum(scene.controlled) <= 2
        for body in scene.bodies:
            assert body.controlled == (body.velocity != (0.0, 0.0, 0.0))
            speed = math.hypot(*body.velocity)
            assert not body.controlled or 0.5 - 1e-5 <= speed <= 1.5 + 1e-5
            assert body.velocity[2] == 0.0
            assert 0.03 <= body.friction <= 0.1
            assert body.position[2] == pytest.approx(body.size[2] / 2, abs=10**-DIGITS)
        assert all(len(t.position) == len(t.velocity) == scene.n_frames for t in simulation.trajectories)


def test_no_two_bodies_of_a_scene_have_the_same_noun(both: list[Simulation]) -> None:
    for simulation in both:
        nouns = [body.noun for body in simulation.scene.bodies]
        assert len(set(nouns)) == len(nouns)


def test_what_is_stored_is_rounded(both: list[Simulation]) -> None:
    for trajectory in both[0].trajectories:
        numbers = np.array(trajectory.position + trajectory.velocity)
        assert (numbers.round(DIGITS) == numbers).all()
        assert not (np.signbit(numbers) & (numbers == 0)).any()


@pytest.mark.parametrize("set_", get_args(SceneSet))
def test_rejection_does_not_skew_the_speeds(set_: SceneSet, floors: Floors) -> None:
    scenes = [draw_scene(seed_of(set_), attempt, CONFIG, floors) for attempt in range(3)]
    velocities = [[body.velocity for body in scene.bodies if body.controlled] for scene in scenes]
    assert velocities == [draw_plan(seed_of(set_), CONFIG).velocities] * 3
    assert len({scene.bodies[0].position for scene in scenes}) == 3


def test_speeds_and_directions_are_uniform() -> None:
    plans = [draw_plan(seed_of("interactions", number), CONFIG) for number in range(2000)]
    velocities = np.array([velocity for plan in plans for velocity in plan.velocities])
    speeds = np.linalg.norm(velocities, axis=1)
    share = 1 / 5
    counts = np.histogram(speeds, 5, (0.5, 1.5))[0] / len(speeds)
    assert counts == pytest.approx([share] * 5, abs=0.03)
    headings = np.arctan2(velocities[:, 1], velocities[:, 0])
    counts = np.histogram(headings, 5, (-math.pi, math.pi))[0] / len(headings)
    assert counts == pytest.approx([share] * 5, abs=0.03)


def test_the_camera_shows_x_to_the_right_and_y_and_z_upwards(both: list[Simulation]) -> None:
    for camera in [simulation.scene.camera for simulation in both]:
        points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
        (origin, right, away, up), depth = camera.project(points)
        assert right[0] > origin[0]
        assert right[1] == pytest.approx(origin[1], abs=1e-6)
        assert away[1] < origin[1]
        assert depth[2] > depth[0]
        assert up[1] < origin[1]
        middle, _ = camera.project(camera.position + camera.rays(np.array([90.0, 60.0])))
        assert middle == pytest.approx([90.0, 60.0])


def test_bodies_start_apart_and_in_the_picture(both: list[Simulation]) -> None:
    for simulation in both:
        scene = simulation.scene
        for one, other in combinations(scene.bodies, 2):
            assert math.dist(one.position[:2], other.position[:2]) > (one.size[0] + other.size[0]) / 2
        hits = cast(scene.camera, scene.bodies, poses_at(simulation.trajectories, 0))
        edge = np.concatenate([hits.labels[[0, -1]].ravel(), hits.labels[:, [0, -1]].ravel()])
        assert not edge.any()
        assert min(hits.visible_px) > 0


# --- Physics ---------------------------------------------------------------------------------


def test_energy_never_grows(both: list[Simulation], motions: list[RigidMotion]) -> None:
    for scene, motion in zip([simulation.scene for simulation in both], motions, strict=True):
        energy_j = mechanical_energy_j(scene, motion)
        start_j = sum(body.mass_kg * math.hypot(*body.velocity) ** 2 / 2 for body in scene.bodies)
        assert energy_j[0] == pytest.approx(start_j)
        assert (np.diff(energy_j) <= 0.01 * start_j).all()
        assert energy_j[-1] < start_j


def test_simple_motion_never_collides(simple_motion: list[Simulation]) -> None:
    for simulation in simple_motion:
        assert simulation.collisions == []
        for body, trajectory in zip(simulation.scene.bodies, simulation.trajectories, strict=True):
            assert body.controlled or set(trajectory.position) == {body.position}


def test_interactions_show_a_collision_of_a_controlled_body(interactions: list[Simulation]) -> None:
    for simulation in interactions:
        scene = simulation.scene
        ids = [body.instance_id for body in scene.bodies]
        controlled = {body.instance_id for body in scene.bodies if body.controlled}
        shown = []
        for collision in simulation.collisions:
            hits = cast(scene.camera, scene.bodies, poses_at(simulation.trajectories, collision.frame))
            seen = [hits.visible_px[ids.index(i)] > 0 for i in (collision.first_id, collision.second_id)]
            in_time = collision.time_s <= CONFIG.latest_collision * (scene.n_frames - 1) / scene.fps
            shown.append(all(seen) and in_time and bool(controlled & {collision.first_id, collision.second_id}))
        assert any(shown)


def test_collisions_are_in_order_and_name_the_faster_first(interactions: list[Simulation]) -> None:
    for simulation in interactions:
        times = [collision.time_s for collision in simulation.collisions]
        assert times == sorted(times)
        for collision in simulation.collisions:
            fps = simulation.scene.fps
            assert collision.frame / fps >= collision.time_s - 1e-6 > (collision.frame - 1) / fps - 1e-6
            assert math.hypot(*collision.first_velocity_before) >= math.hypot(*collision.second_velocity_before)
            assert collision.impulse_ns > 0


def test_what_no_body_touches_never_moves(both: list[Simulation], motions: list[RigidMotion]) -> None:
    n_untouched = 0
    for simulation, motion in zip(both, motions, strict=True):
        scene = simulation.scene
        touched = {place for contact in motion.contacts for place in (contact.first, contact.second)}
        for place, (body, trajectory) in enumerate(zip(scene.bodies, simulation.trajectories, strict=True)):
            if body.controlled or place in touched:
                continue
            n_untouched += 1
            assert set(trajectory.position) == {body.position}
            assert set(trajectory.rotation) == {body.rotation}
            assert set(trajectory.velocity) == set(trajectory.angular_velocity) == {(0.0, 0.0, 0.0)}
    assert n_untouched > 10


def crash(**changes: Any) -> Scene:
    """A cube that hits another a quarter of its way, both in the middle of the picture."""
    mover = make_body("id1", position=(-0.6, 0.0, 0.25), velocity=(1.2, 0.0, 0.0), controlled=True, friction=0.05)
    target = make_body("id2", colour="blue", position=(0.1, 0.0, 0.25), friction=0.05)
    return tiny_scene(25, **{"set": "interactions", "bodies": [mover, target]} | changes)


def with_body(scene: Scene, place: int, **changes: Any) -> Scene:
    bodies = list(scene.bodies)
    bodies[place] = bodies[place].model_copy(update=changes)
    return scene.model_copy(update={"bodies": bodies})


@settings(max_examples=10, deadline=None)
@given(mass_kg=st.floats(0.3, 3), speed_mps=st.floats(0.6, 1.5), offset_m=st.floats(-0.2, 0.2))
def test_a_collision_keeps_momentum(mass_kg: float, speed_mps: float, offset_m: float) -> None:
    scene = with_body(crash(), 0, mass_kg=mass_kg, velocity=(speed_mps, 0.0, 0.0))
    scene = with_body(scene, 1, position=(0.1, offset_m, 0.25))
    collision = moved(scene).collisions[0]
    mass = np.array([mass_kg, 1.0])
    before = mass @ [collision.first_velocity_before, collision.second_velocity_before]
    after = mass @ [collision.first_velocity_after, collision.second_velocity_after]
    floors_ns = 0.05 * scene.gravity * mass.sum() / scene.fps  # the floor's friction meanwhile
    assert np.linalg.norm(after - before) < 1.1 * floors_ns + 0.005
    gained = np.linalg.norm(collision.second_velocity_after)  # by a mass of 1 kg
    assert gained == pytest.approx(collision.impulse_ns, abs=1.1 * floors_ns + 0.005)


def test_a_collision_says_when_where_and_how() -> None:
    (collision,) = moved(crash()).collisions
    speed_mps = math.sqrt(1.2**2 - 2 * 0.05 * 9.81 * 0.2)  # after 0.2 m of friction
    assert collision.time_s == pytest.approx((1.2 - speed_mps) / (0.05 * 9.81), abs=0.005)
    assert collision.frame == math.ceil(collision.time_s * 24)
    assert (collision.first_id, collision.second_id) == ("id1", "id2")
    assert collision.point[0] == pytest.approx(-0.15, abs=0.01)
    assert collision.closing_speed_mps == pytest.approx(speed_mps, abs=0.02)
    assert collision.first_velocity_before[0] == pytest.approx(speed_mps, abs=0.02)
    assert collision.second_velocity_before == (0.0, 0.0, 0.0)
    assert collision.second_velocity_after[0] > collision.first_velocity_after[0] > 0


def test_the_faster_body_is_the_first() -> None:
    (collision,) = moved(crash(bodies=crash().bodies[::-1])).collisions
    assert (collision.first_id, collision.second_id) == ("id1", "id2")
    assert collision.first_velocity_before[0] > 1.0


# --- Trajectories ----------------------------------------------------------------------------


def still(n_frames: int) -> RigidMotion:
    """A body at rest, one state a frame, with nothing around it."""
    zeros = np.zeros((n_frames, 1, 3))
    return RigidMotion(24, zeros.copy(), np.tile([1.0, 0, 0, 0], (n_frames, 1, 1)), zeros.copy(), zeros.copy(), [])


def trajectory_of(motion: RigidMotion) -> Trajectory:
    body = make_body(position=(0.0, 0.0, 0.0), velocity=(1.0, 0.0, 0.0), controlled=True)
    (trajectory,) = trajectories(tiny_scene(len(motion.position), bodies=[body]), motion)
    return trajectory


def test_a_body_that_has_come_to_rest_is_frozen() -> None:
    motion = still(5)
    motion.position[:, 0, 0] = [0.0, 0.04, 0.05, 0.05001, 0.04999]
    motion.velocity[:, 0, 0] = [1.0, 0.5, 0.0009, -0.0009, 0.0009]
    trajectory = trajectory_of(motion)
    assert [x for x, _, _ in trajectory.position] == [0.0, 0.04, 0.05, 0.05, 0.05]
    assert [x for x, _, _ in trajectory.velocity] == [1.0, 0.5, 0.0, 0.0, 0.0]


def test_a_rotation_does_not_turn_over_between_frames() -> None:
    motion = still(4)
    motion.velocity[:] = 1.0
    motion.rotation[1:, 0] = [[-0.8, 0, 0, -0.6], [-0.6, 0, 0, -0.8], [0.0, 0, 0, 1.0]]
    w, z = zip(*((q[0], q[3]) for q in trajectory_of(motion).rotation), strict=True)
    assert w == (1.0, 0.8, 0.6, 0.0)
    assert z == (0.0, 0.6, 0.8, 1.0)


# --- Contacts and collisions -----------------------------------------------------------------


def slide(steps: list[int], closing_mps: float = 0.5) -> list[Collision]:
    """Two bodies that push each other in the given steps."""
    n_states = 2 * HZ
    velocity = np.zeros((n_states, 2, 3))
    velocity[:, 0, 0] = closing_mps
    zeros, turns = np.zeros((n_states, 2, 3)), np.tile([1.0, 0, 0, 0], (n_states, 2, 1))
    contacts = [Contact(step, 0, 1, 480.0, np.zeros(3), np.array([-1.0, 0.0, 0.0])) for step in steps]
    motion = RigidMotion(HZ, zeros, turns, velocity, zeros, contacts)
    return collisions(tiny_scene(25), motion)


def test_one_long_contact_is_one_collision() -> None:
    (collision,) = slide(list(range(100, 300)))
    assert collision.time_s == pytest.approx(100 / HZ, abs=1e-6)
    assert collision.frame == 5
    assert collision.impulse_ns == pytest.approx(20)  # one frame's time at 480 N


def test_a_moment_without_contact_is_no_new_collision() -> None:
    assert len(slide([100, 101, 103, 120, 140])) == 1


def test_bodies_that_parted_collide_anew() -> None:
    assert [round(collision.time_s * HZ) for collision in slide([100, 101, 200, 201])] == [100, 200]


def test_bodies_close_in_by_turning_too() -> None:
    motion = still(2)
    both = RigidMotion(24, *(np.repeat(part, 2, axis=1) for part in list(vars(motion).values())[1:5]), [])
    both.position[:, 1, 0] = 0.5
    both.angular_velocity[:, 0, 2] = 2.0  # its point at 0.25 m along x moves along y at 0.5 m/s
    contact = Contact(0, 0, 1, 1.0, np.array([0.25, 0.0, 0.0]), np.array([0.0, -1.0, 0.0]))
    assert closing_speed(both, contact) == pytest.approx(0.5)


def test_the_impulse_ends_when_they_part() -> None:
    assert slide([100, 101, 105])[0].impulse_ns == pytest.approx(2)


def test_a_touch_is_no_collision() -> None:
    assert slide([100], closing_mps=0.005) == []


# --- Rejected draws --------------------------------------------------------------------------


def reason(simulated: Simulated, **changes: Any) -> str | None:
    fault = find_fault(simulated, CONFIG.model_copy(update=changes))
    return fault and fault.reason


def test_a_good_scene_of_each_set_has_no_fault() -> None:
    assert reason(moved(crash())) is None
    assert reason(moved(tiny_scene(25))) is None


def test_collision() -> None:
    assert reason(moved(crash(set="simple_motion"))) == "collision"


def test_no_collision() -> None:
    assert reason(moved(tiny_scene(25, set="interactions"))) == "no_collision"


def test_a_collision_that_shows_nothing_is_none() -> None:
    slow = with_body(crash(), 0, velocity=(0.16, 0.0, 0.0), position=(-0.42, 0.0, 0.25))
    simulated = moved(slow)
    assert 0 < simulated.collisions[0].closing_speed_mps < CONFIG.min_closing_mps
    assert reason(simulated) == "no_collision"


def test_a_collision_of_others_alone_is_none() -> None:
    simulated = moved(crash())
    bodies = [simulated.scene.bodies[1], simulated.scene.bodies[0].model_copy(update={"controlled": False})]
    scene = simulated.scene.model_copy(update={"bodies": bodies})
    assert reason(simulated._replace(scene=scene)) == "no_collision"


def test_late_collision() -> None:
    assert reason(moved(crash()), latest_collision=0.1) == "late_collision"


def test_a_later_collision_does_not_hide_an_early_one() -> None:
    simulated = moved(crash())
    late = simulated.collisions[0].model_copy(update={"time_s": 0.99, "frame": 24})
    assert reason(simulated._replace(collisions=[*simulated.collisions, late])) is None
    assert reason(simulated._replace(collisions=[late])) == "late_collision"


def test_collision_out_of_view() -> None:
    aside = make_camera(target=(2.5, 0.0, 0.0), position=(2.5, -4.0, 3.0))
    assert reason(moved(crash(camera=aside))) == "collision_out_of_view"


def test_a_collision_behind_a_wall_is_out_of_view() -> None:
    wall = make_body("id3", colour="green", size=(3.0, 0.2, 2.0), position=(0.0, -1.5, 1.0), mass_kg=100.0)
    simulated = moved(crash(bodies=[*crash().bodies, wall]))
    assert reason(simulated) == "collision_out_of_view"


def test_left_view() -> None:
    scene = tiny_scene(49)
    assert reason(moved(scene)) is None
    fast = with_body(scene, 0, position=(1.5, -0.2, 0.25), velocity=(1.5, 0.0, 0.0), friction=0.03)
    assert reason(moved(fast)) == "left_view"


def test_hidden() -> None:
    behind = make_body("id3", colour="green", size=(0.2, 0.2, 0.2), position=(0.5, 1.1, 0.1))
    scene = tiny_scene(25)
    assert reason(moved(scene.model_copy(update={"bodies": [*scene.bodies, behind]}))) == "hidden"


def test_toppled() -> None:
    pole = make_body("id2", "cylinder", size=(0.1, 0.1, 0.8), position=(0.1, 0.0, 0.4), friction=0.9)
    assert reason(moved(crash(bodies=[crash().bodies[0], pole]))) == "toppled"


def test_energy_grew() -> None:
    simulated = moved(crash())
    velocity = simulated.motion.velocity.copy()
    velocity[200:] *= 1.2
    faster = RigidMotion(**{**vars(simulated.motion), "velocity": velocity})
    assert reason(simulated._replace(motion=faster)) == "energy_grew"


def test_a_spin_counts_as_energy() -> None:
    simulated = moved(tiny_scene(25))
    spin = simulated.motion.angular_velocity.copy()
    spin[200:, 1, 2] += 10.0
    spinning = RigidMotion(**{**vars(simulated.motion), "angular_velocity": spin})
    assert reason(simulated._replace(motion=spinning)) == "energy_grew"
    cylinder_j = 1.0 * 0.25**2 / 2 * 10.0**2 / 2  # m r^2 / 2, times w^2 / 2
    gained_j = mechanical_energy_j(simulated.scene, spinning) - mechanical_energy_j(simulated.scene, simulated.motion)
    assert gained_j[-1] == pytest.approx(cylinder_j, rel=0.01)


def test_crowded_draws_are_counted(floors: Floors) -> None:
    config = CONFIG.model_copy(update={"size_m": (1.0, 1.0), "max_draws": 2, "n_bodies_simple": (6, 6)})
    with pytest.raises(RowRejected, match="no_acceptable_draw: 2 draws: 2 crowded") as error:
        simulate(seed_of("simple_motion"), config, floors)
    assert error.value.evidence is None  # nothing was simulated


def test_a_seed_without_an_acceptable_draw_is_rejected_with_all_its_draws(floors: Floors) -> None:
    config = CONFIG.model_copy(update={"latest_collision": 0.001, "max_draws": 3})
    with pytest.raises(RowRejected, match="no_acceptable_draw") as error:
        simulate(seed_of("interactions"), config, floors)
    evidence = error.value.evidence
    assert isinstance(evidence, Simulation)
    assert [draw.attempt for draw in evidence.rejected_draws] == [0, 1, 2]
    assert all(draw.reason and any(c.isdigit() for c in draw.detail) for draw in evidence.rejected_draws)


def test_rejected_draws_come_before_the_accepted_one(both: list[Simulation]) -> None:
    for simulation in both:
        assert [draw.attempt for draw in simulation.rejected_draws] == list(range(simulation.scene.attempt))
    assert any(simulation.rejected_draws for simulation in both)


# --- Train and test --------------------------------------------------------------------------


def overlap(one: ColourRegion, other: ColourRegion) -> bool:
    def meet(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a[0] <= b[1] and b[0] <= a[1]

    hues = any(meet(one.hue_deg, (low + turn, high + turn)) for low, high in [other.hue_deg] for turn in (-360, 0, 360))
    return hues and meet(one.saturation, other.saturation) and meet(one.value, other.value)


def test_no_colour_is_in_both_splits() -> None:
    assert not set(colour_names("train")) & set(colour_names("test"))
    assert not any(overlap(one, other) for one in REGIONS["train"].values() for other in REGIONS["test"].values())
    same = REGIONS["train"]["red"]
    assert overlap(same, same)
    assert overlap(same, ColourRegion((0, 1), same.saturation, same.value))  # around the circle


def test_no_floor_is_in_both_splits(both: list[Simulation], floors: Floors) -> None:
    names = {split: {texture.texture for texture in floors.listing(split)} for split in get_args(Split)}
    assert not names["train"] & names["test"]
    for simulation in both:
        assert simulation.scene.floor.texture in names[simulation.scene.split]
        assert {body.colour for body in simulation.scene.bodies} <= set(colour_names(simulation.scene.split))


@pytest.mark.parametrize(("split", "name"), [(s, name) for s in get_args(Split) for name in colour_names(s)])
def test_a_colour_is_what_the_detector_calls_so_and_nothing_else(split: Split, name: str) -> None:
    rng = np.random.default_rng(0)
    colours = np.array([draw_colour(split, name, rng) for _ in range(200)])
    picture = Picture((colours[None] * 255).round().astype(np.uint8))
    for other in colour_names(split):
        membership = picture.membership([COLOUR_WORDS[other]])
        assert (membership == FULL_MEMBERSHIP).all() if other == name else (membership < STRONG_MEMBERSHIP).all()


def test_there_is_nothing_green_on_grass(floors: Floors) -> None:
    scenes = [draw_scene(seed_of("interactions", number), 0, CONFIG, floors) for number in range(20)]
    on = {noun: {b.colour for s in scenes if s.floor.noun == noun for b in s.bodies} for noun in ("grass", "planks")}
    assert "green" in on["planks"]
    assert on["grass"] == set(colour_names("train")) - {"green"}


def test_what_is_like_the_floor_is_taken_when_nothing_else_is_left(floors: Floors) -> None:
    config = CONFIG.model_copy(update={"n_bodies_simple": (12, 12), "size_m": (0.1, 0.1)})
    scene = draw_scene(seed_of("simple_motion"), 0, config, floors)
    assert len({body.noun for body in scene.bodies}) == 12


# --- The same bytes --------------------------------------------------------------------------

SEEDS: list[tuple[SceneSet, int]] = [("simple_motion", 3), ("interactions", 1)]


def digests(seeds: list[tuple[SceneSet, int]], folder: str) -> list[str]:
    floors = Floors(folder=folder)
    return [content_hash(simulate(seed_of(set_, number), CONFIG, floors)) for set_, number in seeds]


def test_the_same_seed_gives_the_same_bytes_in_every_process_and_order(floors: Floors) -> None:
    code = "import sys; from tests.test_simulate_scenes import *; print(*digests(SEEDS[::-1], sys.argv[1]))"
    command = [sys.executable, "-c", code, str(floors.folder)]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split()[::-1] == digests(SEEDS, str(floors.folder))


def test_the_same_seed_gives_the_same_bytes_in_every_thread(floors: Floors) -> None:
    folder = str(floors.folder)
    with ThreadPoolExecutor(len(SEEDS)) as pool:
        together = list(pool.map(lambda seed: digests([seed], folder), SEEDS))
    assert [digest for (digest,) in together] == digests(SEEDS, folder)


def test_seeds_sets_and_splits_differ(floors: Floors) -> None:
    seeds = [seed_of(s, number, split) for s in get_args(SceneSet) for split in get_args(Split) for number in (0, 1)]
    cameras = {draw_scene(seed, 0, CONFIG, floors).camera.translation for seed in seeds}
    assert len(cameras) == len(seeds)


# --- Config and stage ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"substeps_per_s": 100}, "make it a multiple of fps, 24"),
        ({"speed_mps": (1.5, 0.5)}, "from low to high"),
        ({"camera_pitch_deg": (30, 90)}, "no horizon"),
        ({"n_bodies_simple": (1, 3)}, "n_controlled goes up to 2, but"),
        ({"n_bodies_interactions": (1, 3), "n_controlled": (1, 1)}, "one body cannot collide"),
        ({"n_bodies_interactions": (3, MAX_BODIES + 1)}, "told apart"),
        ({"restitution": (0.5, 1.5)}, "less than or equal to 1"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SceneConfig(**changes)


def test_the_paper_is_the_default() -> None:
    config = SceneConfig()
    assert (config.width, config.height, config.n_frames) == (720, 480, 49)
    assert config.speed_mps == (0.5, 1.5)
    assert config.n_controlled == (1, 2)


def test_the_stage_simulates_and_says_with_what(tmp_path: Path, floors: Floors) -> None:
    step = stage(Work(root=tmp_path, inputs=Inputs(folder=tmp_path)), CONFIG, floors)
    rows = [Row[SceneSeed](payload=seed_of("interactions", number)) for number in (0, 1)]
    assert step.compute(step.read(rows[0])) == simulate(rows[0].payload, CONFIG, floors)
    assert step.key(rows[0]) != step.key(rows[1])
    assert [(made.backend, made.model) for made in step.made_by] == [("bullet", "pybullet 3.2.7")]


def test_the_key_depends_on_the_floors_to_choose_from(
    tmp_path: Path, floors: Floors, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = stage(Work(root=tmp_path, inputs=Inputs(folder=tmp_path)), CONFIG, floors)
    row = Row[SceneSeed](payload=seed_of("interactions"))
    before = step.key(row)
    assert step.key(row) == before
    listing = floors.listing("train")
    monkeypatch.setattr(Floors, "listing", lambda self, split: listing[1:])
    assert step.key(row) != before


def test_a_simulation_survives_its_json(both: list[Simulation]) -> None:
    assert Simulation.from_json(both[-1].to_json()) == both[-1]


def test_bodies_are_records(both: list[Simulation]) -> None:
    # model_copy validates nothing: a body placed with it must still be a valid one.
    for body in both[0].scene.bodies:
        assert Body.model_validate(body.model_dump()) == body
