"""Taps on CogVideoX's attention: the output stays the stock one, and what they read is the full softmax's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tasks.training.models.cogvideox import attention
from tasks.training.models.cogvideox.attention import Tap, Taps, TokenSets, attention_map, log_sum_exp, tap_attention
from tasks.training.models.cogvideox.denoising import rotary_embedding
from tests.training.tiny_cogvideox import (
    CHANNELS,
    LATENT_HEIGHT,
    LATENT_WIDTH,
    N_LATENTS,
    N_TEXT,
    TEXT_DIM,
    drawn,
    tiny_transformer,
)

pytestmark = pytest.mark.models

WORDS = [[[3, 4], [7], []], [[0], [1, 2, 5], [6]]]  # two samples of three sets
FIRSTS = [[[0, 1, 6, 7], [13], []], [[2], [3, 4], list(range(24))]]
CASES = [(p, m, h) for p in ("v2t", "v2v", "v2v_columns") for m in ("scores", "softmax") for h in ("mean", "sum")]


@pytest.fixture(params=["all at once", "little by little"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "little by little":
        monkeypatch.setattr(attention, "BLOCK_BYTES", 12_000)


def sets_of(part: str) -> TokenSets:
    return TokenSets.of(WORDS if part == "v2t" else FIRSTS)


def queries_and_keys() -> tuple[Any, Any]:
    """(2, 3, 8 + 72, 5) in float64, with gradients."""
    import torch

    return tuple(drawn(2, 3, 80, 5, seed=seed).to(torch.float64).mul_(2).requires_grad_() for seed in (0, 1))


def by_full_matrix(query: Any, key: Any, part: str, measure: str, heads: str) -> Any:
    """As MATRIX writes it (4.2, 4.3): the whole matrix, then the means over sets."""
    import torch

    whole = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if measure == "softmax":
        whole = whole.softmax(-1)
    whole = whole.mean(1) if heads == "mean" else whole.sum(1)
    maps = torch.zeros(2, 3, 72, dtype=whole.dtype)
    for sample, sets in enumerate(WORDS if part == "v2t" else FIRSTS):
        for number, tokens in enumerate(sets):
            if tokens and part == "v2t":
                maps[sample, number] = whole[sample, 8:, tokens].mean(-1)
            elif tokens and part == "v2v":
                maps[sample, number] = whole[sample, 8:][tokens, 8:].mean(0)
            elif tokens:
                maps[sample, number] = whole[sample, 8:, 8:][:, tokens].mean(-1)
    return maps


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize(("part", "measure", "heads"), CASES)
def test_maps_and_their_gradients_are_those_of_the_full_matrix(part: Any, measure: Any, heads: Any) -> None:
    import torch

    query, key = queries_and_keys()
    read = attention_map(query, key, 8, Tap(part, sets_of(part), measure, heads))
    expected = by_full_matrix(query, key, part, measure, heads)
    torch.testing.assert_close(read, expected, rtol=0, atol=1e-12)
    weights = drawn(2, 3, 72, seed=2).to(torch.float64)
    found = torch.autograd.grad((read * weights).sum(), (query, key))
    for mine, theirs in zip(found, torch.autograd.grad((expected * weights).sum(), (query, key)), strict=True):
        assert theirs.abs().max() > 1e-3
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("parts")
def test_the_gradient_of_the_log_of_the_sum_passes_autograds_check() -> None:
    import torch

    query, key = (side[:1, :2, :6].detach().requires_grad_() for side in queries_and_keys())
    assert torch.autograd.gradcheck(lambda query, key: log_sum_exp(query, key, 0.4), (query, key))


def test_attention_of_a_query_sums_to_one_a_head() -> None:
    """Text and video columns together; so AAS is counted in heads."""
    import torch

    query, key = queries_and_keys()
    everything = TokenSets.of([[[token] for token in range(8)]] * 2)
    to_text = attention_map(query, key, 8, Tap("v2t", everything, "softmax", "sum")).sum(1)
    each = TokenSets.of([[[token] for token in range(72)]] * 2)
    to_video = attention_map(query, key, 8, Tap("v2v", each, "softmax", "sum")).sum(2)
    torch.testing.assert_close(to_text + to_video, torch.full((2, 72), 3.0, dtype=torch.float64))


def test_half_precision_is_left_for_the_products() -> None:
    """A score of 20 has three digits in bfloat16, whose exponential would be wrong by several per cent."""
    import torch

    query, key = (side.detach().bfloat16() for side in queries_and_keys())
    tap = Tap("v2t", sets_of("v2t"), "softmax")
    with torch.autocast("cpu", torch.bfloat16):
        read = attention_map(query, key, 8, tap)
    assert read.dtype == torch.float32
    torch.testing.assert_close(read.double(), attention_map(query.double(), key.double(), 8, tap), rtol=1e-5, atol=0)


def test_sets_know_which_of_them_are_empty() -> None:
    assert sets_of("v2t").present.tolist() == [[True, True, False], [True, True, True]]
    assert TokenSets.of([[[]]]).present.tolist() == [[False]]


def test_a_token_beyond_its_part_is_refused() -> None:
    query, key = queries_and_keys()
    with pytest.raises(ValueError, match="token 8 of 8"):
        attention_map(query, key, 8, Tap("v2t", TokenSets.of([[[8]], [[0]]])))


def test_two_taps_of_a_part_are_refused() -> None:
    words = sets_of("v2t")
    with pytest.raises(ValueError, match="block 1 has two taps of the same part"):
        Taps({1: [Tap("v2t", words), Tap("v2t", words, "softmax")]})


# --- In the network --------------------------------------------------------------------------


def inputs(transformer: Any) -> dict[str, Any]:
    import torch

    return {
        "hidden_states": drawn(2, N_LATENTS, 2 * CHANNELS, LATENT_HEIGHT, LATENT_WIDTH),
        "encoder_hidden_states": drawn(2, N_TEXT, TEXT_DIM, seed=1),
        "timestep": torch.tensor([10, 800]),
        "image_rotary_emb": rotary_embedding(transformer, N_LATENTS, LATENT_HEIGHT, LATENT_WIDTH),
        "return_dict": False,
    }


def asked(measure: Any = "softmax") -> Taps:
    taps = [Tap("v2t", sets_of("v2t"), measure), Tap("v2v", sets_of("v2v"), measure)]
    return Taps({0: taps[:1], 2: taps})


def run(transformer: Any, taps: Taps | None = None) -> Any:
    """The output, with gradients of the input projection and of block 2's queries."""
    more = {"attention_kwargs": {"taps": taps}} if taps else {}
    return transformer(**inputs(transformer), **more)[0]


