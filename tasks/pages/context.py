"""What a report is told besides its snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.usage import TokenPrices
from tasks.engine.work import Work
from tasks.metrics.compare_truth import TruthReport
from tasks.pages.usage import StageUsage


@dataclass(frozen=True)
class PageContext:
    """What a report shows that its snapshot does not hold."""

    work: Work  # where the input videos lie; one that is gone or unreadable is missing from the report, no more
    spent: Sequence[StageUsage] = ()  # what model servers were asked for the snapshot: `read_usage`
    prices: TokenPrices = field(
        default_factory=TokenPrices
    )  # without prices the report tells only how many tokens there were
    truth: TruthReport | None = None  # how the result compares with the truth, where that is known
