"""Does a ControlNet learn to read velocity masks? The denoising error on kept-out clips, with masks and without.

    python -m benchmarks.bench_learning_kinemask --svg benchmarks/out/kinemask.svg
    python -m benchmarks.bench_learning_kinemask --quick      # one seed, few clips and steps: does it run?

A tiny CogVideoX gets a ControlNet by the recipe's first stage (KineMask 3.2), through the job's own loop, on
simulated clips that the ray caster draws; the test split is never trained on. Three sides:

    with masks       the recipe
    masks removed    the same network, training, clips and noise, but every mask is empty: what more weights alone bring
    no ControlNet    the base model, which is what both start from

The base model was fitted to the training clips before, without masks. It stays tiny, so this shows that masks are read
and that this carries over to other clips, not that videos get better. Steps and learning rate were chosen with a seed
that is not among the measured ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from benchmarks.learning import arguments, fitted, interval, kept_in, note, picture, train, verdict
from flows.curate_kinemask import CurateKinemask, curate_kinemask
from flows.prepare_kinemask_samples import PrepareKinemaskSamples, prepare_kinemask_samples
from schemas.storage import write_atomic
from tasks.engine.snapshots import Snapshot
from tasks.fit_clips import FitConfig
from tasks.simulate_scenes import SceneConfig
from tasks.take_rows import TakeScenesConfig
from tasks.training.encoders import EncoderConfig
from tasks.training.models.base import base_identity
from tasks.training.models.cogvideox.denoising import denoising_loss, rotary_embedding
from tasks.training.models.pipeline_encoder import FRAMES_PER_LATENT
from tasks.training.models.tiny import save_tiny_cogvideox
from tasks.training.recipe import Recipe
from tasks.training.recipes.kinemask.config import LATENT_PX, VARIANTS, KinemaskTraining, variant
from tasks.training.recipes.kinemask.data import KinemaskSamples
from tasks.training.recipes.kinemask.model import CogVideoXBatch, predict_v
from tasks.training.recipes.kinemask.recipe import KinemaskTrainer

if TYPE_CHECKING:
    import torch

# Fixed before the first measured run: the final error with masks over that with masks removed, on kept-out clips.
# `moving`: where a mask is; `all`: everywhere. The mean over seeds, and the whole 95 % interval lies below 1.
MARGIN = {"moving": 0.95, "all": 0.99}
SEEDS = (0, 1, 2, 3, 4)
SIDES: dict[str, Literal["shown", "removed"]] = {"with masks": "shown", "masks removed": "removed"}
BATCH, FIT_BATCH = 4, 8
N_FRAMES, FPS, WIDTH, HEIGHT = 13, 8, 96, 64
N_DRAWS = 4  # noises and timesteps for each kept-out clip, always the same
NAME = "benchmarks.bench_learning_kinemask:RECIPE"


class Size(NamedTuple):
    n_train: int
    n_test: int
    n_steps: int
    every: int
    n_fit_steps: int


FULL, QUICK = Size(48, 16, 150, 50, 1000), Size(8, 2, 6, 3, 4)


# --- Samples ---------------------------------------------------------------------------------


def make_samples(folder: Path, base: Path, size: Size) -> Snapshot:
    """Simulated, drawn and encoded by the flows themselves. Bodies are larger than the paper's: about two latents."""
    scenes = SceneConfig(width=WIDTH, height=HEIGHT, fps=FPS, n_frames=N_FRAMES, size_m=(0.45, 0.65))
    curated = curate_kinemask.fn(
        CurateKinemask(
            root=folder / "curated",
            sets=["simple_motion"],
            n_train=size.n_train,
            n_test=size.n_test,
            scenes=scenes,
            report=False,
        )
    )
    prepared = prepare_kinemask_samples.fn(
        PrepareKinemaskSamples(
            root=folder / "samples",
            snapshot=curated,
            take=TakeScenesConfig(prompt="constant"),
            fit=FitConfig(
                n_frames=N_FRAMES,
                width=WIDTH,
                height=HEIGHT,
                fps=FPS,
                max_fps=FPS,
                seen_first="any",
                min_area=0.0,
                id_map=False,
            ),
            encoder=EncoderConfig(family="cogvideox", model=str(base), precision="float32"),
            report=False,
        )
    )
    return Snapshot(prepared)


