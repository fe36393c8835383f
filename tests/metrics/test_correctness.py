"""Correctness@tau and the agreement of answers with scores, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dsr import CorrectnessCurve
from tasks.metrics.correctness import TAUS, AgreementBin, correctness, curves, reaches, vlm_agreement

NAN = float("nan")
OFFICIAL = st.lists(st.one_of(st.just(NAN), st.floats(0, 1)), min_size=1, max_size=40)  # NaN: invalid


# --- Thresholds ------------------------------------------------------------------------------


def test_thresholds_are_the_decimals_that_they_are_called() -> None:
    assert len(TAUS) == 21
    assert [f"{tau!r}" for tau in TAUS[:4]] == ["0.0", "0.05", "0.1", "0.15"]
    assert TAUS[14] == 0.7
    assert TAUS[-1] == 1.0


@pytest.mark.parametrize("score", [0.7, 0.1 * 7, (0.8 + 0.8 + 0.0 + 0.0) / 8 + 0.5, np.nextafter(0.7, 0)])
def test_what_is_a_threshold_but_for_rounding_reaches_it(score: float) -> None:
    assert reaches(score, 0.7)


@pytest.mark.parametrize(("score", "tau"), [(0.69999, 0.7), (NAN, 0.0), (NAN, -1.0), (-0.01, 0.0)])
def test_what_is_less_or_nothing_does_not(score: float, tau: float) -> None:
    assert not reaches(score, tau)


# --- Correctness -----------------------------------------------------------------------------


def test_invalid_samples_are_counted_and_reach_nothing() -> None:
    assert correctness([0.81, NAN, 0.70, 0.40], [0.0, 0.4, 0.7, 0.75, 1.0]).tolist() == [0.75, 0.75, 0.5, 0.25, 0.0]


def test_nobody_knows_the_share_of_nothing() -> None:
    with pytest.raises(ValueError, match="no sample was judged"):
        correctness([])


@given(OFFICIAL)
def test_it_falls_from_the_share_of_valid_samples(scores: list[float]) -> None:
    shares = correctness(scores)
    assert shares.shape == (len(TAUS),)
    assert (np.diff(shares) <= 0).all()
    assert shares[0] == np.isfinite(scores).mean()


@given(OFFICIAL, st.integers(1, 5))
def test_it_depends_on_no_order_and_an_invalid_one_more_dilutes_it(scores: list[float], n_invalid: int) -> None:
    shares = correctness(scores)
    assert correctness(scores[::-1]).tolist() == shares.tolist()
    diluted = correctness(scores + [NAN] * n_invalid)
    assert diluted * (len(scores) + n_invalid) == pytest.approx(shares * len(scores))


@given(OFFICIAL)
def test_it_is_what_counting_one_by_one_gives(scores: list[float]) -> None:
    for tau, share in zip(TAUS, correctness(scores), strict=True):
        assert share == sum(score >= tau - 5e-10 for score in scores) / len(scores)


def test_a_score_of_the_papers_formula_may_be_valid_and_below_zero() -> None:
    assert correctness([-0.2, 1.2], [0.0, 1.0]).tolist() == [0.5, 0.5]


def test_curves_of_splits_and_of_types_in_the_papers_order() -> None:
    splits = ["train", "test", "test", "test", "test", "test"]
    types = ["RL", "RL", "LT", "TB", "LT", "TL"]
    scores = [0.9, NAN, 0.8, 0.2, 0.6, NAN]
    found = curves(splits, types, scores, taus=[0.0, 0.7])
    assert found == [
        CorrectnessCurve(name="test", n_judged=5, n_valid=3, correctness=[0.6, 0.2]),
        CorrectnessCurve(name="test/LT", n_judged=2, n_valid=2, correctness=[1.0, 0.5]),
        CorrectnessCurve(name="test/TL", n_judged=1, n_valid=0, correctness=[0.0, 0.0]),
        CorrectnessCurve(name="test/RL", n_judged=1, n_valid=0, correctness=[0.0, 0.0]),
        CorrectnessCurve(name="test/TB", n_judged=1, n_valid=1, correctness=[1.0, 0.0]),  # not one of the paper's
        CorrectnessCurve(name="train", n_judged=1, n_valid=1, correctness=[1.0, 1.0]),
        CorrectnessCurve(name="train/RL", n_judged=1, n_valid=1, correctness=[1.0, 1.0]),
    ]


def test_without_a_judged_sample_there_is_no_curve() -> None:
    assert curves([], [], []) == []


# --- Agreement -------------------------------------------------------------------------------


def test_answers_are_counted_where_their_scores_lie() -> None:
    bins = vlm_agreement([-1.0, -0.6, 0.0, 0.49, 0.5, 1.0], [False, True, True, False, True, True], n_bins=4)
    assert bins == [
        AgreementBin(-1.0, -0.5, 1, 1),
        AgreementBin(-0.5, 0.0, 0, 0),
        AgreementBin(0.0, 0.5, 1, 1),
        AgreementBin(0.5, 1.0, 2, 0),
    ]
    assert [b.yes_share for b in bins] == [0.5, None, 0.5, 1.0]


@pytest.mark.parametrize("tenth", range(-10, 11))
def test_a_score_on_an_edge_belongs_above_it_and_the_highest_to_the_last_bin(tenth: int) -> None:
    bins = vlm_agreement([tenth * 0.1], [True])
    (place,) = [place for place, found in enumerate(bins) if found.n_yes]
    assert place == min(tenth + 10, 19)
    assert bins[place].start <= round(tenth * 0.1, 9) <= bins[place].end


@given(st.lists(st.tuples(st.floats(-1, 1), st.booleans()), max_size=30))
def test_every_answer_is_in_one_bin(asked: list[tuple[float, bool]]) -> None:
    bins = vlm_agreement([ssr for ssr, _ in asked], [yes for _, yes in asked])
    assert sum(found.n_yes for found in bins) == sum(yes for _, yes in asked)
    assert sum(found.n_no for found in bins) == sum(not yes for _, yes in asked)
    assert [found.end for found in bins[:-1]] == [found.start for found in bins[1:]]