@pytest.fixture
def transformer() -> Iterator[Any]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    network = tiny_transformer()
    tap_attention(network)
    yield network
    torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_the_output_is_the_stock_processors_to_the_bit(transformer: Any, precision: str) -> None:
    import torch

    def output(network: Any, taps: Taps | None) -> Any:
        network.to(getattr(torch, precision))
        given = {
            name: value.to(getattr(torch, precision)) if name.endswith("states") else value
            for name, value in inputs(network).items()
        }
        more = {"attention_kwargs": {"taps": taps}} if taps else {}
        with torch.no_grad():
            return network(**given, **more)[0]

    stock = output(tiny_transformer(), None)
    assert stock.std() > 0.1
    assert torch.equal(output(transformer, None), stock)
    assert torch.equal(output(transformer, asked()), stock)
    assert torch.equal(output(transformer, asked("scores")), stock)


def test_maps_are_read_after_norm_and_rotary_embedding(transformer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the softmax gets is what the taps get: here it is taken from where the stock processor hands it over."""
    import torch

    handed: list[tuple[Any, Any]] = []
    real = torch.nn.functional.scaled_dot_product_attention

    def spy(query: Any, key: Any, value: Any, **settings: Any) -> Any:
        handed.append((query, key))
        return real(query, key, value, **settings)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    with torch.no_grad():
        run(tiny_transformer())
        taps = asked()
        run(transformer, taps)
    assert sorted(taps.maps) == [(0, "v2t"), (2, "v2t"), (2, "v2v")]
    for (block, part), read in taps.maps.items():
        expected = by_full_matrix(*handed[block], part, "softmax", "mean").float()
        torch.testing.assert_close(read, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("measure", ["scores", "softmax"])
def test_gradients_are_the_same_with_checkpointing(transformer: Any, measure: Any) -> None:
    import torch

    def gradients() -> tuple[Any, dict[str, Any]]:
        transformer.zero_grad()
        taps = asked(measure)
        output = run(transformer, taps)
        (output.square().mean() + sum(read.square().mean() for read in taps.maps.values())).backward()
        return output.detach(), {n: p.grad.clone() for n, p in transformer.named_parameters() if p.grad is not None}

    plain_output, plain = gradients()
    transformer.train()
    transformer.enable_gradient_checkpointing()
    output, found = gradients()
    assert torch.equal(output, plain_output)
    assert plain.keys() == found.keys()
    for name in plain:
        torch.testing.assert_close(found[name], plain[name], rtol=1e-5, atol=1e-8)


def test_the_first_run_of_a_block_is_the_one_that_is_kept(transformer: Any) -> None:
    """The second happens in the backward pass: its maps have no part in the loss."""
    transformer.train()
    transformer.enable_gradient_checkpointing()
    taps = asked()
    run(transformer, taps).mean().backward()
    kept = dict(taps.maps)
    again = asked()
    output = run(transformer, again)
    before = dict(again.maps)
    output.mean().backward()
    assert all(again.maps[name] is read for name, read in before.items())
    assert kept.keys() == before.keys()


def test_two_forward_passes_may_come_before_their_backward_passes(transformer: Any) -> None:
    """Each recomputes its blocks with its own request."""
    import torch

    def gradient() -> Any:
        one, other = asked(), Taps({1: [Tap("v2v", TokenSets.of([[[5]], [[6]]]))]})
        outputs = [run(transformer, one), run(transformer, other)]
        maps = [read for taps in (one, other) for read in taps.maps.values()]
        loss = sum(value.square().mean() for value in outputs + maps)
        return torch.autograd.grad(loss, [transformer.transformer_blocks[1].attn1.to_q.weight])[0]

    plain = gradient()
    transformer.train()
    transformer.enable_gradient_checkpointing()
    torch.testing.assert_close(gradient(), plain, rtol=1e-5, atol=1e-8)


def test_alignment_gradients_reach_queries_and_keys_only(transformer: Any) -> None:
    """In the tapped block: its values and output have no part in the map (MATRIX C.1)."""
    taps = Taps({2: [Tap("v2t", sets_of("v2t"))]})
    run(transformer, taps)
    taps.maps[2, "v2t"].square().mean().backward()
    block = transformer.transformer_blocks[2].attn1
    assert [layer.weight.grad is not None for layer in (block.to_q, block.to_k, block.to_v, block.to_out[0])] == [
        True, True, False, False,
    ]  # fmt: skip
