"""simulated, rendered clips -> captions, each checked against the simulation (KineMask 3.3, A.2).

    "On a wooden floor, there are two objects: a red cube and a blue cylinder. The red cube moves towards the blue
    cylinder and collides firmly with it, pushing it to the right."     faults: []

The paper's captions come from a VLM that sees the video and are not checked. Here they may also come from the
simulation, and every caption is checked: claims that did not happen are stored as its faults.
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
    n_frames: int = Field(8, ge=2, description="Frames that a VLM sees, including the first and the last")
    on_fault: Literal["keep", "reject"] = Field(
        "keep", description="What to do with a clip whose caption has faults; the paper keeps all clips"
    )


class Captioner(Protocol):
    """Describes a clip."""

    identity: dict[str, str]
    concurrency: int
    watches_video: bool  # True if its caption depends on the video, not only on simulation and masks

    def caption(self, simulation: Simulation, rendered: Rendered) -> str:
        """A few English sentences. Raises RowFailed or ServiceDown; never invents a caption."""


def caption_clip(
    simulation: Simulation, rendered: Rendered, captioner: Captioner, config: CaptionConfig, made_by: list[MadeBy]
) -> Captioned:
    """Caption a clip and check the caption. Raises RowRejected("caption_fault") if on_fault says so."""
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
