"""Tiny base models: whole pipelines of the real classes, drawn from a seed, saved as anyone's checkpoint.

    save_tiny_cogvideox(folder / "cogvideox")    like THUDM/CogVideoX-5b-I2V: 8 px a latent, 4 channels
    save_tiny_wan(folder / "wan")                like Wan-AI/Wan2.1-T2V-1.3B-Diffusers: 8 px, 4 channels
    save_tiny_wan22(folder / "wan22")            like Wan-AI/Wan2.2-TI2V-5B-Diffusers: 16 px, 6 channels

Text encoders and denoisers are random. Autoencoders are not: from the latents of one with random weights, a place's
colour cannot be told (a linear fit explained 1 to 17 % of its variance, over three seeds). Theirs are set so that a
latent is the mean colour of its pixels and frames, rotated by a matrix that the seed draws, and decodes to that colour.
The tokenizer knows every text: common words whole, others by characters, characters that are not ASCII by bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.backends.torch_runtime import import_torchvision

if TYPE_CHECKING:
    import torch

TEXT_DIM, CHANNELS, CHANNELS_WAN22 = 16, 4, 6
N_BLOCKS = 3
WORDS = (
    "a an the is are was of on in at to from by and then with into over under behind near as its it his her their "
    "one two other left right top bottom side front back up down "
    "red green blue yellow orange purple pink brown black white gray grey small large big round bright dark "
    "person man woman boy girl child dog cat fox owl horse bird ball cube box block cylinder sphere table floor "
    "stump rock tree wood road field sky ground wall hand "
    "moves rolls slides hits pushes kicks holds picks carries throws touches walks runs jumps stands sits collides "
    "moving rolling sliding hitting pushing kicking holding walking running standing video scene camera"
)
PIECES = ("s", "es", "ed", "ing", "er", "ly", "th", "he", "in", "an", "on", "re", "st", "ll")


def save_tiny_cogvideox(folder: Path, seed: int = 0) -> Path:
    """A CogVideoXImageToVideoPipeline. Height and width divisible by 16.

    It encodes any 4k + 1 frames. Decoded, only 8k + 1 are as many again: so it is with every CogVideoX in diffusers.
    """
    import_torchvision()
    from diffusers import (
        AutoencoderKLCogVideoX,
        CogVideoXDDIMScheduler,
        CogVideoXImageToVideoPipeline,
        CogVideoXTransformer3DModel,
    )
    from transformers import T5Config, T5EncoderModel

    tokenizer = draw_tokenizer()

    def draw() -> dict[str, Any]:
        vae = AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=CHANNELS,
            layers_per_block=1,
            norm_num_groups=1,
            invert_scale_latents=True,  # as CogVideoX-5b-I2V's
        )
        _average_colours(vae, CHANNELS, n_pixels=1)
        transformer = CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=2 * CHANNELS,
            out_channels=CHANNELS,
            time_embed_dim=8,
            text_embed_dim=TEXT_DIM,
            num_layers=N_BLOCKS,
            sample_width=18,
            sample_height=12,
            use_rotary_positional_embeddings=True,
        )
        text_encoder = T5EncoderModel(T5Config(**_text_config(tokenizer)))
        for network in (text_encoder, transformer):
            make_lively(network)
        return {"vae": vae, "transformer": transformer, "text_encoder": text_encoder}

    scheduler = CogVideoXDDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, snr_shift_scale=1.0, timestep_spacing="trailing"
    )
    parts = _drawn(draw, seed)
    CogVideoXImageToVideoPipeline(tokenizer=tokenizer, scheduler=scheduler, **parts).save_pretrained(folder)
    return folder


def save_tiny_wan(folder: Path, seed: int = 0) -> Path:
    """A WanPipeline. Any 4k + 1 frames, height and width divisible by 16."""
    return _save_wan(folder, seed, CHANNELS, flow_shift=3.0, expand_timesteps=False)


def save_tiny_wan22(folder: Path, seed: int = 0) -> Path:
    """A WanPipeline as Wan2.2-TI2V-5B's. Any 4k + 1 frames, height and width divisible by 32."""
    vae = {"is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12, "scale_factor_spatial": 16}
    return _save_wan(folder, seed, CHANNELS_WAN22, vae, flow_shift=5.0, expand_timesteps=True)


def _save_wan(
    folder: Path,
    seed: int,
    n_channels: int,
    vae: dict[str, Any] | None = None,
    *,
    flow_shift: float,
    expand_timesteps: bool,
) -> Path:
    import_torchvision()
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline
    from transformers import UMT5Config, UMT5EncoderModel

    tokenizer = draw_tokenizer()

    def draw() -> dict[str, Any]:
        network = AutoencoderKLWan(
            base_dim=16,  # the decoder halves them before its last block
            z_dim=n_channels,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[0.1 * channel for channel in range(n_channels)],
            latents_std=[0.5 + 0.1 * channel for channel in range(n_channels)],
            **vae or {},
        )
        _average_colours(network, n_channels, n_pixels=(network.config.patch_size or 1) ** 2)
        text_encoder = UMT5EncoderModel(UMT5Config(**_text_config(tokenizer)))
        transformer = draw_wan_transformer(n_channels)
        for drawn in (text_encoder, transformer):
            make_lively(drawn)
        return {"vae": network, "transformer": transformer, "text_encoder": text_encoder}

    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=flow_shift)
    parts = _drawn(draw, seed)
    pipeline = WanPipeline(tokenizer=tokenizer, scheduler=scheduler, expand_timesteps=expand_timesteps, **parts)
    pipeline.save_pretrained(folder)
    return folder


