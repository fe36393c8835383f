"""Which backend and which model made a row.

MadeBy(stage="extract_triplets", backend="openai", model="llama-3.3-70b", details='{"prompt": "9f3c..."}')
"""

from __future__ import annotations

import json
from typing import ClassVar

from schemas.record import Record, column


class MadeBy(Record):
    """The maker of a stage's result."""

    schema_version: ClassVar[int] = 1

    stage: str = column("The stage, with the role where it has several backends: 'ground_instances.verifier'")
    backend: str = column("The backend's name in the config")
    model: str = column("The model, or the algorithm and its version")
    details: str = column("Everything else its answers depend on: prompts' hashes, library versions", unit="JSON")

    @classmethod
    def of(cls, stage: str, identity: dict[str, str]) -> MadeBy:
        rest = {k: v for k, v in identity.items() if k not in ("backend", "model")}
        return cls(
            stage=stage, backend=identity["backend"], model=identity["model"], details=json.dumps(rest, sort_keys=True)
        )
