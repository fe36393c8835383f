"""curate-kinemask: seeds -> rendered clips with exact velocity masks (KineMask, sections 3.2, 3.3, 4.1).

    python -m flows.curate_kinemask --root data/kinemask --n-train 100 --n-test 10
    prefect deployment run curate-kinemask/default --param config='{"root": ..., "profile": "paper"}'

Read downward: simulate, render, caption, publish. A clip is a function of its seed and the config.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from prefect import flow
from pydantic import Field, field_validator, model_validator

from flows.engine.dispatch import crash_silent_parents, rearm_parent
from flows.engine.pipeline import (
    CurationConfig,
    curate_shards,
    fill_from_profile,
    publish,
    report_with,
    run_command,
    run_shard,
    show_yield,
)
from flows.engine.steps import run_logger, run_step
from schemas.scene import SceneSeed, SceneSet, Split
from schemas.storage import AnyPath, DataPath
from tasks import caption_clips, render_clips, simulate_scenes
from tasks.backends.cycles import CyclesConfig
from tasks.datasets.kinemask.dataset import KINEMASK
from tasks.datasets.kinemask.ledger import SeedLedger
from tasks.datasets.kinemask.report import write_report
from tasks.datasets.kinemask.tables import CLIP_STAGES
from tasks.engine.dataset import Dataset
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Shard, plan_shards
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tasks.media.floors import Floors

# What each profile sets where nothing else is asked for. The paper's: Blender, and captions by a VLM.
PROFILES: dict[str, dict[str, dict[str, str]]] = {
    "embedded": {},
    "paper": {"render": {"renderer": "cycles"}, "caption": {"captioner": "openai"}},
}


class CurateKinemask(CurationConfig):
    """Everything the flow can be told. Defaults are the paper's where it states a number."""

    product: ClassVar[Dataset] = KINEMASK
    stage_names: ClassVar[tuple[str, ...]] = CLIP_STAGES

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
    n_train: int = Field(10_000, ge=0, description="Training clips of each set (KineMask 4.1)")
    n_test: int = Field(100, ge=0, description="Test clips of each set, of other colours and floors (KineMask 4.1)")
    floors: DataPath | None = Field(
        None,
        description="Folder of floor pictures, train/ and test/, named by what they show (the paper takes "
        "AmbientCG's); empty: painted ones",
    )

    scenes: simulate_scenes.SceneConfig = simulate_scenes.SceneConfig()
    render: render_clips.RenderConfig = render_clips.RenderConfig()
    caption: caption_clips.CaptionConfig = caption_clips.CaptionConfig()

    cycles: CyclesConfig = Field(CyclesConfig(), description="Blender's settings and where it is")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_profile(cls, values: Any) -> Any:
        return fill_from_profile(values, PROFILES)

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

    def stage(self, name: str) -> Stage[Any, Any]:
        floors = Floors(folder=self.floors)
        match name:
            case "simulate_scenes":
                return simulate_scenes.stage(self.work, self.scenes, floors)
            case "render_clips":
                return render_clips.stage(self.work, self.render, floors, self.cycles)
            case "caption_clips":
                return caption_clips.stage(self.work, self.caption, self.endpoint)
        raise ValueError(f"no stage {name!r}; there are {', '.join(self.stage_names)}")

    def payload_of(self, stage: str) -> type[SceneSeed]:
        return SceneSeed


@flow(name="curate-kinemask", flow_run_name="curate {config.dataset}", validate_parameters=True)
def curate_kinemask(config: CurateKinemask) -> AnyPath:
    """Simulate, render and caption clips and publish a snapshot; returns its folder.

    Run again after any failure, it redoes only what is missing.
    Raises ShardsFailed, LedgerError.
    """
    log = run_logger()
    crash_silent_parents(config.dispatch, log)
    parts = plan_seeds(config)
    shards = curate_shards(config, curate_kinemask_shard, plan_seed_shards(parts, config.shard_size), log)
    ledger = SeedLedger([seed for part in parts for seed in part])
    snapshot = run_step("publish_snapshot", publish, config, ledger, shards)
    report = run_step("write_report", report_on, config, snapshot) if config.report else None
    show_yield(snapshot, report, log)
    return snapshot


@flow(name="curate-kinemask-shard", flow_run_name="{shard.parent.name}", on_completion=[rearm_parent])
def curate_kinemask_shard(config: CurateKinemask, shard: DataPath, stages: list[str]) -> None:
    """One range of seeds through some neighbouring stages; fails alone and is rerun alone.

    shard: the planned shard's file. Raises ServiceDown when no row of it can be done.
    """
    run_shard(config, shard, stages)


def plan_seeds(config: CurateKinemask) -> list[list[SceneSeed]]:
    """The seeds of each set and split, 0, 1, 2, ..."""
    splits: list[tuple[Split, int]] = [("train", config.n_train), ("test", config.n_test)]
    floors = Floors(folder=config.floors)
    drawn_from = {split: [config.scenes, floors.listing(split)] for split, _ in splits}
    return [
        [SceneSeed.of(drawn_from[split], set_, split, seed) for seed in range(n_clips)]
        for set_ in config.sets
        for split, n_clips in splits
    ]


def plan_seed_shards(parts: list[list[SceneSeed]], size: int) -> list[Shard[SceneSeed]]:
    """Ranges of seeds; a set that grows keeps its full shards as they are."""
    return [shard for seeds in parts for shard in plan_shards(seeds, size)]


def report_on(config: CurateKinemask, snapshot: AnyPath) -> AnyPath:
    return report_with(config, snapshot, write_report)


def main(arguments: list[str] | None = None) -> None:
    run_command(CurateKinemask, curate_kinemask, arguments)


if __name__ == "__main__":
    main()
