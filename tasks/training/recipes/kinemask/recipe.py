"""KineMask's training for the job: a frozen image-to-video model, a ControlNet, one or two stages.

trainer = RECIPE.trainer(variant("second_stage_only"), snapshot)
control_net = trainer.build(torch.device("cpu"))          what is trained; the backbone is the trainer's
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from schemas.training_run import Validation
from schemas.training_samples import SampleObjectRow, SampleRow
from tasks.backends.torch_runtime import Precision
from tasks.datasets.kinemask.condition_image import PushedObject, overview
from tasks.engine.snapshots import ClipVideo, Snapshot
from tasks.media.velocity_masks import velocity_picture
from tasks.media.video import read_video
from tasks.training.flow_matching import shifted_sigmas
from tasks.training.models.base import base_identity, load_base
from tasks.training.recipe import Loss, Phase, Randomness, Recipe
from tasks.training.recipes.kinemask.config import VARIANTS, KinemaskTraining
from tasks.training.recipes.kinemask.data import KinemaskSamples, Stage
from tasks.training.recipes.kinemask.loss import cogvideox_loss, wan_loss
from tasks.training.recipes.kinemask.model import CogVideoXBatch, WanBatch, freeze, new_control_net
from tasks.training.validation import chosen, empty_text, film, kept_random, write_validation

if TYPE_CHECKING:
    import torch

CONTROL_NET = "control_net"  # folder of weights/: CogVideoXControlNet.from_pretrained(run / "weights" / CONTROL_NET)
ARROW_PX_PER_MPS = 0.1  # of the picture's width: how far an arrow reaches that stands for 1 m/s


class KinemaskTrainer:
    """`Trainer` of KineMask."""

    def __init__(self, config: KinemaskTraining, snapshot: Snapshot) -> None:
        """Raises SnapshotError for samples that the config cannot be trained on."""
        self._config, self._snapshot = config, snapshot
        self._samples = KinemaskSamples(snapshot, config)
        stages: dict[str, list[Stage]] = {"both": ["first", "second"], "first": ["first"], "second": ["second"]}
        self.phases: Sequence[Phase] = [Phase(name, getattr(config, name)) for name in stages[config.stages]]
        self._stage: Stage = stages[config.stages][0]

    def build(self, device: torch.device) -> Any:
        self._device = device
        base = load_base(self._config.weights, self._precision)
        self._transformer, self._scheduler = base.transformer.to(device), base.scheduler
        freeze(self._transformer)
        self._transformer.enable_gradient_checkpointing()  # else activations of all its blocks are kept
        self._sigmas = shifted_sigmas(1000, self._config.flow_shift)  # Wan's
        self._control_net = new_control_net(self._transformer, self._config).to(device)
        self._control_net.enable_gradient_checkpointing()
        return self._control_net

    def begin_phase(self, phase: Phase, module: Any) -> None:
        self._stage = _stage_of(phase)

    @property
    def n_samples(self) -> int:
        return len(self._samples)

    def collate(self, indices: Sequence[int], epoch: int) -> CogVideoXBatch | WanBatch:
        return self._samples.batch(indices, epoch, self._stage)

    def to_device(self, batch: Any, device: torch.device) -> Any:
        moved = {field.name: getattr(batch, field.name).to(device, non_blocking=True) for field in fields(batch)}
        return type(batch)(**moved)

    def loss(self, module: Any, batch: Any, randomness: Randomness, phase: Phase) -> Loss:
        weight = self._config.control.weight
        if isinstance(batch, CogVideoXBatch):
            total = cogvideox_loss(self._transformer, module, batch, self._scheduler, randomness.torch, weight)
        else:
            total = wan_loss(self._transformer, module, batch, self._sigmas, randomness.torch, weight)
        kept = batch.masks.flatten(2).any(-1).float().mean()  # share of frames whose mask is shown and not empty
        return Loss(total, {"denoising": total.item(), "frames_with_masks": kept.item()})

    def save(self, module: Any, folder: Path) -> None:
        module.save_pretrained(folder / CONTROL_NET)

    # --- Validation --------------------------------------------------------------------------

    def validate(self, module: Any, folder: Path, step: int) -> list[Validation]:
        """Test clips from their first frame: with the first frame's mask, in the first stage with all (table 1)."""
        with kept_random():  # loading draws
            pipeline = self._pipeline
            pipeline.vae.to(self._device)
            shown = chosen(self._test.samples, self._config.validation)
            made = [self._video(pipeline, row, folder, step) for row in shown]
            pipeline.vae.to("cpu")
        return made

    def _video(self, pipeline: Any, row: SampleRow, folder: Path, step: int) -> Validation:
        import torch

        config, settings = self._config, self._config.validation
        n_frames = settings.n_frames or config.n_frames
        picture = read_video(ClipVideo(self._test.video(row.clip_id)), [0])[0]
        masks = self._test.masks(row.clip_id)[: n_frames if self._stage == "first" else 1]
        precision = self._precision
        text = self._test.text(row.clip_id)[None].to(self._device, getattr(torch, precision))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            frames = film(
                pipeline,
                config,
                text,
                lambda: self._empty_text,
                image=torch.from_numpy(picture).movedim(-1, 0).float()[None] / 255,
                masks=masks,
                control_weight=config.control.weight,
            )
        conditions = {"first frame": picture, "velocity mask": self._steered(row, picture, masks)}
        if self._stage == "first":
            conditions["velocity masks"] = velocity_picture(masks, config.control.v_max_mps)
        return write_validation(
            folder, step, row.clip_id, row.prompt, frames, Fraction(row.fps).limit_denominator(1001), conditions
        )

    def _steered(self, row: SampleRow, picture: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """The first frame with arrows, beside its mask."""
        pushed = [_arrow(thing, row.width) for thing in self._test.objects(row.clip_id) if thing.controlled]
        return overview(picture, masks, [one for one in pushed if one], self._config.control.v_max_mps)

    @cached_property
    def _test(self) -> KinemaskSamples:
        return KinemaskSamples(self._snapshot, self._config, "test")

    @cached_property
    def _empty_text(self) -> torch.Tensor:
        family: Any = {"cogvideox": "cogvideox", "wan": "wan22"}[self._config.backbone]
        return empty_text(family, self._config.weights, self._precision, self._device)

    @cached_property
    def _pipeline(self) -> Any:
        from tasks.training.recipes.kinemask import pipeline

        stock = load_base(self._config.weights, self._precision, ("vae", "scheduler"), self._precision)
        parts = {
            "tokenizer": None,
            "text_encoder": None,  # the samples' prompts are encoded
            "vae": stock.vae,
            "transformer": self._transformer,
            "scheduler": stock.scheduler,
            "control_net": self._control_net,
        }
        if self._config.backbone == "wan":
            made = pipeline.KineMaskWanPipeline(**parts, expand_timesteps=stock.config.expand_timesteps)
        else:
            made = pipeline.KineMaskPipeline(**parts)
        made.set_progress_bar_config(disable=True)
        return made

    @property
    def _precision(self) -> Precision:
        return self.phases[0].optimisation.precision


def _stage_of(phase: Phase) -> Literal["first", "second"]:
    return "first" if phase.name == "first" else "second"


def _arrow(thing: SampleObjectRow, width: int) -> PushedObject | None:
    """From the middle of its box, as the dataset's view shows its velocity: x to the right, y away. None: not seen."""
    box = thing.box_xyxy[0]
    if box is None:
        return None
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    reach = ARROW_PX_PER_MPS * width
    return PushedObject(
        name=thing.noun,
        arrow_start_px=(x, y),
        arrow_end_px=(x + reach * thing.velocity[0][0], y - reach * thing.velocity[0][1]),
        velocity=thing.velocity[0],
        area=thing.area[0],
    )


LOADING = """
import torch

from tasks.training.models.cogvideox.control import CogVideoXControlNet
from tasks.training.recipes.kinemask.pipeline import KineMaskPipeline

net = CogVideoXControlNet.from_pretrained("{weights}/control_net", torch_dtype=torch.bfloat16)
pipeline = KineMaskPipeline.from_pretrained("THUDM/CogVideoX-5b-I2V", control_net=net, torch_dtype=torch.bfloat16)
video = pipeline(image=picture, masks=velocity_masks, prompt="A blue mug slides to the right.").frames[0]
"""

RECIPE = Recipe(
    name="kinemask",
    samples="kinemask-samples",
    config=KinemaskTraining,
    variants=VARIANTS,
    trainer=KinemaskTrainer,
    base_model=lambda config: base_identity(config.weights),
    loading=LOADING,
)
