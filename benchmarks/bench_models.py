"""GroundingDINO and SAM2 at full size over one clip, against a straightforward script with the same libraries.

    python -m benchmarks.bench_models                           # on a GPU: 49 frames of 720x480, 3 instances
    python -m benchmarks.bench_models --device cpu --frames 5 --architecture hiera_t     # minutes on two slow cores

Needs the models extra (`make models`). Weights are random: speed does not depend on them. Both sides ground 8 frames
for 3 classes and carry 3 instances from boxes on 3 different frames through the clip, both ways.

`script`  one forward pass per frame and class; JPEGs on disk and SAM2's own video predictor, one inference state per
          instance, forward and then backward
`ours`    `NativeGroundingDino` and `NativeSam2`, as the stages call them

Loading is not timed. Runs take turns; the medians and the GPU's peak memory are printed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from schemas.candidate import Anchor
from schemas.instance import Instance
from tasks.backends.grounding_dino import DinoConfig
from tasks.backends.grounding_dino.native import NativeGroundingDino, architecture_settings
from tasks.backends.sam2_video import Sam2Config
from tasks.backends.sam2_video.native import NativeSam2, import_sam2, network_settings
from tasks.backends.torch_runtime import TorchConfig, device_of, import_torchvision, inference
from tasks.media.video import sample_indices

CLASSES = ("man", "ball", "dog")
T = 8
HEIGHT, WIDTH = 480, 720


def draw_clip(n_frames: int) -> np.ndarray:
    """(N, 480, 720, 3) uint8: blocks that move over noise."""
    rng = np.random.default_rng(0)
    back = cv2.resize(rng.integers(0, 255, (30, 45, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    frames = np.repeat(back[None], n_frames, axis=0)
    for t, frame in enumerate(frames):
        for place in range(3):
            x, y = 60 + 200 * place + 2 * t, 80 + 90 * place
            frame[y : y + 90, x : x + 70] = (220 - 90 * place, 60, 40 + 90 * place)
    return frames


# --- Weights ---------------------------------------------------------------------------------


def save_dino(folder: Path) -> DinoConfig:
    """groundingdino-py's Swin-T network and a BERT of the usual size, with random weights."""
    from types import SimpleNamespace

    import torch
    from transformers import BertConfig, BertModel

    encoder = folder / "bert"
    save_tokenizer(encoder)
    BertModel(BertConfig()).save_pretrained(encoder)

    from groundingdino.models import build_model

    network = build_model(SimpleNamespace(**architecture_settings("swin_t") | {"text_encoder_type": str(encoder)}))
    torch.save({"model": network.state_dict()}, folder / "dino.pth")
    # No threshold: with random scores, one side could have no boxes.
    return DinoConfig(checkpoint=str(folder / "dino.pth"), text_encoder=str(encoder), box_threshold=0)


def save_tokenizer(folder: Path) -> None:
    """BERT's, with a vocabulary of the usual size that knows the classes."""
    from transformers import BertConfig, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    words = [f"[unused{i}]" for i in range(BertConfig().vocab_size)]
    for token, place in {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012}.items():
        words[place] = token
    words[1029:1033] = ["?", *CLASSES]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)


def save_sam2(folder: Path, architecture: str) -> Sam2Config:
    import torch
    from hydra.utils import instantiate

    import_sam2()
    network = instantiate(network_settings(architecture))
    torch.save({"model": network.state_dict()}, folder / "sam2.pt")
    return Sam2Config(architecture=architecture, checkpoint=str(folder / "sam2.pt"))


# --- The straightforward script --------------------------------------------------------------


def ground_by_script(network: Any, frames: np.ndarray, device: Any) -> int:
    """One forward pass per frame and class; returns the number of boxes."""
    from tasks.backends.grounding_dino.detector import network_input, scaled_size

    size = scaled_size(HEIGHT, WIDTH, 800, 1333)
    n_boxes = 0
    for frame in frames:
        for name in CLASSES:
            with inference(device, "float32"):
                _, boxes = network.forward(network_input(frame[None], size, device), f"{name} .")
                n_boxes += len(boxes[0].cpu())
    return n_boxes


