"""What every part's settings have in common: strict, described, hashed into the keys of what they make.

class CheckConfig(StageConfig):
    min_presence: float = Field(0.3, gt=0, le=1, description="Share of the clip's frames that hold a mask")
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StageConfig(BaseModel):
    """A stage's settings: strict, described, hashed into the keys of what the stage makes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
