"""What a caption may say about a simulation: events with times, measured and not yet worded.

    read_facts(simulation, tracks)
        starts  [Starts(0.0, "id1", "left", Direction.RIGHT, towards="id3")]
        hits    [Hits(0.79, "id1", "id3", "firm",
                      goes=(Goes("id3", "pushed", Direction.RIGHT), Goes("id1", "halts", None)))]
        ends    [Leaves(1.46, "id3", Direction.RIGHT)]

Only what the picture shows is a fact. Directions are in the picture, motions in the world. A body is visible while its
mask holds a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

import numpy as np

from schemas.mask_track import MaskTrack
from schemas.scene import Body, Camera, Collision, Trajectory
from schemas.simulation import Simulation
from tasks.media.cast_rays import Pose, Solid, poses_at, window_of

# Our own thresholds: the paper's captions come from a VLM.
REST_MPS = 0.005  # at most this speed: at rest. PyBullet's rest is exact; other simulators jitter
STILL_M = 0.005  # moved less: not moved (a pixel or less)
MOVES_M = 0.03  # moved more: visibly moved; in between: barely moved
HALTS_M = 0.06  # a moving body that goes on for less was halted by the hit
SLIGHT_MPS, FIRM_MPS = 0.4, 0.8  # closing speeds: below the first "slightly", above the second "firmly"
SAME_WAY_DEG, BOUNCE_DEG = 25.0, 120.0  # turn of the velocity: it continues below the first, bounces above the second
AIM_DEG = 30.0  # a smaller angle between velocity and target: it moves towards the target
ONE_CONTACT_S = 0.35  # contacts of a pair within this time are one collision
SLOWER = 0.5  # below this share of its top speed at the end, it slows down
BESIDE_M = 0.1  # at most this gap between the circles around two bodies: next to each other
GLANCE_S = 0.05  # time step that projects a velocity into the picture
MIN_FRAMES = 3  # a motion visible in fewer frames is not mentioned


class Direction(Enum):
    """A direction in the picture; value: degrees counter-clockwise from the right."""

    RIGHT = 0
    TOP_RIGHT = 45
    TOP = 90
    TOP_LEFT = 135
    LEFT = 180
    BOTTOM_LEFT = 225
    BOTTOM = 270
    BOTTOM_RIGHT = 315

    @classmethod
    def of(cls, dx: float, dy: float) -> Direction:
        """The nearest of the eight; dx to the right, dy down, in px."""
        return cls(round(np.degrees(np.arctan2(-dy, dx)) / 45) % 8 * 45)


FrameThird = Literal["left", "middle", "right"]
Strength = Literal["slight", "plain", "firm"]
Manner = Literal["pushed", "nudged", "stays", "continues", "veers", "deflected", "bounces", "halts"]


@dataclass(frozen=True)
class Starts:
    """A controlled body moves from the first frame on."""

    time_s: float
    instance_id: str
    place: FrameThird
    direction: Direction
    towards: str | None  # the body that it is aimed at and hits first


@dataclass(frozen=True)
class Goes:
    """What a body does after a hit, until its next one.

    pushed, nudged, stays: it was at rest; then it moves, barely moves, does not move
    continues, veers, deflected, bounces, halts: it was moving; then it goes on, turns a little (not enough for another
        direction in the picture), turns, comes back, stops at once
    """

    instance_id: str
    manner: Manner
    direction: Direction | None  # None: nudged, stays, halts


@dataclass(frozen=True)
class Hits:
    """A visible collision, and what both bodies do afterwards as far as it is visible."""

    time_s: float
    first_id: str  # the faster one
    second_id: str
    strength: Strength
    goes: tuple[Goes, ...]  # of the second body, then of the first

    @property
    def pair(self) -> frozenset[str]:
        return frozenset((self.first_id, self.second_id))

    def after(self, instance_id: str) -> Goes | None:
        return next((goes for goes in self.goes if goes.instance_id == instance_id), None)


@dataclass(frozen=True)
class Stops:
    """It has moved and rests, visible, when the clip ends."""

    time_s: float
    instance_id: str
    beside: str | None


@dataclass(frozen=True)
class Leaves:
    """It moves out of the picture and does not come back; a hidden body has not left."""

    time_s: float
    instance_id: str
    side: Direction


@dataclass(frozen=True)
class Moves:
    """It still moves, visible, when the clip ends."""

    time_s: float
    instance_id: str
    direction: Direction
    slows: bool


@dataclass(frozen=True)
class Rests:
    """It never moves."""

    instance_id: str


Ends = Stops | Leaves | Moves


@dataclass(frozen=True)
class Facts:
    """Everything that may be said about a clip."""

    floor: str
    nouns: dict[str, str]  # {instance_id: "red cube"} of the bodies in the first frame, from left to right
    starts: list[Starts]
    hits: list[Hits]  # in order of time
    ends: list[Ends]  # in order of time; at most one a body
    rests: list[Rests]
    nothing_collides: bool  # visible or not
    ends_at_rest: bool  # every body, visible or not


def read_facts(simulation: Simulation, tracks: list[MaskTrack]) -> Facts:
    """tracks: the exact masks, in the scene's order."""
    scene = simulation.scene
    motions = _read_motions(simulation, tracks)
    # Without a body in the first frame, a viewer cannot know which body its name means.
    shown = {id_: motion for id_, motion in motions.items() if motion.seen[0]}
    contacts = merge_contacts(simulation.collisions)
    cuts = {id_: [c.frame for c in contacts if id_ in (c.first_id, c.second_id)] for id_ in motions}
    seen = [c for c in contacts if all(id_ in shown and shown[id_].seen_around(c.frame) for id_ in _ids(c))]
    ends = [end for motion in shown.values() if (end := _ends(motion, shown, scene.camera, scene.fps))]
    nouns = {body.instance_id: body.noun for body in scene.bodies}
    return Facts(
        floor=scene.floor.noun,
        nouns={id_: nouns[id_] for id_ in sorted(shown, key=lambda id_: float(shown[id_].image[0, 0]))},
        starts=[
            starts
            for body in scene.bodies
            if body.controlled and body.instance_id in shown
            if (starts := _starts(shown, body.instance_id, contacts, cuts, scene.camera.width))
        ],
        hits=[_hits(contact, shown, cuts, scene.camera) for contact in seen],
        ends=sorted(ends, key=lambda end: end.time_s),
        rests=[Rests(id_) for id_, motion in shown.items() if motion.moved_m(0, motion.n_frames - 1) <= STILL_M],
        nothing_collides=not simulation.collisions,
        ends_at_rest=all(motion.speed(-1) <= REST_MPS for motion in motions.values()),
    )


