"""Where a training's attention looks on clips that it never saw, and how much of it is on the right instances.

    measured = measure(transformer, scheduler, batch, config, generator)     one clip, its masks known
    measured.aas["v2t"]                    (R,): of every role, heads summed, the mean over blocks and timesteps
    overlay(frames, measured.maps["v2t"], ["boy", "kicks", "red ball"])      (49, 240, 1080, 3): heat on the frames

The paper takes AAS in generated videos: their masks come from a detector, SAM2 and people, over all 50 denoising steps
(4.5, B.1). A job that trains has none of these. Here the clip is a kept-out one, whose masks are known: noise is added
to its latents at stated timesteps, and each is denoised once. Values are to be compared between steps and variants of
the same samples, not with the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from tasks.metrics.attention_alignment import LatentRule, attention_alignment, latent_masks
from tasks.training.models.cogvideox.attention import Part, Tap, Taps, TokenSets
from tasks.training.models.cogvideox.denoising import rotary_embedding
from tasks.training.models.cogvideox.id_map import model_input
from tasks.training.recipes.matrix.config import AttentionConfig
from tasks.training.recipes.matrix.loss import Batch, Role

if TYPE_CHECKING:
    import torch

PARTS: tuple[Part, ...] = ("v2t", "v2v")
PANEL_WIDTH_PX = 360
HEAT = 0.6  # the map's largest value covers so much of the picture


class Attention(NamedTuple):
    """Of one clip with R roles. A part that no block is measured for is missing."""

    maps: dict[Part, np.ndarray]  # (R, F, H, W) float: softmax, heads summed, the mean over blocks and timesteps
    aas: dict[Part, np.ndarray]  # (R,) float; NaN for a role without words, first-frame tokens or mask


def measure(
    transformer: Any,
    scheduler: Any,
    batch: Batch,
    config: AttentionConfig,
    generator: torch.Generator,
    query_rule: LatentRule = "any",
) -> Attention:
    """Attention of a tapped transformer (`tap_attention`) on a batch of one clip.

    generator: on the CPU; one noise for all timesteps
    """
    import torch

    _, n_latents, _, height, width = batch.latents.shape
    patch = transformer.config.patch_size
    grid = (n_latents, height // patch, width // patch)
    (roles,) = batch.roles
    sets = {part: token_sets(roles, part, grid, query_rule) for part in PARTS}
    blocks = {"v2t": config.v2t_blocks, "v2v": config.v2v_blocks}
    noise = torch.randn(batch.latents.shape, generator=generator).to(batch.latents)
    found: dict[Part, list[np.ndarray]] = {}
    for timestep in config.timesteps if roles else ():
        wanted: dict[int, list[Tap]] = {}
        for part in PARTS:
            for block in blocks[part]:
                tokens = TokenSets.of([sets[part]], batch.latents.device)
                wanted.setdefault(block, []).append(Tap(part, tokens, "softmax", "sum"))
        taps, moment = Taps(wanted), torch.tensor([timestep], device=batch.latents.device)
        with torch.no_grad():
            transformer(
                hidden_states=model_input(
                    scheduler.add_noise(batch.latents, noise, moment), batch.image_latents, batch.id_latents
                ),
                encoder_hidden_states=batch.text,
                timestep=moment,
                image_rotary_emb=rotary_embedding(transformer, n_latents, height, width),
                attention_kwargs={"taps": taps},
            )
        for (_, part), read in taps.maps.items():
            found.setdefault(part, []).append(read[0].unflatten(-1, grid).double().cpu().numpy())
    maps = {part: np.mean(read, axis=0) for part, read in found.items()}
    masks = [latent_masks(role.mask.cpu().numpy(), grid) for role in roles]
    return Attention(maps, {part: alignment(read, masks, sets[part]) for part, read in maps.items()})


def token_sets(
    roles: Sequence[Role], part: Part, grid: tuple[int, int, int], query_rule: LatentRule
) -> list[list[int]]:
    """Every role's words (4.2), or its tokens in the first frame: a verb's are its subject's and its object's (4.3)."""
    if part == "v2t":
        return [list(role.words) for role in roles]
    firsts = (latent_masks(role.mask[:1].cpu().numpy(), (1, *grid[1:]), query_rule) for role in roles)
    return [np.flatnonzero(first).tolist() for first in firsts]


def alignment(maps: np.ndarray, masks: Sequence[np.ndarray], sets: Sequence[Sequence[int]]) -> np.ndarray:
    """(R,) AAS; NaN for a role that has no tokens to attend with, or an empty mask."""
    values = attention_alignment(maps, np.stack(masks))
    return np.where([bool(one) for one in sets], values, np.nan)


def overlay(frames: np.ndarray, maps: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The frames once a role, side by side, with its map as heat and its name.

    frames: (N, h, w, 3) uint8 RGB, N = 4F - 3; maps: (R, F, H, W), each shown relative to its own largest value
    Returns (N, h', R w', 3) uint8 with w' at most 360 px.
    """
    height, width = frames.shape[1:3]
    size = min(width, PANEL_WIDTH_PX), round(height * min(width, PANEL_WIDTH_PX) / width)
    per_latent = (len(frames) - 1) // max(1, maps.shape[1] - 1)
    panels = []
    for heat, name in zip(maps / np.maximum(maps.max(axis=(1, 2, 3), keepdims=True), 1e-12), names, strict=True):
        shown = []
        for number, frame in enumerate(frames):
            latent = 0 if number == 0 else 1 + (number - 1) // per_latent
            share = cv2.resize(heat[latent].astype(np.float32), size)[..., None]
            colours = cv2.cvtColor(
                cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB
            )
            small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            panel = (small * (1 - HEAT * share) + colours * HEAT * share).round().astype(np.uint8)
            for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):  # readable on any picture
                cv2.putText(panel, name, (6, size[1] - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thickness)
            shown.append(panel)
        panels.append(np.stack(shown))
    return np.concatenate(panels, axis=2)
