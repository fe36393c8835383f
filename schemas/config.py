"""The base of all stages' settings: strict, described, part of the keys of their results.

class CheckConfig(StageConfig):
    min_presence: float = Field(0.3, gt=0, le=1, description="Share of the clip's frames that hold a mask")
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StageConfig(BaseModel):
    """A stage's settings: strict, described, part of the keys of its results."""

    model_config = ConfigDict(extra="forbid", frozen=True)
