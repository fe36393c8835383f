"""The networks of `--profile local` at full size, in the order of the stages: time, and memory at its peak.

    python -m benchmarks.bench_local                                         # on a GPU: 300 frames of 1280x720
    python -m benchmarks.bench_local --device cpu --frames 2 --layers 2      # a trial

Needs the models extra (`make models`) and 14 GB of disk for the weights. These are random: neither speed nor memory
depends on them. A token is a byte here, so a question is as long as a real one in tokens, not in words. What one step
leaves in memory is there in the next, as in a run.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.bench_models import CLASSES, draw_clip, save_tokenizer
from schemas.candidate import Anchor
from schemas.instance import Instance
from tasks.backends.chat.asking import request_of, schema_of
from tasks.backends.chat.captions import ListReply
from tasks.backends.chat.pictures import crop_with_context, jpeg, with_box
from tasks.backends.chat.verifier import VerifyReply
from tasks.backends.grounding_dino import DinoConfig
from tasks.backends.grounding_dino.port import PortedGroundingDino
from tasks.backends.local_models.network import language_model
from tasks.backends.sam2_video import Sam2Config
from tasks.backends.sam2_video.port import PortedSam2
from tasks.backends.torch_runtime import Checkpoint, TorchConfig, device_of, import_torchvision
from tasks.prompts import Prompt
from tests.support import tiny_chat

# As published: Qwen3-4B-Instruct-2507 and Qwen3-VL-2B-Instruct.
N_TOKENS = 151_936
HEADS = {"num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True}
LLM = {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32, **HEADS}
VLM = {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16, **HEADS}
SEEING = {
    **{"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "patch_size": 16},
    **{"deepstack_visual_indexes": [5, 11, 17], "num_position_embeddings": 2304},
}
PIXELS = {"shortest_edge": 65_536, "longest_edge": 16_777_216}
INSTRUCTIONS = Prompt(name="long", text="Reply. " * 100, sha256="0" * 64)
N_REPLY_TOKENS = 100
HEIGHT, WIDTH = 720, 1280


def save_weights(folder: Path, n_layers: int | None) -> dict[str, str]:
    """Checkpoints of all four networks, with random weights. n_layers: of the language models; None: all"""
    import torch
    from transformers import (
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        Sam2VideoConfig,
        Sam2VideoModel,
    )

    layers = {} if n_layers is None else {"num_hidden_layers": n_layers}
    GroundingDinoForObjectDetection(GroundingDinoConfig()).save_pretrained(folder / "dino")
    save_tokenizer(folder / "dino")
    Sam2VideoModel(Sam2VideoConfig()).save_pretrained(folder / "sam2")
    torch.set_default_dtype(torch.bfloat16)
    try:
        tiny_chat.save_llm(folder / "llm", layers=LLM | layers, n_tokens=N_TOKENS)
        tiny_chat.save_vlm(folder / "vlm", layers=VLM | layers, seeing=SEEING, pixels=PIXELS, n_tokens=N_TOKENS)
    finally:
        torch.set_default_dtype(torch.float32)
    return {name: str(folder / name) for name in ("llm", "dino", "vlm", "sam2")}


def reply(checkpoint: str, device: Any, reply_model: Any, pictures: list[bytes]) -> int:
    """One question and a reply of a fixed length; returns the number of all tokens."""
    request = request_of("", reply_model, INSTRUCTIONS, {"caption": "A boy kicks a ball."}, pictures)
    how = {"temperature": 0.0, "seed": 0, "max_tokens": N_REPLY_TOKENS}
    with language_model(Checkpoint.of(checkpoint), "bfloat16", device) as model:
        made = model.complete(request["messages"], schema_of(reply_model), **how)
    return made.n_prompt_tokens + made.n_tokens


def measured(step: Callable[[], object], device: Any) -> tuple[float, float]:
    """Wall time, s, and memory at its peak, GB: of the GPU during this step, or of the process up to now."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter() - start, torch.cuda.max_memory_allocated() / 1e9
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_local", description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU (default: 1)")
    parser.add_argument("--frames", type=int, default=300, help="of the clip (default: 300)")
    parser.add_argument("--layers", type=int, help="of the language models, for a trial (default: all)")
    parser.add_argument("--rounds", type=int, default=2, help="the first one loads (default: 2)")
    arguments = parser.parse_args()
    where = TorchConfig(device=arguments.device, threads=arguments.threads)
    device = device_of(where)
    import_torchvision()
    frames = np.stack([cv2.resize(frame, (WIDTH, HEIGHT)) for frame in draw_clip(arguments.frames)])
    sampled = frames[np.linspace(0, len(frames) - 1, min(8, len(frames))).astype(int)]
    instances = [
        Instance(instance_id=f"id{n}", class_name=name, noun=name, appearance=".", spatial=".", living=False)
        for n, name in enumerate(CLASSES[:2], start=1)
    ]
    boxes = [(110.0, 120.0, 230.0, 255.0), (460.0, 255.0, 585.0, 390.0)]
    anchors = [Anchor(instance_id=f"id{n}", frame=0, box_xyxy=box) for n, box in enumerate(boxes, start=1)]
    pictures = [jpeg(crop_with_context(frames[0], boxes[0])), jpeg(with_box(frames[0], boxes[0]))]
    with tempfile.TemporaryDirectory() as folder:
        weights = save_weights(Path(folder), arguments.layers)
        # No threshold: with random scores there could be no boxes.
        detector = PortedGroundingDino(DinoConfig(checkpoint=weights["dino"], box_threshold=0, batch_frames=1), where)
        tracker = PortedSam2(Sam2Config(checkpoint=weights["sam2"]), where)
        steps: dict[str, Callable[[], object]] = {
            f"LLM: a question, {N_REPLY_TOKENS} tokens": lambda: reply(weights["llm"], device, ListReply, []),
            f"GroundingDINO: {len(sampled)} frames": lambda: detector.propose(sampled, instances),
            f"VLM: two pictures, {N_REPLY_TOKENS} tokens": lambda: reply(weights["vlm"], device, VerifyReply, pictures),
            f"SAM2: {len(frames)} frames, 2 instances": lambda: tracker.propagate(frames, anchors),
        }
        print(f"{device}: {len(frames)} frames of {WIDTH}x{HEIGHT}\n{'':36}{'round':>6}{'s':>10}{'GB':>8}")
        for number in range(1, arguments.rounds + 1):
            for name, step in steps.items():
                seconds, peak_gb = measured(step, device)
                print(f"{name:36}{number:6}{seconds:10.2f}{peak_gb:8.2f}", flush=True)


if __name__ == "__main__":
    main()
