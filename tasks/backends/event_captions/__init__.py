"""Captions from the simulation alone: the embedded `Captioner` of tasks/caption_clips.

facts      trajectories, collisions and masks -> what happened, measured, with times
wording    facts -> English, in the style of KineMask's captions (A.2)
"""

from __future__ import annotations

import typing

from schemas.scene import SceneSet, Split
from schemas.simulation import Rendered, Simulation
from tasks.backends.event_captions.facts import read_facts
from tasks.backends.event_captions.wording import word_caption

__all__ = ["EventCaptions"]


class EventCaptions:
    """Describes what the simulation did and the picture shows, nothing else."""

    watches_video = False

    def __init__(self) -> None:
        self.identity = {"backend": "events", "model": "measured-events-1"}
        self.concurrency = 1  # pure Python: threads would wait for each other

    def caption(self, simulation: Simulation, rendered: Rendered) -> str:
        scene = simulation.scene
        sets, splits = typing.get_args(SceneSet), typing.get_args(Split)
        seed = (sets.index(scene.set), splits.index(scene.split), scene.seed, scene.attempt)
        return word_caption(read_facts(simulation, rendered.tracks), seed)
