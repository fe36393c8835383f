"""What a stage makes of a row. The record says which stage makes it, and nothing else has to.

class Scored(StageResult):
    stage_name: ClassVar[str] = "score_dsr"

work.result(row, Scored)    # Scored(dsr_score=0.98, ...): what score_dsr made of this row
"""

from __future__ import annotations

from typing import ClassVar

from schemas.record import Record


class StageResult(Record):
    """A stage's answer about one row."""

    stage_name: ClassVar[str]
