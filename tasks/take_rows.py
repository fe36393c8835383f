"""a published row -> its prompt, and what its sample takes along from the snapshot.

    simulated clip -> "A red cube slides ...", its objects, the frames of its collisions        (KineMask 3.3, 4.3.1)
    generated video -> "In a wood, a fox is on the left of a stump, ...", its scores            (SpatialAlign 3.2)

Nothing is judged here: every accepted row is taken.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.config import StageConfig
from schemas.dsr import SampleRow
from schemas.kinemask import CollisionRow, ObjectRow, SceneClipRow
from schemas.preparation import TakenScene, TakenScores
from schemas.scene import SceneSeed
from schemas.training_samples import SampleScoreRow, SnapshotRow
from tasks.datasets.kinemask.condition_clips import CONSTANT_PROMPT
from tasks.engine.clip_tables import ClipTables
from tasks.engine.shards import Row
from tasks.engine.stage import Stage


class TakeScenesConfig(StageConfig):
    """What a simulated clip's sample is told."""

    prompt: Literal["caption", "constant"] = Field(
        "caption",
        description="caption: the clip's own; constant: 'An object moving on a surface', c_0 of KineMask 4.3.1",
    )


def scenes_stage(tables: ClipTables, config: TakeScenesConfig) -> Stage[SnapshotRow, TakenScene, TakenScene]:
    """For rows of curate-kinemask."""

    def read(row: Row[SnapshotRow]) -> TakenScene:
        clip_id = row.payload.clip_id
        (clip,) = tables.rows(SceneClipRow, clip_id)
        return TakenScene(
            prompt=CONSTANT_PROMPT if config.prompt == "constant" else clip.caption,
            scene=SceneSeed(**clip.model_dump(include=set(SceneSeed.model_fields))),
            video_sha256=clip.video_sha256,
            objects=tables.rows(ObjectRow, clip_id),
            collision_frames=sorted(collision.frame for collision in tables.rows(CollisionRow, clip_id)),
            made_by=clip.made_by,
        )

    return Stage(version=1, result=TakenScene, config=config, made_by=[], read=read, compute=lambda taken: taken)


def scores_stage(tables: ClipTables) -> Stage[SnapshotRow, TakenScores, TakenScores]:
    """For rows of curate-dsr."""

    def read(row: Row[SnapshotRow]) -> TakenScores:
        (sample,) = tables.rows(SampleRow, row.payload.clip_id)
        return TakenScores(prompt=sample.text, scores=SampleScoreRow(**sample.model_dump()))

    return Stage(
        version=1, result=TakenScores, config=StageConfig(), made_by=[], read=read, compute=lambda taken: taken
    )