class BodyMotion:
    """A body's motion through the clip."""

    def __init__(self, body: Body, trajectory: Trajectory, track: MaskTrack, end: Pose, camera: Camera) -> None:
        self.instance_id = body.instance_id
        self.position = np.array(trajectory.position)  # (T, 3) m
        self.velocity = np.array(trajectory.velocity)  # (T, 3) m/s
        self.image = camera.project(self.position)[0]  # (T, 2) px: its centre in the picture
        self.seen = np.array(track.present)  # (T,) bool: does its mask hold a pixel
        # Is it in the picture in the last frame, even if hidden?
        self.ends_in_picture = window_of(camera, Solid.of(body, end).corners) is not None
        self.radius = max(body.size[:2]) / 2  # m, seen from above

    @property
    def n_frames(self) -> int:
        return len(self.seen)

    def speed(self, frame: int) -> float:
        return float(np.linalg.norm(self.velocity[frame]))

    def moved_m(self, first: int, last: int) -> float:
        """Its greatest distance from its place in frame `first`."""
        return float(np.linalg.norm(self.position[first : last + 1] - self.position[first], axis=1).max())

    def seen_around(self, frame: int) -> bool:
        """Is it visible in that frame or the one before?"""
        return bool(self.seen[max(0, frame - 1) : frame + 1].any())

    def phase(self, first: int, cuts: list[int]) -> tuple[int, int] | None:
        """(first, last) visible frame from `first` on, before the next cut; None if there are too few."""
        last = min((cut for cut in cuts if cut > first), default=self.n_frames) - 1
        frames = first + np.flatnonzero(self.seen[first : last + 1])
        return (int(frames[0]), int(frames[-1])) if len(frames) >= MIN_FRAMES else None

    def direction(self, first: int, last: int) -> Direction:
        dx, dy = self.image[last] - self.image[first]
        return Direction.of(dx, dy)


