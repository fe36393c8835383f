"""MATRIX's training on a tiny CogVideoX: it starts as the base model and trains what the paper trains, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.outcome import ServiceDown
from tasks.training.models.cogvideox.denoising import rotary_embedding
from tasks.training.recipes.matrix.config import MaskLossConfig, MatrixTraining, variant
from tasks.training.recipes.matrix.loss import Batch, Role, mask_loss, positive_weight, training_loss, verb_mask
from tests.training.tiny_cogvideox import (
    CHANNELS,
    GRID,
    HEIGHT,
    LATENT_HEIGHT,
    LATENT_WIDTH,
    N_BLOCKS,
    N_FRAMES,
    N_HEADS,
    N_LATENTS,
    N_TEXT,
    TEXT_DIM,
    WIDTH,
    drawn,
    scheduler,
    tiny_transformer,
)

pytestmark = pytest.mark.models

# Blocks 0 and 1 play 7 and 11, block 2 plays 12.
TINY = {
    "lora": {"rank": 4, "alpha": 2, "blocks": (0, 2)},
    "alignment": {"sga_blocks": (0, 1), "spa_blocks": (2,), "decoder_channels": 4},
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(**alignment: Any) -> MatrixTraining:
    return MatrixTraining(**TINY | {"alignment": TINY["alignment"] | alignment})


def model_of(training: MatrixTraining | None = None, seed: int = 0, precision: str = "float32") -> Any:
    import torch

    from tasks.training.recipes.matrix.model import new_model

    torch.manual_seed(seed)
    return new_model(tiny_transformer().to(getattr(torch, precision)), training or config())


def masks() -> tuple[Any, Any]:
    """A subject that goes right and an object that stands, (9, 64, 96) bool each."""
    import torch

    subject, object_ = torch.zeros(2, N_FRAMES, HEIGHT, WIDTH, dtype=torch.bool)
    for frame in range(N_FRAMES):
        subject[frame, 16:40, 4 * frame : 4 * frame + 30] = True
    object_[:, 40:60, 60:90] = True
    return subject, object_


def roles() -> tuple[Role, ...]:
    subject, object_ = masks()
    return (
        Role("subject", (1, 2), subject),
        Role("verb", (3,), verb_mask(subject, object_)),
        Role("object", (5,), object_),
    )


def batch(*of_samples: tuple[Role, ...]) -> Batch:
    import torch

    of_samples = of_samples or (roles(), roles()[:2])
    clip, first, ids = (
        drawn(len(of_samples), N_LATENTS, CHANNELS, LATENT_HEIGHT, LATENT_WIDTH, seed=seed) for seed in range(3)
    )
    first[:, 1:], ids[:, 1:] = 0, 0
    assert torch.isfinite(clip).all()
    return Batch(clip, first, ids, drawn(len(of_samples), N_TEXT, TEXT_DIM, seed=3), of_samples)


def in_precision(clips: Batch, dtype: Any) -> Batch:
    names = ("latents", "image_latents", "id_latents", "text")
    return replace(clips, **{name: getattr(clips, name).to(dtype) for name in names})


def losses_of(model: Any, clips: Batch | None = None, training: MatrixTraining | None = None) -> Any:
    import torch

    alignment = (training or config()).alignment
    return training_loss(model, clips or batch(), scheduler(), torch.Generator().manual_seed(0), alignment)


# --- Step 0 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_step_0_is_the_base_model(precision: str) -> None:
    """To the bit: the ID map meets kernels of zero, the LoRA's second matrices are zero, taps only read."""
    import torch

    dtype = getattr(torch, precision)
    clips, timesteps = in_precision(batch(), dtype), torch.tensor([10, 800])
    noisy = drawn(*clips.latents.shape, seed=9).to(dtype)
    base = tiny_transformer().to(dtype)
    with torch.no_grad():
        expected = base(
            hidden_states=torch.cat([noisy, clips.image_latents], dim=2),
            encoder_hidden_states=clips.text,
            timestep=timesteps,
            image_rotary_emb=rotary_embedding(base, N_LATENTS, LATENT_HEIGHT, LATENT_WIDTH),
            return_dict=False,
        )[0]
        model = model_of(precision=precision)
        predicted, sga, spa = model(clips, noisy, timesteps)
    assert torch.equal(predicted, expected)
    assert expected.std() > 0.1
    assert sga.total > 0
    assert spa.total > 0
    assert model.transformer.config.in_channels == 3 * CHANNELS


