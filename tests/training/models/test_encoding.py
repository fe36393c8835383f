"""Encoders give what the libraries' own pipelines make, from tiny models that are saved and loaded as anyone's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.outcome import RowFailed, RowRejected, ServiceDown
from tasks.backends.torch_runtime import TorchConfig
from tasks.training.encoders import EncodedText, Encoder, EncoderConfig, tokens_of
from tasks.training.models.encoder import load_encoder
from tasks.training.models.pipeline_encoder import original_places
from tasks.training.models.tiny import save_tiny_cogvideox, save_tiny_wan, save_tiny_wan22
from tests.support.hub import fetch, served

MODELS = {"cogvideox": save_tiny_cogvideox, "wan": save_tiny_wan, "wan22": save_tiny_wan22}
PROMPT = 'A red ball hits the red box, then\n the boy\'s dog — a café owl &amp; a 球 — "picks up" the ball.'
models = pytest.mark.models
each_family = pytest.mark.parametrize("family", MODELS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    for family, save in MODELS.items():
        save(made / family)
    return made


def encoder(folder: Path, family: Any = "cogvideox", **settings: Any) -> Encoder:
    config = {"family": family, "model": str(folder / family), "precision": "float32"}
    return load_encoder(EncoderConfig(**config | settings), TorchConfig(device="cpu"))


def frames(n_frames: int = 9, height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray:
    shape = (n_frames, height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


# --- Pictures --------------------------------------------------------------------------------


@models
@each_family
def test_latents_decode_to_the_video_by_the_pipelines_own_way(folder: Path, family: str) -> None:
    """Pipelines turn latents into pictures; encoding is the way back."""
    import torch
    from diffusers import DiffusionPipeline

    smooth = np.kron(frames(1, 2, 3), np.ones((9, 32, 32, 1))).astype(np.uint8)
    latents = encoder(folder, family).encode_video(smooth)
    pipeline = DiffusionPipeline.from_pretrained(folder / family)
    pipeline.set_progress_bar_config(disable=True)
    with torch.no_grad():
        if family == "cogvideox":
            assert latents.shape == (3, 4, 8, 12)
            decoded = pipeline.decode_latents(latents[None])
        else:
            assert latents.shape == ((4, 3, 8, 12) if family == "wan" else (6, 3, 4, 6))
            vae = pipeline.vae
            mean, std = (torch.tensor(values).view(1, -1, 1, 1, 1) for values in
                         (vae.config.latents_mean, vae.config.latents_std))  # fmt: skip
            decoded = vae.decode(latents[None] * std + mean).sample
    shown = pipeline.video_processor.postprocess_video(decoded, output_type="np")[0]
    assert np.abs(shown - smooth / 255).max() < 0.02
    assert 0.5 < latents.std() < 2


@models
@pytest.mark.parametrize("family", ["cogvideox", "wan22"])
@pytest.mark.parametrize("inverted", [True, False])
def test_a_first_frame_has_the_latents_of_the_image_to_video_pipeline(
    folder: Path, tmp_path: Path, family: str, inverted: bool
) -> None:
    import torch
    from diffusers import CogVideoXImageToVideoPipeline, WanImageToVideoPipeline

    shutil.copytree(folder / family, tmp_path / family)
    edit(tmp_path / family / "vae" / "config.json", invert_scale_latents=inverted)
    picture = frames(1)[0]
    ours = encoder(tmp_path, family).encode_image(picture)
    if family == "cogvideox":
        cogvideox = CogVideoXImageToVideoPipeline.from_pretrained(tmp_path / family)
        image = cogvideox.video_processor.preprocess(picture / np.float32(255))
        # The autoencoder's distribution is sampled there; its deviation is next to nothing.
        with torch.no_grad():
            _, theirs = cogvideox.prepare_latents(image, 1, 4, 9, 64, 96, torch.float32, "cpu")
        assert torch.allclose(ours, theirs[0, :1], atol=1e-3)
        assert not theirs[0, 1:].any()
        assert torch.allclose(ours, encoder(tmp_path).encode_video(picture[None])) == (not inverted)
    else:
        wan = WanImageToVideoPipeline.from_pretrained(tmp_path / family)
        image = wan.video_processor.preprocess(picture / np.float32(255))
        with torch.no_grad():
            _, theirs, _ = wan.prepare_latents(image, 1, 6, 64, 96, 9, torch.float32, "cpu")
        assert torch.equal(ours, theirs[0])


@models
@each_family
def test_the_same_frames_give_the_same_latents_whatever_came_before(folder: Path, family: str) -> None:
    one, other = frames(5, seed=1), frames(9, seed=2)
    backend = encoder(folder, family)
    first = backend.encode_video(one)
    assert not backend.encode_video(other)[..., :2, :2, :2].equal(first[..., :2, :2, :2])
    assert backend.encode_video(one).equal(first)


@models
@pytest.mark.parametrize(
    ("family", "shape"),
    [("cogvideox", (8, 64, 96)), ("cogvideox", (9, 72, 96)), ("wan", (9, 64, 88)), ("wan22", (9, 64, 80))],
)
def test_sizes_that_do_not_divide(folder: Path, family: str, shape: tuple[int, int, int]) -> None:
    with pytest.raises(RowFailed, match=r"4k \+ 1 frames, height and width divisible by (16|32)") as failure:
        encoder(folder, family).encode_video(frames(*shape))
    assert (failure.value.reason, failure.value.retryable) == ("size_not_encodable", False)


# --- Text ------------------------------------------------------------------------------------


@models
@each_family
@pytest.mark.parametrize("prompt", [PROMPT, "", "  a ball \t", "&lt;b&gt;dog&lt;/b&gt; &amp;amp;lt; sâ€™"])
def test_an_embedding_is_the_pipelines_own(folder: Path, family: str, prompt: str) -> None:
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder / family)
    pipeline.set_progress_bar_config(disable=True)
    length = {"cogvideox": 226}.get(family, 512)
    theirs, _ = pipeline.encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=length)
    ours = encoder(folder, family).encode_text(prompt)
    assert ours.embedding.equal(theirs[0])
    assert ours.embedding.shape == (length, 16)
    assert len(ours.offsets) <= length


def words_of(prompt: str, text: EncodedText, span: tuple[int, int]) -> list[str]:
    return [prompt[start:end] for start, end in (text.offsets[token] for token in tokens_of(text.offsets, [span]))]


@models
@each_family
def test_tokens_of_a_span_are_its_words_and_no_neighbours(folder: Path, family: str) -> None:
    text = encoder(folder, family).encode_text(PROMPT)

    def held(words: str, nth: int = 0) -> list[str]:
        start = -1
        for _ in range(nth + 1):
            start = PROMPT.index(words, start + 1)
        return words_of(PROMPT, text, (start, start + len(words)))

    assert held("red ball") == ["red", "ball"]
    assert held("red", 1) == ["red"]
    assert held("ball", 1) == ["ball"]
    assert "".join(held("hits")) == "hits"
    assert held("box") == ["box"]  # not its comma
    assert held("boy") == ["boy"]  # not its 's
    assert "".join(held("picks up")) == "picksup"
    assert held("球") == ["球"] * 3  # bytes
    assert "".join(held("café")).startswith("caf")
    assert set("".join(held("café"))[3:]) == {"é"}
    first, again = (tokens_of(text.offsets, [(at, at + 3)]) for at in (2, PROMPT.index("red", 5)))
    assert len(first) == len(again) == 1
    assert first < again
    whole = tokens_of(text.offsets, [(0, len(PROMPT))])
    assert len(text.offsets) - 1 not in whole  # </s>


@models
def test_tokens_stand_in_the_prompt_as_it_was_before_cleaning(folder: Path) -> None:
    prompt = "  the &quot;red&quot;   ball &amp; the box  "
    text = encoder(folder, "wan").encode_text(prompt)
    shown = [prompt[start:end] for start, end in text.offsets]
    assert [word for word in shown if word] == ["the", "&quot;", "r", "ed", "&quot;", "ball", "&amp;", "the", "box"]


@models
@pytest.mark.parametrize(("family", "most"), [("cogvideox", 226), ("wan", 512)])
def test_a_prompt_that_would_be_cut_is_refused(folder: Path, family: str, most: int) -> None:
    fits = "ball" + " ball" * (most - 2)  # and </s>
    backend = encoder(folder, family)
    assert len(backend.encode_text(fits).offsets) == most
    with pytest.raises(RowRejected, match=f"more than {most} tokens; all after '.*ball' would be cut off") as refusal:
        backend.encode_text(fits + " box")
    assert refusal.value.reason == "prompt_too_long"


def test_tokens_and_spans() -> None:
    offsets = [(0, 1), (2, 5), (6, 10), (10, 11), (11, 11)]
    assert tokens_of(offsets, [(6, 10)]) == [2]
    assert tokens_of(offsets, [(3, 4), (9, 11)]) == [1, 2, 3]
    assert tokens_of(offsets, [(5, 6), (11, 12)]) == []
    assert tokens_of(offsets, []) == []


def test_places_of_a_cleaned_text() -> None:
    assert original_places("a &amp;  b", "a & b") == [(0, 1), (1, 2), (2, 7), (8, 9), (9, 10)]
    assert original_places(" ab ", "ab") == [(1, 2), (2, 3)]
    assert original_places("", "") == []


# --- What it is made with, and what is broken -------------------------------------------------


@models
def test_what_changes_latents_or_embeddings_changes_the_identity(folder: Path, tmp_path: Path) -> None:
    def identity(**settings: Any) -> str:
        return json.dumps(dict(encoder(folder, **settings).identity), sort_keys=True)

    changes: list[dict[str, Any]] = [
        {"model": str(save_tiny_cogvideox(tmp_path / "cogvideox", seed=1))},
        {"family": "wan"},
        {"precision": "bfloat16"},
        {"vae_precision": "bfloat16"},
        {"tiling": True},
        {"model": "owner/name"},
        {"model": "owner/name@abc"},
    ]
    assert len({identity(), *(identity(**change) for change in changes)}) == 1 + len(changes)


@models
def test_precision_is_that_of_what_is_stored(folder: Path) -> None:
    import torch

    half = encoder(folder, precision="bfloat16", vae_precision="bfloat16")
    assert half.encode_text(PROMPT).embedding.dtype == half.encode_video(frames(1)).dtype == torch.bfloat16
    exact = encoder(folder).encode_video(frames(1))
    assert torch.allclose(half.encode_video(frames(1)).float(), exact, atol=0.1)


def test_naming_the_rows_needs_no_library() -> None:
    code = """
