"""A training step of every recipe at the paper's size, with random weights: seconds and peak of memory, on a GPU.

    python -m benchmarks.bench_training_gpu                        # all recipes, full size: a GPU of 80 GB
    python -m benchmarks.bench_training_gpu --recipe dsr           # one
    python -m benchmarks.bench_training_gpu --size tiny            # on a CPU: does it run?

    matrix      CogVideoX-5B-I2V with LoRA, 49 x 480 x 720: a plain step, then with SGA + SPA (bench_alignment)
    kinemask    the same, frozen, with a ControlNet on its first 8 layers and velocity masks of every frame
    dsr         Wan2.1-T2V-1.3B with LoRA, 81 x 480 x 832: winner and loser, with the reference's pass

A step is a forward and a backward pass of one sample or pair, with checkpointing of activations, and AdamW's update,
as the job makes it. Each is measured in a process of its own. What encodes and what reads samples is not part of it:
bench_training_data.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from benchmarks import bench_alignment
from tasks.backends.torch_runtime import import_torchvision
from tasks.training.flow_matching import shifted_sigmas
from tasks.training.recipes.dsr.config import DsrTraining
from tasks.training.recipes.dsr.loss import Pairs, pair_loss
from tasks.training.recipes.dsr.model import add_lora
from tasks.training.recipes.kinemask.config import KinemaskTraining
from tasks.training.recipes.kinemask.loss import cogvideox_loss
from tasks.training.recipes.kinemask.model import CogVideoXBatch, freeze, new_control_net

MEASURED = ("matrix, plain", "matrix, SGA + SPA", "kinemask", "dsr")
REPEATS = 5


class Shape(NamedTuple):
    """Of a network and of a sample."""

    heads: int
    head_dim: int
    blocks: int
    ffn: int  # Wan's; CogVideoX has four times its width
    text: int  # width of the embedding
    n_text: int
    n_frames: int
    height: int
    width: int


COGVIDEOX = {"full": Shape(48, 64, 42, 0, 4096, 226, 49, 480, 720), "tiny": Shape(2, 16, 8, 0, 16, 226, 9, 64, 96)}
WAN = {
    "full": Shape(12, 128, 30, 8960, 4096, 512, 81, 480, 832),
    "tiny": Shape(2, 12, 3, 32, 16, 512, 9, 64, 96),
}
CHANNELS = 16  # of latents, in both
Step = Callable[[], Any]  # a forward pass; gives the loss


# --- Steps -----------------------------------------------------------------------------------


def kinemask_step(shape: Shape, device: Any) -> tuple[Step, list[Any]]:
    """A step's loss, and what is trained."""
    import torch
    from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel

    transformer = drawn(
        lambda: CogVideoXTransformer3DModel(
            num_attention_heads=shape.heads,
            attention_head_dim=shape.head_dim,
            in_channels=2 * CHANNELS,
            out_channels=CHANNELS,
            num_layers=shape.blocks,
            text_embed_dim=shape.text,
            sample_width=shape.width // 8,
            sample_height=shape.height // 8,
            sample_frames=shape.n_frames,
            use_rotary_positional_embeddings=True,
        ),
        device,
    )
    freeze(transformer)
    transformer.enable_gradient_checkpointing()
    config = KinemaskTraining()
    net = new_control_net(transformer, config).to(device).train()
    net.enable_gradient_checkpointing()
    scheduler = CogVideoXDDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    latents = (1, latent_frames(shape), CHANNELS, shape.height // 8, shape.width // 8)
    batch = CogVideoXBatch(
        latents=torch.randn(latents, device=device),
        image_latents=torch.randn(latents, device=device),
        text=torch.randn(1, shape.n_text, shape.text, device=device),
        masks=torch.rand(1, shape.n_frames, 3, shape.height, shape.width, device=device),
    )
    generator = torch.Generator().manual_seed(0)
    weight = config.control.weight
    return lambda: cogvideox_loss(transformer, net, batch, scheduler, generator, weight), [*net.parameters()]


def dsr_step(shape: Shape, device: Any) -> tuple[Step, list[Any]]:
    """As kinemask_step."""
    import torch
    from diffusers import WanTransformer3DModel

    transformer = drawn(
        lambda: WanTransformer3DModel(
            num_attention_heads=shape.heads,
            attention_head_dim=shape.head_dim,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=shape.blocks,
            ffn_dim=shape.ffn,
            text_dim=shape.text,
        ),
        device,
    ).eval()
    transformer.enable_gradient_checkpointing()
    config = DsrTraining()
    add_lora(transformer, config.lora)
    latents = (1, CHANNELS, latent_frames(shape), shape.height // 8, shape.width // 8)
    winners, losers = (torch.randn(latents, device=device) for _ in range(2))
    batch = Pairs(winners, losers, torch.randn(1, shape.n_text, shape.text, device=device))
    sigmas, generator = shifted_sigmas(1000, config.flow_shift), torch.Generator().manual_seed(0)

    def loss() -> Any:
        return pair_loss(transformer, transformer, batch, config.loss, sigmas, generator).total

    return loss, [one for one in transformer.parameters() if one.requires_grad]


def drawn(make: Callable[[], Any], device: Any) -> Any:
    """A network with random weights, on a GPU in bfloat16: 5B parameters in float32 would take 20 GB."""
    import torch

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if device.type == "cuda" else torch.float32)
    try:
        with device:
            return make()
    finally:
        torch.set_default_dtype(torch.float32)


def latent_frames(shape: Shape) -> int:
    return (shape.n_frames - 1) // 4 + 1


# --- Measuring -------------------------------------------------------------------------------


class Cost(NamedTuple):
    seconds: float  # median of a step
    peak_gb: float
    n_trained: int  # parameters


def measure(name: str, size: Literal["full", "tiny"]) -> Cost:
    """In this process."""
    import_torchvision()
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("matrix"):
        side = "plain" if name.endswith("plain") else "aligned"
        made = bench_alignment.measure(bench_alignment.SIZES[size], side)
        return Cost(made["seconds"], made["peak"] / 1e9, 0)
    loss, trained = {"kinemask": lambda: kinemask_step(COGVIDEOX[size], device),
                     "dsr": lambda: dsr_step(WAN[size], device)}[name]()  # fmt: skip
    optimiser, seconds = torch.optim.AdamW(trained, lr=1e-4), []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            total = loss()
        total.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    return Cost(statistics.median(seconds[1:]), peak / 1e9, sum(one.numel() for one in trained))  # the first warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    parser.add_argument("--recipe", choices=("matrix", "kinemask", "dsr"), action="append")
    parser.add_argument("--one", choices=MEASURED, help="measure it in this process, and print JSON")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.size)))
        return
    for name in MEASURED:
        if given.recipe and name.partition(",")[0] not in given.recipe:
            continue
        command = [sys.executable, "-m", "benchmarks.bench_training_gpu", "--size", given.size, "--one", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        cost = Cost(*json.loads(done.stdout.splitlines()[-1]))
        trained = f", {cost.n_trained / 1e6:.1f} M trained parameters" if cost.n_trained else ""
        print(f"{name}: {cost.seconds:.2f} s a step, {cost.peak_gb:.1f} GB{trained}", flush=True)


if __name__ == "__main__":
    main()
