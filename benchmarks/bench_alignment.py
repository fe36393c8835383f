"""What SGA + SPA cost over a plain LoRA step: time, and peak memory beside that of one whole attention matrix.

    python -m benchmarks.bench_alignment                        # tiny and mid-size, CPU
    python -m benchmarks.bench_alignment --size full            # CogVideoX-5B's shape, 49x480x720, random weights: GPU

Both sides have the same network, LoRA, input projection and input; only the losses differ. On a CPU
the peak is that of the whole process, so it is measured in a process of its own for each side.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple

from tasks.backends.torch_runtime import import_torchvision
from tasks.training.recipes.matrix.config import MatrixTraining
from tasks.training.recipes.matrix.loss import Batch, Role, training_loss, verb_mask
from tasks.training.recipes.matrix.model import new_model

SIDES = ("plain", "aligned")


class Size(NamedTuple):
    heads: int  # of 64
    blocks: int
    text: int  # width of the embedding
    n_frames: int
    height: int
    width: int
    repeats: int


SIZES = {
    "tiny": Size(2, 13, 64, 9, 64, 96, 7),
    "mid": Size(4, 13, 256, 17, 256, 384, 3),  # 5 x 16 x 24 = 1,920 video tokens
    "full": Size(48, 42, 4096, 49, 480, 720, 3),  # 17,550
}


def step_of(size: Size, side: str, device: Any) -> Any:
    """A function that takes one forward and backward pass."""
    import_torchvision()
    import torch
    from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)  # 5B in float32 would take 20 GB
    with device:
        transformer = CogVideoXTransformer3DModel(
            num_attention_heads=size.heads,
            in_channels=32,
            out_channels=16,
            num_layers=size.blocks,
            text_embed_dim=size.text,
            sample_width=size.width // 8,
            sample_height=size.height // 8,
            sample_frames=size.n_frames,
            use_rotary_positional_embeddings=True,
        )
    torch.set_default_dtype(torch.float32)
    unaligned = {} if side == "aligned" else {"sga_blocks": (), "spa_blocks": ()}
    config = MatrixTraining(alignment=unaligned)
    model = new_model(transformer, config).to(device).train()
    model.transformer.enable_gradient_checkpointing()
    scheduler = CogVideoXDDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    n_latents = (size.n_frames - 1) // 4 + 1
    drawn = torch.randn(1, n_latents, 16, size.height // 8, size.width // 8, device=device, dtype=dtype)
    subject, object_ = torch.zeros(2, size.n_frames, size.height, size.width, dtype=torch.bool, device=device)
    subject[:, size.height // 4 : -size.height // 4, : size.width // 3] = True
    object_[:, size.height // 4 : -size.height // 4, -size.width // 3 :] = True
    roles = (Role("subject", (1, 2), subject), Role("object", (5, 6), object_))
    roles = (*roles, Role("verb", (3,), verb_mask(subject, object_)))
    text = torch.randn(1, 226, size.text, device=device, dtype=dtype)
    batch = Batch(drawn, drawn, drawn, text, (roles,))

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            losses = training_loss(model, batch, scheduler, torch.Generator().manual_seed(0), config.alignment)
        losses.total.backward()
        model.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def measure(size: Size, side: str) -> dict[str, float]:
    """Of this process: the median step, and the peak of memory."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    step, seconds = step_of(size, side, device), []
    for _ in range(size.repeats + 1):
        start = time.perf_counter() if device.type == "cuda" else time.process_time()
        step()
        seconds.append((time.perf_counter() if device.type == "cuda" else time.process_time()) - start)
    on_cuda = device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": statistics.median(seconds[1:]), "peak": float(peak)}  # the first one warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", choices=SIZES, action="append")
    parser.add_argument("--side", choices=SIDES, help="measure one side in this process, and print JSON")
    given = parser.parse_args()
    for name in given.size or ("tiny", "mid"):
        size = SIZES[name]
        if given.side:
            print(json.dumps(measure(size, given.side)))
            continue
        found = {}
        for side in SIDES:
            command = [sys.executable, "-m", "benchmarks.bench_alignment", "--size", name, "--side", side]
            found[side] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        plain, aligned = found["plain"], found["aligned"]
        n_tokens = 226 + ((size.n_frames - 1) // 4 + 1) * (size.height // 16) * (size.width // 16)
        matrix = size.heads * n_tokens**2 * 4 / 1e6
        print(
            f"{name}: {n_tokens} tokens; {plain['seconds']:.2f} s a plain step, {aligned['seconds']:.2f} s aligned, "
            f"ratio {aligned['seconds'] / plain['seconds']:.3f}; peak {plain['peak'] / 1e6:.0f} and "
            f"{aligned['peak'] / 1e6:.0f} MB; one attention matrix in float32: {matrix:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
