"""MATRIX's losses: denoising as CogVideoX does it, and how far decoded attention is from the masks (MATRIX 5).

    L = L_DM + lambda_SGA sum_{sub, obj, verb} l(D(A^v2t), M) + lambda_SPA sum_{sub, obj} l(D(A^v2v), M)
    l(X, Y) = b_bce BCE(X, Y) + b_dice (1 - Dice(X, Y)) + b_2 |X - Y|^2

    training_loss(model, batch, scheduler, generator, config).total.backward()

The paper leaves open how blocks 7 and 11 are put together: here the mean of their losses, so that lambda does not
depend on the number of blocks. Losses of a batch's samples are averaged. Gradients flow as the sum above has them: in
its own block an alignment loss reaches queries and keys only (C.1), but what comes before also learns from it, so SPA
of block 12 reaches the LoRA of 7 and 11 and the input projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tasks.training.models.cogvideox.denoising import denoising_loss
from tasks.training.recipes.matrix.config import AlignmentConfig, MaskLossConfig

if TYPE_CHECKING:
    import torch

_SMOOTH = 1.0  # pixels: Dice of two empty masks is 1, and a mask of one pixel has a gradient


@dataclass(frozen=True)
class Role:
    """One part of an interaction in one sample: which words it is, and where it is."""

    kind: Literal["subject", "object", "verb"]
    words: tuple[int, ...]  # text tokens from 0: of a noun and its modifiers, or of a verb and its particles (4.2)
    mask: torch.Tensor  # (N, H, W) bool at the video's own size: 49 x 480 x 720; a verb's is `verb_mask`


@dataclass(frozen=True)
class Batch:
    """A batch of clips, encoded."""

    latents: torch.Tensor  # (B, 13, 16, 60, 90) of CogVideoX's VAE, scaled: the clip
    image_latents: torch.Tensor  # the same shape: the first frame, then zeros
    id_latents: torch.Tensor  # the same shape: the ID map of the first frame, then zeros
    text: torch.Tensor  # (B, 226, 4096)
    roles: tuple[tuple[Role, ...], ...]  # of each sample; an instance of two interactions is one role, not two


class MaskLoss(NamedTuple):
    """l and its unweighted parts, scalars; sums of them are sums of the parts."""

    total: torch.Tensor
    bce: torch.Tensor
    dice: torch.Tensor  # 1 - Dice
    l2: torch.Tensor


class Losses(NamedTuple):
    """What a step minimises, and its parts; None for a loss that this training does not have."""

    total: torch.Tensor
    denoising: torch.Tensor
    sga: MaskLoss | None  # before lambda
    spa: MaskLoss | None

    def metrics(self) -> dict[str, float]:
        """What the step's line of metrics holds: {"loss": ..., "denoising": ..., "sga": ..., "sga_bce": ...}"""
        found = {"loss": self.total, "denoising": self.denoising}
        for name, part in (("sga", self.sga), ("spa", self.spa)):
            if part is not None:
                found |= {name: part.total, f"{name}_bce": part.bce, f"{name}_dice": part.dice, f"{name}_l2": part.l2}
        return {name: float(value.detach()) for name, value in found.items()}


def training_loss(
    model: Any, batch: Batch, scheduler: Any, generator: torch.Generator, config: AlignmentConfig
) -> Losses:
    """The losses of a batch: every clip at a timestep of its own.

    model:     a `new_model`, or its wrapper of distributed training
    scheduler: CogVideoX's, as its pipeline has it
    generator: on the CPU, keyed by the step and the rank: it decides timesteps and noise on any device
    """
    import torch

    latents = batch.latents
    timesteps = torch.randint(scheduler.config.num_train_timesteps, (len(latents),), generator=generator)
    timesteps = timesteps.to(latents.device)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    predicted, sga, spa = model(batch, noisy, timesteps)
    denoising = denoising_loss(predicted, noisy, latents, timesteps, scheduler)
    total = denoising
    if sga is not None:
        total = total + config.sga_weight * sga.total
    if spa is not None:
        total = total + config.spa_weight * spa.total
    return Losses(total, denoising, sga, spa)


# --- Masks -----------------------------------------------------------------------------------


def verb_mask(subject: torch.Tensor, object_: torch.Tensor) -> torch.Tensor:
    """M_verb: the union of subject and object in every frame (4.2). Any shape, bool."""
    return subject | object_


def mask_loss(
    logits: torch.Tensor, mask: torch.Tensor, config: MaskLossConfig, pos_weight: float | None = None
) -> MaskLoss:
    """l(X, Y) with X = sigmoid(logits), over all frames and pixels of one role, in float32.

    logits, mask: the same shape; mask bool
    pos_weight:   of the pixels inside the mask in the cross-entropy, see `positive_weight`

    BCE and L2 are means over pixels. Dice = (2 sum XY + 1) / (sum X + sum Y + 1), the soft one, over the whole clip.
    Raises ValueError for unequal shapes.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    if logits.shape != mask.shape:
        raise ValueError(
            f"a mask of {tuple(mask.shape)} beside a map of {tuple(logits.shape)}: masks have the video's frames and "
            "size, 49 x 480 x 720"
        )
    logits, target = logits.float(), mask.float()
    predicted = logits.sigmoid()
    weight = None if pos_weight is None else torch.tensor(pos_weight, device=logits.device)
    bce = binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
    overlap = (2 * (predicted * target).sum() + _SMOOTH) / (predicted.sum() + target.sum() + _SMOOTH)
    l2 = (predicted - target).square().mean()
    total = config.bce * bce + config.dice * (1 - overlap) + config.l2 * l2
    return MaskLoss(total, bce, 1 - overlap, l2)


def positive_weight(masks: list[torch.Tensor], limit: float | None) -> float | None:
    """Pixels outside for one inside, over all masks of a sample, at most `limit` [code]; None for None."""
    if limit is None or not masks:
        return None
    inside = sum(int(mask.sum()) for mask in masks)
    outside = sum(mask.numel() for mask in masks) - inside
    return min(outside / max(inside, 1), limit)


def add_up(losses: list[MaskLoss], divisor: float) -> MaskLoss:
    """The sum of every part, divided. Raises ValueError for none."""
    import torch

    if not losses:
        raise ValueError("no losses to add up")
    return MaskLoss(*(torch.stack(part).sum() / divisor for part in zip(*losses, strict=True)))
