"""Videos by diffusers, from a tiny Wan that was saved and loaded like anyone's checkpoint."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.outcome import RowFailed, ServiceDown
from tasks.backends.diffusers_videos import DiffusersConfig
from tasks.backends.torch_runtime import TorchConfig
from tasks.engine.inputs import Inputs
from tasks.engine.work import Work
from tasks.generate_samples import GenerateConfig, load_backend
from tasks.media.encoding import encode_video
from tasks.media.video import decode_bytes
from tests.support.hub import fetch, served
from tests.support.tiny_wan import N_FRAMES, SIDE, asked, save_lora, save_wan, tiny_wan

pytestmark = pytest.mark.models

NETWORKS = ("text_encoder", "transformer", "vae")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the network that most tests share."""
    models = tmp_path_factory.mktemp("models")
    save_wan(models / "wan")
    return models


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A folder with a network that a test may damage."""
    shutil.copytree(folder / "wan", tmp_path / "wan")
    return tmp_path


def video(folder: Path, text: str = "a fox is on the left of a stump", seed: int = 0, **settings: Any) -> bytes:
    return tiny_wan(folder, **settings).generate(asked(text, seed)).video


# --- Videos ----------------------------------------------------------------------------------


def test_the_video_is_the_pipelines_own(folder: Path) -> None:
    import torch
    from diffusers import WanPipeline

    ours = video(folder, seed=7, guidance=4.0)
    pipeline = WanPipeline.from_pretrained(folder / "wan")
    theirs = pipeline(
        "a fox is on the left of a stump",
        height=SIDE,
        width=SIDE,
        num_frames=N_FRAMES,
        num_inference_steps=2,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(7),
    ).frames[0]
    assert theirs.std() > 0.05
    assert ours == encode_video((theirs * 255).round().astype(np.uint8), 16, 16)


def test_a_sample_does_not_depend_on_those_before_it_or_on_the_load(folder: Path, copied: Path) -> None:
    prompts = [("a fox is on the left of a stump", 0), ("an owl walks to the top of the stump", 3)]
    forward = [video(folder, *prompt) for prompt in prompts]
    backward = [video(folder, *prompt) for prompt in reversed(prompts)]
    assert forward == backward[::-1]
    (copied / "wan").rename(copied / "other")  # another name is another load
    assert [video(folder, *prompt, model=str(copied / "other")) for prompt in prompts] == forward


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"text": "an owl is on the top of a stump"},
        {"guidance": 3.0},
        {"steps": 3},
        {"flow_shift": 5.0},
        {"negative_prompt": "owl"},
        {"precision": "bfloat16"},
        {"generate": {"n_frames": 9}},
        {"generate": {"width": 48}},
    ],
    ids=str,
)
def test_whatever_is_asked_otherwise_gives_another_video(folder: Path, change: dict[str, Any]) -> None:
    assert video(folder, **change) != video(folder)


def test_frames_and_size_are_those_asked_for(folder: Path) -> None:
    made = video(folder, generate={"n_frames": 9, "width": 64, "height": 48})
    assert decode_bytes(made).shape == (9, 48, 64, 3)


def test_null_leaves_the_scheduler_as_the_model_has_it(folder: Path) -> None:
    assert video(folder, flow_shift=None) == video(folder, flow_shift=3.0)


def test_where_there_is_no_gpu_nothing_is_offloaded_from_it(folder: Path) -> None:
    assert video(folder, offload=True) == video(folder)


def test_the_config_chooses_it(folder: Path, tmp_path: Path) -> None:
    chosen = DiffusersConfig(model=str(folder / "wan"))
    work = Work(root=tmp_path, inputs=Inputs(folder=tmp_path))
    backend = load_backend(GenerateConfig(generator="diffusers"), work, chosen, TorchConfig(device="cpu"))
    assert backend.identity["backend"] == "diffusers"
    assert backend.identity["frames"] == "81 of 832x480"


def test_it_says_nothing(copied: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (copied / "wan").rename(copied / "quiet")
    video(copied, model=str(copied / "quiet"))
    assert capfd.readouterr() == ("", "")


def test_what_changes_the_video_changes_the_identity(folder: Path, tmp_path: Path) -> None:
    def identity(**settings: Any) -> str:
        return json.dumps(tiny_wan(folder, **settings).identity, sort_keys=True)

    changes: list[dict[str, Any]] = [
        {"model": str(save_wan(tmp_path / "wan", seed=1))},
        {"lora": str(save_lora(tmp_path / "lora"))},
        {"steps": 3},
        {"guidance": 3.0},
        {"flow_shift": None},
        {"negative_prompt": "owl"},
        {"precision": "bfloat16"},
        {"vae_precision": "bfloat16"},
        {"generate": {"n_frames": 9}},
        {"generate": {"height": 48}},
    ]
    assert len({identity(), *(identity(**change) for change in changes)}) == 1 + len(changes)
    assert identity() == identity(offload=True)


def test_naming_the_rows_needs_no_library() -> None:
    code = """
