"""MATRIX's training for the job: one phase; videos, attention maps and AAS of kept-out clips on the way.

trainer = RECIPE.trainer(variant("paper"), snapshot)
model = trainer.build(torch.device("cuda"))               the transformer with LoRA, wider input and decoders
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.training_run import Validation
from tasks.backends.torch_runtime import Precision
from tasks.engine.snapshots import ClipVideo, Snapshot
from tasks.media.png import decode_png
from tasks.media.video import read_video
from tasks.training.models.base import base_identity, load_base
from tasks.training.recipe import Loss, Phase, Randomness, Recipe
from tasks.training.recipes.matrix.attention_maps import PARTS, Attention, measure, overlay
from tasks.training.recipes.matrix.config import VARIANTS, MatrixTraining
from tasks.training.recipes.matrix.data import MatrixSamples
from tasks.training.recipes.matrix.loss import Batch, training_loss
from tasks.training.recipes.matrix.model import new_model, save_trained
from tasks.training.validation import chosen, empty_text, film, kept_random, write_validation

if TYPE_CHECKING:
    import torch

TENSORS = ("latents", "image_latents", "id_latents", "text")


class MatrixTrainer:
    """`Trainer` of MATRIX."""

    def __init__(self, config: MatrixTraining, snapshot: Snapshot) -> None:
        """Raises SnapshotError for samples that the config cannot be trained on."""
        self._config, self._snapshot = config, snapshot
        self._samples = MatrixSamples(snapshot, config)
        self.phases: Sequence[Phase] = [Phase("alignment", config.optimisation)]

    def build(self, device: torch.device) -> Any:
        """Raises ServiceDown; ValueError for blocks that the model does not have."""
        base = load_base(self._config.model, self._precision)
        n_blocks, attention = len(base.transformer.transformer_blocks), self._config.attention
        if beyond := sorted(b for b in (*attention.v2t_blocks, *attention.v2v_blocks) if b >= n_blocks):
            raise ValueError(f"attention of blocks {beyond} of {n_blocks}: blocks are counted from 0; see attention")
        self._device, self._scheduler = device, base.scheduler
        model = new_model(base.transformer, self._config).to(device)
        if self._config.gradient_checkpointing:
            model.transformer.enable_gradient_checkpointing()
        return model

    def begin_phase(self, phase: Phase, module: Any) -> None:
        """It has one phase, and no layer that differs in training."""

    @property
    def n_samples(self) -> int:
        return len(self._samples)

    def collate(self, indices: Sequence[int], epoch: int) -> Batch:
        return self._samples.batch(indices)

    def to_device(self, batch: Batch, device: torch.device) -> Batch:
        """In the transformer's precision, as CogVideoX's own trainers do it; losses are taken in float32."""
        import torch

        dtype = getattr(torch, self._precision)
        moved = {name: getattr(batch, name).to(device, dtype, non_blocking=True) for name in TENSORS}
        roles = tuple(
            tuple(replace(role, mask=role.mask.to(device, non_blocking=True)) for role in sample)
            for sample in batch.roles
        )
        return Batch(**moved, roles=roles)

    def loss(self, module: Any, batch: Batch, randomness: Randomness, phase: Phase) -> Loss:
        losses = training_loss(module, batch, self._scheduler, randomness.torch, self._config.alignment)
        return Loss(losses.total, losses.metrics())

    def save(self, module: Any, folder: Path) -> None:
        save_trained(module, folder)

    # --- Validation --------------------------------------------------------------------------

    def validate(self, module: Any, folder: Path, step: int) -> list[Validation]:
        """Test clips from their first frame, ID map and prompt; beside them, attention and AAS on the clips' own video.

        See attention_maps.py for what these AAS are.
        """
        with kept_random():  # loading draws
            vae = self._parts.vae.to(self._device)
            shown = chosen(self._test.samples, self._config.validation)
            made = [self._validation(module.transformer, row.clip_id, folder, step) for row in shown]
            vae.to("cpu")
        return made

    def _validation(self, transformer: Any, clip_id: str, folder: Path, step: int) -> Validation:
        import torch

        ids = [row.clip_id for row in self._test.samples]
        row = self._test.samples[ids.index(clip_id)]
        stored = self._test.video(clip_id)
        clip = read_video(ClipVideo(stored.video))
        assert stored.id_map is not None, "its latents were read"
        colours = decode_png(stored.id_map)
        batch = self.to_device(self._test.batch([ids.index(clip_id)]), self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
            frames = self._video(transformer, batch, clip[0], colours)
            attention = measure(
                transformer,
                self._scheduler,
                batch,
                self._config.attention,
                torch.Generator().manual_seed(self._config.validation.seed),
                self._config.alignment.query_rule,
            )
        roles = self._test.role_rows(clip_id)
        return write_validation(
            folder,
            step,
            clip_id,
            row.prompt,
            frames,
            Fraction(row.fps).limit_denominator(1001),
            {"first frame": clip[0], "ID map": colours}
            | {
                f"attention {part}": overlay(clip, read, [role.words for role in roles])
                for part, read in attention.maps.items()
            },
            measured_values(attention, [f"{role.role_id} {role.words}" for role in roles]),
        )

    def _video(self, transformer: Any, batch: Batch, picture: np.ndarray, colours: np.ndarray) -> np.ndarray:
        """(F, H, W, 3) uint8"""
        import torch

        from tasks.training.recipes.matrix import pipeline

        parts = {"tokenizer": None, "text_encoder": None}  # the samples' prompts are encoded
        parts |= {"vae": self._parts.vae, "scheduler": self._parts.scheduler, "transformer": transformer}
        made = pipeline.MatrixPipeline(**parts)
        made.set_progress_bar_config(disable=True)
        image = torch.from_numpy(picture).movedim(-1, 0).float()[None] / 255
        return film(made, self._config, batch.text, lambda: self._empty_text, image=image, id_map=colours)

    @cached_property
    def _test(self) -> MatrixSamples:
        return MatrixSamples(self._snapshot, self._config, "test")

    @cached_property
    def _empty_text(self) -> torch.Tensor:
        return empty_text("cogvideox", self._config.model, self._precision, self._device)

    @cached_property
    def _parts(self) -> Any:
        return load_base(self._config.model, self._precision, ("vae", "scheduler"), self._precision)

    @property
    def _precision(self) -> Precision:
        return self._config.optimisation.precision


def measured_values(attention: Attention, names: Sequence[str]) -> dict[str, float]:
    """{"AAS v2t": its mean over roles, "AAS v2t: id1 boy": ..., ...}; a role without a value (NaN) is left out."""
    values = {}
    for part in PARTS:
        found = attention.aas.get(part, np.array([]))
        if not np.isnan(found).all():
            values[f"AAS {part}"] = float(np.nanmean(found))
            values |= {
                f"AAS {part}: {name}": float(value)
                for name, value in zip(names, found, strict=True)
                if not np.isnan(value)
            }
    return values


LOADING = """
from pathlib import Path

import torch

from tasks.training.recipes.matrix.pipeline import MatrixPipeline

pipeline = MatrixPipeline.from_pretrained("THUDM/CogVideoX-5b-I2V", torch_dtype=torch.bfloat16)
pipeline.load_trained(Path("{weights}"))
video = pipeline(image=picture, id_map=colours, prompt="A boy kicks a red ball.").frames[0]
"""

RECIPE = Recipe(
    name="matrix",
    samples="matrix-samples",
    config=MatrixTraining,
    variants=VARIANTS,
    trainer=MatrixTrainer,
    base_model=lambda config: base_identity(config.model),
    loading=LOADING,
)
