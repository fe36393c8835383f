"""MATRIX's trainer on a tiny CogVideoX: what it reads, refuses, trains, saves and shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.provenance import MadeBy
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.training.recipe import Randomness, load_recipe
from tasks.training.recipes.matrix.config import VARIANTS, MatrixTraining, variant
from tasks.training.recipes.matrix.data import MatrixSamples
from tests.support.recipe_samples import HEIGHT, N_FRAMES, WIDTH, matrix_masks, matrix_samples, stored

pytestmark = pytest.mark.models

SPLITS: Any = {"clip-a": "train", "clip-b": "test", "clip-c": "train"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return matrix_samples(tmp_path_factory.mktemp("matrix") / "matrix-samples-1", SPLITS)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tasks.training.models.tiny import save_tiny_cogvideox

    return save_tiny_cogvideox(tmp_path_factory.mktemp("base") / "cogvideox")


def config_of(base: Path | str, name: str = "paper", precision: str = "float32", **changes: Any) -> MatrixTraining:
    """A row of table 2, its blocks 7, 11 and 12 played by the tiny network's 0, 1 and 2."""
    row = variant(name).model_dump()
    plays = {7: 0, 11: 1, 12: 2, 6: 2, 8: 0, 20: 0, 24: 1}
    blocks = row["lora"]["blocks"]
    row["lora"] |= {"rank": 4, "alpha": 2, "blocks": blocks and sorted({plays[block] for block in blocks})}
    for part in ("sga_blocks", "spa_blocks"):
        row["alignment"][part] = tuple(plays[block] for block in row["alignment"][part])
    row["alignment"] |= {"decoder_channels": 4, "words": "noun_and_modifiers"}
    row |= {
        "model": str(base),
        "optimisation": {"n_steps": 2, "batch_size": 2, "precision": precision},
        "attention": {"v2t_blocks": (0, 1), "v2v_blocks": (2,), "timesteps": (300, 700)},
        "validation": {"n_denoising_steps": 2, "guidance": 2.0},
        "n_frames": N_FRAMES,
        "width": WIDTH,
        "height": HEIGHT,
    }
    return MatrixTraining(**row | changes)


def built(config: MatrixTraining, snapshot: Snapshot) -> tuple[Any, Any]:
    import torch

    trainer = load_recipe("matrix").trainer(config, snapshot)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = trainer.build(torch.device("cpu")).train()
    trainer.begin_phase(trainer.phases[0], module)
    return trainer, module


def loss_of(trainer: Any, module: Any) -> Any:
    import torch

    batch = trainer.to_device(trainer.collate([0, 1], 0), torch.device("cpu"))
    randomness = Randomness(torch.Generator().manual_seed(0), np.random.default_rng(0))
    return trainer.loss(module, batch, randomness, trainer.phases[0])


# --- Samples ---------------------------------------------------------------------------------


def test_a_batch_holds_what_the_tables_hold(base: Path, snapshot: Snapshot) -> None:
    import torch

    from tasks.training.samples import tensor

    samples = MatrixSamples(snapshot, config_of(base))
    assert [row.clip_id for row in samples.samples] == ["clip-a", "clip-c"], "test clips are kept out"
    batch = samples.batch([1, 0])
    for number, clip_id in enumerate(("clip-c", "clip-a")):
        assert torch.equal(batch.latents[number], tensor(stored("latents", 3, 4, 8, 12, key=clip_id)))
        assert torch.equal(batch.text[number], tensor(stored("text", 226, 16, key=clip_id)))
        for name, part in (("image", batch.image_latents), ("id", batch.id_latents)):
            assert torch.equal(part[number, :1], tensor(stored(f"{name}.latents", 1, 4, 8, 12, key=clip_id)))
            assert not part[number, 1:].any()
        masks, roles = matrix_masks(), batch.roles[number]
        assert [(role.kind, role.words) for role in roles] == [
            ("subject", (0, 1)),
            ("object", (4, 5)),
            ("verb", (2,)),
        ]
        expected = [masks["id1"], masks["id2"], masks["id1"] | masks["id2"]]
        for role, mask in zip(roles, expected, strict=True):
            assert (role.mask.numpy() == mask).all()