def test_what_is_widened_is_saved_and_loaded_as_diffusers_does(tmp_path: Path) -> None:
    import torch
    from diffusers import CogVideoXTransformer3DModel

    from tasks.training.models.cogvideox.id_map import widen_input

    transformer = tiny_transformer()
    old = transformer.patch_embed.proj.weight.clone()
    widen_input(transformer, CHANNELS)
    kernels = transformer.patch_embed.proj.weight
    assert torch.equal(kernels[:, : 2 * CHANNELS], old)
    assert not kernels[:, 2 * CHANNELS :].any()
    transformer.save_pretrained(tmp_path)
    assert CogVideoXTransformer3DModel.from_pretrained(tmp_path).config.in_channels == 3 * CHANNELS


def test_cogvideox_1_5_is_refused() -> None:
    import torch

    from tasks.training.models.cogvideox.id_map import widen_input

    transformer = tiny_transformer()
    transformer.patch_embed.proj = torch.nn.Linear(4, 4)
    with pytest.raises(ValueError, match=r"only CogVideoX 1\.0"):
        widen_input(transformer, CHANNELS)


# --- What is trained -------------------------------------------------------------------------


def trained_names(training: MatrixTraining) -> set[str]:
    from tasks.training.recipes.matrix.model import trained_weights

    return set(trained_weights(model_of(training)))


def lora_names(*blocks: int) -> set[str]:
    return {
        f"transformer.transformer_blocks.{block}.attn1.{layer}.lora_{side}.default.weight"
        for block in blocks
        for layer in ("to_q", "to_k", "to_v", "to_out.0")
        for side in "AB"
    }


PROJECTION = {"transformer.patch_embed.proj.weight", "transformer.patch_embed.proj.bias"}


def decoders(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names} - {"transformer"}


def test_lora_input_projection_and_decoders_are_trained_and_nothing_else() -> None:
    names = trained_names(config())
    assert {name for name in names if name.startswith("transformer.")} == lora_names(0, 2) | PROJECTION
    assert decoders(names) == {"grounding", "propagation"}


def test_the_papers_lora_has_the_papers_size() -> None:
    """9.44 M: two matrices of 128 x 3072 on four projections of three blocks."""
    lora = MatrixTraining().lora
    assert lora.blocks is not None
    assert len(lora.blocks) * 4 * 2 * lora.rank * 3072 == 9_437_184
    assert lora.alpha / lora.rank == 0.5


def test_gradients_reach_exactly_what_is_trained() -> None:
    import torch

    from tasks.training.recipes.matrix.model import trained_weights

    model = model_of()
    with torch.no_grad():  # at step 0 the LoRA's first matrices have none, as the second are zero
        for name, weight in trained_weights(model).items():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    losses_of(model).total.backward()
    with_gradient = {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert with_gradient == set(trained_weights(model))


@pytest.mark.parametrize("measure", ["scores", "softmax"])
def test_checkpointing_changes_no_gradient(measure: str) -> None:
    import torch

    training = config(measure=measure)

    def gradients(checkpointing: bool) -> dict[str, Any]:
        model = model_of(training)
        if checkpointing:
            model.train()
            model.transformer.enable_gradient_checkpointing()
        losses_of(model, training=training).total.backward()
        return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}

    plain, found = gradients(False), gradients(True)
    assert plain.keys() == found.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("autocast", [True, False])
def test_a_bfloat16_transformer_is_trained_in_float32(autocast: bool) -> None:
    import torch

    from tasks.training.recipes.matrix.model import trained_weights

    training = config(measure="softmax")
    model = model_of(training, precision="bfloat16")
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        losses = losses_of(model, in_precision(batch(), torch.bfloat16), training)
    losses.total.backward()
    assert losses.total.dtype == torch.float32
    exact = losses_of(model_of(training), training=training).metrics()
    assert losses.metrics() == pytest.approx(exact, rel=0.05)
    for weight in trained_weights(model).values():
        assert weight.dtype == weight.grad.dtype == torch.float32
        assert weight.grad.isfinite().all()


def test_reentrant_checkpointing_is_refused() -> None:
    """It would train nothing, silently: blocks run without a graph."""
    from torch.utils.checkpoint import checkpoint

    model = model_of()
    model.train()
    model.transformer.enable_gradient_checkpointing(
        lambda module, *given: checkpoint(module.__call__, *given, use_reentrant=True)
    )
    with pytest.raises(ValueError, match="block 0 has no gradient: is checkpointing reentrant"):
        losses_of(model)


