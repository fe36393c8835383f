"""Predict in words what happens when objects of a picture are set in motion (KineMask 3.3, A.2).

    "blue mug" to the right at 1.2 m/s -> "The blue mug moves to the right and collides firmly with the glass, ..."

A VLM predicts it in the style of the training captions, from examples. Without a VLM the prompt is the constant c_0
(4.3.1). An outcome here is what happens in a picture, not a row's schemas.outcome.Outcome.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from schemas.push import Example, Push
from schemas.storage import AnyPath
from tasks.backends.event_captions.facts import Direction
from tasks.backends.event_captions.wording import WAYS
from tasks.backends.openai.api import EndpointConfig
from tasks.datasets.kinemask.condition_clips import CONSTANT_PROMPT
from tasks.datasets.kinemask.condition_image import Point

PredictorName = Literal["constant", "openai"]


class OutcomePredictor(Protocol):
    """Predicts what happens when objects of a picture are set in motion."""

    identity: dict[str, str]

    def predict(self, picture: np.ndarray, scene: str, pushes: list[Push], examples: list[Example]) -> str:
        """picture (H, W, 3) uint8 RGB; scene: 'on a wooden table'. Raises RowFailed or ServiceDown."""


class ConstantPredictor:
    """An OutcomePredictor that leaves the outcome to the video model: the constant prompt c_0 (KineMask, 4.3.1)."""

    def __init__(self) -> None:
        self.identity = {"backend": "constant", "model": "c_0"}

    def predict(self, picture: np.ndarray, scene: str, pushes: list[Push], examples: list[Example]) -> str:
        return CONSTANT_PROMPT


def direction_in_words(start_xy_px: Point, end_xy_px: Point) -> str:
    """Where an arrow points in the picture, in the training captions' words: (0, 9) to (9, 0) -> top right."""
    return WAYS[Direction.of(end_xy_px[0] - start_xy_px[0], end_xy_px[1] - start_xy_px[1])][0]


def load_backend(outcome: PredictorName, endpoint: EndpointConfig, cache: AnyPath) -> OutcomePredictor:
    match outcome:
        case "constant":
            return ConstantPredictor()
        case "openai":
            from tasks.backends.openai.outcome_predictor import OpenAIPredictor

            return OpenAIPredictor(endpoint, cache)
