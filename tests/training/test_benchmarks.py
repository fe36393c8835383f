"""Benchmarks of learning: their formulas, what they keep out, and the job's loop through them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import bench_learning_dsr, bench_learning_kinemask, bench_training_data, bench_training_gpu, learning
from tasks.engine.snapshots import Snapshot
from tasks.training.models.tiny import save_tiny_cogvideox, save_tiny_wan
from tests.support.dsr_rows import make_prompt, make_sample
from tests.support.recipe_samples import HEIGHT, N_FRAMES, WIDTH, dsr_samples, kinemask_samples

SCENES: list[Any] = [(f"clip-{name}", "simple_motion", "test" if name == "e" else "train", []) for name in "abcde"]
SIZE = {"n_frames": N_FRAMES, "width": WIDTH, "height": HEIGHT}


# --- Formulas --------------------------------------------------------------------------------


def test_the_interval_is_students() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    mean, low, high = learning.interval(values)
    assert (mean, high - mean) == pytest.approx((3.0, 2.776 * np.sqrt(2.5 / 5)))
    assert low == pytest.approx(6 - high)
    assert learning.interval(values[:1]) == (1, 1, 1)


def test_margins_need_mean_and_interval() -> None:
    assert bench_learning_kinemask.holds(np.array([0.9, 0.91, 0.92]), 0.95)
    assert not bench_learning_kinemask.holds(np.array([0.97, 0.96, 0.97]), 0.95)
    assert not bench_learning_kinemask.holds(np.array([0.5, 0.9, 1.3]), 0.95)
    margins = np.array([0.10, 0.11, 0.12])
    assert bench_learning_dsr.holds(margins, np.array([0.6, 0.7, 0.65]))
    assert not bench_learning_dsr.holds(margins, np.array([0.5, 0.6, 0.5]))
    assert not bench_learning_dsr.holds(margins - 0.1, np.array([0.6, 0.7, 0.65]))


def test_what_a_resumed_run_noted_twice_counts_once() -> None:
    lines = [{"step": 0, "error": 3.0}, {"step": 2, "error": 2.0}, {"step": 2, "error": 1.5}]
    found = learning.columns(lines)
    assert {name: values.tolist() for name, values in found.items()} == {"step": [0, 2], "error": [3.0, 1.5]}
    assert learning.columns([]) == {}


def test_the_picture_has_a_line_a_seed_and_a_mean() -> None:
    panels = {"error": {"with": np.array([[3.0, 1.0], [3.0, 2.0]]), "without": np.array([[3.0, 2.5], [3.0, 2.5]])}}
    drawn = ElementTree.fromstring(learning.picture(panels, 10, "errors"))
    lines = [one for one in drawn.iter() if one.tag.endswith("polyline")]
    assert len(lines) == 2 * 3
    assert lines[0].get("points") == "70.0,70.0 350.0,220.0"  # from the highest to the lowest of all


def test_the_first_epoch_warms_up() -> None:
    seconds, waits = [5, 6, 7, 9, 10, 14], [1, 1, 0.5, 0.25, 0.25, 0.5]
    assert bench_training_data.epoch_of(seconds, waits, 2) == (4.0, 0.75)
    assert bench_training_data.epoch_of(seconds[:2], waits[:2], 2) == (6.0, 2.0)


@pytest.mark.models
def test_places_are_latents_with_a_pixel_that_moves() -> None:
    import torch

    masks = torch.zeros(1, 9, 3, 16, 24)
    masks[0, 0, 0, 3, 9] = 0.5  # the first frame: latent frame 0
    masks[0, 4, 1, 8, 23] = -0.5  # the last of the next four: latent frame 1
    found = bench_learning_kinemask.places(masks)
    assert found.shape == (1, 3, 1, 2, 3)
    assert found.nonzero().tolist() == [[0, 0, 0, 0, 1], [0, 1, 0, 1, 2]]


# --- Through the job -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_cogvideox(tmp_path_factory.mktemp("base") / "cogvideox")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    from tasks.datasets.kinemask.condition_clips import CONSTANT_PROMPT

    return kinemask_samples(tmp_path_factory.mktemp("k") / "kinemask-samples-1", SCENES, prompt=CONSTANT_PROMPT)


def kinemask_config(base: Path, side: str) -> Any:
    size = bench_learning_kinemask.Size(0, 0, 2, 1, 0)
    config = bench_learning_kinemask.config_of(base, side, 0, size)
    return type(config).model_validate(config.model_dump() | SIZE)


@pytest.mark.models
def test_errors_of_places_average_to_the_recipes_loss(base: Path, samples: Snapshot) -> None:
    import torch

    from tasks.training.recipes.kinemask.loss import cogvideox_loss

    trainer = bench_learning_kinemask.MeasuredTrainer(kinemask_config(base, "with masks"), samples)
    net, batch = trainer.build(torch.device("cpu")), trainer.collate([0, 1], 0)
    with torch.no_grad():
        for projection in net.projections:
            projection.weight.normal_(std=0.1)
        loss, errors = (
            how(trainer._transformer, net, batch, trainer._scheduler, torch.Generator().manual_seed(3), 0.5)
            for how in (cogvideox_loss, bench_learning_kinemask.velocity_errors)
        )
    assert errors.shape == batch.latents.shape
    assert errors.mean().item() == pytest.approx(loss.item(), rel=1e-3)


@pytest.mark.models
def test_sides_of_kinemask_differ_in_masks_alone(base: Path, samples: Snapshot, tmp_path: Path) -> None:
    import torch

    shown, removed = (
        bench_learning_kinemask.MeasuredTrainer(kinemask_config(base, side), samples).collate([0, 1], 0)
        for side in bench_learning_kinemask.SIDES
    )
    assert shown.masks.any()
    assert not removed.masks.any()
    assert torch.equal(shown.latents, removed.latents)
    noted = [
        learning.train(
            bench_learning_kinemask.NAME, kinemask_config(base, side), samples, tmp_path / str(number), micro_batch=4
        ).noted
        for number, side in enumerate(bench_learning_kinemask.SIDES)
    ]
    assert all(one["step"].tolist() == [0, 1, 2] for one in noted)
    assert noted[0]["all"][0] == noted[1]["all"][0]  # the base model's: the ControlNet adds nothing yet
    assert noted[0]["all"][2] != noted[1]["all"][2] != noted[1]["all"][0]


@pytest.mark.models
def test_kept_out_prompts_are_measured_and_never_trained_on(tmp_path: Path) -> None:
    scored = [
        make_sample(make_prompt(prompt_id), seed, dsr_score=score)
        for prompt_id in ("LR_1", "LR_2", "LR_3")
        for seed, score in enumerate((0.9, 0.8, 0.2))
    ]
    snapshot = dsr_samples(tmp_path / "dsr-samples-1", scored)
    size = bench_learning_dsr.Size(3, 1, 3, 2, 1, 2, 0)
    config = bench_learning_dsr.config_of(save_tiny_wan(tmp_path / "wan"), "with L_ZO", 0, size)
    config = type(config).model_validate(config.model_dump() | {"n_frames": 5, "width": 32, "height": 32})
    trainer: Any = bench_learning_dsr.MeasuredTrainer(config, snapshot)
    pairs = trainer._samples.pairs
    assert {pair.prompt_id for pair in pairs[: trainer.n_samples]} == {"LR_1", "LR_2"}
    assert {pair.prompt_id for pair in pairs[trainer.n_samples :]} == {"LR_3"}
    assert [len(batch.winners) for batch in trainer._measured.values()] == [4, 2]
    noted = learning.train(bench_learning_dsr.NAME, config, snapshot, tmp_path / "run", micro_batch=2).noted
    assert noted["trained.margin"][0] == noted["kept_out.margin"][0] == 0
    assert noted["trained.margin"][2] != 0 != noted["kept_out.margin"][2]


@pytest.mark.models
def test_waiting_is_timed_and_encoding_online_gives_the_networks_inputs(
    base: Path, samples: Snapshot, tmp_path: Path
) -> None:
    config = bench_training_data.config_of(base, "encoded online", 2)
    config = type(config).model_validate(config.model_dump() | SIZE)
    with bench_training_data.timed_reading() as waits:
        learning.train(bench_training_data.NAME, config, samples, tmp_path / "run", micro_batch=4)
    assert len(waits) == 2
    assert all(wait > 0 for wait in waits)
    batch: Any = bench_training_data.TimedTrainer(config, samples).collate([0, 1], 0)
    assert batch.latents.shape == (2, 3, 4, 8, 12)
    assert (batch.latents[0] == batch.latents[1]).all()  # the same grey video, where the stored ones are random


@pytest.mark.models
@pytest.mark.parametrize("name", ["kinemask", "dsr"])
def test_the_step_that_is_measured_on_a_gpu_trains(name: str) -> None:
    import torch

    shapes = {"kinemask": bench_training_gpu.COGVIDEOX, "dsr": bench_training_gpu.WAN}[name]
    loss, trained = getattr(bench_training_gpu, f"{name}_step")(shapes["tiny"], torch.device("cpu"))
    loss().backward()
    assert any(one.grad is not None and one.grad.abs().max() > 0 for one in trained)