def test_training_lowers_the_alignment_loss() -> None:
    import torch

    from tasks.training.recipes.matrix.model import trained_weights

    training = config(sga_weight=1.0, spa_weight=1.0, mask_stride_px=8)
    model = model_of(training)
    before = losses_of(model, training=training).metrics()
    steps = torch.optim.AdamW(trained_weights(model).values(), lr=1e-2)
    for _ in range(8):
        steps.zero_grad()
        losses_of(model, training=training).total.backward()
        steps.step()
    after = losses_of(model, training=training).metrics()
    assert after["sga"] < before["sga"]
    assert after["spa"] < before["spa"]


# --- Ablations -------------------------------------------------------------------------------


def tiny_variant(name: str) -> MatrixTraining:
    """A row of table 2 with the paper's blocks 7, 11 and 12 played by the tiny network's."""
    plays = {7: 0, 11: 1, 12: 2}

    def here(blocks: Any) -> Any:
        return None if blocks is None else tuple(plays[block] for block in blocks)

    row = variant(name)
    alignment = row.alignment.model_dump() | {"decoder_channels": 4}
    alignment |= {kind: here(alignment[kind]) for kind in ("sga_blocks", "spa_blocks")}
    lora = {"rank": 4, "alpha": 2, "blocks": here(row.lora.blocks)}
    return MatrixTraining(lora=lora, alignment=alignment)


@pytest.mark.parametrize(
    ("name", "n_adapted", "trained_decoders"),
    [
        ("paper", 3, {"grounding", "propagation"}),
        ("no_layer_selection", N_BLOCKS, set()),
        ("selection_only", 3, set()),
        ("spa_only", 3, {"propagation"}),
        ("sga_only", 3, {"grounding"}),
    ],
)
def test_ablations_change_what_they_say(name: str, n_adapted: int, trained_decoders: set[str]) -> None:
    training = tiny_variant(name)
    names = trained_names(training)
    assert {name for name in names if name.startswith("transformer.")} == lora_names(*range(n_adapted)) | PROJECTION
    assert decoders(names) == trained_decoders
    losses = losses_of(model_of(training), training=training)
    assert (losses.sga is not None, losses.spa is not None) == (
        "grounding" in trained_decoders,
        "propagation" in trained_decoders,
    )
    if not trained_decoders:
        assert losses.total is losses.denoising


def test_layers_are_chosen_or_all() -> None:
    chosen = {"lora": {"rank": 4, "blocks": (1,)}, "alignment": {"sga_blocks": (), "spa_blocks": ()}}
    assert {n for n in trained_names(MatrixTraining(**chosen)) if "lora" in n} == lora_names(1)
    chosen["lora"] = {"rank": 4, "blocks": None}
    assert {n for n in trained_names(MatrixTraining(**chosen)) if "lora" in n} == lora_names(0, 1, 2)


def test_blocks_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match=r"blocks \[7, 11, 12\] of 3: blocks are counted from 0"):
        model_of(MatrixTraining())


def test_a_transformer_that_is_not_the_published_one_is_refused() -> None:
    from tasks.training.recipes.matrix.model import new_model

    with pytest.raises(ValueError, match="takes 12 channels, not noise and first frame of 4"):
        new_model(model_of().transformer, config())


# --- Losses ----------------------------------------------------------------------------------


def test_parts_of_the_mask_loss_are_those_worked_out_by_hand() -> None:
    import torch

    logits = torch.tensor([[[0.0, 0.0], [torch.tensor(3.0).log(), -torch.tensor(3.0).log()]]])  # 1/2 1/2 3/4 1/4
    mask = torch.tensor([[[True, False], [True, False]]])
    found = mask_loss(logits, mask, MaskLossConfig(bce=2, dice=3, l2=5))
    bce = -torch.tensor([0.5, 0.5, 0.75, 0.75]).log().mean()
    dice = 1 - (2 * 1.25 + 1) / (2 + 2 + 1)
    l2 = (0.25 + 0.25 + 0.0625 + 0.0625) / 4
    torch.testing.assert_close(found.bce, bce)
    assert float(found.dice) == pytest.approx(dice)
    assert float(found.l2) == pytest.approx(l2)
    assert float(found.total) == pytest.approx(2 * float(bce) + 3 * dice + 5 * l2)
    weighted = mask_loss(logits, mask, MaskLossConfig(), pos_weight=3.0)
    torch.testing.assert_close(
        weighted.bce, -(torch.tensor([3.0, 1, 3, 1]) * torch.tensor([0.5, 0.5, 0.75, 0.75]).log()).mean()
    )


