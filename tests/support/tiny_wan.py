"""A tiny Wan2.1 with random weights, saved and loaded like anyone's checkpoint.

tiny_wan(folder)                    DiffusersVideos on the CPU: 5 frames of 32x32 px in 2 steps
save_wan(folder / "other", seed=1)  another network
save_lora(folder / "lora")          LoRA weights for it, on the projections that SpatialAlign trains (4.1)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.dsr import DsrPrompt, DsrSample
from tasks.backends.diffusers_videos import DiffusersConfig
from tasks.backends.torch_runtime import TorchConfig, import_torchvision
from tasks.generate_samples import GenerateConfig

if TYPE_CHECKING:
    from tasks.backends.diffusers_videos.pipeline import DiffusersVideos

N_FRAMES, SIDE = 5, 32
TEXT_DIM, LATENTS = 16, 4
VOCABULARY = ["a", "fox", "owl", "stump", "is", "on", "the", "left", "right", "top", "of", "then", "walks", "to"]
LORA_RANK = 2


def tiny_wan(folder: Path, generate: dict[str, Any] | None = None, **settings: Any) -> DiffusersVideos:
    """The backend on the network in `folder`, which is made if it is not there."""
    from tasks.backends.diffusers_videos.pipeline import DiffusersVideos

    if not (folder / "wan").exists():
        save_wan(folder / "wan")
    wanted = {"generator": "diffusers", "n_frames": N_FRAMES, "width": SIDE, "height": SIDE}
    chosen = {"model": str(folder / "wan"), "steps": 2, "precision": "float32"}
    return DiffusersVideos(
        GenerateConfig(**wanted | (generate or {})), DiffusersConfig(**chosen | settings), TorchConfig(device="cpu")
    )


def asked(text: str = "a fox is on the left of a stump", seed: int = 0, **changes: Any) -> DsrSample:
    """A sample to generate."""
    values = {
        "prompt_id": "LR_0",
        "split": "train",
        "form": "structured",
        "text": text,
        "scene": "In a wood",
        "animal": "fox",
        "object": "stump",
        "verb": "walks",
        "initial": "left",
        "final": "right",
    }
    return DsrSample.of(DsrPrompt(**values | changes), seed)


def draw_transformer(n_blocks: int = 1) -> Any:
    """The network that denoises; its weights come from torch's global generator."""
    import_torchvision()
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=LATENTS,
        out_channels=LATENTS,
        text_dim=TEXT_DIM,
        freq_dim=16,
        ffn_dim=32,
        num_layers=n_blocks,
        rope_max_seq_len=32,
    )


def save_wan(folder: Path, seed: int = 0) -> Path:
    """A pipeline of the same parts as Wan-AI/Wan2.1-T2V-1.3B-Diffusers, a millionth of its size."""
    import_torchvision()
    import torch
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline
    from transformers import UMT5Config, UMT5EncoderModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder = UMT5EncoderModel(
            UMT5Config(vocab_size=len(VOCABULARY) + 3, d_model=TEXT_DIM, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        )
        transformer = draw_transformer()
        vae = AutoencoderKLWan(
            base_dim=4,
            z_dim=LATENTS,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[0.0] * LATENTS,
            latents_std=[1.0] * LATENTS,
        )
        for network in (text_encoder, transformer, vae):
            make_lively(network)
    WanPipeline(
        tokenizer=_tokenizer(),
        text_encoder=text_encoder,
        transformer=transformer,
        vae=vae,
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    ).save_pretrained(folder)
    return folder


def save_lora(folder: Path, prefix: str = "transformer.", layer: str = "blocks.0.attn2.to_k") -> Path:
    """Low-rank weights for one layer of a tiny network, as diffusers stores them."""
    import_torchvision()
    import torch
    from diffusers import WanPipeline

    width = 24
    drawn = torch.Generator().manual_seed(0)
    layers = {
        f"{prefix}{layer}.lora_A.weight": torch.randn(LORA_RANK, width, generator=drawn),
        f"{prefix}{layer}.lora_B.weight": torch.randn(width, LORA_RANK, generator=drawn),
    }
    WanPipeline.write_lora_layers(
        layers,
        save_directory=str(folder),
        is_main_process=True,
        weight_name=None,
        save_function=None,
        safe_serialization=True,
    )
    return folder


def _tokenizer() -> Any:
    """Words of the tests' prompts, in the file format of T5's."""
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram
    from tokenizers.pre_tokenizers import Metaspace
    from tokenizers.processors import TemplateProcessing
    from transformers import T5TokenizerFast

    special = ["<pad>", "</s>", "<unk>"]
    pieces = [(piece, 0.0) for piece in special] + [(f"▁{word}", -1.0) for word in VOCABULARY]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(tokenizer_object=tokenizer, extra_ids=0)


def make_lively(network: Any) -> None:
    """Random weights under which signals neither die nor explode."""
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=1.5 / parameter[0].numel() ** 0.5)
