"""Prompts reworded by an LLM behind an OpenAI-compatible server (SpatialAlign 4.3: ChatGPT, Qwen2.5-7B-Instruct).

    OpenAIRewriter(EndpointConfig(), cache).rewrite(labels, attempt=0)
        -> "Beneath the pines, a fox pauses to the left of a chair, then sprints past it to the right side."

It gets the prompt and its labels. Its reply is not trusted: the stage checks that the labels are kept.
Server and model: see tasks/backends/openai/api.py.
"""

from __future__ import annotations

from pydantic import Field

from schemas.dsr import DsrLabels
from schemas.relation import RELATIONS
from schemas.storage import AnyPath
from tasks.backends.chat.asking import Json
from tasks.backends.chat.replies import Reply, Text
from tasks.backends.openai.api import ChatClient, EndpointConfig
from tasks.backends.openai.endpoint import Endpoint
from tasks.datasets.dsr.wording import structured_text
from tasks.prompts import load_prompt


class RewriteReply(Reply):
    """The prompt in other words."""

    text: Text = Field(description="The prompt in other words, plain prose")


class OpenAIRewriter:
    """A Rewriter (tasks/rewrite_prompts.py) that asks an LLM."""

    def __init__(self, endpoint: EndpointConfig, cache: AnyPath) -> None:
        """Raises ServiceDown if the environment names no LLM."""
        self._client = ChatClient(Endpoint.from_env("LLM"), endpoint, cache)
        self._prompt = load_prompt("rewrite_prompt")
        self.concurrency = endpoint.concurrency
        self.identity = self._client.identity([self._prompt], [RewriteReply])

    def rewrite(self, labels: DsrLabels, attempt: int) -> str:
        data: dict[str, Json] = {
            "prompt": structured_text(labels),
            "scene": labels.scene,
            "animal": labels.animal,
            "object": labels.object,
            "verb": labels.verb,
            "initial": RELATIONS[labels.initial].at,
            "final": RELATIONS[labels.final].to,
        }
        return self._client.ask(RewriteReply, self._prompt, data, attempt=attempt).text
