"""Generation with an ID map: untrained it is the stock pipeline, trained it is what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.recipe_samples import HEIGHT, N_FRAMES, WIDTH, matrix_masks

pytestmark = pytest.mark.models

SETTINGS: dict[str, Any] = {
    "prompt": "a boy kicks a red ball",
    "height": HEIGHT,
    "width": WIDTH,
    "num_frames": N_FRAMES,
    "num_inference_steps": 2,
    "guidance_scale": 3.0,
    "output_type": "np",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tasks.training.models.tiny import save_tiny_cogvideox

    return save_tiny_cogvideox(tmp_path_factory.mktemp("base") / "cogvideox")


def picture() -> Any:
    import torch

    return torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


def colours() -> np.ndarray:
    from tasks.media.id_map import id_map

    return id_map([mask[0] for mask in matrix_masks().values()])


def video(pipeline: Any, **settings: Any) -> np.ndarray:
    import torch

    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(3)
    return np.asarray(pipeline(image=picture(), generator=generator, **SETTINGS | settings).frames[0])


def saved(base: Path, folder: Path, trained: bool) -> Path:
    """The weights of a run: as it starts, or as after some steps."""
    import torch

    from tasks.training.models.base import load_base
    from tasks.training.recipes.matrix.config import MatrixTraining
    from tasks.training.recipes.matrix.model import new_model, save_trained, trained_weights

    blocks = {"sga_blocks": (0, 1), "spa_blocks": (2,)}
    config = MatrixTraining(lora={"rank": 4, "alpha": 2, "blocks": (0, 2)}, alignment=blocks)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = new_model(load_base(str(base), "float32").transformer, config)
        for weight in trained_weights(model).values() if trained else ():
            weight += 0.1 * torch.randn(weight.shape)
    save_trained(model, folder)
    return folder


def loaded(base: Path, weights: Path) -> Any:
    from tasks.training.recipes.matrix import pipeline

    made = pipeline.MatrixPipeline.from_pretrained(base)
    made.load_trained(weights)
    return made


def test_an_untrained_one_makes_the_stock_pipelines_video(base: Path, tmp_path: Path) -> None:
    from diffusers import CogVideoXImageToVideoPipeline

    expected = video(CogVideoXImageToVideoPipeline.from_pretrained(base))
    untrained = loaded(base, saved(base, tmp_path / "weights", trained=False))
    assert (video(untrained, id_map=colours()) == expected).all()
    assert expected.std() > 0.01


def test_a_trained_one_sees_the_id_map(base: Path, tmp_path: Path) -> None:
    trained = loaded(base, saved(base, tmp_path / "weights", trained=True))
    one, black = video(trained, id_map=colours()), video(trained, id_map=np.zeros_like(colours()))
    assert np.abs(one - black).max() > 0.01
    assert (video(trained, id_map=colours()) == one).all()


def test_the_id_map_is_encoded_as_samples_are(base: Path, tmp_path: Path) -> None:
    """The transformer sees the same channels that it is trained on."""
    import torch

    from tasks.backends.torch_runtime import TorchConfig
    from tasks.training.encoders import EncoderConfig
    from tasks.training.models.encoder import load_encoder

    encoder = load_encoder(EncoderConfig(family="cogvideox", model=str(base)), TorchConfig(device="cpu"))
    expected = encoder.encode_image(colours())
    trained, seen = loaded(base, saved(base, tmp_path / "weights", trained=False)), []
    trained.transformer.register_forward_pre_hook(
        lambda module, args, named: seen.append(named["hidden_states"]), with_kwargs=True
    )
    video(trained, id_map=colours(), num_inference_steps=1)
    torch.testing.assert_close(seen[0][:, :1, 8:], expected[None].expand(2, -1, -1, -1, -1))
    assert not seen[0][:, 1:, 8:].any()


def test_what_cannot_be_generated_from_is_refused(base: Path, tmp_path: Path) -> None:
    from tasks.training.recipes.matrix import pipeline

    with pytest.raises(ValueError, match="takes 8 channels, not noise, first frame and ID map of 4 each: load"):
        video(pipeline.MatrixPipeline.from_pretrained(base), id_map=colours())
    made = loaded(base, saved(base, tmp_path / "weights", trained=False))
    with pytest.raises(ValueError, match=r"an ID map of \(32, 96, 3\) uint8; it is \(64, 96, 3\)"):
        video(made, id_map=colours()[:32])
