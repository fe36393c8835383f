"""scores -> share correct at each threshold (SpatialAlign A1.1); scores and answers -> their agreement (3.5).

0.81, invalid, 0.70, 0.40    ->  Correctness@0: 0.75, Correctness@0.7: 0.5, Correctness@0.75: 0.25
0.83 yes, 0.81 no, -0.4 no   ->  from 0.8 to 0.9: one yes, one no; from -0.4 to -0.3: one no
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from schemas.dsr import CorrectnessCurve
from schemas.relation import in_table_order

TAUS: tuple[float, ...] = tuple(step / 20 for step in range(21))  # 0, 0.05, ..., 1; 3 * 0.05 is not 0.15
N_SSR_BINS = 20  # of [-1, 1]

_DIGITS = 9  # a score is a sum of many floats: an exact 0.7 may become 0.6999999999999998


def rounded_scores(scores: ArrayLike) -> np.ndarray:
    """Scores rounded to remove floating-point noise; any shape, NaN stays NaN."""
    return np.round(np.asarray(scores, float), _DIGITS)


def reaches(scores: ArrayLike, tau: ArrayLike) -> np.ndarray:
    """Is a score at least tau? Shapes broadcast; NaN reaches nothing, 0.7 reaches 0.7."""
    return np.greater_equal(rounded_scores(scores), rounded_scores(tau))


# --- Correctness -----------------------------------------------------------------------------


def correctness(scores: ArrayLike, taus: ArrayLike = TAUS) -> np.ndarray:
    """Correctness@tau: the share of samples whose score reaches a threshold (SpatialAlign A1.1).

    scores: (N,) of all judged samples; NaN for invalid ones, which count and reach nothing
    taus:   (T,)
    Returns (T,) float in [0, 1]. At 0 it is the share of valid samples: no official score is below 0.
    Raises ValueError if there is no sample.
    """
    scores = np.asarray(scores, float)
    if not scores.size:
        raise ValueError("no sample was judged, so there is no share; pass at least one score")
    return reaches(scores[:, None], taus).mean(axis=0)


def curves(
    splits: Sequence[str], types: Sequence[str], scores: ArrayLike, taus: Sequence[float] = TAUS
) -> list[CorrectnessCurve]:
    """The curve of each split, followed by those of its types, in the order of the paper's table 1.

    splits, types: (N,) of the judged samples: 'test', 'LT'
    scores:        (N,), NaN for the invalid ones
    """
    split_of, type_of, scores = np.array(splits, str), np.array(types, str), np.asarray(scores, float)
    found = []
    for split in sorted(set(splits)):
        within = split_of == split
        found.append(_curve(split, scores[within], taus))
        for code in in_table_order(type_of[within].tolist()):
            found.append(_curve(f"{split}/{code}", scores[within & (type_of == code)], taus))
    return found


def _curve(name: str, scores: np.ndarray, taus: Sequence[float]) -> CorrectnessCurve:
    n_valid = int(np.isfinite(scores).sum())
    return CorrectnessCurve(
        name=name, n_judged=len(scores), n_valid=n_valid, correctness=correctness(scores, taus).tolist()
    )


# --- Agreement -------------------------------------------------------------------------------


class AgreementBin(NamedTuple):
    """Answers about samples with an SSR-Score in [start, end); the last bin includes its end."""

    start: float
    end: float
    n_yes: int
    n_no: int

    @property
    def yes_share(self) -> float | None:
        """Share of yes among the bin's answers; None without answers."""
        n_answers = self.n_yes + self.n_no
        return self.n_yes / n_answers if n_answers else None


def vlm_agreement(ssr_scores: ArrayLike, yes: ArrayLike, n_bins: int = N_SSR_BINS) -> list[AgreementBin]:
    """How often a judge says yes, by SSR-Score of the boxes (SpatialAlign 3.5, figure 4).

    ssr_scores: (N,) in [-1, 1], r_initial or r_final of valid samples
    yes:        (N,) bool, the answers to the question about the same relation
    """
    answers = np.asarray(yes, bool)
    places = np.floor(rounded_scores((np.asarray(ssr_scores, float) + 1) * n_bins / 2)).astype(int).clip(0, n_bins - 1)
    n_yes, n_no = (np.bincount(places[answers == said], minlength=n_bins).tolist() for said in (True, False))
    edges = [(2 * place - n_bins) / n_bins for place in range(n_bins + 1)]
    return [AgreementBin(*parts) for parts in zip(edges[:-1], edges[1:], n_yes, n_no, strict=True)]
