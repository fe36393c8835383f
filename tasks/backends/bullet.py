"""Rigid bodies with PyBullet: a scene -> the state of every body after each sub-step, and their contacts.

    motion = load().move(scene, substeps_per_s=480)
    motion.velocity[0, 1]    -> the velocity of scene.bodies[1] at the start, exactly the scene's
    motion.contacts[0]       -> Contact(step=379, first=0, second=2, force_n=812.4, ...)

Bullet's friction depends slightly on direction. Measured against m g mu, at the speeds and frictions of the data, it
turns the path of a cube that slides askew by up to five degrees within a second and changes its speed by up to 0.06 m/s
(cylinders: one degree, 0.02 m/s). Trajectories store what was simulated, so masks and captions agree with the video.

Importing this module imports no PyBullet. PyBullet holds the interpreter's lock while it computes: several threads may
simulate, but are no faster.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from schemas.outcome import ServiceDown
from schemas.scene import Body, Scene
from tasks.backends.extras import KINEMASK

PACKAGE = "pybullet"

MIN_FORCE_N = 1e-6  # Bullet also lists contacts without a force

# Process-wide in Bullet, not per client: set it for every simulation, or the previous value stays.
CONTACT_BREAKING_M = 0.02
# Share of a penetration that a sub-step corrects. With Bullet's default, 0.2, cylinders rock twice as much.
CONTACT_ERP = 0.5

FLOOR_HALF_M = (50.0, 50.0, 1.0)  # a box, as sliding cubes rock on Bullet's infinite plane


class Contact(NamedTuple):
    """One body pushes another during one sub-step."""

    step: int  # the force acts between the states `step` and `step + 1`
    first: int  # indices into scene.bodies; first < second
    second: int
    force_n: float  # N, normal force summed over their contact points
    point: np.ndarray  # (3,) m: mean of the contact points, weighted by force
    normal: np.ndarray  # (3,) unit vector from the second to the first


@dataclass(frozen=True)
class RigidMotion:
    """K bodies in S + 1 states; the first state is the scene's."""

    substeps_per_s: int
    position: np.ndarray  # (S + 1, K, 3) m: centres
    rotation: np.ndarray  # (S + 1, K, 4): w, x, y, z
    velocity: np.ndarray  # (S + 1, K, 3) m/s
    angular_velocity: np.ndarray  # (S + 1, K, 3) rad/s, world axes
    contacts: list[Contact]  # between bodies, in order of time; without those with the floor


