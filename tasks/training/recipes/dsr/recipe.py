"""SpatialAlign's training for the job: a text-to-video model with a LoRA, which is its own reference without it.

trainer = RECIPE.trainer(variant("sft_top2"), snapshot)
transformer = trainer.build(torch.device("cpu"))
trainer.save(transformer, folder)                 WanPipeline.from_pretrained(...).load_lora_weights(folder)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.training_run import Validation
from schemas.training_samples import EncodingRow, SampleRow, SampleScoreRow
from tasks.backends.torch_runtime import Precision
from tasks.engine.snapshots import Snapshot
from tasks.training.flow_matching import shifted_sigmas
from tasks.training.models.base import base_identity, load_base
from tasks.training.recipe import Loss, Phase, Randomness, Recipe
from tasks.training.recipes.dsr.config import VARIANTS, DsrTraining
from tasks.training.recipes.dsr.data import BestSamples, PairSamples
from tasks.training.recipes.dsr.loss import Pairs, Samples, imitation_loss, pair_loss
from tasks.training.recipes.dsr.model import add_lora, save_lora
from tasks.training.samples import RowsByClip, tensor
from tasks.training.validation import chosen, empty_text, film, kept_random, write_validation

if TYPE_CHECKING:
    import torch


class DsrTrainer:
    """`Trainer` of SpatialAlign."""

    def __init__(self, config: DsrTraining, snapshot: Snapshot) -> None:
        """Raises SnapshotError for samples that the config cannot be trained on."""
        self._config, self._snapshot = config, snapshot
        imitates = config.loss.objective == "sft"
        self._samples = BestSamples(snapshot, config) if imitates else PairSamples(snapshot, config)
        self.phases: Sequence[Phase] = [Phase(config.loss.objective, config.optimisation)]

    def build(self, device: torch.device) -> Any:
        self._device = device
        self._transformer = load_base(self._config.model, self._precision).transformer.to(device).eval()
        self._transformer.enable_gradient_checkpointing()  # else activations of all its blocks are kept
        add_lora(self._transformer, self._config.lora)
        self._sigmas = shifted_sigmas(1000, self._config.flow_shift)
        return self._transformer

    def begin_phase(self, phase: Phase, module: Any) -> None:
        """It has one phase, and no layer that differs in training."""

    @property
    def n_samples(self) -> int:
        """Pairs; of supervised fine-tuning: videos."""
        return len(self._samples)

    def collate(self, indices: Sequence[int], epoch: int) -> Pairs | Samples:
        return self._samples.batch(indices)

    def to_device(self, batch: Any, device: torch.device) -> Any:
        moved = {field.name: getattr(batch, field.name).to(device, non_blocking=True) for field in fields(batch)}
        return type(batch)(**moved)

    def loss(self, module: Any, batch: Any, randomness: Randomness, phase: Phase) -> Loss:
        config = self._config.loss
        if isinstance(batch, Samples):
            total = imitation_loss(module, batch, self._sigmas, randomness.torch)
            return Loss(total, {"denoising": total.item()})
        made = pair_loss(module, self._transformer, batch, config, self._sigmas, randomness.torch)
        watched = ("preference", "regulariser", "winner_score", "loser_score", "margin", "preferred")
        return Loss(made.total, {name: getattr(made, name).item() for name in watched})

    def save(self, module: Any, folder: Path) -> None:
        save_lora(module, folder)

    # --- Validation --------------------------------------------------------------------------

    def validate(self, module: Any, folder: Path, step: int) -> list[Validation]:
        """Test prompts by the stock pipeline, with the LoRA as it stands."""
        with kept_random():  # loading draws
            pipeline = self._pipeline
            pipeline.vae.to(self._device)
            made = [self._video(pipeline, row, folder, step) for row in self._test]
            pipeline.vae.to("cpu")
        return made

    def _video(self, pipeline: Any, row: SampleRow, folder: Path, step: int) -> Validation:
        import torch

        precision = self._precision
        text = tensor(self._encodings.one(row.clip_id).text)[None].to(self._device, getattr(torch, precision))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            frames = film(pipeline, self._config, text, lambda: self._empty_text)
        return write_validation(
            folder, step, row.clip_id, row.prompt, frames, Fraction(row.fps).limit_denominator(1001), {}
        )

    @cached_property
    def _test(self) -> list[SampleRow]:
        """One sample a prompt: it is there for its prompt."""
        prompt_of = {row.clip_id: row.prompt_id for row in self._snapshot.rows(SampleScoreRow)}
        test = sorted(
            (row for row in self._snapshot.rows(SampleRow) if row.split == "test"), key=lambda row: row.clip_id
        )
        return chosen({prompt_of[row.clip_id]: row for row in reversed(test)}.values(), self._config.validation)

    @cached_property
    def _encodings(self) -> RowsByClip[EncodingRow]:
        return RowsByClip(self._snapshot, EncodingRow)

    @cached_property
    def _empty_text(self) -> torch.Tensor:
        return empty_text("wan", self._config.model, self._precision, self._device)

    @cached_property
    def _pipeline(self) -> Any:
        """The stock one, but for its text encoder: the samples' prompts are encoded."""
        pipeline = load_base(self._config.model, self._precision, ("vae", "scheduler"), self._precision)
        pipeline.register_modules(transformer=self._transformer)
        return pipeline

    @property
    def _precision(self) -> Precision:
        return self._config.optimisation.precision


LOADING = """
import torch
from diffusers import WanPipeline

pipeline = WanPipeline.from_pretrained("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", torch_dtype=torch.bfloat16)
pipeline.load_lora_weights("{weights}")
video = pipeline(prompt="a fox is on the left of a stump, then the fox walks to its right").frames[0]
"""

RECIPE = Recipe(
    name="dsr",
    samples="dsr-samples",
    config=DsrTraining,
    variants=VARIANTS,
    trainer=DsrTrainer,
    base_model=lambda config: base_identity(config.model),
    loading=LOADING,
)