def test_samples_that_do_not_fit_are_refused(base: Path, snapshot: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="9 frames of 96x64, the config 49 of 720x480"):
        MatrixSamples(snapshot, MatrixTraining(model=str(base)))
    ids = config_of(base, alignment={"words": "id"})
    with pytest.raises(SnapshotError, match=r"the words of id1 of clip-a .* are 'A boy'; .* place.words=id"):
        MatrixSamples(snapshot, ids)
    role = {"role_id": "id1", "kind": "subject", "instance_ids": ["id1"], "words": "<id1>", "tokens": [0]}
    written = matrix_samples(tmp_path / "matrix-samples-2", SPLITS, [role])
    assert len(MatrixSamples(written, ids)) == 2
    with pytest.raises(SnapshotError, match=r"are '<id1>'; .* place.words=noun"):
        MatrixSamples(written, config_of(base))
    many = [role | {"role_id": f"id{n}", "words": "a boy"} for n in range(1, 7)]
    with pytest.raises(SnapshotError, match="6 instances; MATRIX takes at most 5"):
        MatrixSamples(matrix_samples(tmp_path / "matrix-samples-3", SPLITS, many), config_of(base))
    lost = role | {"instance_ids": ["id3"], "words": "a boy"}
    samples = MatrixSamples(matrix_samples(tmp_path / "matrix-samples-4", SPLITS, [lost]), config_of(base))
    with pytest.raises(SnapshotError, match="id1 of clip-a is where id3 is, which has no masks"):
        samples.batch([0])
    with pytest.raises(SnapshotError, match="no train samples"):
        MatrixSamples(matrix_samples(tmp_path / "matrix-samples-5", {"clip-a": "test"}), config_of(base))


@pytest.mark.parametrize(
    ("trained", "encoded_by", "fits"),
    [
        ("a/b@main", "a/b@" + 40 * "1", True),
        ("a/b@" + 40 * "1", "a/b@" + 40 * "1", True),
        ("a/b@" + 40 * "2", "a/b@" + 40 * "1", False),
        ("a/b", "a/c@main", False),
        ("a/b", "cogvideox sha256:0123456789abcdef", False),
    ],
)
def test_latents_of_another_encoder_are_refused(tmp_path: Path, trained: str, encoded_by: str, fits: bool) -> None:
    made_by = [MadeBy(stage="encode_samples", backend="cogvideox", model=encoded_by, details="{}")]
    snapshot = matrix_samples(tmp_path / "matrix-samples-2", SPLITS, made_by=made_by)
    config = config_of(trained)
    if fits:
        assert len(MatrixSamples(snapshot, config)) == 2
    else:
        with pytest.raises(SnapshotError, match=r"was encoded by .*, but the model to train is"):
            MatrixSamples(snapshot, config)


def test_a_renamed_folder_is_the_same_model(base: Path, tmp_path: Path) -> None:
    from tasks.backends.torch_runtime import Checkpoint

    digest = Checkpoint.of(str(base)).identity.rpartition(" ")[2]
    made_by = [MadeBy(stage="encode_samples", backend="cogvideox", model=f"copy {digest}", details="{}")]
    assert MatrixSamples(matrix_samples(tmp_path / "matrix-samples-2", SPLITS, made_by=made_by), config_of(base))


# --- Training --------------------------------------------------------------------------------


