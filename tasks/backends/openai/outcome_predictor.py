"""Outcomes predicted by a VLM behind an OpenAI-compatible server, by example (KineMask A.2).

    OpenAIPredictor(EndpointConfig(), cache).predict(picture, "on a table", [push], examples)
        -> "The blue mug moves to the right and collides firmly with the glass, which falls over."

Server and model: see tasks/backends/openai/api.py.
"""

from __future__ import annotations

import re

import cv2
import numpy as np
from pydantic import Field

from schemas.push import Example, Push
from schemas.storage import AnyPath
from tasks.backends.chat.asking import Json
from tasks.backends.chat.pictures import JPEG_QUALITY, MAX_SIDE_PX, jpeg
from tasks.backends.chat.replies import InvalidReply, Reply
from tasks.backends.openai.api import ChatClient, EndpointConfig
from tasks.backends.openai.endpoint import Endpoint
from tasks.prompts import load_prompt

_SPEED = re.compile(r"\d\s*(?:k?m\s*/\s*[sh]|mps|kph|(?:kilo)?met(?:re|er)s?\s+(?:per|an?)\s)", re.IGNORECASE)


class OutcomeReply(Reply):
    """What happens in the picture."""

    description: str = Field(description="What happens, in the style of the examples")


class OpenAIPredictor:
    """An OutcomePredictor (tasks/backends/outcome_predictors.py) that asks a VLM."""

    def __init__(self, endpoint: EndpointConfig, cache: AnyPath) -> None:
        """Raises ServiceDown if the environment names no VLM."""
        self._client = ChatClient(Endpoint.from_env("VLM"), endpoint, cache)
        self._prompt = load_prompt("predict_outcome")
        self.identity = self._client.identity([self._prompt], [OutcomeReply]) | {
            "pictures": f"JPEG {JPEG_QUALITY}, at most {MAX_SIDE_PX} px, OpenCV {cv2.__version__}"
        }

    def predict(self, picture: np.ndarray, scene: str, pushes: list[Push], examples: list[Example]) -> str:
        data: dict[str, Json] = {
            "examples": [
                {"moving": [mover.model_dump() for mover in example.moving], "description": example.description}
                for example in examples
            ],
            "scene": scene,
            "moving": [push.model_dump() for push in pushes],
        }
        pictures = [jpeg(shown) for shown in (*(example.first_frame for example in examples), picture)]
        reply = self._client.ask(OutcomeReply, self._prompt, data, images=pictures, check=_check)
        return reply.description.strip()


def _check(reply: OutcomeReply) -> None:
    """Raises InvalidReply for a blank description or one with a speed in numbers: training captions have none."""
    if not reply.description.strip():
        raise InvalidReply("the description is blank")
    if speed := _SPEED.search(reply.description):
        raise InvalidReply(f"the description states a speed in numbers: {speed[0].strip()!r}")
