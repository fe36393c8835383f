"""Captions by a VLM behind an OpenAI-compatible server that sees frames of the rendered video (KineMask 3.3, A.2).

    OpenAISceneCaptions(EndpointConfig(), cache, n_frames=8).caption(simulation, rendered)
        -> "On a wooden floor, a red cube slides to the right and hits a blue cylinder, which ..."

The paper asks Tarsier, which takes videos, for a concise description with all motions and collisions. Servers of this
kind take pictures, so they get frames in order, with their times. Server and model: see tasks/backends/openai/api.py.
"""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
from pydantic import AfterValidator, Field

from schemas.simulation import Rendered, Simulation
from schemas.storage import AnyPath
from tasks.backends.chat.asking import Json
from tasks.backends.chat.pictures import JPEG_QUALITY, MAX_SIDE_PX, jpeg
from tasks.backends.chat.replies import Reply
from tasks.backends.openai.api import ChatClient, EndpointConfig
from tasks.backends.openai.endpoint import Endpoint
from tasks.media.video import decode_bytes
from tasks.prompts import load_prompt

MAX_CAPTION_CHARACTERS = 2000  # text encoders of video models read 226 tokens, about 1000 characters


def _caption_like(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    if len(text) > MAX_CAPTION_CHARACTERS:
        raise ValueError(f"has {len(text)} characters, more than {MAX_CAPTION_CHARACTERS}")
    return text


class SceneCaptionReply(Reply):
    """What is to be seen."""

    # Checked here and not in the schema: strict schemas know no lengths.
    description: Annotated[str, AfterValidator(_caption_like)] = Field(description="The description, plain prose")


class OpenAISceneCaptions:
    """A Captioner (tasks/caption_clips) that asks a VLM. The VLM learns nothing of the simulation."""

    watches_video = True

    def __init__(self, endpoint: EndpointConfig, cache: AnyPath, n_frames: int) -> None:
        """Raises ServiceDown if the environment names no VLM."""
        self._client = ChatClient(Endpoint.from_env("VLM"), endpoint, cache)
        self._prompt = load_prompt("caption_scene")
        self._n_frames = n_frames
        self.concurrency = endpoint.concurrency
        self.identity = self._client.identity([self._prompt], [SceneCaptionReply]) | {
            "pictures": f"{n_frames} frames, JPEG {JPEG_QUALITY}, at most {MAX_SIDE_PX} px, OpenCV {cv2.__version__}"
        }

    def caption(self, simulation: Simulation, rendered: Rendered) -> str:
        """See the protocol. Raises UnreadableVideo if the bytes are not an intact video."""
        indices = frames_end_to_end(simulation.scene.n_frames, self._n_frames)
        pictures = [jpeg(frame) for frame in decode_bytes(rendered.video, indices)]
        data: dict[str, Json] = {"times_s": [round(i / simulation.scene.fps, 2) for i in indices]}
        reply = self._client.ask(SceneCaptionReply, self._prompt, data, images=pictures)
        return " ".join(reply.description.split())


def frames_end_to_end(n_frames: int, n: int) -> list[int]:
    """n frames spread evenly over a clip, with its first and last; all frames if there are at most n. n: at least 2.

    Unlike sample_indices, which takes the middles of equal parts: a description needs where a motion begins
    and ends. frames_end_to_end(49, 4) -> [0, 16, 32, 48]
    """
    if n_frames <= n:
        return list(range(n_frames))
    places: list[int] = np.linspace(0, n_frames - 1, n).round().astype(int).tolist()
    return places