@dataclass(frozen=True)
class Bullet:
    """PyBullet, imported."""

    pybullet: ModuleType

    def move(self, scene: Scene, substeps_per_s: int) -> RigidMotion:
        """Simulate from the first frame to the last. Same scene, same bytes, whatever ran before or runs beside it.

        Raises ValueError if substeps_per_s is not a multiple of the frame rate, ServiceDown if PyBullet cannot
        open another simulation.
        """
        if substeps_per_s % scene.fps:
            raise ValueError(f"{substeps_per_s} sub-steps a second are no multiple of {scene.fps} frames a second")
        n_steps = (scene.n_frames - 1) * (substeps_per_s // scene.fps)
        with self._client() as client:
            world = _World(self.pybullet, client, scene, substeps_per_s)
            states = [world.state()]
            contacts = []
            for step in range(n_steps):
                world.step()
                states.append(world.state())
                contacts += world.contacts(step)
        position, rotation, velocity, angular_velocity = (np.array(part) for part in zip(*states, strict=True))
        return RigidMotion(
            substeps_per_s=substeps_per_s,
            position=position,
            rotation=rotation[..., [3, 0, 1, 2]],  # Bullet's are x, y, z, w
            velocity=velocity,
            angular_velocity=angular_velocity,
            contacts=contacts,
        )

    @contextmanager
    def _client(self) -> Iterator[int]:
        """Open a separate simulation."""
        client = self.pybullet.connect(self.pybullet.DIRECT)
        if client < 0:
            raise ServiceDown("PyBullet cannot open another simulation; restart this worker and rerun the shard")
        try:
            yield client
        finally:
            self.pybullet.disconnect(physicsClientId=client)


State = tuple[tuple[Any, ...], ...]  # position, rotation, velocity, angular velocity, each for all bodies


class _World:
    """A scene within a client of PyBullet."""

    def __init__(self, pybullet: ModuleType, client: int, scene: Scene, substeps_per_s: int) -> None:
        self._pybullet, self._client = pybullet, {"physicsClientId": client}
        pybullet.setPhysicsEngineParameter(
            fixedTimeStep=1 / substeps_per_s,
            numSubSteps=0,
            deterministicOverlappingPairs=1,
            contactBreakingThreshold=CONTACT_BREAKING_M,
            contactERP=CONTACT_ERP,
            **self._client,
        )
        pybullet.setGravity(0, 0, -scene.gravity, **self._client)
        self._add_floor()
        self._ids = [self._add(body) for body in scene.bodies]
        self._places = {number: place for place, number in enumerate(self._ids)}

    def _add_floor(self) -> None:
        shape = self._pybullet.createCollisionShape(self._pybullet.GEOM_BOX, halfExtents=FLOOR_HALF_M, **self._client)
        floor = self._pybullet.createMultiBody(0, shape, basePosition=(0, 0, -FLOOR_HALF_M[2]), **self._client)
        # Bullet multiplies the frictions of a pair: with 1 here, the body's own remains.
        self._pybullet.changeDynamics(floor, -1, lateralFriction=1, restitution=0, **self._client)

    def _add(self, body: Body) -> int:
        w, x, y, z = body.rotation
        number: int = self._pybullet.createMultiBody(
            body.mass_kg,
            self._pybullet.createCollisionShape(**_shape(self._pybullet, body), **self._client),
            basePosition=body.position,
            baseOrientation=(x, y, z, w),
            **self._client,
        )
        self._pybullet.changeDynamics(
            number,
            -1,
            lateralFriction=body.friction,
            rollingFriction=0,
            spinningFriction=0,
            restitution=body.restitution,
            linearDamping=0,  # no air: Bullet's default takes 4% a second
            angularDamping=0,
            **self._client,
        )
        self._pybullet.resetBaseVelocity(number, body.velocity, (0, 0, 0), **self._client)
        return number

    def step(self) -> None:
        self._pybullet.stepSimulation(**self._client)

    def state(self) -> State:
        poses = [self._pybullet.getBasePositionAndOrientation(number, **self._client) for number in self._ids]
        velocities = [self._pybullet.getBaseVelocity(number, **self._client) for number in self._ids]
        position, rotation = zip(*poses, strict=True)
        velocity, angular_velocity = zip(*velocities, strict=True)
        return position, rotation, velocity, angular_velocity

    def contacts(self, step: int) -> list[Contact]:
        """Contacts between bodies in the last sub-step: one a pair, in the scene's order."""
        pushes: dict[tuple[int, int], list[tuple[float, np.ndarray, np.ndarray]]] = defaultdict(list)
        for point in self._pybullet.getContactPoints(**self._client):
            _, a, b, _, _, _, on_b, normal, _, force_n, *_ = point  # the normal points from b to a
            if force_n <= MIN_FORCE_N or a not in self._places or b not in self._places:
                continue
            first, second = self._places[a], self._places[b]
            sign = 1.0 if first < second else -1.0
            pair = (first, second) if first < second else (second, first)
            pushes[pair].append((force_n, np.array(on_b), sign * np.array(normal)))
        return [_contact(step, pair, pushes[pair]) for pair in sorted(pushes)]


def _shape(pybullet: ModuleType, body: Body) -> dict[str, Any]:
    """The arguments of createCollisionShape."""
    length, width, height = body.size
    match body.shape:
        case "cube":
            return {"shapeType": pybullet.GEOM_BOX, "halfExtents": (length / 2, width / 2, height / 2)}
        case "cylinder":
            return {"shapeType": pybullet.GEOM_CYLINDER, "radius": length / 2, "height": height}


def _contact(step: int, pair: tuple[int, int], pushes: Sequence[tuple[float, np.ndarray, np.ndarray]]) -> Contact:
    forces, points, normals = (np.array(part) for part in zip(*pushes, strict=True))
    normal = forces @ normals
    return Contact(step, *pair, math.fsum(forces), forces @ points / math.fsum(forces), normal / np.linalg.norm(normal))


# --- Loading ---------------------------------------------------------------------------------


def identity() -> dict[str, str]:
    return {"backend": "bullet", "model": f"{PACKAGE} {KINEMASK.pinned(PACKAGE)[PACKAGE]}"}


def load() -> Bullet:
    """Import PyBullet. Raises ServiceDown, with how to install it, if it is missing or not the pinned version."""
    with _load_lock:
        return _load()


_load_lock = threading.Lock()


@cache
def _load() -> Bullet:
    with KINEMASK.imports(PACKAGE), _stdout_to_stderr():
        import pybullet
    return Bullet(pybullet)


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """For the import: PyBullet prints its build time to C's stdout, which may carry data."""
    libc = ctypes.CDLL(None)
    libc.fflush(None)  # earlier output goes to the real stdout
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
        libc.fflush(None)
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
