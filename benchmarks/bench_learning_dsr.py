"""Does DPO move winners and losers apart? The margin while training, with and without the regulariser (figure A7).

    python -m benchmarks.bench_learning_dsr --svg benchmarks/out/dsr.svg
    python -m benchmarks.bench_learning_dsr --quick           # one seed, few videos and steps: does it run?

A tiny random Wan gets SpatialAlign's LoRA by the recipe, through the job's own loop, on pairs of drawn videos that
curate-dsr scored. Pairs of some prompts are kept out. Measured are the scores of figure A7, always with the same noise:
how much better than the reference a winner and a loser are denoised, and the margin between them. The reference was
fitted to all training videos before, winners and losers alike: against one with random weights, both are denoised
better at once. It stays tiny, so this shows what the loss does, not that videos get better. Steps and learning rate
were chosen with a seed that is not among the measured ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from benchmarks.learning import arguments, fitted, interval, kept_in, note, picture, train, verdict
from flows.curate_dsr import CurateDsr, curate_dsr
from flows.prepare_dsr_samples import PrepareDsrSamples, prepare_dsr_samples
from schemas.storage import write_atomic
from schemas.training_samples import EncodingRow, SampleRow
from tasks.datasets.dsr.grammar import PromptConfig
from tasks.engine.snapshots import Snapshot
from tasks.fit_clips import FitConfig
from tasks.generate_samples import GenerateConfig
from tasks.ground_instances import GroundConfig
from tasks.training.encoders import EncoderConfig
from tasks.training.flow_matching import shifted_sigmas
from tasks.training.models.base import base_identity
from tasks.training.models.tiny import save_tiny_wan
from tasks.training.recipe import Recipe
from tasks.training.recipes.dsr.config import VARIANTS, DsrTraining, variant
from tasks.training.recipes.dsr.loss import Pairs, Samples, imitation_loss, pair_loss
from tasks.training.recipes.dsr.recipe import DsrTrainer
from tasks.training.samples import RowsByClip, tensor

# Fixed before the first measured run, of both sides and of the pairs that are trained on: the final margin's 95 %
# interval over seeds lies above 0, and of all pairs and noises at least this share has a margin above 0 (mean).
MIN_PREFERRED = 0.6
SEEDS = (0, 1, 2, 3, 4)
SIDES = {"with L_ZO": "paper", "L_DPO alone": "dpo_only"}
SPLITS = ("trained", "kept_out")
WATCHED = ("margin", "winner_score", "loser_score", "preferred")
N_FRAMES, FPS, WIDTH, HEIGHT = 13, 8, 96, 64
N_DRAWS = 4  # noises and levels for each pair, always the same
FIT_BATCH = 8
N_MEASURED = 24  # pairs of each split, at most
NAME = "benchmarks.bench_learning_dsr:RECIPE"


class Size(NamedTuple):
    n_prompts: int
    n_kept_out: int  # of them
    n_seeds: int
    n_steps: int
    every: int
    batch: int
    n_fit_steps: int


FULL, QUICK = Size(12, 3, 6, 150, 50, 4, 400), Size(3, 1, 4, 4, 2, 2, 4)


# --- Samples ---------------------------------------------------------------------------------


def make_samples(folder: Path, base: Path, size: Size) -> Snapshot:
    """Drawn, scored and encoded by the flows themselves."""
    curated = curate_dsr.fn(
        CurateDsr(
            root=folder / "curated",
            grammar=PromptConfig(n_train=size.n_prompts, n_test=1),
            seeds_train=size.n_seeds,
            seeds_test=1,
            generate=GenerateConfig(width=208, height=128, n_frames=24, fps=FPS),
            ground=GroundConfig(n_frames=4),
            report=False,
        )
    )
    prepared = prepare_dsr_samples.fn(
        PrepareDsrSamples(
            root=folder / "samples",
            snapshot=curated,
            fit=FitConfig(n_frames=N_FRAMES, width=WIDTH, height=HEIGHT, fps=4, max_fps=FPS),
            encoder=EncoderConfig(family="wan", model=str(base), precision="float32"),
            report=False,
        )
    )
    return Snapshot(prepared)


def fit_base(base: Path, samples: Snapshot, n_steps: int, folder: Path) -> Path:
    """The base model, when it has learnt to denoise the training videos."""
    import torch

    encodings = RowsByClip(samples, EncodingRow)
    rows = [encodings.one(row.clip_id) for row in samples.rows(SampleRow) if row.split == "train"]
    latents, text = (torch.stack([tensor(getattr(row, name)).float() for row in rows]) for name in ("latents", "text"))
    sigmas = shifted_sigmas(1000, DsrTraining().flow_shift)

    def loss_of(transformer: Any, _: Any, generator: torch.Generator) -> torch.Tensor:
        chosen = torch.randint(len(rows), (FIT_BATCH,), generator=generator)
        return imitation_loss(transformer, Samples(latents[chosen], text[chosen]), sigmas, generator)

    return fitted(base, folder, n_steps, loss_of)


# --- The recipe, measured --------------------------------------------------------------------


class MeasuredTraining(DsrTraining):
    """SpatialAlign's, and what is kept out."""

    n_kept_out: int = Field(0, ge=0, description="Prompts whose pairs are not trained on: the last ones by id")


