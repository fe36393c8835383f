"""curate-kinemask: seeds -> rendered clips with exact velocity masks (KineMask, sections 3.2, 3.3, 4.1).

    python -m flows.curate_kinemask --root data/kinemask --n-train 100 --n-test 10
    triptych run kinemask --watch    once it is deployed, on its workers

Read downward: simulate, render, caption, publish. A clip is a function of its seed and the config.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from flows.engine.command import CurationFlow
from flows.engine.config import CurationConfig, Profiles, Step
from flows.engine.growing_page import GrowingPage
from flows.engine.pipeline import Preview, curate_shards, curation_flow, finish, preview, shard_flow
from flows.engine.steps import run_logger
from schemas.scene import SceneSeed, SceneSet, Split
from schemas.simulation import Captioned, Rendered, Simulation
from schemas.storage import AnyPath, DataPath
from tasks import caption_clips, render_clips, simulate_scenes
from tasks.backends.cycles import CyclesConfig
from tasks.datasets.kinemask.dataset import KINEMASK
from tasks.datasets.kinemask.ledger import SeedLedger
from tasks.engine.dataset import Dataset
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Shard, plan_shards
from tasks.engine.work import Work
from tasks.media.floors import Floors

# What each profile sets where nothing else is asked for. The paper's: Blender, and captions by a VLM.
PROFILES: Profiles = {"embedded": {}, "paper": {"render": {"renderer": "cycles"}, "caption": {"captioner": "openai"}}}
PROFILE_MEANINGS = {
    "embedded": "motion, masks and velocities are exact; the pictures are plain drawings, and captions come from the "
    "simulated events.",
    "paper": "motion, masks and velocities are exact; how well captions fit depends on the VLM named and was not "
    "measured here.",
}


class CurateKinemask(CurationConfig):
    """Everything the flow can be told. Defaults are the paper's where it states a number."""

    product: ClassVar[Dataset] = KINEMASK
    profiles: ClassVar[Profiles] = PROFILES
    profile_meanings: ClassVar[Mapping[str, str]] = PROFILE_MEANINGS
    first_options: ClassVar[Sequence[str]] = (
        *("root", "n_train", "n_test", "sets", "profile", "limit"),
        *("render.renderer", "caption.captioner", "floors"),
    )
    steps: ClassVar[Sequence[Step]] = (
        Step(SceneSeed, Simulation, lambda c: simulate_scenes.stage(c.work, c.scenes, c.floor_pictures)),
        Step(SceneSeed, Rendered, lambda c: render_clips.stage(c.work, c.render, c.floor_pictures, c.cycles)),
        Step(SceneSeed, Captioned, lambda c: caption_clips.stage(c.work, c.caption, c.endpoint)),
    )

    profile: Literal["embedded", "paper"] = Field(
        "embedded",
        description="The backends where none is named. embedded: no Blender, no server; paper: Blender's Cycles, and "
        "a VLM behind an OpenAI-compatible server for the captions",
    )
    dataset: str = Field("kinemask", pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Name of the dataset")
    sets: list[SceneSet] = Field(
        ["simple_motion", "interactions"],
        description="Which sets (KineMask 4.1). simple_motion: no collision; interactions: of a controlled object",
    )
    n_train: int = Field(10_000, ge=0, title="Training clips", description="Training clips of each set (KineMask 4.1)")
    n_test: int = Field(
        100, ge=0, title="Test clips", description="Test clips of each set, of other colours and floors (KineMask 4.1)"
    )
    floors: DataPath | None = Field(
        None,
        description="Folder of floor pictures, train/ and test/, named by what they show (the paper takes "
        "AmbientCG's); empty: painted ones",
    )

    scenes: simulate_scenes.SceneConfig = simulate_scenes.SceneConfig()
    render: render_clips.RenderConfig = render_clips.RenderConfig()
    caption: caption_clips.CaptionConfig = caption_clips.CaptionConfig()

    cycles: CyclesConfig = Field(CyclesConfig(), description="Blender's settings and where it is")

    @field_validator("sets")
    @classmethod
    def _are_different(cls, sets: list[SceneSet]) -> list[SceneSet]:
        if len(set(sets)) != len(sets):
            raise ValueError(f"{sets} names a set twice")
        return sets

    @property
    def work(self) -> Work:
        work = self.root / "work"
        return Work(root=work, inputs=Inputs(folder=work))  # no file goes in

    @property
    def floor_pictures(self) -> Floors:
        return Floors(folder=self.floors)


@curation_flow(CurateKinemask)
def curate_kinemask(config: CurateKinemask) -> AnyPath:
    """Simulate, render and caption clips and publish a snapshot; returns its folder.

    Run again after any failure, it redoes only what is missing.
    Raises ShardsFailed, LedgerError.
    """
    log = run_logger()
    parts = plan_seeds(config)
    ledger = SeedLedger([seed for part in parts for seed in part])
    planned, page = plan_seed_shards(parts, config.shard_size), GrowingPage(config, ledger, log)
    shards = curate_shards(config, curate_kinemask_shard, planned, log, page)
    return finish(config, ledger, shards, log)


curate_kinemask_shard = shard_flow(CurateKinemask)


def look_ahead(config: CurateKinemask) -> list[Preview]:
    """What a run would do, stage by stage; nothing is computed."""
    seeds = [seed for part in plan_seeds(config) for seed in part]
    return preview(config, config.shard_stage_names, seeds)[0]


def plan_seeds(config: CurateKinemask) -> list[list[SceneSeed]]:
    """The seeds of each set and split, 0, 1, 2, ...; the first `limit` of all."""
    splits: list[tuple[Split, int]] = [("train", config.n_train), ("test", config.n_test)]
    drawn_from = {split: [config.scenes, config.floor_pictures.listing(split)] for split, _ in splits}
    parts = []
    left = math.inf if config.limit is None else config.limit
    for set_, (split, n_clips) in itertools.product(config.sets, splits):
        n = int(min(n_clips, left))
        left -= n
        parts.append([SceneSeed.of(drawn_from[split], set_, split, seed) for seed in range(n)])
    return parts


def plan_seed_shards(parts: list[list[SceneSeed]], size: int) -> list[Shard[SceneSeed]]:
    """Ranges of seeds; a set that grows keeps its full shards as they are."""
    return [shard for seeds in parts for shard in plan_shards(seeds, size)]


def demo(folder: Path) -> list[str]:
    """The options of a handful of small clips, rendered by Blender."""
    few, small = ["--n-train", "2", "--n-test", "1"], ["--scenes.width", "360", "--scenes.height", "240"]
    return [*few, *small, "--render.renderer", "cycles"]


FLOW = CurationFlow(CurateKinemask, curate_kinemask, look_ahead, demo)


if __name__ == "__main__":
    FLOW.main()
