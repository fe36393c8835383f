"""The ledger of generated videos: every line of the file of inputs, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.generated_videos import GenerationInput, GenerationOutcomeRow
from schemas.outcome import Outcome
from schemas.record import Record
from schemas.snapshot import FunnelStep
from tasks.engine.dataset import Ways, funnel_step
from tasks.readers.read_generation_inputs import STAGE


@dataclass(frozen=True)
class InputLedger:
    """The lines of a file, and the inputs that they became: one for each seed."""

    n_lines: int
    inputs: Sequence[GenerationInput]
    line_outcomes: Sequence[Outcome] = ()

    @property
    def n_given(self) -> int:
        return self.n_lines

    @property
    def row_ids(self) -> list[str]:
        return [one.clip_id for one in self.inputs]

    def problems(self) -> list[str]:
        n_used = len({one.name for one in self.inputs})
        n_lines = n_used + len(self.line_outcomes)
        return [] if n_lines <= self.n_lines else [f"{self.n_lines} lines, but {n_lines} of them ended somewhere"]

    def early_outcomes(self) -> list[GenerationOutcomeRow]:
        return [GenerationOutcomeRow(**outcome.model_dump()) for outcome in self.line_outcomes]

    def tables(self) -> dict[str, tuple[type[Record], Sequence[Any]]]:
        return {}

    def first_steps(self, ways: Ways) -> list[FunnelStep]:
        return [funnel_step(ways, "source", STAGE, "lines", self.n_lines, len(self.inputs))]
