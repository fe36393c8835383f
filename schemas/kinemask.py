"""The tables of kinemask: simulated clips with everything simulated and visible in them.

    clips/  videos/  objects/  collisions/        the dataset: accepted clips only
    outcomes/  draws/                             the audit: how it was made

A clip's velocity mask is rebuilt from its `objects` rows: tasks/media/velocity_masks.py.
"""

from __future__ import annotations

from typing import ClassVar

from schemas.candidate import Box
from schemas.mask_track import MaskTrack
from schemas.outcome import Outcome
from schemas.provenance import MadeBy
from schemas.record import Record, column
from schemas.scene import Collision, Quaternion, RejectedDraw, Scene, SceneSeed, Shape, Trajectory, Vector
from schemas.tables import Named, OfClip

SPEED_STEP_MPS = 0.1  # of KinemaskStatistics.speeds


class SceneClipRow(SceneSeed):
    """An accepted clip."""

    table_name: ClassVar[str | None] = "clips"

    caption: str = column("What happens in it")
    caption_faults: list[str] = column("What the caption says and the simulation did not do")
    fps: int = column("Frames a second", unit="frames/s", ge=1)
    n_frames: int = column("Frames of the clip", ge=1)
    width: int = column("Width", unit="px", ge=1)
    height: int = column("Height", unit="px", ge=1)
    n_collisions: int = column("Collisions between its objects", ge=0)
    video_sha256: str = column("SHA-256 of its video", unit="hex")
    scene: Scene = column("Everything it was simulated and rendered from: objects, floor, light, camera")
    made_by: list[MadeBy] = column("Backend and model of every stage")


class VideoRow(OfClip):
    """A clip's video: in a table of its own, so that the others are read without it."""

    table_name: ClassVar[str | None] = "videos"

    sha256: str = column("SHA-256 of the video", unit="hex")
    video: bytes = column("H.264 in MP4")


class ObjectRow(OfClip):
    """An object of an accepted clip, frame by frame."""

    table_name: ClassVar[str | None] = "objects"

    instance_id: str = column("id1, id2, ...: its number in the scene")
    noun: str = column("Colour and shape: 'red cube'")
    shape: Shape = column("cube or cylinder; a cylinder stands on its round face")
    colour: str = column("Its colour's name")
    rgb: Vector = column("Its colour in sRGB", unit="0..1")
    size: Vector = column("Extents along its own axes; a cylinder's: diameter, diameter, height", unit="m")
    mass_kg: float = column("Mass", unit="kg", gt=0)
    controlled: bool = column("Does it move in the first frame? Only then it is in the velocity mask")
    speed_mps: float = column("Its speed in the first frame", unit="m/s", ge=0)
    position: list[Vector] = column("One a frame: centre, world axes", unit="m")
    rotation: list[Quaternion] = column("One a frame: orientation w, x, y, z")
    velocity: list[Vector] = column("One a frame: instantaneous velocity of the centre, world axes", unit="m/s")
    angular_velocity: list[Vector] = column("One a frame: instantaneous angular velocity, world axes", unit="rad/s")
    height: int = column("Mask height", unit="px", ge=1)
    width: int = column("Mask width", unit="px", ge=1)
    counts: list[str] = column("One a frame: COCO compressed run lengths of its visible pixels")
    box_xyxy: list[Box | None] = column(
        "One a frame: tight box, right and bottom exclusive; null where nothing is seen of it", unit="px"
    )
    area: list[int] = column("One a frame: visible pixels", unit="px")

    @property
    def track(self) -> MaskTrack:
        """Its visible pixels in every frame."""
        return MaskTrack(
            **self.model_dump(include={"instance_id", "height", "width", "counts", "box_xyxy", "area"}),
            anchor_frame=0,
            present=[area > 0 for area in self.area],
        )

    @property
    def trajectory(self) -> Trajectory:
        return Trajectory(**self.model_dump(include=set(Trajectory.model_fields)))


class CollisionRow(Collision, OfClip):
    """A collision in an accepted clip."""

    table_name: ClassVar[str | None] = "collisions"


class DrawRow(SceneSeed, RejectedDraw):
    """A draw that was no clip of its set; the seed's next one was tried."""

    table_name: ClassVar[str | None] = "draws"


class SceneOutcomeRow(Outcome):
    """What became of a seed."""

    table_name: ClassVar[str | None] = "outcomes"

    set: str = column("The set it is drawn for")
    split: str = column("The split it is drawn for")
    seed: int = column("The clip's number within its set and split", ge=0)


class KinemaskStatistics(Record):
    """What the accepted clips are like."""

    clips: list[Named] = column("Clips of each set and split: 'interactions/train'")
    rejected_draws: list[Named] = column("Draws that were no clip of their set, by set and reason")
    objects_per_clip: list[int] = column("Clips with 0, 1, 2, ... objects")
    collisions_per_clip: list[int] = column("Clips with 0, 1, 2, ... collisions")
    collisions_per_frame: list[int] = column("Collisions in frame 0, 1, 2, ...: where dropped-out masks are kept")
    speeds: list[int] = column("Controlled objects by speed in the first frame: 0 to 0.1 m/s, 0.1 to 0.2, ...")
    directions: list[int] = column(
        "Controlled objects by direction: 12 sectors of 30 degrees, from x counter-clockwise"
    )
    colours: list[Named] = column("Objects by colour")
    shapes: list[Named] = column("Objects by shape")
    floors: list[Named] = column("Clips by floor")


DATASET_TABLES: dict[str, type[Record]] = {
    "clips": SceneClipRow,
    "videos": VideoRow,
    "objects": ObjectRow,
    "collisions": CollisionRow,
}
AUDIT_TABLES: dict[str, type[Record]] = {"outcomes": SceneOutcomeRow, "draws": DrawRow}
SHARD_TABLES = DATASET_TABLES | AUDIT_TABLES  # one file a shard