class MeasuredTrainer(DsrTrainer):
    """SpatialAlign's, which measures pairs where that one makes videos."""

    def __init__(self, config: MeasuredTraining, snapshot: Snapshot) -> None:
        super().__init__(config, snapshot)
        samples: Any = self._samples
        kept_out = set(sorted({pair.prompt_id for pair in samples.pairs})[-config.n_kept_out :])
        # Those that are trained on come first: the job counts no more.
        samples.pairs.sort(key=lambda pair: pair.prompt_id in kept_out)
        self._n_trained = sum(pair.prompt_id not in kept_out for pair in samples.pairs)

    @property
    def n_samples(self) -> int:
        return self._n_trained

    def validate(self, module: Any, folder: Path, step: int) -> list[Any]:
        found = {split: self._scores(module, batch) for split, batch in self._measured.items()}
        note(folder, step, {f"{split}.{name}": value for split, some in found.items() for name, value in some.items()})
        return []

    @cached_property
    def _measured(self) -> dict[str, Pairs]:
        samples: Any = self._samples
        n, n_trained = len(samples), self._n_trained
        evenly = {"trained": (0, n_trained), "kept_out": (n_trained, n)}
        return {
            split: samples.batch(np.unique(np.linspace(first, last - 1, N_MEASURED).astype(int)).tolist())
            for split, (first, last) in evenly.items()
        }

    def _scores(self, module: Any, batch: Pairs) -> dict[str, float]:
        """Means over pairs and draws."""
        import torch

        generator, found = torch.Generator().manual_seed(0), []
        with torch.no_grad():
            for _ in range(N_DRAWS):
                made = pair_loss(module, self._transformer, batch, self._config.loss, self._sigmas, generator)
                found.append([getattr(made, name).item() for name in WATCHED])
        return dict(zip(WATCHED, np.mean(found, axis=0).tolist(), strict=True))


RECIPE = Recipe(
    name="dsr",
    samples="dsr-samples",
    config=MeasuredTraining,
    variants=VARIANTS,
    trainer=MeasuredTrainer,
    base_model=lambda config: base_identity(config.model),
)


# --- The benchmark ---------------------------------------------------------------------------


def config_of(base: Path, side: str, seed: int, size: Size) -> MeasuredTraining:
    steps = {
        "n_steps": size.n_steps,
        "validate_every": size.every,
        "checkpoint_every": size.n_steps,
        "batch_size": size.batch,
        "learning_rate": 3e-3,
        "max_grad_norm": None,
        "precision": "float32",
    }
    changes = {"model": str(base), "n_frames": N_FRAMES, "width": WIDTH, "height": HEIGHT}
    recipe = variant(SIDES[side], **changes, optimisation=steps, seed=seed)
    return MeasuredTraining(**recipe.model_dump(), n_kept_out=size.n_kept_out)


Measured = dict[str, dict[str, np.ndarray]]  # {"trained.margin": {"L_DPO alone": (seeds, points)}}


def measure(folder: Path, seeds: Sequence[int], size: Size) -> Measured:
    drawn = save_tiny_wan(folder / "drawn")
    samples = make_samples(folder, drawn, size)
    base = fit_base(drawn, samples, size.n_fit_steps, folder / "base")
    names = [f"{split}.{name}" for split in SPLITS for name in WATCHED]
    made: dict[str, dict[str, list[np.ndarray]]] = {name: {side: [] for side in SIDES} for name in names}
    for seed in seeds:
        for side in SIDES:
            run = folder / "runs" / f"{SIDES[side]}-{seed}"
            noted = train(NAME, config_of(base, side, seed, size), samples, run, micro_batch=size.batch).noted
            for name in names:
                made[name][side].append(noted[name])
            margins = ", ".join(f"{split} {noted[f'{split}.margin'].round(4)}" for split in SPLITS)
            print(f"{side}, seed {seed}: margin {margins}", flush=True)
    return {name: {side: np.array(lines) for side, lines in sides.items()} for name, sides in made.items()}


def holds(margins: np.ndarray, preferred: np.ndarray) -> bool:
    return interval(margins).low > 0 and float(preferred.mean()) >= MIN_PREFERRED


def main() -> None:
    given = arguments(__doc__, SEEDS)
    seeds, size = ((0,), QUICK) if given.quick else (given.seeds, FULL)
    start = time.process_time()
    with kept_in(given.folder) as folder:
        found = measure(folder, seeds, size)
    for side in SIDES:
        for split in SPLITS:
            last = {name: found[f"{split}.{name}"][side][:, -1] for name in WATCHED}
            told = ", ".join(f"{name} {interval(values)}" for name, values in last.items())
            judged = f": {verdict(holds(last['margin'], last['preferred']))}" if split == "trained" else ""
            print(f"{side}, {split}: {told}{judged}")
    if given.svg:
        panels = {name.replace("_", " ").replace(".", ": "): found[name] for name in found if "preferred" not in name}
        label = "Scores of figure A7 while training, with the regulariser and without"
        write_atomic(given.svg, picture(panels, size.n_steps, label).encode())
    print(f"{time.process_time() - start:.0f} s of CPU time")


if __name__ == "__main__":
    main()
