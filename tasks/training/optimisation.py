"""How a recipe's weights are updated: what the loop reads, with each paper's numbers as the recipe's default."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from schemas.config import StageConfig
from tasks.backends.torch_runtime import Precision


class Optimisation(StageConfig):
    """AdamW, a schedule of its learning rate, and how long it goes on."""

    n_steps: int = Field(..., ge=1, description="Updates of the weights")
    batch_size: int = Field(..., ge=1, description="Samples of an update: processes x accumulation x samples at once")
    learning_rate: float = Field(1e-4, gt=0, description="Peak learning rate")
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's decay of the mean and of the square")
    eps: float = Field(1e-8, gt=0, description="AdamW's divisor is at least this")
    weight_decay: float = Field(
        0.01, ge=0, description="AdamW's decay of weights; torch's default where none is stated"
    )
    schedule: Literal["constant", "cosine", "cosine_with_restarts"] = Field(
        "cosine", description="How the learning rate falls after the warm-up"
    )
    n_warmup_steps: int = Field(0, ge=0, description="Steps in which it rises from zero")
    n_schedule_steps: int | None = Field(
        None, ge=1, description="Steps until the schedule is at zero; null: n_steps; more: the run stops before that"
    )
    n_restarts: int = Field(1, ge=1, description="Cosines of cosine_with_restarts; with 1 it is a plain cosine")
    max_grad_norm: float | None = Field(1.0, gt=0, description="Gradients are clipped to this norm; null: never")
    precision: Precision = Field("bfloat16", description="Of forward passes; trained weights are kept in float32")
    checkpoint_every: int = Field(250, ge=1, description="Steps between checkpoints")
    validate_every: int | None = Field(
        None, ge=1, description="Steps between validations, the first before all updates; null: at the end alone"
    )

    @model_validator(mode="after")
    def _schedule_lasts(self) -> Optimisation:
        if self.n_schedule_steps is not None and self.n_schedule_steps < self.n_steps:
            raise ValueError(f"n_schedule_steps {self.n_schedule_steps} ends before n_steps {self.n_steps}")
        return self

    def learning_rate_at(self, step: int) -> float:
        """Of the update after `step` others, within the phase: with the definitions of diffusers' schedules."""
        if step < self.n_warmup_steps:
            return self.learning_rate * step / self.n_warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        n_schedule_steps = self.n_schedule_steps or self.n_steps
        progress = (step - self.n_warmup_steps) / max(1, n_schedule_steps - self.n_warmup_steps)
        if progress >= 1:
            return 0.0
        n_cosines = self.n_restarts if self.schedule == "cosine_with_restarts" else 1
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (n_cosines * progress % 1.0)))