def test_masks_of_another_length_are_refused() -> None:
    subject, _, _ = roles()
    with pytest.raises(ValueError, match=r"a mask of \(5, 64, 96\) beside a map of \(9, 64, 96\)"):
        losses_of(model_of(), batch((replace(subject, mask=subject.mask[:5]),)))


def test_right_masks_cost_nothing_and_empty_ones_are_defined() -> None:
    import torch

    mask = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5
    right = mask_loss(torch.where(mask, 40.0, -40.0), mask, MaskLossConfig())
    assert max(map(abs, map(float, right))) < 1e-6
    nothing = mask_loss(torch.full((2, 4, 4), -40.0), torch.zeros_like(mask), MaskLossConfig())
    assert max(map(abs, map(float, nothing))) < 1e-6


def test_pixels_inside_weigh_more_up_to_a_limit() -> None:
    import torch

    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 0] = True
    assert positive_weight([mask], None) is None
    assert positive_weight([mask], 10) == 3
    assert positive_weight([mask, torch.zeros_like(mask)], 10) == 7
    assert positive_weight([torch.zeros_like(mask)], 10) == 10


def test_a_verb_is_where_subject_and_object_are() -> None:
    subject, object_ = masks()
    union = verb_mask(subject, object_)
    assert union.sum() == subject.sum() + object_.sum() - (subject & object_).sum()
    assert union[subject].all()
    assert union[object_].all()


def test_the_total_is_the_weighted_sum() -> None:
    training = config(sga_weight=0.5, spa_weight=2.0)
    losses = losses_of(model_of(training), training=training)
    expected = losses.denoising + 0.5 * losses.sga.total + 2.0 * losses.spa.total
    assert float(losses.total.detach()) == pytest.approx(float(expected.detach()))
    assert set(losses.metrics()) == {
        "loss", "denoising", "sga", "sga_bce", "sga_dice", "sga_l2", "spa", "spa_bce", "spa_dice", "spa_l2",
    }  # fmt: skip


def test_sga_is_the_sum_over_roles_and_the_mean_over_blocks() -> None:
    """Put together by hand from single roles and blocks."""
    model = model_of(config(spa_blocks=()))

    def sga(clips: Batch, blocks: tuple[int, ...] = (0, 1)) -> float:
        training = config(sga_blocks=blocks, spa_blocks=())
        model.config = training.alignment
        return float(losses_of(model, clips, training).sga.total.detach())

    subject, verb, object_ = roles()
    whole = sga(batch((subject, verb, object_)))
    assert whole == pytest.approx(sum(sga(batch((role,))) for role in (subject, verb, object_)), rel=1e-5)
    assert whole == pytest.approx(sum(sga(batch((subject, verb, object_)), (block,)) for block in (0, 1)) / 2, rel=1e-5)


def test_losses_of_samples_are_averaged() -> None:
    import torch

    model, clips = model_of(), batch()
    noisy, timesteps = drawn(*clips.latents.shape, seed=9), torch.tensor([10, 800])

    def aligned(samples: slice) -> list[float]:
        some = {n: getattr(clips, n)[samples] for n in ("latents", "image_latents", "id_latents", "text", "roles")}
        _, sga, spa = model(replace(clips, **some), noisy[samples], timesteps[samples])
        return [float(sga.total.detach()), float(spa.total.detach())]

    singles = zip(aligned(slice(0, 1)), aligned(slice(1, 2)), strict=True)
    assert aligned(slice(0, 2)) == pytest.approx([sum(pair) / 2 for pair in singles], rel=1e-5)


def test_the_code_takes_the_mean_over_instances_and_no_verb() -> None:
    subject, verb, object_ = roles()
    training = config(over_roles="mean", verbs=False, spa_blocks=())
    of_all = losses_of(model_of(training), batch((subject, verb, object_)), training).sga.total
    added = losses_of(model_of(), batch((subject, object_)), config(spa_blocks=())).sga.total
    assert float(of_all.detach()) == pytest.approx(float(added.detach()) / 2, rel=1e-5)


def test_spa_has_no_verb() -> None:
    subject, verb, object_ = roles()
    model = model_of()
    with_verb = losses_of(model, batch((subject, verb, object_))).spa.total
    without = losses_of(model, batch((subject, object_))).spa.total
    assert float(with_verb.detach()) == pytest.approx(float(without.detach()), rel=1e-6)


