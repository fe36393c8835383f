"""Winners and losers: by the threshold, by rank, and by each reward."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.dsr import PairRow, SampleRow
from schemas.record import to_table
from schemas.scene import Split
from tasks.datasets.dsr.pairs import PairConfig, pair_samples, prompt_rows, reward_of
from tasks.metrics.correctness import reaches
from tests.support.dsr_rows import make_prompt, make_sample

SCORES = st.lists(st.lists(st.sampled_from([0.1, 0.5, 0.69, 0.7, 0.71, 0.95]), max_size=6), min_size=1, max_size=4)


def samples_of(*scores: Sequence[float], split: str = "train") -> list[SampleRow]:
    """Prompts RL_0, RL_1, ... with a sample for each score."""
    return [
        make_sample(make_prompt(f"RL_{place}", split=split), seed, dsr_score=score)
        for place, of_prompt in enumerate(scores)
        for seed, score in enumerate(of_prompt)
    ]


def seeds_of(pairs: Sequence[PairRow]) -> list[tuple[int, int]]:
    return [(pair.winner_seed, pair.loser_seed) for pair in pairs]


# --- Rewards ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("r_initial", "r_final", "reward"), [(1.0, 1.0, 1.0), (-1.0, -1.0, 0.0), (1.0, -1.0, 0.5), (0.6, 0.2, 0.7)]
)
def test_the_endpoint_reward_has_no_gaps_and_spans_zero_to_one(r_initial: float, r_final: float, reward: float) -> None:
    sample = make_sample(r_initial=r_initial, r_final=r_final, g_initial=2.0, g_final=-1.3)
    assert reward_of(sample, PairConfig(reward="endpoint")) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("initial", "final", "reward"), [(True, True, 1.0), (True, False, 0.5), (False, True, 0.5), (False, False, 0.0)]
)
def test_the_vlm_reward_is_the_share_of_yes(initial: bool, final: bool, reward: float) -> None:
    sample = make_sample(initial_yes=initial, final_yes=final)
    assert reward_of(sample, PairConfig(reward="vlm")) == reward


def test_pairs_say_which_reward_they_are_by() -> None:
    good = make_sample(seed=0, dsr_score=0.2, initial_yes=True, final_yes=True)
    bad = make_sample(seed=1, dsr_score=0.9, initial_yes=True, final_yes=False)
    (by_score,) = pair_samples([good, bad], PairConfig())
    (by_answers,) = pair_samples([good, bad], PairConfig(reward="vlm"))
    told = [(p.reward, p.winner_seed, p.winner_reward, p.loser_reward) for p in (by_score, by_answers)]
    assert told == [("dsr_score", 1, 0.9, 0.2), ("vlm", 0, 1.0, 0.5)]
    assert by_score.pair_id != by_answers.pair_id, "the other way round is another pair"


# --- The threshold ---------------------------------------------------------------------------


def test_every_winner_is_paired_with_every_loser_of_its_prompt() -> None:
    pairs = pair_samples(samples_of([0.81, 0.40, 0.74], [0.9, 0.8], [0.1], [0.6, 0.7]), PairConfig())
    assert [(p.prompt_id, p.winner_seed, p.loser_seed) for p in pairs] == [
        ("RL_0", 0, 1),
        ("RL_0", 2, 1),
        ("RL_3", 1, 0),
    ]
    assert [(p.winner_reward, p.loser_reward) for p in pairs] == [(0.81, 0.4), (0.74, 0.4), (0.7, 0.6)]
    assert pairs[0].text == make_prompt("RL_0").text
    assert {p.type for p in pairs} == {"RL"}


def test_tau_itself_wins_whatever_floats_make_of_it() -> None:
    assert seeds_of(pair_samples(samples_of([0.1 * 7, 0.3 + 0.4 - 1e-16, 0.699]), PairConfig())) == [(0, 2), (1, 2)]
    assert pair_samples(samples_of([0.75, 0.72]), PairConfig()) == []
    assert seeds_of(pair_samples(samples_of([0.75, 0.72]), PairConfig(tau=0.74))) == [(0, 1)]


@given(SCORES, st.sampled_from([0.5, 0.7, 0.8]))
def test_pairs_are_all_winners_with_all_losers(scores: list[list[float]], tau: float) -> None:
    samples = samples_of(*scores)
    pairs = pair_samples(samples, PairConfig(tau=tau))
    by_id = {sample.clip_id: sample for sample in samples}
    for pair in pairs:
        winner, loser = by_id[pair.winner_id], by_id[pair.loser_id]
        assert winner.prompt_id == loser.prompt_id == pair.prompt_id
        assert (winner.dsr_score, loser.dsr_score) == (pair.winner_reward, pair.loser_reward)
        assert pair.winner_reward >= tau > pair.loser_reward
    assert len({(p.winner_id, p.loser_id) for p in pairs}) == len({p.pair_id for p in pairs}) == len(pairs)
    n_winners = [sum(bool(reaches(score, tau)) for score in of_prompt) for of_prompt in scores]
    assert len(pairs) == sum(n * (len(of_prompt) - n) for n, of_prompt in zip(n_winners, scores, strict=True))


# --- The rank --------------------------------------------------------------------------------


def test_without_a_threshold_the_better_of_any_two_wins() -> None:
    pairs = pair_samples(samples_of([0.2, 0.9, 0.2, 0.3]), PairConfig(rule="ranked"))
    assert seeds_of(pairs) == [(1, 0), (1, 2), (1, 3), (3, 0), (3, 2)]


def test_what_differs_by_rounding_only_is_no_better() -> None:
    assert pair_samples(samples_of([0.3, 0.1 + 0.2]), PairConfig(rule="ranked")) == []


@given(SCORES)
def test_ranked_pairs_are_any_two_that_differ_whatever_tau_is(scores: list[list[float]]) -> None:
    samples = samples_of(*scores)
    pairs = pair_samples(samples, PairConfig(rule="ranked"))
    assert all(pair.winner_reward > pair.loser_reward for pair in pairs)
    n_different = sum(a < b for of_prompt in scores for a in of_prompt for b in of_prompt)
    assert len(pairs) == n_different
    assert pairs == pair_samples(samples, PairConfig(rule="ranked", tau=0.1))


# --- Drawn pairs -----------------------------------------------------------------------------


@given(SCORES, st.integers(1, 5), st.integers(0, 3))
def test_drawn_pairs_are_some_of_all_in_the_same_order(scores: list[list[float]], per_prompt: int, seed: int) -> None:
    samples = samples_of(*scores)
    all_pairs = pair_samples(samples, PairConfig(rule="ranked"))
    drawn = pair_samples(samples, PairConfig(rule="ranked", per_prompt=per_prompt, seed=seed))
    assert drawn == [pair for pair in all_pairs if pair in drawn]
    for place in range(len(scores)):
        n_all, n_drawn = (sum(p.prompt_id == f"RL_{place}" for p in pairs) for pairs in (all_pairs, drawn))
        assert n_drawn == min(n_all, per_prompt)


def test_the_draw_is_a_matter_of_the_seed_and_of_each_prompt_alone() -> None:
    ten = [score / 10 for score in range(10)]
    both, second = samples_of(ten, ten), samples_of(ten, ten)[10:]
    drawn = pair_samples(both, PairConfig(rule="ranked", per_prompt=5))
    others = pair_samples(both, PairConfig(rule="ranked", per_prompt=5, seed=1))
    assert len(drawn) == 10
    assert drawn != others
    assert seeds_of(drawn[:5]) != seeds_of(drawn[5:]), "each prompt has a draw of its own"
    assert pair_samples(second, PairConfig(rule="ranked", per_prompt=5)) == drawn[5:]


# --- All rules -------------------------------------------------------------------------------


def test_nothing_is_paired_across_prompts_or_from_the_test_split() -> None:
    assert pair_samples(samples_of([0.9], [0.1]), PairConfig()) == []
    assert pair_samples(samples_of([0.9, 0.1], split="test"), PairConfig()) == []
    assert pair_samples([], PairConfig()) == []


@given(SCORES, st.randoms(use_true_random=False))
def test_the_samples_order_changes_nothing(scores: list[list[float]], shuffling: random.Random) -> None:
    samples = samples_of(*scores)
    shuffled = shuffling.sample(samples, len(samples))
    for config in (PairConfig(), PairConfig(rule="ranked", per_prompt=2)):
        assert pair_samples(shuffled, config) == pair_samples(samples, config)


def test_a_pairs_id_is_of_its_samples_content() -> None:
    (pair,) = pair_samples(samples_of([0.9, 0.1]), PairConfig())
    (again,) = pair_samples(samples_of([0.8, 0.3]), PairConfig(tau=0.5))
    renamed = [s.model_copy(update={"prompt_id": "other"}) for s in samples_of([0.9, 0.1])]
    assert pair.pair_id == again.pair_id == pair_samples(renamed, PairConfig())[0].pair_id
    other = pair_samples(samples_of([], [0.9, 0.1]), PairConfig())[0]
    assert other.pair_id != pair.pair_id
    assert to_table(PairRow, [pair, other]).num_rows == 2


@pytest.mark.parametrize("wrong", [{"per_prompt": 0}, {"seed": -1}, {"tau": float("nan")}, {"rule": "best"}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PairConfig(**wrong)


# --- Prompts ---------------------------------------------------------------------------------


def test_a_prompt_has_a_reward_for_each_seed_that_was_asked_for() -> None:
    paired, lonely, tested = make_prompt("RL_0"), make_prompt("RL_1"), make_prompt("RL_2", split="test")
    samples = [
        make_sample(paired, 2, dsr_score=0.9),
        make_sample(paired, 0, dsr_score=0.2),
        make_sample(tested, 1, dsr_score=0.6),
    ]
    seeds: dict[Split, list[int]] = {"train": [0, 1, 2], "test": [0, 1]}
    pairs = pair_samples(samples, PairConfig())
    rows = prompt_rows([tested, lonely, paired], seeds, samples, pairs, PairConfig())
    assert [(row.prompt_id, row.seeds, row.rewards, row.n_pairs) for row in rows] == [
        ("RL_2", [0, 1], [None, 0.6], 0),
        ("RL_1", [0, 1, 2], [None, None, None], 0),
        ("RL_0", [0, 1, 2], [0.2, None, 0.9], 1),
    ]
    assert {row.type for row in rows} == {"RL"}


def test_a_prompts_rewards_are_those_that_its_pairs_are_made_by() -> None:
    prompt = make_prompt()
    samples = [make_sample(prompt, 0, final_yes=True), make_sample(prompt, 1)]
    config = PairConfig(reward="vlm")
    pairs = pair_samples(samples, config)
    (row,) = prompt_rows([prompt], {"train": [0, 1], "test": []}, samples, pairs, config)
    assert (row.rewards, row.n_pairs) == ([1.0, 0.5], 1)
    assert [(pair.winner_reward, pair.loser_reward) for pair in pairs] == [(1.0, 0.5)]
