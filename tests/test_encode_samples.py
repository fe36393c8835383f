"""The stage that encodes samples, with tiny networks: what it stores, and what makes it encode anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.encoded_sample import EncodedSample
from schemas.training_samples import SnapshotRow
from tasks import encode_samples
from tasks.backends.torch_runtime import TorchConfig
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Row, Shard, load_shard
from tasks.engine.stage import AnyStage, run_stage
from tasks.engine.work import Work
from tasks.training.encoders import EncoderConfig
from tasks.training.models.tiny import save_tiny_cogvideox

pytestmark = pytest.mark.models


@dataclass(frozen=True)
class Sample:
    """Drawn frames, an ID map that repeats the first, and a prompt."""

    prompt: str = "a red ball"
    seed: int = 0
    wants_first_frame: bool = True
    has_id_map: bool = True
    n_frames: int = 5

    @property
    def content(self) -> list[object]:
        return [self.seed, self.has_id_map, self.n_frames]

    def frames(self) -> np.ndarray:
        shape = (self.n_frames, 32, 48, 3)
        return np.random.default_rng(self.seed).integers(0, 256, shape, np.uint8)

    def id_map(self) -> np.ndarray | None:
        return self.frames()[0] if self.has_id_map else None


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EncoderConfig:
    folder = save_tiny_cogvideox(tmp_path_factory.mktemp("models") / "cogvideox")
    return EncoderConfig(family="cogvideox", model=str(folder), precision="float32")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(root=tmp_path, inputs=Inputs(folder=tmp_path))


ROW = SnapshotRow(clip_id="clip-1", split="train", content="c" * 64)


def staged(config: EncoderConfig, sample: Sample) -> AnyStage:
    return encode_samples.stage(lambda row: sample, config, TorchConfig(device="cpu"))


def encoded(work: Work, config: EncoderConfig, sample: Sample) -> Row[SnapshotRow]:
    shard = Shard[SnapshotRow].of([ROW])
    (row,) = load_shard(run_stage(work, shard, staged(config, sample)), SnapshotRow).rows
    return row


def tensor(stored: bytes, name: str = "latents") -> Any:
    from safetensors.torch import load

    return load(stored)[name]


def test_a_sample_is_stored_as_the_network_takes_it(work: Work, config: EncoderConfig) -> None:
    result = work.result(encoded(work, config, Sample()), EncodedSample)
    assert tensor(result.latents).shape == (2, 4, 4, 6)
    assert tensor(result.text, "text").shape == (226, 16)
    assert result.image_latents is not None
    assert result.id_latents is not None
    assert tensor(result.image_latents).shape == (1, 4, 4, 6)
    assert tensor(result.id_latents).equal(tensor(result.image_latents))
    assert result.token_offsets == [(0, 1), (2, 5), (6, 10), (0, 0)]
    assert [made.backend for made in result.made_by] == ["cogvideox"]


def test_what_a_model_does_not_take_is_not_there(work: Work, config: EncoderConfig) -> None:
    sample = Sample(wants_first_frame=False, has_id_map=False)
    result = work.result(encoded(work, config, sample), EncodedSample)
    assert (result.image_latents, result.id_latents) == (None, None)


@pytest.mark.parametrize(
    ("sample", "status", "reason"),
    [
        (Sample(prompt="ball " * 300), "rejected", "prompt_too_long"),
        (Sample(n_frames=4), "failed", "size_not_encodable"),
    ],
    ids=["prompt", "frames"],
)
def test_what_cannot_be_encoded_has_an_outcome(
    work: Work, config: EncoderConfig, sample: Sample, status: str, reason: str
) -> None:
    outcome = encoded(work, config, sample).outcome
    assert outcome is not None
    assert (outcome.status, outcome.reason) == (status, reason)


def test_content_prompt_and_model_make_the_key(config: EncoderConfig, tmp_path: Path) -> None:
    def key(sample: Sample, **settings: Any) -> str:
        return staged(config.model_copy(update=settings), sample).key(Row(payload=ROW))

    other = str(save_tiny_cogvideox(tmp_path / "cogvideox", seed=1))
    keys = [
        key(Sample()),
        key(Sample(seed=1)),
        key(Sample(prompt="a blue ball")),
        key(Sample(wants_first_frame=False)),
        key(Sample(), model=other),
        key(Sample(), vae_precision="bfloat16"),
    ]
    assert len(set(keys)) == len(keys)
    assert key(Sample()) == keys[0]
