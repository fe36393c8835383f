"""export --format spatialalign: metadata and latents as SpatialAlign's own loader reads them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from flows.commands.export import main
from schemas.dsr import PairRow, PromptRow, SampleRow, VideoRow
from schemas.storage import write_atomic
from tasks.datasets.dsr.pairs import PairConfig, pair_samples, prompt_rows
from tasks.datasets.dsr.trainer_export import export_tensors, is_trained_on, require_names
from tasks.engine.snapshots import LATEST, Snapshot, SnapshotError
from tasks.media.encoding import encode_video
from tests.support.dsr_rows import make_prompt, make_sample
from tests.support.flow_runs import files_of
from tests.support.readers_of_exports import read_film, read_spatialalign
from tests.support.snapshots import write_snapshot

if TYPE_CHECKING:
    import torch

    from tasks.training.encoders import EncodedText

PAIRED, LONELY, TESTED = make_prompt("1099_RL"), make_prompt("RL_1f"), make_prompt("test_0", split="test")
SAMPLES = [
    make_sample(PAIRED, 0, dsr_score=0.3, n_frames=5),
    make_sample(PAIRED, 2, dsr_score=0.9, n_frames=5),
    make_sample(LONELY, 1, dsr_score=0.9, n_frames=5),
    make_sample(TESTED, 0, dsr_score=0.9, n_frames=5),
]


def video_of(sample: SampleRow, side: int = 32) -> bytes:
    """Five frames of a grey of its own."""
    return encode_video([np.full((side, side, 3), 40 * (1 + SAMPLES.index(sample)), np.uint8)] * 5, 16)


def publish(root: Path, sides: dict[str, int] | None = None) -> Snapshot:
    pairs = pair_samples(SAMPLES, PairConfig())
    rows = prompt_rows([PAIRED, LONELY, TESTED], {"train": [0, 1, 2], "test": [0]}, SAMPLES, pairs, PairConfig())
    videos = [
        VideoRow(clip_id=s.clip_id, sha256=s.sha256, video=video_of(s, (sides or {}).get(s.clip_id, 32)))
        for s in SAMPLES
    ]
    tables: Any = {
        "prompts": (PromptRow, rows),
        "pairs": (PairRow, pairs),
        "samples": (SampleRow, SAMPLES),
        "videos": (VideoRow, videos),
    }
    shards = {"shard-0": [sample.clip_id for sample in SAMPLES]}
    folder = root / "snapshots" / "toy-0123"
    snapshot = write_snapshot(folder, "curate-dsr", tables, shards, n_inputs=4, n_accepted=4)
    write_atomic(root / "snapshots" / LATEST, f"{snapshot.id}\n".encode())
    return snapshot


def test_the_loader_trains_on_prompts_with_a_winner_and_a_loser(tmp_path: Path) -> None:
    prompts = publish(tmp_path).rows(PromptRow)
    assert {prompt.prompt_id: is_trained_on(prompt) for prompt in prompts} == {
        "1099_RL": True,
        "RL_1f": False,
        "test_0": False,
    }


def test_ids_that_the_loader_takes_for_numbers_are_refused(tmp_path: Path) -> None:
    prompts = publish(tmp_path).rows(PromptRow)
    require_names(prompts)
    with pytest.raises(SnapshotError, match="every prompt's id is a number, such as 17"):
        require_names([prompt.model_copy(update={"prompt_id": "17"}) for prompt in prompts])


def test_without_a_model_it_says_what_is_missing(tmp_path: Path) -> None:
    publish(tmp_path)
    arguments = ["--root", str(tmp_path), "--folder", str(tmp_path / "out"), "--format", "spatialalign"]
    with pytest.raises(
        SystemExit, match=r"latents are made by Wan2\.1's own encoders: give its folder, --model FOLDER"
    ):
        main(arguments)
    assert not (tmp_path / "out").exists()


class Greys:
    """Encodes a video as its mean grey, and a text as its length: what is tested is which goes where."""

    def __init__(self) -> None:
        self.n_videos = 0

    @property
    def identity(self) -> dict[str, str]:
        return {"model": "greys"}

    def encode_video(self, frames: np.ndarray) -> torch.Tensor:
        import torch

        self.n_videos += 1
        n_frames, height, width, _ = frames.shape
        return torch.full((16, 1 + (n_frames - 1) // 4, height // 8, width // 8), frames.mean(), dtype=torch.float32)

    def encode_text(self, prompt: str) -> EncodedText:
        import torch

        from tasks.training.encoders import EncodedText

        return EncodedText(torch.full((512, 8), float(len(prompt)), dtype=torch.bfloat16), ())


@pytest.mark.models
def test_latents_lie_in_the_order_of_the_rewards_and_invalid_seeds_keep_their_place(tmp_path: Path) -> None:
    import torch

    told = export_tensors(publish(tmp_path), tmp_path / "out", Greys())
    assert told == f"{tmp_path}/out/metadata.csv lists 2 training prompts; 1 have tensors"
    (sample,) = read_spatialalign(tmp_path / "out")
    assert (sample.prompt_id, sample.rewards) == ("1099_RL", [0, -100, 1])
    assert sample.latents.shape == (3, 16, 2, 4, 4)
    assert sample.latents.dtype == sample.context.dtype == torch.bfloat16
    means = [read_film(video_of(SAMPLES[i])).frames.mean() for i in (0, 1)]
    assert sample.latents[:, 0, 0, 0, 0].tolist() == pytest.approx([means[0], 0, means[1]], rel=0.01)
    assert sample.context.shape == (1, 512, 8)
    assert float(sample.context[0, 0, 0]) == pytest.approx(len(PAIRED.text), rel=0.01)
    with (tmp_path / "out" / "metadata.csv").open(newline="") as file:
        assert [row["prompt_id"] for row in csv.DictReader(file)] == ["1099_RL", "RL_1f"]
    assert {path.name for path in (tmp_path / "out" / "videos").iterdir()} == {
        "1099_RL_F5_seed00.mp4",
        "1099_RL_F5_seed02.mp4",
        "RL_1f_F5_seed01.mp4",
    }


@pytest.mark.models
def test_exporting_again_encodes_nothing_and_gives_the_same_bytes(tmp_path: Path) -> None:
    snapshot, greys = publish(tmp_path), Greys()
    export_tensors(snapshot, tmp_path / "out", greys)
    before = files_of(tmp_path / "out")
    assert greys.n_videos == 2
    export_tensors(snapshot, tmp_path / "out", greys)
    assert greys.n_videos == 2
    export_tensors(snapshot, tmp_path / "other", greys)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "other") == before


@pytest.mark.models
def test_a_prompt_whose_videos_cannot_be_stacked_is_named(tmp_path: Path) -> None:
    told = export_tensors(publish(tmp_path, {SAMPLES[1].clip_id: 64}), tmp_path / "out", Greys())
    assert told.endswith("0 have tensors, 1 left out (skipped.csv)")
    assert "1099_RL,shapes_differ," in (tmp_path / "out" / "skipped.csv").read_text()
    assert not (tmp_path / "out" / "tensors").exists()


@pytest.mark.models
def test_the_command_encodes_with_wans_own_networks(tmp_path: Path) -> None:
    """A tiny Wan2.1 of random weights, through the code that loads the published one."""
    import torch

    from tasks.backends.torch_runtime import TorchConfig
    from tasks.training.encoders import EncoderConfig
    from tasks.training.models.encoder import load_encoder
    from tasks.training.models.tiny import save_tiny_wan

    model = save_tiny_wan(tmp_path / "wan")
    publish(tmp_path)
    arguments = ["--root", str(tmp_path), "--folder", str(tmp_path / "out"), "--format", "spatialalign"]
    main([*arguments, "--model", str(model), "--device", "cpu"])
    (sample,) = read_spatialalign(tmp_path / "out")
    encoder = load_encoder(EncoderConfig(family="wan", model=str(model)), TorchConfig(device="cpu"))
    for place, which in ((0, 0), (2, 1)):
        expected = encoder.encode_video(read_film(video_of(SAMPLES[which])).frames)
        torch.testing.assert_close(sample.latents[place], expected.to(torch.bfloat16), rtol=0.02, atol=0.05)
    assert not sample.latents[1].any()
    torch.testing.assert_close(sample.context[0], encoder.encode_text(PAIRED.text).embedding)
