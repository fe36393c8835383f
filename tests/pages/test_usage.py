"""schemas.usage: what is spent is counted where it belongs, whatever the threads; prices make it a cost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from pydantic import ValidationError

from schemas.usage import Meter, ModelUsage, TokenPrice, TokenPrices, Usage, count_usage

CALL = Usage(calls=1, prompt_tokens=100, completion_tokens=10)


def spend(times: int = 1) -> None:
    for _ in range(times):
        count_usage("LLM", "tiny", CALL)


def test_a_meter_counts_by_role_and_model_and_only_inside_its_block() -> None:
    spend()
    with Meter() as meter:
        spend(2)
        count_usage("VLM", "seer", Usage(cached=1))
    spend()
    assert meter.spent == [
        ModelUsage(role="LLM", model="tiny", usage=Usage(calls=2, prompt_tokens=200, completion_tokens=20)),
        ModelUsage(role="VLM", model="seer", usage=Usage(cached=1)),
    ]


def test_threads_that_were_given_the_context_are_counted_to_the_last_call() -> None:
    with Meter() as meter, ThreadPoolExecutor(8) as pool:
        for _ in range(40):
            pool.submit(copy_context().run, spend, 50)
    assert meter.spent[0].usage == Usage(calls=2000, prompt_tokens=200_000, completion_tokens=20_000)


def test_two_rows_side_by_side_are_counted_apart() -> None:
    both_in = threading.Barrier(2, timeout=5)

    def row(times: int) -> int:
        with Meter() as meter:
            both_in.wait()
            spend(times)
            both_in.wait()
        return meter.spent[0].usage.calls

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(row, [3, 5])) == [3, 5]


def test_what_is_kept_is_the_sum_so_far_after_every_call() -> None:
    kept: list[int] = []
    with Meter(keep=lambda spent: kept.append(spent[0].usage.calls)):
        spend(3)
    assert kept == [1, 2, 3]


def test_the_line_says_what_is_not_known() -> None:
    whole = Usage(calls=1200, unanswered=2, cached=3, prompt_tokens=34_000, completion_tokens=2300)
    assert whole.line() == (
        "1,200 calls (2 unanswered), 3 replies from the cache, 34,000 prompt and 2,300 completion tokens"
    )
    partly = CALL + Usage(calls=3, uncounted=3)
    assert partly.line().endswith("at least 100 prompt and 10 completion tokens (3 replies not counted)")
    assert Usage(calls=2, unanswered=1, uncounted=1).line().endswith("tokens unknown: the server does not count them")
    assert Usage(calls=2, unanswered=2).line().endswith("0 prompt and 0 completion tokens"), "no token was spent"


def test_tokens_that_nobody_counted_are_null_until_some_are_counted() -> None:
    uncounted = Usage(calls=1, uncounted=1)
    in_vain = Usage(calls=1, unanswered=1)
    assert (uncounted.prompt_tokens, uncounted.completion_tokens, uncounted.tokens) == (None, None, None)
    assert Usage.from_json(uncounted.to_json()) == uncounted
    assert (Usage() + uncounted + in_vain).tokens is None
    assert (in_vain + in_vain).tokens == 0, "nothing came that could have been counted"
    assert (CALL + uncounted).tokens == (uncounted + CALL).tokens == 110
    assert not (CALL + uncounted).tokens_are_whole


def test_a_price_is_for_a_million_tokens() -> None:
    price = TokenPrice(usd_per_mtok_prompt=2.5, usd_per_mtok_completion=10)
    assert price.cost_usd(Usage(prompt_tokens=1_000_000, completion_tokens=100_000)) == 3.5
    assert price.cost_usd(Usage(calls=1, uncounted=1)) is None


@pytest.mark.parametrize(
    "price",
    [
        {"usd_per_mtok_prompt": 2.5},
        {"usd_per_mtok_prompt": -1, "usd_per_mtok_completion": 10},
        {"usd_per_mtok_prompt": "inf", "usd_per_mtok_completion": 10},
    ],
)
def test_half_a_price_and_senseless_ones_are_refused(price: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TokenPrices.model_validate({"llm": price})