def draw_wan_transformer(n_channels: int = CHANNELS, n_blocks: int = N_BLOCKS) -> Any:
    """The network that denoises; its weights come from torch's global generator."""
    import_torchvision()
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=n_channels,
        out_channels=n_channels,
        text_dim=TEXT_DIM,
        freq_dim=16,
        ffn_dim=32,
        num_layers=n_blocks,
        rope_max_seq_len=64,
    )


def make_lively(network: Any) -> None:
    """Random weights under which signals neither die nor explode: the libraries' own attend to everything alike."""
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=1.5 / parameter[0].numel() ** 0.5)


def draw_tokenizer() -> Any:
    """A T5TokenizerFast that loses no character of any text."""
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram
    from tokenizers.pre_tokenizers import Metaspace
    from tokenizers.processors import TemplateProcessing
    from transformers import T5TokenizerFast

    special = ["<pad>", "</s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    characters = ["▁", *(chr(code) for code in range(33, 127))]
    pieces = [(piece, 0.0) for piece in special]
    pieces += [(character, -8.0) for character in characters] + [(piece, -7.0) for piece in PIECES]
    pieces += [(f"▁{word}", -6.0) for word in WORDS.split()]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=2, byte_fallback=True))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(tokenizer_object=tokenizer, extra_ids=0)


def _text_config(tokenizer: Any) -> dict[str, Any]:
    return {"vocab_size": len(tokenizer), "d_model": TEXT_DIM, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}


def _drawn(draw: Callable[[], dict[str, Any]], seed: int) -> dict[str, Any]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return draw()


# --- Autoencoders ----------------------------------------------------------------------------

N_COLOURS = 3
LEVEL = 16.0  # of a constant channel: against it the last norm, over channels, divides all places nearly alike
GAIN = 2.0  # of latents over colours in -1..1: their deviation is about 1
WINDOW = ((0, 0), (0, 1), (1, 0), (1, 1))  # what a convolution with stride 2 averages; padding lies behind it


def _average_colours(vae: Any, n_channels: int, n_pixels: int) -> None:
    """Set an autoencoder's weights: latents are rotated mean colours, and decoding rotates them back.

    n_pixels: pixels whose colours are a position's first channels, as Wan2.2's patches

    Colours pass as channels (r, g, b, level, -r, -g, -b, -level), because silu(x) - silu(-x) = x undoes the
    nonlinearity before the last layer. Residual branches add nothing; where the shortcuts already resample
    (Wan2.2), neither do the convolutions that would.
    """
    import torch
    from torch import nn

    rotation = torch.linalg.qr(torch.randn(n_channels, N_COLOURS))[0]  # (n_channels, 3), columns orthogonal
    colours = torch.eye(N_COLOURS).repeat_interleave(n_pixels, dim=1)  # (3, 3 n_pixels)
    with torch.no_grad():
        for name, layer in vae.named_modules():
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                layer.weight.zero_()
                # CogVideoX's norms in the decoder multiply by what conv_y makes of the latents
                nn.init.constant_(layer.bias, 1.0 if ".conv_y." in name else 0.0)
                _pass_on(name, layer, shortcuts_resample=bool(vae.config.get("is_residual")))
        _write(vae.encoder.conv_in, colours / n_pixels)
        _write(vae.decoder.conv_in, rotation.T / GAIN)
        _read(vae.encoder.conv_out, GAIN * rotation)
        _read(vae.decoder.conv_out, colours.T)


def _pass_on(name: str, layer: Any, *, shortcuts_resample: bool) -> None:
    """Let a layer between the ends hand on its channels, averaged where it makes the picture or time smaller."""
    import torch

    n_out, n_in = layer.weight.shape[:2]
    same = torch.eye(n_out, n_in)
    if "quant_conv" in name or "conv_shortcut" in name:
        layer.weight[:, :, 0, 0, 0] = same
    elif "time_conv" in name and not shortcuts_resample:
        taps = (1, 2) if layer.stride[0] == 2 else (2,)
        same = torch.eye(n_in).repeat(n_out // n_in, 1)  # a decoder's makes two frames of one
        for tap in taps:
            layer.weight[:, :, tap, 0, 0] = same / len(taps)
    elif ("resample" in name or "sampler" in name) and not shortcuts_resample:
        places = WINDOW if layer.stride[0] == 2 else ((1, 1),)
        for row, column in places:
            layer.weight[:, :, row, column] = same / len(places)


def _write(conv: Any, colours: torch.Tensor) -> None:
    """Let the first layer make the channels that pass. colours: (3, its inputs)"""
    layer = getattr(conv, "conv", conv)  # CogVideoX's is wrapped
    for first, sign in ((0, 1.0), (N_COLOURS + 1, -1.0)):
        layer.weight[first : first + N_COLOURS, :, -1, 1, 1] = sign * colours
        layer.bias[first + N_COLOURS] = sign * LEVEL


def _read(conv: Any, colours: torch.Tensor) -> None:
    """Let the last layer make outputs of the channels that passed. colours: (outputs, 3)"""
    layer = getattr(conv, "conv", conv)
    norm = LEVEL * math.sqrt(2 / layer.weight.shape[1])
    n_outputs = len(colours)
    for first, sign in ((0, norm), (N_COLOURS + 1, -norm)):
        layer.weight[:n_outputs, first : first + N_COLOURS, -1, 1, 1] = sign * colours
    layer.bias[n_outputs:] = -20.0  # an encoder's other half: the logarithm of the variance
