"""CogVideoX as MATRIX trains it: frozen, with LoRA, a wider input projection, and two decoders of its attention.

    model = new_model(transformer, config)                  in place; step 0 denoises as the base model does
    predicted, sga, spa = model(batch, noisy, timesteps)    what loss.training_loss calls
    trained_weights(model)                                  LoRA, input projection, decoders: nothing else
    save_trained(model, folder);  load_trained(model, folder)
    add_trained(transformer, folder)                        for generation: the decoders are not needed

    map (13, 30, 45) of a role  ->  16 channels  ->  (13, 60, 90)  ->  (25, 120, 180)  ->  (49, 240, 360)
                                ->  (49, 480, 720) logits, causal in time

The decoders go the 3D VAE's way up (C.1): the patch's 2x2, twice 2x2 and time, once 2x2. The first latent frame is one
frame, each other four, and no frame sees a later latent. The classes are built on first use: importing this module
imports no torch.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tasks.backends.extras import MODELS
from tasks.backends.torch_runtime import Checkpoint, check_weights, import_torchvision, loading
from tasks.metrics.attention_alignment import latent_masks
from tasks.training.models.cogvideox.attention import Part, Tap, Taps, TokenSets, tap_attention
from tasks.training.models.cogvideox.denoising import rotary_embedding
from tasks.training.models.cogvideox.id_map import model_input, widen_input
from tasks.training.recipes.matrix.config import AlignmentConfig, MatrixTraining
from tasks.training.recipes.matrix.loss import Batch, MaskLoss, Role, add_up, mask_loss, positive_weight

if TYPE_CHECKING:
    import torch

LORA_FILE = "pytorch_lora_weights.safetensors"  # what load_lora_weights looks for
PROJECTION_FILE = "input_projection.safetensors"
DECODERS_FILE = "decoders.safetensors"

PROJECTIONS = ["to_q", "to_k", "to_v", "to_out.0"]  # that the LoRA adapts (C.1)
TIME_DOUBLINGS = 2  # 13 latents -> 49 frames
SPACE_DOUBLINGS = 4  # a token is 2x2 latents of 8x8 px


# --- The model -------------------------------------------------------------------------------


def new_model(transformer: Any, config: MatrixTraining) -> Any:
    """A torch module that holds a CogVideoXTransformer3DModel and what MATRIX adds to it; only that is trained.

    Trained weights are kept in float32, also beside a transformer in bfloat16, which latents and text then are in too.
    LoRA and decoders are drawn from torch's global generator: seed it before.
    Raises ValueError for blocks that the transformer does not have, and for one that is not an image-to-video model of
    CogVideoX 1.0 as it is published.
    """
    import_torchvision()  # diffusers imports it if it is installed
    with MODELS.imports("peft", "diffusers"):
        import peft
        import torch
        from diffusers.training_utils import cast_training_params
    alignment, lora, n_blocks = config.alignment, config.lora, len(transformer.transformer_blocks)
    asked = {*alignment.sga_blocks, *alignment.spa_blocks, *(lora.blocks or ())}
    if beyond := sorted(block for block in asked if block >= n_blocks):
        raise ValueError(f"blocks {beyond} of {n_blocks}: blocks are counted from 0; see lora and alignment")
    n_channels = transformer.config.out_channels
    if transformer.config.in_channels != 2 * n_channels:
        raise ValueError(
            f"this transformer takes {transformer.config.in_channels} channels, not noise and first frame of "
            f"{n_channels}: take an image-to-video model, as it was before any training of MATRIX"
        )
    transformer.requires_grad_(False)
    widen_input(transformer, n_channels)
    transformer.add_adapter(
        peft.LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            target_modules=PROJECTIONS,
            layers_to_transform=list(range(n_blocks) if lora.blocks is None else lora.blocks),
            layers_pattern="transformer_blocks",
        )
    )
    transformer.patch_embed.proj.requires_grad_(True)  # not before: adding an adapter freezes everything else
    cast_training_params(transformer, dtype=torch.float32)
    tap_attention(transformer)
    return _classes().Matrix(transformer, alignment).to(transformer.device)


def trained_weights(model: Any) -> dict[str, torch.nn.Parameter]:
    """What is trained, by name: the LoRA, the input projection and the decoders (C.2)."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def taps_of(roles: tuple[tuple[Role, ...], ...], config: AlignmentConfig, grid: tuple[int, int, int]) -> Taps:
    """What a forward pass reads for the losses: columns of every role's words, rows of its first-frame tokens.

    grid: (F, H, W) of the video tokens. The sets stand in the order of the sample's roles; SPA has no verbs (5).
    """
    import numpy as np

    def first_tokens(role: Role) -> list[int]:
        first = role.mask[:1].cpu().numpy()
        return np.flatnonzero(latent_masks(first, (1, *grid[1:]), config.query_rule)).tolist()

    device = next((role.mask.device for sample in roles for role in sample), None)
    wanted: dict[int, list[Tap]] = {}
    read: list[tuple[Part, tuple[int, ...], list[list[list[int]]]]] = [
        ("v2t", config.sga_blocks, [[list(role.words) for role in sample] for sample in roles]),
        (
            "v2v",
            config.spa_blocks,
            [[[] if role.kind == "verb" else first_tokens(role) for role in sample] for sample in roles],
        ),
    ]
    for part, blocks, sets in read:
        if blocks and any(one for sample in sets for one in sample):
            tokens = TokenSets.of(sets, device)
            for block in blocks:
                wanted.setdefault(block, []).append(Tap(part, tokens, config.measure, config.heads))
    return Taps(wanted)


