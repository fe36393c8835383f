"""The usage of model servers: calls, cached replies and tokens, and their cost.

    with Meter() as meter:
        client.ask(...)      # two tries, the second one answered
    meter.spent              # [ModelUsage(role="LLM", model="gpt-4o", usage=Usage(calls=2, unanswered=1, ...))]

Usage describes the work, not the dataset: it enters no key, no table and no snapshot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from schemas.config import Settings
from schemas.record import Record, column

ModelRole = Literal["LLM", "VLM"]


class Usage(Record):
    """What was asked, and the tokens that the servers counted."""

    calls: int = column("Requests that were sent, retries included", default=0, ge=0)
    unanswered: int = column(
        "Calls that no completion came of: an error, a timeout; whether they are paid for is not known", default=0, ge=0
    )
    uncounted: int = column("Completions of which the server did not tell the tokens", default=0, ge=0)
    cached: int = column("Replies from the cache: no call, no cost", default=0, ge=0)
    prompt_tokens: int | None = column(
        "Of the counted completions; null if there were only uncounted ones", default=0, ge=0
    )
    completion_tokens: int | None = column("The same; those that did not validate included", default=0, ge=0)

    @model_validator(mode="after")
    def _has_no_sum_of_nothing(self) -> Self:
        if 0 < self.uncounted == self.calls - self.unanswered:
            # The record is frozen, but still under construction here.
            self.__dict__.update(prompt_tokens=None, completion_tokens=None)
        return self

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: (getattr(self, name) or 0) + (getattr(other, name) or 0) for name in Usage.model_fields})

    @property
    def tokens(self) -> int | None:
        """Prompt plus completion tokens; None if either is unknown."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens

    @property
    def tokens_are_whole(self) -> bool:
        """False if some tokens were not counted."""
        return self.uncounted == 0

    def line(self) -> str:
        """17 calls (2 unanswered), 3 replies from the cache, 1,500 prompt and 150 completion tokens"""
        calls = f"{self.calls:,} calls" + (f" ({self.unanswered:,} unanswered)" if self.unanswered else "")
        return f"{calls}, {self.cached:,} replies from the cache, {self._tokens_line()}"

    def _tokens_line(self) -> str:
        if self.tokens is None:
            return "tokens unknown: the server does not count them"
        tokens = f"{self.prompt_tokens:,} prompt and {self.completion_tokens:,} completion tokens"
        return tokens if self.tokens_are_whole else f"at least {tokens} ({self.uncounted:,} replies not counted)"


class ModelUsage(Record):
    """What one model was asked."""

    role: ModelRole = column("LLM or VLM")
    model: str = column("The model's name")
    usage: Usage = column("What it was asked")


class Meter:
    """Counts usage inside its `with` block, in its thread and in threads that get its context.

        with Meter() as meter, ThreadPoolExecutor() as pool:
            pool.submit(copy_context().run, ask)

    keep: called after each call with the total so far
    """

    def __init__(self, keep: Callable[[list[ModelUsage]], None] | None = None) -> None:
        self._keep = keep
        self._spent: dict[tuple[ModelRole, str], Usage] = {}
        self._lock = threading.Lock()
        self._outer: Token[Meter | None] | None = None

    @property
    def spent(self) -> list[ModelUsage]:
        """By role and model, in their order."""
        return [ModelUsage(role=role, model=model, usage=usage) for (role, model), usage in sorted(self._spent.items())]

    def add(self, role: ModelRole, model: str, usage: Usage) -> None:
        with self._lock:
            self._spent[role, model] = self._spent.get((role, model), Usage()) + usage
            if self._keep is not None:
                self._keep(self.spent)

    def __enter__(self) -> Self:
        self._outer = _current_meter.set(self)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._outer is not None
        _current_meter.reset(self._outer)


_current_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)


def count_usage(role: ModelRole, model: str, usage: Usage) -> None:
    """Add to the meter of this context, if there is one."""
    meter = _current_meter.get()
    if meter is not None:
        meter.add(role, model, usage)


class TokenPrice(Settings):
    """What a model's tokens cost."""

    model_config = ConfigDict(allow_inf_nan=False)

    usd_per_mtok_prompt: float = Field(
        ge=0, title="Prompt tokens (USD per million)", description="US dollars a million prompt tokens"
    )
    usd_per_mtok_completion: float = Field(
        ge=0, title="Completion tokens (USD per million)", description="US dollars a million completion tokens"
    )

    def cost_usd(self, usage: Usage) -> float | None:
        """Cost of the counted tokens; None if none was counted."""
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        prompts = usage.prompt_tokens * self.usd_per_mtok_prompt
        return (prompts + usage.completion_tokens * self.usd_per_mtok_completion) / 1e6


class TokenPrices(Settings):
    """The user's token prices; none is built in, as prices change. They enter no key."""

    llm: TokenPrice | None = Field(None, description="Prices of the LLM; null: its cost is not shown")
    vlm: TokenPrice | None = Field(None, description="Prices of the VLM; null: its cost is not shown")

    def of(self, role: ModelRole) -> TokenPrice | None:
        return self.llm if role == "LLM" else self.vlm