def track_by_script(predictor: Any, frames: np.ndarray, anchors: list[Anchor], device: Any) -> int:
    """SAM2's own video predictor over JPEGs, one instance at a time, both ways; returns the number of masks."""
    n_masks = 0
    with tempfile.TemporaryDirectory() as folder:
        for t, frame in enumerate(frames):
            cv2.imwrite(f"{folder}/{t:05d}.jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        for anchor in anchors:
            with inference(device, "bfloat16"):
                state = predictor.init_state(folder)
                predictor.add_new_points_or_box(state, anchor.frame, 1, box=np.array(anchor.box_xyxy))
                for reverse in (False, True):
                    for _, _, logits in predictor.propagate_in_video(state, reverse=reverse):
                        n_masks += len((logits > 0).cpu().numpy())
    return n_masks


def load_script(dino: DinoConfig, sam2: Sam2Config, device: Any) -> tuple[Any, Any]:
    """The libraries' own objects with the same weights."""
    import torch
    from hydra.utils import instantiate

    native = NativeGroundingDino(dino, TorchConfig(device=str(device)))
    network = native._load(device)  # the same network; the script calls it differently
    settings = network_settings(sam2.architecture)
    settings._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    predictor = instantiate(settings, _recursive_=True)
    predictor.load_state_dict(torch.load(sam2.checkpoint, weights_only=True)["model"])
    return network, predictor.to(device).eval()


# --- Timing ----------------------------------------------------------------------------------


def seconds(call: Callable[[], object], device: Any) -> tuple[float, float]:
    """Wall time of a call, s, and the GPU's peak memory during it, GiB."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    return time.perf_counter() - start, peak


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_models", description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--frames", type=int, default=49, help="of the clip (default: 49)")
    parser.add_argument("--architecture", default="hiera_l", help="of SAM2 (default: hiera_l)")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    device = device_of(TorchConfig(device=arguments.device))
    import_torchvision()
    frames = draw_clip(arguments.frames)
    indices = sample_indices(len(frames), T)
    instances = [
        Instance(instance_id=f"id{n}", class_name=name, noun=name, appearance=".", spatial=".", living=False)
        for n, name in enumerate(CLASSES, start=1)
    ]
    anchors = [
        Anchor(
            instance_id=f"id{place + 1}",
            frame=t,
            box_xyxy=(x := 60.0 + 200 * place + 2 * t, y := 80.0 + 90 * place, x + 70, y + 90),
        )
        for place, t in enumerate((0, len(frames) // 2, len(frames) - 1))
    ]
    with tempfile.TemporaryDirectory() as folder:
        dino, sam2 = save_dino(Path(folder)), save_sam2(Path(folder), arguments.architecture)
        where = TorchConfig(device=arguments.device)
        detector, propagator = NativeGroundingDino(dino, where), NativeSam2(sam2, where)
        script_dino, script_sam2 = load_script(dino, sam2, device)
        parts: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "grounding": (
                lambda: ground_by_script(script_dino, frames[indices], device),
                lambda: detector.propose(frames[indices], instances),
            ),
            "tracking": (
                lambda: track_by_script(script_sam2, frames, anchors, device),
                lambda: propagator.propagate(frames, anchors),
            ),
        }
        print(
            f"{device}: {len(frames)} frames of {WIDTH}x{HEIGHT}, {len(instances)} instances, {arguments.architecture}"
        )
        print(f"{'':12}{'script, s':>12}{'ours, s':>12}{'ratio':>8}{'script, GiB':>14}{'ours, GiB':>12}")
        for name, (script, ours) in parts.items():
            if device.type == "cuda":
                script(), ours()  # kernels are chosen at the first call
            runs = [(seconds(script, device), seconds(ours, device)) for _ in range(arguments.repeats)]
            script_s, our_s = (statistics.median(run[side][0] for run in runs) for side in (0, 1))
            script_gib, our_gib = (max(run[side][1] for run in runs) for side in (0, 1))
            print(
                f"{name:12}{script_s:12.2f}{our_s:12.2f}{script_s / our_s:8.2f}{script_gib:14.2f}{our_gib:12.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