def frames_of(mask: torch.Tensor, stride_px: int) -> torch.Tensor:
    """(N, H, W) -> (N, H / s, W / s): the pixel at the corner of every cell, as nearest-neighbour resizing takes it."""
    return mask[:, ::stride_px, ::stride_px]


@cache
def _classes() -> Any:
    """The torch modules."""
    import torch
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    class CausalConv(nn.Module):
        """A 3x3x3 convolution that sees this frame and the two before it; before the first stands the first."""

        def __init__(self, in_channels: int, out_channels: int) -> None:
            super().__init__()
            self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=(0, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen: torch.Tensor = self.conv(torch.cat([x[:, :, :1], x[:, :, :1], x], dim=2))
            return seen

    class Decoder(nn.Module):
        """A map on the latent grid -> logits of a mask in every frame (5, C.1).

        No norm: one over the clip would let early frames see late ones.
        """

        def __init__(self, channels: int, stride_px: int) -> None:
            super().__init__()
            n_space = SPACE_DOUBLINGS - (stride_px.bit_length() - 1)
            # The patch first, then time together with space, as the VAE's decoder.
            self.space = [step < n_space for step in range(SPACE_DOUBLINGS)]
            self.time = [1 <= step <= TIME_DOUBLINGS for step in range(SPACE_DOUBLINGS)]
            widths = [channels, channels, channels, channels // 2, channels // 4]
            self.enter = CausalConv(1, channels)
            self.steps = nn.ModuleList([CausalConv(before, after) for before, after in pairwise(widths)])
            self.leave = nn.Conv3d(widths[-1], 1, 1)

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            """(B, F, H, W) -> (B, 4F - 3, H', W')"""
            x = nn.functional.silu(self.enter(maps[:, None]))
            for step, space, time in zip(self.steps, self.space, self.time, strict=True):
                if time:
                    x = torch.cat([x[:, :, :1], x[:, :, 1:].repeat_interleave(2, dim=2)], dim=2)
                if space:
                    x = nn.functional.interpolate(x, scale_factor=(1, 2, 2))
                x = nn.functional.silu(step(x))
            logits: torch.Tensor = self.leave(x)[:, 0]
            return logits

    class Matrix(nn.Module):
        """The transformer and its decoders; a forward pass gives the prediction and both alignment losses."""

        def __init__(self, transformer: Any, config: AlignmentConfig) -> None:
            super().__init__()
            self.config = config
            self.transformer = transformer
            size = config.decoder_channels, config.mask_stride_px
            self.grounding = Decoder(*size) if config.sga_blocks else None
            self.propagation = Decoder(*size) if config.spa_blocks else None

        def forward(
            self, batch: Batch, noisy: torch.Tensor, timesteps: torch.Tensor
        ) -> tuple[torch.Tensor, MaskLoss | None, MaskLoss | None]:
            """(B, 13, 16, 60, 90) v-prediction, SGA and SPA before lambda; None for one that is not trained.

            noisy: the clip's latents with noise; timesteps: (B,) int
            """
            _, n_latents, _, height, width = noisy.shape
            patch = self.transformer.config.patch_size
            grid = n_latents, height // patch, width // patch
            roles = batch.roles
            if not self.config.verbs:
                roles = tuple(tuple(role for role in sample if role.kind != "verb") for sample in roles)
            taps = taps_of(roles, self.config, grid)
            (predicted,) = self.transformer(
                hidden_states=model_input(noisy, batch.image_latents, batch.id_latents),
                encoder_hidden_states=batch.text,
                timestep=timesteps,
                image_rotary_emb=rotary_embedding(self.transformer, n_latents, height, width),
                attention_kwargs={"taps": taps},
                return_dict=False,
            )
            n_tokens = batch.text.shape[1] + prod(grid)
            gain = n_tokens if self.config.measure == "softmax" else 1  # even attention is 1 / n_tokens
            return (
                predicted,
                self._aligned(self.grounding, taps, "v2t", self.config.sga_blocks, roles, grid, gain),
                self._aligned(self.propagation, taps, "v2v", self.config.spa_blocks, roles, grid, gain),
            )

        def _aligned(
            self,
            decoder: Any,
            taps: Taps,
            part: Part,
            blocks: tuple[int, ...],
            roles: tuple[tuple[Role, ...], ...],
            grid: tuple[int, int, int],
            gain: float,
        ) -> MaskLoss | None:
            """SGA or SPA of the batch.

            A role that is in no frame, has no words (SGA) or is not in the first frame (SPA) has nothing to align.
            """
            if decoder is None:
                return None
            present = [tap.sets.present for tap in taps.wanted.get(blocks[0], ()) if tap.part == part]  # none, or one
            losses = []
            for number, sample in enumerate(roles):
                masks = [frames_of(role.mask, self.config.mask_stride_px) for role in sample]
                there = [
                    place
                    for place, mask in enumerate(masks)
                    if present and bool(present[0][number, place]) and bool(mask.any())
                ]
                pos_weight = positive_weight([masks[place] for place in there], self.config.loss.max_pos_weight)
                n_roles = len(there) if self.config.over_roles == "mean" else 1
                for place in there:
                    for block in blocks:
                        read = taps.maps[block, part][number, place].unflatten(0, grid)
                        if torch.is_grad_enabled() and not read.requires_grad:
                            raise ValueError(
                                f"attention of block {block} has no gradient: is checkpointing reentrant? Use that of "
                                "transformer.enable_gradient_checkpointing(), which is not"
                            )
                        # Made again in the backward pass: a map at full size takes 1 GB and more.
                        parts = checkpoint(
                            self._compared, decoder, read * gain, masks[place], pos_weight, use_reentrant=False
                        )
                        losses.append(MaskLoss(*(value / (n_roles * len(blocks)) for value in parts)))
            if losses:
                return add_up(losses, len(roles))
            # Distributed training waits for a gradient of every parameter.
            nothing = sum(weight.sum() for weight in decoder.parameters()) * 0
            return MaskLoss(nothing, nothing, nothing, nothing)

        def _compared(
            self, decoder: Any, read: torch.Tensor, mask: torch.Tensor, pos_weight: float | None
        ) -> tuple[torch.Tensor, ...]:
            return tuple(mask_loss(decoder(read[None])[0], mask, self.config.loss, pos_weight))

    return SimpleNamespace(Decoder=Decoder, Matrix=Matrix)


# --- Trained weights -------------------------------------------------------------------------


def save_trained(model: Any, folder: Path) -> None:
    """Write what was trained into a folder: three files, as three readers want them.

    The LoRA as diffusers' pipelines load it, rank and alpha with it; the input projection, which generation needs
    beside it; the decoders, which only more training and the analysis need. All safetensors.
    """
    import peft
    from diffusers import CogVideoXImageToVideoPipeline
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    CogVideoXImageToVideoPipeline.save_lora_weights(
        folder,
        transformer_lora_layers=peft.get_peft_model_state_dict(model.transformer),
        transformer_lora_adapter_metadata=model.transformer.peft_config["default"].to_dict(),  # else alpha is lost
    )
    save_file(model.transformer.patch_embed.proj.state_dict(), folder / PROJECTION_FILE)
    decoders = {name: weight for name, weight in trained_weights(model).items() if not name.startswith("transformer.")}
    if decoders:
        save_file({name: weight.detach().contiguous() for name, weight in decoders.items()}, folder / DECODERS_FILE)


def load_trained(model: Any, folder: Path) -> None:
    """Read what `save_trained` wrote into a `new_model` of the same config.

    Raises ServiceDown, which names them, for weights that are missing or left over; also for another rank or alpha.
    """
    import torch
    from safetensors.torch import load_file

    checkpoint = Checkpoint.of(str(folder))
    with loading(checkpoint):
        lora = load_file(folder / LORA_FILE)
        stored = {name.replace(".weight", ".default.weight"): weight for name, weight in lora.items()}
        projection = load_file(folder / PROJECTION_FILE)
        stored |= {f"transformer.patch_embed.proj.{name}": weight for name, weight in projection.items()}
        if (folder / DECODERS_FILE).exists():
            stored |= load_file(folder / DECODERS_FILE)
        wanted = trained_weights(model)
        check_weights(checkpoint, missing=wanted.keys() - stored.keys(), unexpected=stored.keys() - wanted.keys())
        mine, theirs = model.transformer.peft_config["default"], lora_settings(folder)
        if (mine.r, mine.lora_alpha) != (theirs["r"], theirs["lora_alpha"]):
            raise ValueError(
                f"its LoRA has rank {theirs['r']} and alpha {theirs['lora_alpha']:g}, the config {mine.r} and "
                f"{mine.lora_alpha:g}"
            )
        with torch.no_grad():
            for name, weight in wanted.items():
                weight.copy_(stored[name])


def add_trained(transformer: Any, folder: Path) -> None:
    """Give a CogVideoXTransformer3DModel what was trained, for generation: the wider input projection and the LoRA.

    Its hidden_states are then `id_map.model_input`'s. Raises ServiceDown for files that do not fit it.
    """
    from safetensors.torch import load_file

    checkpoint = Checkpoint.of(str(folder))
    with loading(checkpoint):
        projection = load_file(folder / PROJECTION_FILE)
        widen_input(transformer, projection["weight"].shape[1] - transformer.config.in_channels)
        transformer.patch_embed.proj.load_state_dict(projection)
        transformer.load_lora_adapter(
            folder, weight_name=LORA_FILE, prefix="transformer", local_files_only=True, use_safetensors=True
        )


def lora_settings(folder: Path) -> dict[str, Any]:
    """peft's settings of the LoRA in a folder of `save_trained`, such as r and lora_alpha."""
    from safetensors import safe_open

    with safe_open(folder / LORA_FILE, "pt") as file:
        stored = json.loads(file.metadata()["lora_adapter_metadata"])
    return {name.removeprefix("transformer."): value for name, value in stored.items()}