def test_a_role_that_is_not_there_is_not_aligned() -> None:
    """One that enters later has no first-frame tokens, so SGA sees it and SPA does not; an empty mask has neither."""
    subject, _, object_ = roles()
    late, gone = object_.mask.clone(), object_.mask & False
    late[0] = False
    model = model_of()
    alone = losses_of(model, batch((subject,)))
    with_late = losses_of(model, batch((subject, Role("object", (5,), late))))
    with_gone = losses_of(model, batch((subject, Role("object", (5,), gone), Role("verb", (), object_.mask))))
    assert with_late.metrics()["sga"] > alone.metrics()["sga"]
    assert with_late.metrics()["spa"] == pytest.approx(alone.metrics()["spa"], rel=1e-6)
    assert with_gone.metrics()["sga"] == pytest.approx(alone.metrics()["sga"], rel=1e-6)
    assert with_gone.metrics()["spa"] == pytest.approx(alone.metrics()["spa"], rel=1e-6)


def test_a_batch_without_roles_still_gives_every_weight_a_gradient() -> None:
    """Distributed training waits for them."""
    from tasks.training.recipes.matrix.model import trained_weights

    model = model_of()
    losses = losses_of(model, batch((), ()))
    losses.total.backward()
    assert losses.metrics()["sga"] == losses.metrics()["spa"] == 0
    assert all(weight.grad is not None for weight in trained_weights(model).values())


