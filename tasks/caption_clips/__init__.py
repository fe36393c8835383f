"""simulated, rendered clips -> captions, each held against what the simulation did (KineMask 3.3, A.2).

    "On a wooden floor, there are two objects: a red cube and a blue cylinder. The red cube moves towards the blue
    cylinder and collides firmly with it, pushing it to the right."     faults: []

The paper's captions come from a VLM that sees the video and are used as they are. Here the simulation can write them
as well, and whoever wrote a caption, it is read again: what it says that did not happen is stored as its faults.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from pydantic import Field

from schemas.config import StageConfig
from schemas.outcome import RowRejected
from schemas.provenance import MadeBy
from schemas.scene import SceneSeed
from schemas.simulation import Captioned, Rendered, Simulation
from schemas.storage import AnyPath
from tasks import render_clips, simulate_scenes
from tasks.backends.openai.api import EndpointConfig
from tasks.caption_clips.faults import caption_faults
from tasks.engine.stage import Stage
from tasks.engine.work import Work

__all__ = ["CaptionConfig", "Captioner", "caption_clip", "caption_faults", "load_backend", "stage"]


class CaptionConfig(StageConfig):
    """How clips get their captions."""

    captioner: Literal["events", "openai"] = Field(
        "events", description="events: from the simulation, embedded; openai: any compatible VLM that sees the video"
    )
    n_frames: int = Field(8, ge=2, description="Frames that a VLM sees, the first and the last among them")
    on_fault: Literal["keep", "reject"] = Field(
        "keep", description="What becomes of a clip whose caption says what did not happen; the paper keeps them all"
    )


class Captioner(Protocol):
    """Describes a clip."""

    identity: dict[str, str]
    concurrency: int
    watches_video: bool  # does its caption depend on the video, or on simulation and masks only?

    def caption(self, simulation: Simulation, rendered: Rendered) -> str:
        """A few English sentences. Raises RowFailed or ServiceDown, never makes a caption up."""


def caption_clip(
    simulation: Simulation,
    rendered: Rendered,
    captioner: Captioner,
    config: CaptionConfig,
    made_by: list[MadeBy],
) -> Captioned:
    """Raises RowRejected("caption_fault") with the caption as evidence if the config says so."""
    caption = captioner.caption(simulation, rendered)
    faults = caption_faults(caption, simulation, rendered.tracks)
    captioned = Captioned(caption=caption, faults=faults, made_by=made_by)
    if faults and config.on_fault == "reject":
        raise RowRejected("caption_fault", "; ".join(faults), evidence=captioned)
    return captioned


def load_backend(config: CaptionConfig, endpoint: EndpointConfig, cache: AnyPath) -> Captioner:
    match config.captioner:
        case "events":
            from tasks.backends.event_captions import EventCaptions

            return EventCaptions()
        case "openai":
            from tasks.backends.openai.scene_captions import OpenAISceneCaptions

            return OpenAISceneCaptions(endpoint, cache, config.n_frames)


class Shown(NamedTuple):
    """What is read of a rendered clip."""

    simulation: Simulation
    rendered: Rendered


def stage(work: Work, config: CaptionConfig, endpoint: EndpointConfig) -> Stage[SceneSeed, Shown, Captioned]:
    captioner = load_backend(config, endpoint, work.root / "llm")
    made_by = [MadeBy.of(Captioned.stage_name, captioner.identity)]

    def key_of(shown: Shown) -> list[object]:
        simulation, rendered = shown
        seen = [rendered.video_sha256] if captioner.watches_video else []
        return [simulation.scene, simulation.trajectories, simulation.collisions, rendered.tracks, *seen]

    return Stage(
        version=1,
        result=Captioned,
        config=config,
        made_by=made_by,
        read=lambda row: Shown(simulate_scenes.result_of(work, row), render_clips.result_of(work, row)),
        key_of=key_of,
        compute=lambda shown: caption_clip(*shown, captioner, config, made_by),
        concurrency=captioner.concurrency,
    )
