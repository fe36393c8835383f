"""Tiny base models: whole folders that the libraries load, in which a place of the latents shows its place's colour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.training.models.tiny import save_tiny_cogvideox, save_tiny_wan, save_tiny_wan22

pytestmark = pytest.mark.models

MODELS: dict[str, tuple[Callable[..., Path], int]] = {
    "cogvideox": (save_tiny_cogvideox, 8),
    "wan": (save_tiny_wan, 8),
    "wan22": (save_tiny_wan22, 16),
}


def moving_square(n_frames: int, height: int, width: int) -> np.ndarray:
    """(F, H, W, 3) in -1..1: a red square that moves before tiles of drawn colours."""
    tiles = np.random.default_rng(0).uniform(-1, 1, (height // 16, width // 16, 3))
    frames = np.repeat(np.kron(tiles, np.ones((16, 16, 1)))[None], n_frames, 0)
    for moment, frame in enumerate(frames):
        frame[20:52, 4 + 3 * moment : 36 + 3 * moment] = [1, -1, -1]
    return frames.astype(np.float32)


def mean_colours(frames: Any, side: int) -> Any:
    """(3, F, H, W) -> (3, 1 + (F - 1) / 4, H / side, W / side): of the first frame, then of every four."""
    import torch

    first, others = frames[:, :1], frames[:, 1:].unflatten(1, (-1, 4)).mean(2)
    return torch.cat([first, others], 1).unflatten(3, (-1, side)).unflatten(2, (-1, side)).mean((3, 5))


@pytest.mark.parametrize("name", MODELS)
def test_latents_are_the_places_colours_and_decode_to_them(name: str, tmp_path: Path) -> None:
    import torch
    from diffusers import DiffusionPipeline

    save, side = MODELS[name]
    vae = DiffusionPipeline.from_pretrained(save(tmp_path / name)).vae
    frames = torch.from_numpy(moving_square(9, 64, 96)).permute(3, 0, 1, 2)
    colours = mean_colours(frames, side)
    with torch.no_grad():
        latents = vae.encode(frames[None]).latent_dist.mode()
        decoded = vae.decode(latents).sample[0]
    seen, told = latents[0].flatten(1).T, colours.flatten(1).T
    left = told - seen @ torch.linalg.lstsq(seen, told).solution
    assert left.square().mean() < 1e-3 * told.var()
    assert latents.std() > 0.5
    shown = colours.repeat_interleave(side, 2).repeat_interleave(side, 3)
    shown = torch.cat([shown[:, :1], shown[:, 1:].repeat_interleave(4, 1)], 1)
    assert (decoded - shown).abs().max() < 0.02


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_draws_it(name: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    def weights(folder: Path, network: str) -> dict[str, Any]:
        (file,) = (folder / network).glob("*.safetensors")
        return dict(load_file(file))

    save, _ = MODELS[name]
    one, same, other = (save(tmp_path / str(i), seed) for i, seed in enumerate((1, 1, 2)))
    for network in ("vae", "text_encoder", "transformer"):
        drawn, again, apart = (weights(folder, network) for folder in (one, same, other))
        assert all(drawn[key].equal(again[key]) for key in drawn)
        assert not all(drawn[key].equal(apart[key]) for key in drawn)


def test_whole_pipelines_make_videos(tmp_path: Path) -> None:
    import torch
    from diffusers import CogVideoXImageToVideoPipeline, DiffusionPipeline, WanImageToVideoPipeline
    from PIL import Image

    picture = Image.fromarray(((moving_square(1, 64, 96)[0] + 1) * 127).astype(np.uint8))
    asked: dict[str, Any] = {"height": 64, "width": 96, "num_frames": 9, "num_inference_steps": 1, "output_type": "np"}
    for name, (save, _) in MODELS.items():
        save(tmp_path / name)
    animate = {
        "cogvideox": CogVideoXImageToVideoPipeline.from_pretrained(tmp_path / "cogvideox"),
        "wan22": WanImageToVideoPipeline.from_pretrained(tmp_path / "wan22"),
    }
    for pipeline in (*animate.values(), DiffusionPipeline.from_pretrained(tmp_path / "wan")):
        pipeline.set_progress_bar_config(disable=True)
        given = {"image": picture} if pipeline in animate.values() else {}
        made = pipeline(prompt="A ball.", generator=torch.Generator().manual_seed(0), **given, **asked).frames[0]
        assert made.shape == (9, 64, 96, 3)
        assert made.std() > 0.02
