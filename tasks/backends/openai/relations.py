"""Relations judged by a VLM behind an OpenAI-compatible server that sees frames of the video (SpatialAlign 3.5).

    OpenAIRelations(EndpointConfig(), cache, n_frames=8).judge(sample, generated, scored)
        -> yes, no, "Initially: the fox stands right of the stump. Finally: the fox is still there."

Like the paper, which uses Qwen3-VL-8B-Instruct, this asks about each relation separately. Server and model: see
tasks/backends/openai/api.py.
"""

from __future__ import annotations

from typing import Literal

import cv2
from pydantic import Field

from schemas.dsr import DsrSample
from schemas.generation import Generated
from schemas.relation import RELATIONS
from schemas.scores import Judgement, Scored
from schemas.storage import AnyPath
from tasks.backends.chat.asking import Json
from tasks.backends.chat.pictures import JPEG_QUALITY, MAX_SIDE_PX, jpeg
from tasks.backends.chat.replies import Reply
from tasks.backends.openai.api import ChatClient, EndpointConfig
from tasks.backends.openai.endpoint import Endpoint
from tasks.backends.openai.scene_captions import frames_end_to_end
from tasks.media.video import decode_bytes
from tasks.prompts import load_prompt


class RelationReply(Reply):
    """Is the animal there?"""

    reason: str = Field(description="One short sentence: where the animal is seen at that moment")
    answer: Literal["yes", "no"] = Field(description="yes only if the relation is to be seen")


class OpenAIRelations:
    """A Judge (tasks/ask_relations.py) that asks a VLM. The VLM gets no boxes, scores or prompt."""

    watches_video = True

    def __init__(self, endpoint: EndpointConfig, cache: AnyPath, n_frames: int) -> None:
        """Raises ServiceDown if the environment names no VLM."""
        self._client = ChatClient(Endpoint.from_env("VLM"), endpoint, cache)
        self._prompt = load_prompt("ask_relation")
        self._n_frames = n_frames
        self.concurrency = endpoint.concurrency
        self.identity = self._client.identity([self._prompt], [RelationReply]) | {
            "pictures": f"{n_frames} frames, JPEG {JPEG_QUALITY}, at most {MAX_SIDE_PX} px, OpenCV {cv2.__version__}"
        }

    def judge(self, sample: DsrSample, generated: Generated, scored: Scored) -> Judgement:
        """See the protocol. Raises UnreadableVideo if the bytes are not an intact video."""
        indices = frames_end_to_end(generated.n_frames, self._n_frames)
        pictures = [jpeg(frame) for frame in decode_bytes(generated.video, indices)]

        def ask(moment: str, relation: str) -> RelationReply:
            data: dict[str, Json] = {
                "times_s": [round(i / generated.fps, 2) for i in indices],
                "animal": sample.animal,
                "object": sample.object,
                # Not the final relation's "to the ...": both questions are about a place, not a movement.
                "relation": RELATIONS[relation].at,
                "moment": moment,
            }
            return self._client.ask(RelationReply, self._prompt, data, images=pictures)

        initial, final = ask("initially", sample.initial), ask("finally", sample.final)
        rationale = " ".join(f"Initially: {initial.reason} Finally: {final.reason}".split())
        return Judgement(initial.answer == "yes", final.answer == "yes", rationale)