import sys
from tasks import encode_samples
from tasks.backends.torch_runtime import TorchConfig
from tasks.training.encoders import EncoderConfig
config = EncoderConfig(family="cogvideox", model="THUDM/CogVideoX-5b-I2V")
made_by = encode_samples.stage(lambda row: row, config, TorchConfig()).made_by
assert made_by[0].model == "THUDM/CogVideoX-5b-I2V@main", made_by
assert not {"torch", "diffusers", "transformers"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def edit(file: Path, **changes: Any) -> None:
    """Change a file of settings."""
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A folder with a model that a test may damage."""
    shutil.copytree(folder / "cogvideox", tmp_path / "cogvideox")
    return tmp_path


@models
@pytest.mark.parametrize("network", ["vae", "text_encoder"])
def test_a_weight_that_is_missing_is_not_made_up(copied: Path, network: str) -> None:
    from safetensors.torch import load_file, save_file

    (file,) = (copied / "cogvideox" / network).glob("*.safetensors")
    weights = load_file(file)
    weights.pop(sorted(weights)[0])
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ServiceDown, match=rf"cogvideox sha256:.* does not fit the architecture: 1 \({network}\."):
        encoder(copied).encode_text("a ball")


@models
@pytest.mark.parametrize("lost", ["model_index.json", "tokenizer/tokenizer.json", "vae/config.json"])
def test_a_broken_folder(copied: Path, lost: str) -> None:
    (copied / "cogvideox" / lost).unlink()
    with pytest.raises(ServiceDown, match="cannot load cogvideox sha256:"):
        encoder(copied).encode_text("a ball")


@models
@pytest.mark.parametrize(("family", "model"), [("wan", "cogvideox"), ("cogvideox", "wan"), ("wan", "wan22")])
def test_a_model_of_another_family(folder: Path, family: str, model: str) -> None:
    with pytest.raises(ServiceDown, match=r"cannot load .*\(encoder\.family\)"):
        encoder(folder, family, model=str(folder / model)).encode_text("a ball")


@models
def test_weights_that_are_no_numbers(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    (file,) = (copied / "cogvideox" / "vae").glob("*.safetensors")
    weights = load_file(file)
    weights["encoder.conv_out.conv.bias"].fill_(float("nan"))
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(RowFailed, match="latents are no numbers"):
        encoder(copied).encode_video(frames(1))


@models
def test_memory_that_runs_out_concerns_the_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from diffusers import AutoencoderKLCogVideoX

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(AutoencoderKLCogVideoX, "encode", full)
    with pytest.raises(RowFailed, match=r"encoder\.tiling") as failure:
        encoder(folder).encode_video(frames(1))
    assert (failure.value.reason, failure.value.retryable) == ("gpu_out_of_memory", True)


FETCH = """
from tasks.backends.torch_runtime import TorchConfig
from tasks.training.encoders import EncoderConfig
from tasks.training.models.encoder import load_encoder
config = EncoderConfig(family="cogvideox", model="owner/name", precision="float32")
print(load_encoder(config, TorchConfig(device="cpu")).encode_text("a ball").embedding.sum().item())
"""


@models
def test_only_what_encodes_is_fetched_from_the_hub(folder: Path, tmp_path: Path) -> None:
    with served({"owner/name": folder / "cogvideox"}) as endpoint:
        told = fetch(endpoint, tmp_path / "cache", FETCH).stdout
    assert float(told) == pytest.approx(encoder(folder).encode_text("a ball").embedding.sum().item())
    (fetched,) = (tmp_path / "cache").glob("hub/models--owner--name/snapshots/*")
    names = {path.name for path in fetched.iterdir()}
    assert names == {"model_index.json", "vae", "text_encoder", "tokenizer"}