def fit_base(base: Path, samples: Snapshot, n_steps: int, folder: Path) -> Path:
    """The base model, when it has learnt to denoise the training clips from their first frames, without masks."""
    import torch

    clips = KinemaskSamples(samples, config_of(base, "masks removed", 0, FULL))
    whole: Any = clips.batch(range(len(clips)), 0, "first")

    def loss_of(transformer: Any, scheduler: Any, generator: torch.Generator) -> torch.Tensor:
        chosen = torch.randint(len(clips), (FIT_BATCH,), generator=generator)
        latents, image_latents, text = (one[chosen] for one in (whole.latents, whole.image_latents, whole.text))
        timesteps = torch.randint(scheduler.config.num_train_timesteps, (FIT_BATCH,), generator=generator)
        noisy = scheduler.add_noise(latents, torch.randn(latents.shape, generator=generator), timesteps)
        predicted = transformer(
            hidden_states=torch.cat([noisy, image_latents], dim=2),
            encoder_hidden_states=text,
            timestep=timesteps,
            image_rotary_emb=rotary_embedding(transformer, noisy.shape[1], *noisy.shape[-2:]),
            return_dict=False,
        )[0]
        return denoising_loss(predicted, noisy, latents, timesteps, scheduler)

    return fitted(base, folder, n_steps, loss_of)


# --- The recipe, measured --------------------------------------------------------------------


class MeasuredTraining(KinemaskTraining):
    """KineMask's, and what is shown of masks."""

    masks: Literal["shown", "removed"] = Field("shown", description="removed: all empty, in training and measurement")


class MeasuredTrainer(KinemaskTrainer):
    """KineMask's, which measures kept-out clips where that one makes videos."""

    def __init__(self, config: MeasuredTraining, snapshot: Snapshot) -> None:
        super().__init__(config, snapshot)
        self._removes_masks = config.masks == "removed"

    def collate(self, indices: Sequence[int], epoch: int) -> Any:
        return self._shown(super().collate(indices, epoch))

    def validate(self, module: Any, folder: Path, step: int) -> list[Any]:
        note(folder, step, self._errors(module))
        return []

    def _shown(self, batch: CogVideoXBatch) -> CogVideoXBatch:
        return replace(batch, masks=batch.masks * 0) if self._removes_masks else batch

    @cached_property
    def _kept_out(self) -> CogVideoXBatch:
        test = self._test
        batch: Any = test.batch(range(len(test)), epoch=0, stage="first")
        return batch

    def _errors(self, module: Any) -> dict[str, float]:
        """Means over clips and draws; `moving` is of the places where the truth has a mask, on either side."""
        import torch

        whole = self._kept_out
        where = places(whole.masks).expand(whole.latents.shape)
        generator = torch.Generator().manual_seed(0)
        errors = []
        with torch.no_grad():
            for _ in range(N_DRAWS):
                errors.append(velocity_errors(self._transformer, module, self._shown(whole), self._scheduler, generator,
                                              self._config.control.weight))  # fmt: skip
        error = torch.stack(errors).mean(0)
        return {"all": error.mean().item(), "moving": error[where].mean().item()}


