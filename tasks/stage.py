"""What every stage shares."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StageConfig(BaseModel):
    """A stage's settings: strict, described, hashed into the keys of what the stage makes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