def test_step_0_is_the_base_model(base: Path, snapshot: Snapshot) -> None:
    """The denoising loss of the whole trainer is that of the base model, to the bit."""
    import torch

    from tasks.training.models.base import load_base
    from tasks.training.models.cogvideox.denoising import denoising_loss, rotary_embedding

    trainer, module = built(config_of(base), snapshot)
    found = loss_of(trainer, module).metrics["denoising"]
    stock, batch = load_base(str(base), "float32"), trainer.collate([0, 1], 0)
    generator = torch.Generator().manual_seed(0)
    timesteps = torch.randint(1000, (2,), generator=generator)
    noisy = stock.scheduler.add_noise(batch.latents, torch.randn(batch.latents.shape, generator=generator), timesteps)
    with torch.no_grad():
        predicted = stock.transformer(
            hidden_states=torch.cat([noisy, batch.image_latents], dim=2),
            encoder_hidden_states=batch.text,
            timestep=timesteps,
            image_rotary_emb=rotary_embedding(stock.transformer, 3, 8, 12),
        ).sample
    assert found == denoising_loss(predicted, noisy, batch.latents, timesteps, stock.scheduler).item()


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("checkpointing", [True, False])
def test_gradients_reach_exactly_what_is_trained(
    base: Path, snapshot: Snapshot, name: str, checkpointing: bool
) -> None:
    import torch

    config = config_of(base, name, gradient_checkpointing=checkpointing)
    trainer, module = built(config, snapshot)
    with torch.no_grad():  # at step 0 the LoRA's first matrices have no gradient, as the second are zero
        for parameter_name, weight in module.named_parameters():
            if "lora_B" in parameter_name:
                weight.normal_(std=0.1)
    loss_of(trainer, module).total.backward()
    moved = {n for n, weight in module.named_parameters() if weight.grad is not None and weight.grad.any()}
    blocks = range(3) if config.lora.blocks is None else config.lora.blocks
    lora = {
        f"transformer.transformer_blocks.{block}.attn1.{layer}.lora_{side}.default.weight"
        for block in blocks
        for layer in ("to_q", "to_k", "to_v", "to_out.0")
        for side in "AB"
    }
    projection = {"transformer.patch_embed.proj.weight", "transformer.patch_embed.proj.bias"}
    decoders = {n for n, _ in module.named_parameters() if not n.startswith("transformer.")}
    assert moved == lora | projection | decoders
    has = config.alignment
    assert {n.partition(".")[0] for n in decoders} == {
        *(["grounding"] if has.sga_blocks else []), *(["propagation"] if has.spa_blocks else []),
    }  # fmt: skip


def test_bfloat16_trains_as_float32_does(base: Path, snapshot: Snapshot) -> None:
    import torch

    exact = loss_of(*built(config_of(base), snapshot)).metrics
    trainer, module = built(config_of(base, precision="bfloat16"), snapshot)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(trainer, module)
    assert loss.metrics == pytest.approx(exact, rel=0.1)
    loss.total.backward()
    assert all(w.grad.dtype == torch.float32 for w in module.parameters() if w.requires_grad)


def test_measured_blocks_that_are_not_there_are_refused(base: Path, snapshot: Snapshot) -> None:
    with pytest.raises(ValueError, match=r"attention of blocks \[7, 11, 12\] of 3"):
        built(config_of(base, attention={}), snapshot)


# --- Saving and validation -------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_validation_shows_videos_conditions_and_attention(
    base: Path, snapshot: Snapshot, tmp_path: Path, precision: str
) -> None:
    import torch

    from tasks.media.id_map import id_map
    from tasks.media.png import decode_png
    from tasks.media.video import survey

    trainer, module = built(config_of(base, precision=precision), snapshot)
    before = torch.random.get_rng_state()
    (first,), (again,) = (trainer.validate(module, tmp_path / name, 1) for name in ("a", "b"))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first == again
    assert (tmp_path / "a" / first.video).read_bytes() == (tmp_path / "b" / again.video).read_bytes()
    assert survey((tmp_path / "a" / first.video).read_bytes())[1] == N_FRAMES
    assert (first.sample_id, first.prompt) == ("clip-b", "A boy kicks a red ball.")
    paths = {condition.name: tmp_path / "a" / condition.path for condition in first.conditions}
    assert list(paths) == ["first frame", "ID map", "attention v2t", "attention v2v"]
    assert (decode_png(paths["ID map"].read_bytes()) == id_map([m[0] for m in matrix_masks().values()])).all()
    assert survey(paths["attention v2t"].read_bytes())[1] == N_FRAMES
    assert [one.name for one in first.measured] == [
        f"AAS {part}{role}"
        for part in ("v2t", "v2v")
        for role in ("", ": id1 A boy", ": id2 red ball", ": id1-kick-id2 kicks")
    ]
    assert all(one.value > 0 for one in first.measured)
