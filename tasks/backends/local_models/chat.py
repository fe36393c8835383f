"""A ChatModel that is a network in this process.

    LocalChat("VLM", LocalConfig(), TorchConfig(), cache).ask(VerifyReply, prompt, {"target": ...}, images=[...])

A reply that reaches `max_tokens` before its JSON ends is asked anew, then its row fails: it is never half read.
"""

from __future__ import annotations

from typing import Any

from schemas.outcome import RowFailed, ServiceDown, Suspicion
from schemas.storage import AnyPath
from schemas.usage import ModelRole, Usage
from tasks.backends.chat.asking import ChatModel
from tasks.backends.chat.faults import RequestFault, beginning, one_line
from tasks.backends.chat.replies import Completion
from tasks.backends.extras import MODELS
from tasks.backends.local_models import LocalConfig
from tasks.backends.local_models.network import language_model
from tasks.backends.torch_runtime import Checkpoint, TorchConfig, device_of

LIBRARIES = ("transformers", "llguidance")
MAX_FAILED_ROWS = 5  # first rows of a shard, after which a model whose replies never end counts as the wrong one


class LocalChat(ChatModel):
    """Asks a network in this process. One reply at a time."""

    def __init__(self, role: ModelRole, config: LocalConfig, torch: TorchConfig, cache_dir: AnyPath) -> None:
        """Raises ServiceDown if there is no such checkpoint."""
        self._option = f"local.{role.lower()}"
        self._checkpoint = Checkpoint.of(config.llm if role == "LLM" else config.vlm)
        self._config, self._torch = config, torch
        self._weights = {
            "backend": "transformers",
            "model": self._checkpoint.identity,
            "precision": config.precision,
            **MODELS.pinned(*LIBRARIES),
        }
        super().__init__(role, " ".join(self._weights.values()), config.sampling, cache_dir)

    def _made_by(self) -> dict[str, str]:
        # Rows whose replies are cut off end as failed ones, and are not tried again under the same key.
        return self._weights | {
            "max_tokens": str(self._config.max_tokens),
            "max_retries": str(self._config.max_retries),
        }

    def _exchange(self, request: dict[str, Any]) -> Completion | RequestFault:
        device = device_of(self._torch)
        with language_model(self._checkpoint, self._config.precision, device) as network:
            made = network.complete(
                request["messages"],
                request["response_format"]["json_schema"]["schema"],
                temperature=request["temperature"],
                seed=request["seed"],
                max_tokens=request["max_completion_tokens"],
            )
        self._count(Usage(calls=1, prompt_tokens=made.n_prompt_tokens, completion_tokens=made.n_tokens))
        if not made.is_whole:
            told = f"the reply was cut off at {made.n_tokens} tokens; it begins {beginning(made.text)}"
            return RequestFault("invalid_reply", f"{told}; raise --local.max-tokens", "reply", alike="cut_off")
        choice = {"message": {"content": made.text}, "finish_reason": "stop"}
        return Completion.model_validate({"choices": [choice]})

    def _error(self, fault: RequestFault, n_tries: int) -> RowFailed | ServiceDown:
        told = one_line(fault.detail)
        suspicion = fault.alike and Suspicion(
            alike=f"{self.role} {fault.alike}",
            max_rows=MAX_FAILED_ROWS,
            told=f"{self.role} {self._checkpoint.identity}: {told}, or name another model in --{self._option}",
        )
        detail = f"{told} ({n_tries} tries)" if n_tries > 1 else told
        # Final: the same questions with the same seeds would be answered alike again.
        return RowFailed(fault.reason, detail, retryable=False, suspicion=suspicion or None)
