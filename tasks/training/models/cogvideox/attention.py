"""Read parts of CogVideoX's attention while it runs as ever: columns of text tokens, rows of first-frame tokens.

    tap_attention(transformer)                                   once; outputs stay those of the stock processors
    words = TokenSets.of([[[3, 4], [7]]])                        one sample: "red cup" is tokens 3 and 4, "boy" is 7
    taps = Taps({7: [Tap("v2t", words)], 12: [Tap("v2v", firsts)]})
    transformer(..., attention_kwargs={"taps": taps})
    taps.maps[7, "v2t"]                                          (1, 2, 17550): a map a set over the video tokens

A whole attention matrix of CogVideoX-5B takes 30 GB a layer (48 heads, 17,776 tokens, bfloat16): it is never made.
The joint sequence is text first, then video: frame by frame, row by row. Queries and keys are tapped after their norm
and the rotary embedding. MATRIX (4.1 to 4.3) names the parts: v2t is video queries on text keys, v2v video on video.

Importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

Part = Literal["v2t", "v2v", "v2v_columns"]
Measure = Literal["scores", "softmax"]
Heads = Literal["mean", "sum"]

# Of the attention matrix that is in memory at a time, in both directions.
BLOCK_BYTES = 1 << 28


# --- What to read ----------------------------------------------------------------------------


@dataclass(frozen=True)
class TokenSets:
    """R sets of tokens for each of B samples, whose attention is averaged set by set (MATRIX 4.2, 4.3)."""

    tokens: torch.Tensor  # (B, T) int64: the tokens that some set of the sample has; padded with any
    weights: torch.Tensor  # (B, R, T) float64: 1 / size for the tokens of a set, else 0; an empty set is all 0

    @classmethod
    def of(cls, sets: Sequence[Sequence[Sequence[int]]], device: Any = None) -> TokenSets:
        """From lists of tokens: samples, sets, tokens. Samples may have fewer sets than others, and sets be empty.

        Tokens count from 0 within their own part of the sequence: text tokens for v2t, video tokens for v2v.
        """
        import torch

        named = [sorted({token for one in sample for token in one}) for sample in sets]
        n_tokens, n_sets = max(1, *map(len, named)), max(map(len, sets))
        tokens = torch.zeros(len(sets), n_tokens, dtype=torch.int64)
        weights = torch.zeros(len(sets), n_sets, n_tokens, dtype=torch.float64)
        for sample, (mine, its_sets) in enumerate(zip(named, sets, strict=True)):
            tokens[sample, : len(mine)] = torch.tensor(mine, dtype=torch.int64)
            places = {token: place for place, token in enumerate(mine)}
            for number, one in enumerate(its_sets):
                for token in set(one):
                    weights[sample, number, places[token]] = 1 / len(set(one))
        return cls(tokens.to(device), weights.to(device))

    @property
    def present(self) -> torch.Tensor:
        """(B, R) bool: sets that have a token. The maps of the others are 0 and mean nothing."""
        return self.weights.any(dim=-1)


@dataclass(frozen=True)
class Tap:
    """One part of a block's attention.

    v2t:         how much each video token attends to the set's text tokens, on average (MATRIX 4.2)
    v2v:         how much the set's video tokens, on average, attend to each video token (4.3)
    v2v_columns: how much each video token attends to the set's video tokens, on average

    For the AAS take the softmax and the sum over heads.
    """

    part: Part
    sets: TokenSets
    measure: Measure = "scores"  # scores: q k / sqrt(d) before the softmax; softmax: the attention itself
    heads: Heads = "mean"


class Taps:
    """What one forward pass should read, and what it read.

    Make one for every forward pass: with gradient checkpointing blocks run again in the backward pass, and then must
    find the request of their own forward pass. The maps are those of the first run, whose graph the loss has.
    Checkpointing must not be reentrant (diffusers' is not): reentrant checkpointing runs blocks without a graph first.
    """

    def __init__(self, wanted: Mapping[int, Sequence[Tap]]) -> None:
        """wanted: block, counted from 0 -> its taps, at most one of a part"""
        self.wanted = {block: tuple(taps) for block, taps in wanted.items()}
        self.maps: dict[
            tuple[int, Part], torch.Tensor
        ] = {}  # (B, R, video tokens) float32, or float64 of a float64 net
        for block, taps in self.wanted.items():
            if len({tap.part for tap in taps}) < len(taps):
                raise ValueError(f"block {block} has two taps of the same part; put their sets together")

    def read(self, block: int, query: torch.Tensor, key: torch.Tensor, n_text: int) -> None:
        """query, key: (B, H, tokens, d) of the joint sequence, as the softmax gets them."""
        for tap in self.wanted.get(block, ()):
            read = attention_map(query, key, n_text, tap)
            # Run again by checkpointing: computed, as it is part of what is recomputed, but not kept.
            self.maps.setdefault((block, tap.part), read)


# --- Maps ------------------------------------------------------------------------------------


def attention_map(query: torch.Tensor, key: torch.Tensor, n_text: int, tap: Tap) -> torch.Tensor:
    """(B, R, V) map of every set over the V video tokens.

    Scores are linear in queries and in keys, so the set is averaged before the product, which is exact. The softmax is
    over all tokens, text and video, and is never whole in memory.
    """
    query, key = _precise(query), _precise(key)
    scale = query.shape[-1] ** -0.5
    video_query, video_key = query[:, :, n_text:], key[:, :, n_text:]
    weights = tap.sets.weights.to(query.dtype)
    with _full_precision(query):
        if tap.part == "v2v":
            chosen = _gather(video_query, tap.sets.tokens)
            if tap.measure == "scores":
                read = _einsum("bhrd,bhvd->brv", _einsum("brt,bhtd->bhrd", weights, chosen), video_key) * scale
            else:
                read = _rows(chosen, key, weights, scale, n_text)
        else:
            chosen = _gather(key[:, :, :n_text] if tap.part == "v2t" else video_key, tap.sets.tokens)
            if tap.measure == "scores":
                read = _einsum("bhvd,bhrd->brv", video_query, _einsum("brt,bhtd->bhrd", weights, chosen)) * scale
            else:
                total = log_sum_exp(video_query, key, scale)
                columns = (video_query @ chosen.transpose(-1, -2) * scale - total[..., None]).exp()
                read = _einsum("brt,bhvt->brv", weights, columns)
    return read / query.shape[1] if tap.heads == "mean" else read


def _rows(chosen: torch.Tensor, key: torch.Tensor, weights: torch.Tensor, scale: float, n_text: int) -> torch.Tensor:
    """(B, R, V): the weighted rows of the softmax, some queries at a time; each part is made again for its gradient."""
    import torch
    from torch.utils.checkpoint import checkpoint

    def some(chosen: torch.Tensor, key: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        rows = (chosen @ key.transpose(-1, -2) * scale).softmax(dim=-1)
        return _einsum("brt,bhtv->brv", weights, rows[..., n_text:])

    parts = [
        checkpoint(some, chosen[:, :, part], key, weights[:, :, part], use_reentrant=False)
        for part in _parts(chosen, key)
    ]
    return torch.stack(parts).sum(dim=0)


def log_sum_exp(query: torch.Tensor, key: torch.Tensor, scale: float) -> torch.Tensor:
    """(B, H, Q): log of the sum over all keys of exp(scale q k), with its gradient, some queries at a time.

    The fused kernels of attention compute it too, but give no gradient through it.
    """
    total: torch.Tensor = _log_sum_exp().apply(query, key, scale)
    return total


@cache
def _log_sum_exp() -> Any:
    import torch

    class LogSumExp(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, scale: float) -> torch.Tensor:
            total = query.new_empty(query.shape[:-1])
            for part in _parts(query, key):
                total[:, :, part] = (query[:, :, part] @ key.transpose(-1, -2) * scale).logsumexp(dim=-1)
            ctx.save_for_backward(query, key, total)
            ctx.scale = scale
            return total

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
            """d total_i / d q_i = scale sum_j p_ij k_j;  d total_i / d k_j = scale p_ij q_i."""
            query, key, total = ctx.saved_tensors
            grad_query, grad_key = torch.empty_like(query), torch.zeros_like(key)
            with _full_precision(query):
                for part in _parts(query, key):
                    some = query[:, :, part]
                    shares = (some @ key.transpose(-1, -2) * ctx.scale - total[:, :, part, None]).exp()
                    shares *= grad[:, :, part, None] * ctx.scale
                    grad_query[:, :, part] = shares @ key
                    grad_key += shares.transpose(-1, -2) @ some
            return grad_query, grad_key, None

    return LogSumExp


def _parts(query: torch.Tensor, key: torch.Tensor) -> Iterator[slice]:
    """Some queries at a time, so that their scores with all keys fit into BLOCK_BYTES."""
    batch, heads, n_queries, _ = query.shape
    step = max(1, BLOCK_BYTES // (batch * heads * key.shape[2] * key.element_size()))
    for start in range(0, n_queries, step):
        yield slice(start, start + step)


def _gather(sequence: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """(B, H, S, d), (B, T) -> (B, H, T, d). Raises ValueError for a token beyond the sequence."""
    _, heads, length, size = sequence.shape
    if int(tokens.max()) >= length:
        raise ValueError(f"token {int(tokens.max())} of {length}: tokens count from 0 within text or video")
    return sequence.gather(2, tokens[:, None, :, None].expand(-1, heads, -1, size))


def _einsum(equation: str, *operands: torch.Tensor) -> torch.Tensor:
    import torch

    product: torch.Tensor = torch.einsum(equation, *operands)
    return product


def _precise(tensor: torch.Tensor) -> torch.Tensor:
    """Half precision has three digits: a score of 20 would be off by 0.1, its exponential by 10 %."""
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor


def _full_precision(tensor: torch.Tensor) -> AbstractContextManager[Any]:
    """Autocast would take the products back to half precision."""
    import torch

    return torch.autocast(tensor.device.type, enabled=False)


# --- The processor ---------------------------------------------------------------------------


def tap_attention(transformer: Any) -> None:
    """Replace every attention processor of a CogVideoXTransformer3DModel by one that can be tapped."""
    for number, block in enumerate(transformer.transformer_blocks):
        block.attn1.set_processor(TappedProcessor(number))


class TappedProcessor:
    """What CogVideoXAttnProcessor2_0 of diffusers 0.39 computes, to the bit; and reads the taps that it is given.

    Every block has one, not only those to be tapped: diffusers warns of arguments that a processor does not take.
    """

    def __init__(self, block: int) -> None:
        self.block = block

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
        taps: Taps | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """hidden_states: (B, V, C) video; encoder_hidden_states: (B, n_text, C). Returns both, attended."""
        import torch
        from diffusers.models.embeddings import apply_rotary_emb

        n_text = encoder_hidden_states.shape[1]
        joint = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        query, key, value = (
            part(joint).unflatten(2, (attn.heads, -1)).transpose(1, 2) for part in (attn.to_q, attn.to_k, attn.to_v)
        )
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        if attn.norm_k is not None:
            key = attn.norm_k(key)
        if image_rotary_emb is not None:
            query, key = (
                torch.cat([side[:, :, :n_text], apply_rotary_emb(side[:, :, n_text:], image_rotary_emb)], dim=2)
                for side in (query, key)
            )
        if attention_mask is not None:
            raise ValueError("CogVideoX attends to everything: no mask can be tapped")
        attended = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        if taps is not None:
            taps.read(self.block, query, key, n_text)
        attended = attended.transpose(1, 2).flatten(2)
        for layer in attn.to_out:  # projection, dropout
            attended = layer(attended)
        return attended[:, n_text:], attended[:, :n_text]