def _read_motions(simulation: Simulation, tracks: list[MaskTrack]) -> dict[str, BodyMotion]:
    """{instance_id: its way}, in the scene's order."""
    scene, ends = simulation.scene, poses_at(simulation.trajectories, -1)
    return {
        body.instance_id: BodyMotion(body, trajectory, track, end, scene.camera)
        for body, trajectory, track, end in zip(scene.bodies, simulation.trajectories, tracks, ends, strict=True)
    }


def merge_contacts(collisions: list[Collision]) -> list[Collision]:
    """Merge quick contacts of a pair into one collision, at the time of the first and as hard as the hardest.

    Slight contacts that come later are merged too: the two bodies slide on together.
    """
    merged: list[Collision] = []
    latest: dict[frozenset[str], tuple[int, float]] = {}  # index in merged, time of the last contact
    for contact in collisions:
        pair = frozenset(_ids(contact))
        place, time_s = latest.get(pair, (-1, -np.inf))
        again = contact.time_s - time_s > ONE_CONTACT_S and contact.closing_speed_mps >= SLIGHT_MPS
        if place >= 0 and not again:
            speed = max(merged[place].closing_speed_mps, contact.closing_speed_mps)
            merged[place] = merged[place].model_copy(update={"closing_speed_mps": speed})
        else:
            place = len(merged)
            merged.append(contact)
        latest[pair] = place, contact.time_s
    return merged


def _ids(contact: Collision) -> tuple[str, str]:
    return contact.first_id, contact.second_id


def _starts(
    motions: dict[str, BodyMotion], instance_id: str, contacts: list[Collision], cuts: dict[str, list[int]], width: int
) -> Starts | None:
    motion = motions[instance_id]
    phase = motion.phase(0, cuts[instance_id])
    if phase is None or motion.moved_m(*phase) < MOVES_M:
        return None
    share = motion.image[0, 0] / width
    place: FrameThird = "left" if share < 1 / 3 else "right" if share > 2 / 3 else "middle"
    first = next((c for c in contacts if instance_id in _ids(c)), None)
    towards = None
    if first is not None:
        other = first.second_id if first.first_id == instance_id else first.first_id
        if other in motions:
            way = motions[other].position[0] - motion.position[0]
            towards = other if _angle_deg(motion.velocity[0], way) <= AIM_DEG else None
    return Starts(0.0, instance_id, place, motion.direction(*phase), towards)


def _hits(contact: Collision, motions: dict[str, BodyMotion], cuts: dict[str, list[int]], camera: Camera) -> Hits:
    speed = contact.closing_speed_mps
    before = {contact.first_id: contact.first_velocity_before, contact.second_id: contact.second_velocity_before}
    goes = [
        _goes(motions[id_], np.array(before[id_]), contact.frame, cuts[id_], camera)
        for id_ in (contact.second_id, contact.first_id)
    ]
    return Hits(
        time_s=contact.time_s,
        first_id=contact.first_id,
        second_id=contact.second_id,
        strength="slight" if speed < SLIGHT_MPS else "firm" if speed >= FIRM_MPS else "plain",
        goes=tuple(g for g in goes if g is not None),
    )