# --- What is read ----------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "tokens"), [("any", [6, 7, 12, 13]), ("half", [6, 7, 12])])
def test_spa_starts_from_the_first_frames_tokens(rule: str, tokens: list[int]) -> None:
    """16 px a token, 6 tokens a row: px 0 to 30 in rows 16 to 40 cover one and 14/16 columns, one and a half rows."""
    from tasks.training.recipes.matrix.model import taps_of

    training = config(query_rule=rule).alignment
    taps = taps_of((roles(),), training, GRID)
    assert {block: [tap.part for tap in asked] for block, asked in taps.wanted.items()} == {
        0: ["v2t"],
        1: ["v2t"],
        2: ["v2v"],
    }
    sets = taps.wanted[2][0].sets
    assert sets.present.tolist() == [[True, False, True]]
    assert sets.tokens[0][sets.weights[0, 0] > 0].tolist() == tokens
    words = taps.wanted[0][0].sets
    assert words.tokens.tolist() == [[1, 2, 3, 5]]
    assert words.weights.tolist() == [[[0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]]


def evenly_attending(training: MatrixTraining) -> Any:
    """A model whose every token attends to all tokens alike."""
    import torch

    model = model_of(training)
    with torch.no_grad():
        for block in model.transformer.transformer_blocks:
            block.attn1.norm_q.weight.zero_()
            block.attn1.norm_q.bias.zero_()
    return model


@pytest.mark.parametrize(("measure", "value"), [("softmax", 1.0), ("scores", 0.0)])
def test_even_attention_is_1_to_the_decoders(measure: str, value: float) -> None:
    """One of 17,776 tokens would be nothing to them."""
    training = config(measure=measure)
    model = evenly_attending(training)
    seen: list[Any] = []
    for decoder in (model.grounding, model.propagation):
        decoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    losses_of(model, training=training)
    assert len(seen) == 2 * 5 + 3, "five roles in two blocks, three instances in one"
    for maps in seen:
        assert maps.shape == (1, *GRID)
        assert maps.detach().numpy() == pytest.approx(value, abs=1e-5)


def test_the_aas_of_a_generated_clip_is_taken_from_the_same_taps() -> None:
    """A network that attends evenly puts on a mask its share of all tokens, in every head."""
    import torch

    from tasks.metrics.attention_alignment import attention_alignment, latent_masks
    from tasks.training.recipes.matrix.model import taps_of

    model, clips = evenly_attending(config()), batch()
    with torch.no_grad():
        taps = taps_of(clips.roles, config(measure="softmax", heads="sum").alignment, GRID)
        model.transformer(
            hidden_states=torch.cat([clips.latents, clips.image_latents, clips.id_latents], dim=2),
            encoder_hidden_states=clips.text,
            timestep=torch.tensor([10, 800]),
            attention_kwargs={"taps": taps},
        )
    cells = latent_masks(torch.stack([role.mask for role in roles()]).numpy(), GRID)
    for block, part in ((0, "v2t"), (2, "v2v")):
        read = taps.maps[block, part][0].unflatten(-1, GRID).numpy()  # type: ignore[index]
        even = N_HEADS * cells.sum(axis=(1, 2, 3)) / (N_TEXT + 72)
        there = [0, 1, 2] if part == "v2t" else [0, 2]
        assert attention_alignment(read, cells)[there] == pytest.approx(even[there])


# --- Decoders --------------------------------------------------------------------------------


def decoder(stride_px: int = 1) -> Any:
    import torch

    torch.manual_seed(0)
    return model_of(config(mask_stride_px=stride_px)).grounding.double()


@pytest.mark.parametrize("stride_px", [1, 2, 4, 8, 16])
def test_13_latents_become_49_frames_at_the_masks_resolution(stride_px: int) -> None:
    maps = drawn(2, 13, 3, 5).double()
    assert decoder(stride_px)(maps).shape == (2, 49, 48 // stride_px, 80 // stride_px)


@pytest.mark.parametrize("n_latents", [1, 2, 4, 5])
def test_other_lengths_keep_the_first_frame_alone(n_latents: int) -> None:
    assert decoder(16)(drawn(1, n_latents, 2, 2).double()).shape[1] == 4 * n_latents - 3


def test_no_frame_sees_a_later_latent() -> None:
    """Latent 0 is frame 0, latent f is frames 4f - 3 to 4f (C.1)."""
    import torch

    decode, maps = decoder(8), drawn(1, 5, 3, 4).double()
    before = decode(maps)
    for latent in range(5):
        changed = maps.clone()
        changed[:, latent] += 1
        same = (decode(changed) == before).all(dim=-1).all(dim=-1)[0]
        first = max(0, 4 * latent - 3)
        assert same[:first].all()
        assert not same[first : 4 * latent + 1].any()
    assert torch.equal(decode(maps[:, :3]), before[:, :9])


# --- Saving ----------------------------------------------------------------------------------


def trained_model(seed: int = 0) -> Any:
    """As after some steps: no weight is zero."""
    import torch

    from tasks.training.recipes.matrix.model import trained_weights

    model = model_of(seed=seed)
    with torch.no_grad():
        for weight in trained_weights(model).values():
            weight += 0.1 * torch.randn(weight.shape)
    return model


def test_what_was_trained_is_loaded_to_the_bit(tmp_path: Path) -> None:
    import torch

    from tasks.training.recipes.matrix.model import load_trained, save_trained, trained_weights

    saved = trained_model()
    save_trained(saved, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "decoders.safetensors", "input_projection.safetensors", "pytorch_lora_weights.safetensors",
    ]  # fmt: skip
    other = model_of(seed=1)
    load_trained(other, tmp_path)
    for name, weight in trained_weights(saved).items():
        assert torch.equal(trained_weights(other)[name], weight), name


def test_generation_needs_no_decoder(tmp_path: Path) -> None:
    import torch

    from tasks.training.models.cogvideox.id_map import model_input
    from tasks.training.recipes.matrix.model import DECODERS_FILE, add_trained, save_trained

    model = trained_model()
    save_trained(model, tmp_path)
    (tmp_path / DECODERS_FILE).unlink()
    transformer = tiny_transformer()
    add_trained(transformer, tmp_path)
    clips, timesteps = batch(), torch.tensor([10, 800])
    with torch.no_grad():
        expected = model(clips, clips.latents, timesteps)[0]
        found = transformer(
            hidden_states=model_input(clips.latents, clips.image_latents, clips.id_latents),
            encoder_hidden_states=clips.text,
            timestep=timesteps,
            image_rotary_emb=rotary_embedding(transformer, N_LATENTS, LATENT_HEIGHT, LATENT_WIDTH),
            return_dict=False,
        )[0]
    assert torch.equal(found, expected)


def test_weights_of_another_training_are_refused(tmp_path: Path) -> None:
    from tasks.training.recipes.matrix.model import load_trained, save_trained

    save_trained(trained_model(), tmp_path)
    with pytest.raises(ServiceDown, match=r"none missing, \d+ \(propagation\.|none missing, \d+ \(grounding\."):
        load_trained(model_of(config(sga_blocks=())), tmp_path)
    with pytest.raises(ServiceDown, match="rank 4 and alpha 2, the config 4 and 4"):
        load_trained(model_of(MatrixTraining(**TINY | {"lora": TINY["lora"] | {"alpha": 4}})), tmp_path)