import sys
from tasks.backends.diffusers_videos import DiffusersConfig
from tasks.backends.diffusers_videos.pipeline import DiffusersVideos
from tasks.backends.torch_runtime import TorchConfig
from tasks.generate_samples import GenerateConfig
made_by = DiffusersVideos(GenerateConfig(), DiffusersConfig(), TorchConfig()).identity
assert made_by["model"] == "Wan-AI/Wan2.1-T2V-1.3B-Diffusers@main", made_by
assert not {"torch", "diffusers", "transformers"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- LoRA ------------------------------------------------------------------------------------


def test_lora_weights_change_the_video(folder: Path, tmp_path: Path) -> None:
    lora = save_lora(tmp_path / "lora")
    with_lora = video(folder, lora=str(lora))
    assert with_lora != video(folder)
    assert with_lora == video(folder, lora=str(lora / "pytorch_lora_weights.safetensors"))


def test_lora_weights_with_wans_own_names(folder: Path, tmp_path: Path) -> None:
    theirs = save_lora(tmp_path / "theirs", prefix="diffusion_model.", layer="blocks.0.cross_attn.k")
    assert video(folder, lora=str(theirs)) == video(folder, lora=str(save_lora(tmp_path / "ours")))


def test_lora_weights_without_a_place_are_refused(folder: Path, tmp_path: Path) -> None:
    unknown = save_lora(tmp_path / "unknown", prefix="unet.")
    with pytest.raises(ServiceDown, match=r"unknown sha256:.*: only 0 of its 2 weights fit this WanPipeline"):
        video(folder, lora=str(unknown))
    deeper = save_lora(tmp_path / "deeper", layer="blocks.7.attn2.to_k")
    with pytest.raises(ServiceDown, match=r"cannot load deeper sha256:.*blocks\.7\.attn2\.to_k"):
        video(folder, lora=str(deeper))


def test_a_folder_without_lora_weights(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ServiceDown, match="cannot load empty sha256:"):
        video(folder, lora=str(tmp_path / "empty"))
    with pytest.raises(ServiceDown, match=r"no checkpoint at .*gone"):
        video(folder, lora=str(tmp_path / "gone"))


# --- What cannot be ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_frames", "says"), [(6, "set it to 5 or 9"), (80, "set it to 77 or 81"), (4, "set it to 1 or 5")]
)
def test_a_number_of_frames_that_wan_does_not_make(folder: Path, n_frames: int, says: str) -> None:
    told = rf"generate.n_frames is {n_frames}, but a WanPipeline makes 4k \+ 1 frames: {says}"
    with pytest.raises(ServiceDown, match=told):
        video(folder, generate={"n_frames": n_frames})


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a file of settings or of weights."""
    from safetensors.torch import load_file, save_file

    if file.suffix == ".json":
        values = json.loads(file.read_text())
        change(values)
        file.write_text(json.dumps(values))
    else:
        weights = load_file(file)
        change(weights)
        save_file(weights, file, metadata={"format": "pt"})


def weights_file(folder: Path, network: str) -> Path:
    (file,) = (folder / "wan" / network).glob("*.safetensors")
    return file


@pytest.mark.parametrize("network", NETWORKS)
def test_a_weight_that_is_missing_is_not_made_up(copied: Path, network: str) -> None:
    """diffusers warns, fills in what it likes and goes on."""
    edit(weights_file(copied, network), lambda weights: weights.pop(sorted(weights)[0]))
    with pytest.raises(ServiceDown, match=rf"wan sha256:.* does not fit the architecture: 1 \({network}\."):
        video(copied)


def test_files_that_are_missing_or_cut_off(copied: Path) -> None:
    weights = weights_file(copied, "transformer")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ServiceDown, match=r"cannot load wan sha256:.*is the download complete"):
        video(copied)
    weights.unlink()
    with pytest.raises(ServiceDown, match=r"cannot load wan sha256:.*is the download complete"):
        video(copied)
    (copied / "wan" / "model_index.json").unlink()
    with pytest.raises(ServiceDown, match=r"cannot load wan sha256:.*model_index\.json"):
        video(copied)


def test_pickled_weights_are_not_opened(copied: Path) -> None:
    import torch

    weights = weights_file(copied, "vae")
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ServiceDown, match="cannot load wan sha256:"):
        video(copied)


@pytest.mark.parametrize(
    "named",
    [
        {"_class_name": ["theirs", "Theirs"]},
        {"scheduler": ["theirs", "Theirs"]},
        {"scheduler": ["theirs.py", "Theirs"]},
    ],
    ids=str,
)
def test_code_beside_the_weights_is_not_run(copied: Path, named: dict[str, Any]) -> None:
    for place in ("theirs.py", "scheduler/theirs.py"):
        (copied / "wan" / place).write_text(f"open({str(copied / 'ran')!r}, 'w')\nclass Theirs: pass\n")
    edit(copied / "wan" / "model_index.json", lambda index: index.update(named))
    with pytest.raises(ServiceDown, match="cannot load wan sha256:"):
        video(copied)
    assert not (copied / "ran").exists()


def test_a_pipeline_that_wants_a_picture(copied: Path) -> None:
    edit(copied / "wan" / "model_index.json", lambda index: index.update(_class_name="WanImageToVideoPipeline"))
    with pytest.raises(ServiceDown, match="is a WanImageToVideoPipeline, which needs more than a prompt"):
        video(copied)


def test_a_scheduler_without_a_shift(copied: Path) -> None:
    (copied / "wan" / "scheduler" / "scheduler_config.json").unlink()
    (copied / "wan" / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": "DDIMScheduler"}))
    edit(copied / "wan" / "model_index.json", lambda index: index.update(scheduler=["diffusers", "DDIMScheduler"]))
    with pytest.raises(ServiceDown, match=r"DDIMScheduler has no shift; set diffusers\.flow_shift to null"):
        video(copied)


def test_pixels_that_are_no_numbers(copied: Path) -> None:
    edit(weights_file(copied, "transformer"), lambda weights: weights["proj_out.bias"].fill_(float("nan")))
    with pytest.raises(RowFailed) as failure:
        video(copied)
    assert (failure.value.reason, failure.value.retryable) == ("not_finite", False)


def test_memory_that_runs_out_concerns_the_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from diffusers import WanPipeline

    video(folder)  # loads it

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(WanPipeline, "__call__", full)
    with pytest.raises(RowFailed) as failure:
        video(folder)
    assert (failure.value.reason, failure.value.retryable) == ("gpu_out_of_memory", True)


def test_settings_that_the_pipeline_refuses_or_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pipelines with coarser latents than Wan's do."""
    from diffusers import WanPipeline

    video(folder)  # loads it
    generate = WanPipeline.__call__
    monkeypatch.setattr(WanPipeline, "__call__", lambda self, height, **asked: generate(self, height=32, **asked))
    with pytest.raises(ServiceDown, match="made 5 frames of 32x32, expected 5 of 32x48; set generate"):
        video(folder, generate={"height": 48})
    monkeypatch.setattr(WanPipeline, "__call__", lambda self, height, **asked: generate(self, height=33, **asked))
    with pytest.raises(ServiceDown, match=r"WanPipeline refuses these settings: .*divisible by 16"):
        video(folder)


