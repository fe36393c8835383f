"""Candidates verified by a VLM (MATRIX A.2, figure 24).

    ChatVerifier(model).verify(frame, (12, 40, 88, 130), ball, caption)
        -> Answer(match=True, confidence=0.9, rationale="a red ball on grass")

The VLM sees the candidate twice: in a crop with some context, and boxed in the whole frame.
"""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import Field

from schemas.candidate import Box
from schemas.grounding import Answer
from schemas.instance import Instance
from tasks.backends.chat.asking import ChatModel
from tasks.backends.chat.pictures import CONTEXT, JPEG_QUALITY, MAX_SIDE_PX, crop_with_context, jpeg, with_box
from tasks.backends.chat.replies import Reply
from tasks.prompts import load_prompt


class VerifyReply(Reply):
    """Does the box show the target?"""

    match: bool = Field(description="True only if the box shows the target")
    confidence: float = Field(ge=0, le=1, description="How sure you are of this answer")
    rationale: str = Field(description="One short sentence")


class ChatVerifier:
    """A Verifier (tasks/ground_instances.py) that asks a VLM."""

    def __init__(self, model: ChatModel) -> None:
        self._model, self._prompt = model, load_prompt("verify_candidate")
        self.concurrency = model.concurrency
        self.identity = model.identity([self._prompt], [VerifyReply]) | {
            "pictures": f"JPEG {JPEG_QUALITY}, at most {MAX_SIDE_PX} px, context {CONTEXT}, OpenCV {cv2.__version__}"
        }

    def verify(self, frame: np.ndarray, box_xyxy: Box, instance: Instance, caption: str) -> Answer:
        """See the protocol. The caption is not sent: the instance's description holds what it says."""
        target = instance.model_dump(include={"class_name", "noun", "appearance", "spatial"})
        pictures = [jpeg(crop_with_context(frame, box_xyxy)), jpeg(with_box(frame, box_xyxy))]
        reply = self._model.ask(VerifyReply, self._prompt, {"target": target}, images=pictures)
        return Answer(**reply.model_dump())