def velocity_errors(
    transformer: Any, control_net: Any, batch: CogVideoXBatch, scheduler: Any, generator: torch.Generator, weight: float
) -> torch.Tensor:
    """What `cogvideox_loss` is the mean of, for every place of the latents; drawn in the same order."""
    import torch

    latents = batch.latents
    timesteps = torch.randint(scheduler.config.num_train_timesteps, (len(latents),), generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    predicted = predict_v(transformer, control_net, batch, noisy, timesteps, weight)
    return (predicted - scheduler.get_velocity(latents, noise, timesteps)).square()


def places(masks: torch.Tensor) -> torch.Tensor:
    """(B, 4 k + 1, 3, H, W) masks -> (B, k + 1, 1, H / 8, W / 8) bool: latents with a pixel that moves.

    The first frame has a latent of its own, and every four others one.
    """
    import torch
    from torch.nn import functional as F

    moves = (masks != 0).any(2).float()
    small = F.max_pool2d(moves, LATENT_PX["cogvideox"])
    later = small[:, 1:].unflatten(1, (-1, FRAMES_PER_LATENT)).amax(2)
    return torch.cat([small[:, :1], later], dim=1)[:, :, None] > 0


RECIPE = Recipe(
    name="kinemask",
    samples="kinemask-samples",
    config=MeasuredTraining,
    variants=VARIANTS,
    trainer=MeasuredTrainer,
    base_model=lambda config: base_identity(config.weights),
)


# --- The benchmark ---------------------------------------------------------------------------


def config_of(base: Path, side: str, seed: int, size: Size) -> MeasuredTraining:
    steps = {
        "n_steps": size.n_steps,
        "validate_every": size.every,
        "checkpoint_every": size.n_steps,
        "batch_size": BATCH,
        "learning_rate": 2e-3,
        "betas": (0.9, 0.95),
        "schedule": "cosine_with_restarts",
        "precision": "float32",
    }
    changes = {
        "model": str(base),
        "n_frames": N_FRAMES,
        "width": WIDTH,
        "height": HEIGHT,
        "control": {"n_layers": 3},
        "first": steps,
        "seed": seed,
    }
    recipe = variant("first_stage_only", **changes)
    return MeasuredTraining(**recipe.model_dump(), masks=SIDES[side])


def measure(folder: Path, seeds: Sequence[int], size: Size) -> dict[str, dict[str, np.ndarray]]:
    """{"moving": {"with masks": (seeds, points)}}: errors on kept-out clips before, while and after training."""
    drawn = save_tiny_cogvideox(folder / "drawn")
    samples = make_samples(folder, drawn, size)
    base = fit_base(drawn, samples, size.n_fit_steps, folder / "base")
    made: dict[str, dict[str, list[np.ndarray]]] = {part: {side: [] for side in SIDES} for part in MARGIN}
    for seed in seeds:
        for side in SIDES:
            run = folder / "runs" / f"{SIDES[side]}-{seed}"
            trained = train(NAME, config_of(base, side, seed, size), samples, run, micro_batch=BATCH)
            for part in MARGIN:
                made[part][side].append(trained.noted[part])
            print(f"{side}, seed {seed}: " + ", ".join(f"{p} {trained.noted[p].round(3)}" for p in MARGIN), flush=True)
    return {part: {side: np.array(lines) for side, lines in sides.items()} for part, sides in made.items()}


def holds(ratios: np.ndarray, margin: float) -> bool:
    mean, _, high = interval(ratios)
    return mean <= margin and high < 1


def main() -> None:
    given = arguments(__doc__, SEEDS)
    seeds, size = ((0,), QUICK) if given.quick else (given.seeds, FULL)
    start = time.process_time()
    with kept_in(given.folder) as folder:
        errors = measure(folder, seeds, size)
    for part, sides in errors.items():
        shown, removed = (sides[side][:, -1] for side in SIDES)
        untrained = sides["masks removed"][:, 0]
        print(
            f"{part}: {interval(shown)} with masks, {interval(removed)} with masks removed, {untrained.mean():.3g} "
            f"without a ControlNet; ratio {interval(shown / removed)}, margin {MARGIN[part]}: "
            f"{verdict(holds(shown / removed, MARGIN[part]))}"
        )
    if given.svg:
        panels = {f"error on kept-out clips: {part}": sides for part, sides in errors.items()}
        label = "Denoising error on kept-out clips while training, with masks and with masks removed"
        write_atomic(given.svg, picture(panels, size.n_steps, label).encode())
    print(f"{time.process_time() - start:.0f} s of CPU time")


if __name__ == "__main__":
    main()