# --- The hub ---------------------------------------------------------------------------------

COMMIT = "c" * 40
FETCH_PIPELINE = """
import time
time.sleep = lambda s: None  # the pauses between tries, 23 s in all
from schemas.outcome import ServiceDown
from tasks.backends.diffusers_models import pipeline_folder
from tasks.backends.torch_runtime import Checkpoint, loading
checkpoint = Checkpoint.of("owner/name")
try:
    with loading(checkpoint):
        print(pipeline_folder(checkpoint), end="")
except ServiceDown as error:
    print("ServiceDown:", error)
"""


def test_a_pipeline_comes_from_the_hub_without_what_lies_beside_it(folder: Path, copied: Path, tmp_path: Path) -> None:
    beside = ("README.md", "assets/logo.png", "vae/model.fp16.safetensors", "vae/model.bin", "model_0/config.json")
    for name in beside:
        (copied / "wan" / name).parent.mkdir(exist_ok=True)
        (copied / "wan" / name).write_bytes(b"beside")
    with served({"owner/name": copied / "wan"}) as endpoint:
        fetched = Path(fetch(endpoint, tmp_path / "cache", FETCH_PIPELINE).stdout)
    assert fetched.name == COMMIT
    assert not [name for name in beside if (fetched / name).exists()]
    assert video(folder, model=str(fetched)) == video(folder)
    # The hub is gone; the run goes on with what it has.
    assert Path(fetch(endpoint, tmp_path / "cache", FETCH_PIPELINE).stdout) == fetched


def test_a_hub_that_cannot_be_asked(copied: Path, tmp_path: Path) -> None:
    with served({"owner/name": copied / "wan"}) as endpoint:
        pass
    said = fetch(endpoint, tmp_path / "cache", FETCH_PIPELINE).stdout
    assert said.startswith("ServiceDown: cannot load owner/name@main: LocalEntryNotFoundError")
    assert "is the hub reachable and the name right" in said
