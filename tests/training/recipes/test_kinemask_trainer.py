"""KineMask's trainer: prepared samples, its stages, what it trains, saves and shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.datasets.kinemask.condition_clips import CONSTANT_PROMPT, frame_weights
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.media.velocity_masks import velocity_masks_of
from tasks.training.models.tiny import save_tiny_cogvideox, save_tiny_wan22
from tasks.training.recipe import Randomness, load_recipe
from tasks.training.recipes.kinemask.config import KinemaskTraining, variant
from tasks.training.recipes.kinemask.data import KinemaskSamples
from tests.support.recipe_samples import HEIGHT, N_FRAMES, WIDTH, kinemask_samples, object_rows

SCENES: list[Any] = [
    ("clip-a", "interactions", "train", [3]),
    ("clip-b", "interactions", "train", [3, 5]),
    ("clip-c", "simple_motion", "train", []),
    ("clip-d", "interactions", "test", [8]),
]
STEPS = {"n_steps": 2, "batch_size": 2, "precision": "float32"}


def config_of(name: str = "paper", **changes: Any) -> KinemaskTraining:
    control = {"n_layers": 2, "encoded_channels": 8}
    return variant(
        name,
        **{"n_frames": N_FRAMES, "width": WIDTH, "height": HEIGHT, "first": STEPS, "second": STEPS, "control": control}
        | changes,
    )


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    pytest.importorskip("safetensors.torch")
    return kinemask_samples(tmp_path_factory.mktemp("kinemask") / "kinemask-samples-1", SCENES)


@pytest.mark.models
def test_only_training_clips_of_the_set_are_read(snapshot: Snapshot, tmp_path: Path) -> None:
    assert [row.clip_id for row in KinemaskSamples(snapshot, config_of()).samples] == ["clip-a", "clip-b"]
    constant = kinemask_samples(tmp_path / "kinemask-samples-2", SCENES, prompt=CONSTANT_PROMPT)
    simple = KinemaskSamples(constant, config_of("simple_motion"))
    assert [row.clip_id for row in simple.samples] == ["clip-c"]
    none = kinemask_samples(tmp_path / "kinemask-samples-3", SCENES[2:])
    with pytest.raises(SnapshotError, match="no train samples of interactions"):
        KinemaskSamples(none, config_of())


@pytest.mark.models
def test_other_prompts_and_sizes_are_refused(snapshot: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"prompt is 'constant', but clip-a .* says 'a red cube of clip-a'"):
        KinemaskSamples(snapshot, config_of("constant_prompt"))
    constant = kinemask_samples(tmp_path / "kinemask-samples-2", SCENES, prompt=CONSTANT_PROMPT)
    with pytest.raises(SnapshotError, match="prompt is 'caption', but clip-a"):
        KinemaskSamples(constant, config_of())
    with pytest.raises(SnapshotError, match="9 frames of 96x64, the config 49 of 720x480"):
        KinemaskSamples(snapshot, KinemaskTraining())


@pytest.mark.models
@pytest.mark.parametrize("encoding", ["v_t", "v_0"])
def test_the_first_stage_shows_every_mask_of_the_clip(snapshot: Snapshot, encoding: Any) -> None:
    batch = KinemaskSamples(snapshot, config_of(encoding=encoding)).batch([1, 0], epoch=0, stage="first")
    expected = velocity_masks_of(object_rows("clip-b"), encoding=encoding)
    assert (batch.masks[0].movedim(1, -1).numpy() == expected).all()
    assert expected.any()
    assert batch.latents.shape == batch.image_latents.shape == (2, 3, 4, 8, 12)  # type: ignore[union-attr]
    assert not batch.image_latents[:, 1:].any()  # type: ignore[union-attr]


@pytest.mark.models
def test_dropout_is_keyed_by_seed_epoch_and_sample(snapshot: Snapshot) -> None:
    """Not by the batch, the place in it, or anything global."""

    def kept(indices: list[int], epoch: int = 0, **changes: Any) -> list[tuple[bool, ...]]:
        batch = KinemaskSamples(snapshot, config_of(**changes)).batch(indices, epoch, "second")
        return [tuple(one.flatten(1).any(1).tolist()) for one in batch.masks]

    together = kept([0, 1])
    assert [*kept([0]), *kept([1])] == together == kept([1, 0])[::-1]
    assert all(frames[0] and not all(frames) for frames in together)
    epochs = [kept([0, 1], epoch) for epoch in range(8)]
    assert len({frames for one in epochs for frames in one}) > 3
    assert any(one[0] != one[1] for one in epochs)
    assert [kept([0, 1], epoch, seed=1) for epoch in range(8)] != epochs


@pytest.mark.models
def test_dropout_keeps_frames_where_the_training_set_collides(snapshot: Snapshot) -> None:
    config = config_of()
    samples = KinemaskSamples(snapshot, config)
    counts = [0, 0, 0, 2, 0, 1, 0, 0, 0]  # not the test clip's, nor of the other set
    assert (samples.weights == frame_weights(N_FRAMES, config.dropout, counts)).all()
    uniform = KinemaskSamples(snapshot, config_of("uniform_dropout")).weights
    assert uniform == pytest.approx(1 / N_FRAMES)


# --- The trainer -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_cogvideox(tmp_path_factory.mktemp("base") / "cogvideox")


def built(base: Path, snapshot: Snapshot, name: str = "paper", **changes: Any) -> tuple[Any, Any]:
    import torch

    trainer = load_recipe("kinemask").trainer(config_of(name, model=str(base), **changes), snapshot)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = trainer.build(torch.device("cpu:0"))  # as the job names it
    trainer.begin_phase(trainer.phases[0], module)
    return trainer, module


def loss_of(trainer: Any, module: Any, phase: int = 0) -> Any:
    import torch

    trainer.begin_phase(trainer.phases[phase], module)
    batch = trainer.to_device(trainer.collate([0, 1], 0), torch.device("cpu"))
    randomness = Randomness(torch.Generator().manual_seed(0), np.random.default_rng(0))
    return trainer.loss(module.train(), batch, randomness, trainer.phases[phase])


@pytest.mark.models
def test_phases_are_the_stages_of_the_variant(base: Path, snapshot: Snapshot, tmp_path: Path) -> None:
    constant = kinemask_samples(tmp_path / "kinemask-samples-2", SCENES, prompt=CONSTANT_PROMPT)
    phases = {
        name: [phase.name for phase in load_recipe("kinemask").trainer(config_of(name), constant).phases]
        for name in ("simple_motion", "second_stage_only", "first_stage_only")
    }
    assert phases == {
        "simple_motion": ["first", "second"],
        "second_stage_only": ["second"],
        "first_stage_only": ["first"],
    }
    trainer, module = built(base, snapshot)
    first, second = (loss_of(trainer, module, phase).metrics["frames_with_masks"] for phase in (0, 1))
    assert 0 < second < first == 1


@pytest.mark.models
def test_gradients_reach_the_control_net_alone(base: Path, snapshot: Snapshot) -> None:
    """At first they reach its zero projections; the control itself once these have moved."""
    import torch

    trainer, module = built(base, snapshot)
    made = loss_of(trainer, module)
    made.total.backward()
    moved = {name for name, one in module.named_parameters() if one.grad is not None and one.grad.abs().max() > 0}
    assert moved == {name for name, _ in module.named_parameters() if name.startswith("projections.")}
    assert not any(one.requires_grad for one in trainer._transformer.parameters())
    with torch.no_grad():
        for projection in module.projections:
            projection.weight.normal_(std=0.2)
        module.patch_embed.proj.weight[:, 8:].normal_(std=0.2)
    loss_of(trainer, module).total.backward()
    still = {name for name, one in module.named_parameters() if one.grad is None or not one.grad.abs().max() > 0}
    assert not {name for name in still if name.startswith(("encoder.", "patch_embed.proj"))}


@pytest.mark.models
def test_saved_weights_are_loaded_by_the_pipelines_class(base: Path, snapshot: Snapshot, tmp_path: Path) -> None:
    import torch

    from tasks.training.models.cogvideox.control import CogVideoXControlNet

    _, module = (made := built(base, snapshot))
    made[0].save(module, tmp_path / "weights")
    loaded = CogVideoXControlNet.from_pretrained(tmp_path / "weights" / "control_net").state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in module.state_dict().items())
    assert loaded.keys() == module.state_dict().keys()


@pytest.mark.models
def test_videos_have_fixed_seeds_and_show_their_conditions(base: Path, snapshot: Snapshot, tmp_path: Path) -> None:
    import torch

    from tasks.media.video import survey

    shown = {"n_denoising_steps": 2, "guidance": 2.0}
    trainer, module = built(base, snapshot, validation=shown)
    trainer.begin_phase(trainer.phases[1], module)
    before = torch.random.get_rng_state()
    (first,), (again,) = (trainer.validate(module, tmp_path / name, 1) for name in ("a", "b"))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first == again
    video = (tmp_path / "a" / first.video).read_bytes()
    assert video == (tmp_path / "b" / again.video).read_bytes()
    assert survey(video)[1] == N_FRAMES
    assert (first.sample_id, first.prompt) == ("clip-d", "a red cube of clip-d")
    assert [condition.name for condition in first.conditions] == ["first frame", "velocity mask"]
    assert all((tmp_path / "a" / condition.path).is_file() for condition in first.conditions)
    trainer.begin_phase(trainer.phases[0], module)
    (of_first,) = trainer.validate(module, tmp_path / "a", 0)
    assert [condition.name for condition in of_first.conditions][-1] == "velocity masks"


@pytest.mark.models
def test_the_other_backbone_trains_and_shows_videos_too(tmp_path: Path) -> None:
    samples = kinemask_samples(
        tmp_path / "kinemask-samples-4", SCENES, latents=(6, 3, 4, 6), n_tokens=512, prompt=CONSTANT_PROMPT
    )
    control = {"n_layers": 2, "encoded_channels": 8, "downscale": 16}
    shown = {"n_denoising_steps": 2, "guidance": 2.0}
    trainer, module = built(save_tiny_wan22(tmp_path / "wan22"), samples, "wan", control=control, validation=shown)
    made = loss_of(trainer, module)
    made.total.backward()
    assert all(projection.weight.grad.abs().max() > 0 for projection in module.projections)
    (validation,) = trainer.validate(module, tmp_path / "run", 1)
    assert (tmp_path / "run" / validation.video).is_file()
