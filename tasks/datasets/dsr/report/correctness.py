"""Correctness@0.7 by type and split, as a table.

correctness_table(statistics)
->  [Line(code="", by_split={"test": Standing(n_judged=600, n_valid=486, correctness=0.125), "train": ...}),
     Line(code="LT", ...), ...]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.dsr import CorrectnessCurve, DsrStatistics
from schemas.relation import in_table_order
from tasks.datasets.dsr.report.types import letter, type_name

TAU = 0.7  # Correctness@0.7 is what the paper reports (SpatialAlign 4.1)
SPLITS = ("test", "train")  # in the order in which the page tells them


@dataclass(frozen=True)
class Standing:
    """How the judged samples of a split, or of a type within it, did."""

    n_judged: int
    n_valid: int
    correctness: float | None  # share of the judged samples that reach TAU; None: it is not told

    @property
    def valid(self) -> float | None:
        """Share of the judged samples."""
        return self.n_valid / self.n_judged if self.n_judged else None


@dataclass(frozen=True)
class Line:
    """A type, or all of them."""

    code: str  # of the type; empty: all of them
    by_split: Mapping[str, Standing]

    @property
    def letter(self) -> str:
        return letter(self.code)

    @property
    def name(self) -> str:
        return type_name(self.code)


def correctness_table(statistics: DsrStatistics) -> list[Line]:
    """All types first, then each one that has samples."""
    curves = {curve.name: curve for curve in statistics.curves}
    return [
        Line(
            code,
            {
                split: Standing(curve.n_judged, curve.n_valid, correctness_at(curve, statistics.taus))
                for split in SPLITS
                if (curve := curves.get(curve_name(split, code))) is not None
            },
        )
        for code in ("", *types_of(statistics))
    ]


def curve_name(split: str, code: str = "") -> str:
    """How a curve is named in the statistics; no code: of all types."""
    return f"{split}/{code}" if code else split


def types_of(statistics: DsrStatistics) -> list[str]:
    return in_table_order(code for curve in statistics.curves if (code := curve.name.partition("/")[2]))


def correctness_at(curve: CorrectnessCurve, taus: Sequence[float], tau: float = TAU) -> float | None:
    """None if the curve does not tell of this threshold."""
    return next((share for at, share in zip(taus, curve.correctness, strict=True) if abs(at - tau) < 1e-9), None)
