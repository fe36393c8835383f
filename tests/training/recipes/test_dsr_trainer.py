"""SpatialAlign's trainer: pairs from prepared samples, the job's view of its loss, weights and videos for others."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.dsr import SampleRow
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.training.models.tiny import save_tiny_wan
from tasks.training.recipe import Randomness, load_recipe
from tasks.training.recipes.dsr.config import DsrTraining, variant
from tasks.training.recipes.dsr.data import BestSamples, PairSamples
from tests.support.dsr_rows import make_prompt, make_sample
from tests.support.recipe_samples import dsr_samples

SIZE = {"n_frames": 5, "width": 32, "height": 32}
SCORES = {"LR_1": [0.9, 0.72, 0.3], "LR_2": [0.8, 0.75], "LR_3": [0.65, 0.2]}


def scored() -> list[SampleRow]:
    """Three training prompts, and a test prompt whose samples would make a pair."""
    train = [
        make_sample(make_prompt(prompt_id), seed, dsr_score=score, r_initial=1.0, r_final=0.9 if seed == 2 else -0.5)
        for prompt_id, scores in SCORES.items()
        for seed, score in enumerate(scores)
    ]
    kept_out = make_prompt("LR_9", split="test")
    return [*train, *(make_sample(kept_out, seed, dsr_score=score) for seed, score in enumerate((0.95, 0.1)))]


def config_of(name: str = "paper", **changes: Any) -> DsrTraining:
    optimisation = {"n_steps": 2, "batch_size": 2, "precision": "float32"}
    return variant(name, **{**SIZE, "optimisation": optimisation, **changes})


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    pytest.importorskip("safetensors.torch")
    return dsr_samples(tmp_path_factory.mktemp("dsr") / "dsr-samples-1", scored())


def named(pairs: PairSamples) -> set[tuple[str, int, int]]:
    return {(pair.prompt_id, pair.winner_seed, pair.loser_seed) for pair in pairs.pairs}


@pytest.mark.models
def test_pairs_follow_the_config_and_never_the_test_split(snapshot: Snapshot) -> None:
    assert named(PairSamples(snapshot, config_of())) == {("LR_1", 0, 2), ("LR_1", 1, 2)}
    assert named(PairSamples(snapshot, config_of("tau_0.8"))) == {("LR_1", 0, 1), ("LR_1", 0, 2), ("LR_2", 0, 1)}
    assert ("LR_3", 0, 1) in named(PairSamples(snapshot, config_of("no_threshold")))
    assert named(PairSamples(snapshot, config_of("endpoint_reward"))) == {("LR_1", 2, 0), ("LR_1", 2, 1)}
    with pytest.raises(SnapshotError, match=r"no pair.*vlm"):
        PairSamples(snapshot, config_of("vlm_reward"))  # every sample has one yes of two


@pytest.mark.models
def test_sft_takes_each_training_prompts_best_samples(snapshot: Snapshot) -> None:
    best = BestSamples(snapshot, config_of("sft_top2"))
    assert [(row.prompt_id, row.seed) for row in best.samples] == [
        ("LR_1", 0), ("LR_1", 1), ("LR_2", 0), ("LR_2", 1), ("LR_3", 0), ("LR_3", 1),
    ]  # fmt: skip
    assert best.batch([0, 5]).latents.shape == (2, 4, 2, 4, 4)


@pytest.mark.models
def test_a_batch_holds_the_latents_of_its_pair(snapshot: Snapshot) -> None:
    import torch

    from schemas.training_samples import EncodingRow
    from tasks.training.samples import tensor

    pairs = PairSamples(snapshot, config_of())
    batch = pairs.batch([1, 0])
    rows = {row.clip_id: row for row in snapshot.rows(EncodingRow)}
    for place, index in enumerate((1, 0)):
        pair = pairs.pairs[index]
        assert torch.equal(batch.winners[place], tensor(rows[pair.winner_id].latents))
        assert torch.equal(batch.losers[place], tensor(rows[pair.loser_id].latents))
        assert torch.equal(batch.text[place], tensor(rows[pair.loser_id].text))  # the prompt's


@pytest.mark.models
def test_samples_of_another_size_or_dataset_are_refused(snapshot: Snapshot, tmp_path: Path) -> None:
    from tests.support.recipe_samples import kinemask_samples

    with pytest.raises(SnapshotError, match="5 frames of 32x32, the config 81 of 832x480"):
        PairSamples(snapshot, DsrTraining())
    other = kinemask_samples(tmp_path / "kinemask-samples-1", [("clip-a", "interactions", "train", [])])
    with pytest.raises(SnapshotError, match="give a snapshot of prepare-dsr-samples"):
        PairSamples(other, config_of())


def trainer_of(folder: Path, snapshot: Snapshot, name: str = "paper", **changes: Any) -> tuple[Any, Any]:
    import torch

    if not (folder / "wan").exists():
        save_tiny_wan(folder / "wan")
    config = config_of(name, model=str(folder / "wan"), lora={"rank": 2, "alpha": 5}, **changes)
    trainer = load_recipe("dsr").trainer(config, snapshot)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = trainer.build(torch.device("cpu:0"))  # as the job names it
    trainer.begin_phase(trainer.phases[0], module)
    return trainer, module


def randomness(key: int = 0) -> Randomness:
    import torch

    return Randomness(torch.Generator().manual_seed(key), np.random.default_rng(key))


def loss_of(trainer: Any, module: Any, indices: list[int]) -> Any:
    import torch

    batch = trainer.to_device(trainer.collate(indices, 0), torch.device("cpu"))
    return trainer.loss(module.train(), batch, randomness(), trainer.phases[0])


@pytest.mark.models
def test_training_starts_at_ln_2_and_moves_the_lora_alone(snapshot: Snapshot, tmp_path: Path) -> None:
    trainer, module = trainer_of(tmp_path, snapshot)
    assert trainer.n_samples == 2
    made = loss_of(trainer, module, [0, 1])
    assert made.metrics["preference"] == pytest.approx(math.log(2), rel=1e-6)
    assert made.metrics["regulariser"] == made.metrics["margin"] == 0
    made.total.backward()
    moved = {name for name, one in module.named_parameters() if one.grad is not None and one.grad.abs().max() > 0}
    trained = {name for name, one in module.named_parameters() if one.requires_grad}
    assert moved == {name for name in trained if "lora_B" in name}
    assert all("lora_" in name for name in trained)


@pytest.mark.models
def test_fine_tuning_alone_minimises_the_denoising_error(snapshot: Snapshot, tmp_path: Path) -> None:
    trainer, module = trainer_of(tmp_path, snapshot, "sft_top2")
    made = loss_of(trainer, module, [0, 3])
    assert made.metrics["denoising"] == made.total.item() > 0


@pytest.mark.models
def test_the_stock_pipeline_makes_the_validations_video_from_the_saved_weights(
    snapshot: Snapshot, tmp_path: Path
) -> None:
    import torch
    from diffusers import WanPipeline

    from tasks.media.encoding import encode_video
    from tasks.training.samples import tensor

    shown = {"n_samples": 2, "n_denoising_steps": 2, "guidance": 2.0, "seed": 5}
    trainer, module = trainer_of(tmp_path, snapshot, validation=shown)
    before = torch.random.get_rng_state()
    (first,) = trainer.validate(module, tmp_path / "run", 0)  # one test prompt
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if "lora_B" in name:
                weight.normal_(generator=torch.Generator().manual_seed(0))
    (later,) = trainer.validate(module, tmp_path / "run", 2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (later.step, later.prompt) == (2, make_prompt("LR_9").text)
    assert (tmp_path / "run" / first.video).read_bytes() != (tmp_path / "run" / later.video).read_bytes()

    trainer.save(module, tmp_path / "weights")
    stock = WanPipeline.from_pretrained(tmp_path / "wan")
    stock.load_lora_weights(tmp_path / "weights")
    stock.set_progress_bar_config(disable=True)
    text = tensor(trainer._encodings.one(later.sample_id).text)[None]
    frames = stock(
        prompt_embeds=text,
        negative_prompt="",
        max_sequence_length=text.shape[1],
        num_inference_steps=2,
        guidance_scale=2.0,
        num_frames=5,
        height=32,
        width=32,
        generator=torch.Generator().manual_seed(5),
    ).frames[0]
    video = encode_video((np.asarray(frames) * 255).round().astype(np.uint8), 8)
    assert (tmp_path / "run" / later.video).read_bytes() == video