def _goes(motion: BodyMotion, before: np.ndarray, frame: int, cuts: list[int], camera: Camera) -> Goes | None:
    """None if too little is visible, or if the motion lies between two manners."""
    phase = motion.phase(frame, cuts)
    if phase is None:
        return None
    first, last = phase
    moved_m = motion.moved_m(first, last)
    halted = motion.speed(last) <= REST_MPS
    if np.linalg.norm(before) <= REST_MPS:
        if moved_m <= STILL_M:
            return Goes(motion.instance_id, "stays", None)
        if moved_m < MOVES_M:
            return Goes(motion.instance_id, "nudged", None) if halted else None
        return Goes(motion.instance_id, "pushed", motion.direction(first, last))
    if moved_m < HALTS_M and halted:
        return Goes(motion.instance_id, "halts", None)
    if moved_m < MOVES_M:
        return None
    turn_deg = _angle_deg(before, motion.position[last] - motion.position[first])
    direction = motion.direction(first, last)
    manner: Manner
    if turn_deg < SAME_WAY_DEG:
        manner = "continues"
    elif turn_deg >= BOUNCE_DEG:
        manner = "bounces"
    else:
        manner = "veers" if direction == _seen_direction(motion.position[first], before, camera) else "deflected"
    return Goes(motion.instance_id, manner, direction)


def _seen_direction(position: np.ndarray, velocity: np.ndarray, camera: Camera) -> Direction:
    (x0, y0), (x1, y1) = camera.project(np.array([position, position + velocity * GLANCE_S]))[0]
    return Direction.of(x1 - x0, y1 - y0)


def _ends(motion: BodyMotion, motions: dict[str, BodyMotion], camera: Camera, fps: int) -> Ends | None:
    """None for a body that never moves or is hidden when the clip ends."""
    last = motion.n_frames - 1
    if motion.moved_m(0, last) < MOVES_M:
        return None
    if not motion.seen[last]:
        return _leaves(motion, camera, fps)
    speeds = np.linalg.norm(motion.velocity, axis=1)
    moving = np.flatnonzero(speeds > REST_MPS)
    if speeds[last] <= REST_MPS:
        return Stops((int(moving[-1]) + 1) / fps, motion.instance_id, _beside(motion, motions))
    since = max(0, last - fps // 2)
    if motion.moved_m(since, last) < MOVES_M:
        return None
    slows = bool(speeds[last] < SLOWER * speeds.max())
    return Moves(last / fps, motion.instance_id, motion.direction(since, last), slows)


def _leaves(motion: BodyMotion, camera: Camera, fps: int) -> Leaves | None:
    """None if it is still in the picture, merely hidden, when the clip ends."""
    if motion.ends_in_picture:
        return None
    frame = int(np.flatnonzero(motion.seen)[-1]) + 1
    x, y = motion.image[frame]
    beyond = {
        Direction.LEFT: -x,
        Direction.RIGHT: x - camera.width,
        Direction.TOP: -y,
        Direction.BOTTOM: y - camera.height,
    }
    return Leaves(frame / fps, motion.instance_id, max(beyond, key=lambda side: beyond[side]))


def _beside(motion: BodyMotion, motions: dict[str, BodyMotion]) -> str | None:
    """The body that it comes to rest next to, if that one rests and is visible too."""
    gaps = {
        other.instance_id: float(np.linalg.norm((other.position - motion.position)[-1, :2]))
        - other.radius
        - motion.radius
        for other in motions.values()
        if other is not motion and other.seen[-1] and other.speed(-1) <= REST_MPS
    }
    nearest = min(gaps, key=lambda id_: gaps[id_], default=None)
    return nearest if nearest is not None and gaps[nearest] <= BESIDE_M else None


def _angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between two vectors, seen from above."""
    return float(abs(np.degrees(np.arctan2(a[0] * b[1] - a[1] * b[0], a[0] * b[0] + a[1] * b[1]))))
