"""tasks.backends.given_videos: the bytes that were planned with, or a reason."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from schemas.dsr import DsrSample
from schemas.outcome import RowFailed
from schemas.storage import AnyPath, parse_path
from tasks.backends.given_videos import GivenVideos
from tasks.engine.inputs import Inputs
from tasks.readers.read_samples import read_samples
from tests.support.dsr_rows import make_prompt
from tests.support.s3_server import S3Server, bucket, s3, s3_server  # noqa: F401 - fixtures

NAME = "RL_1_F81_seed03.mp4"


def given(name: str | None = NAME, data: bytes = b"a video") -> DsrSample:
    return DsrSample.of(make_prompt(), 3, name, None if name is None else hashlib.sha256(data).hexdigest())


def failure_of(folder: Path, sample: DsrSample) -> RowFailed:
    with pytest.raises(RowFailed) as failure:
        GivenVideos(Inputs(folder=folder)).generate(sample)
    return failure.value


def test_the_file_is_handed_out_as_it_is(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"a video")
    generation = GivenVideos(Inputs(folder=tmp_path)).generate(given())
    assert generation.video == b"a video"
    assert (generation.looks, generation.boxes, generation.drawn) == ({}, {}, None), "nobody knows them"


def test_a_sample_without_a_video_says_what_was_looked_for(tmp_path: Path) -> None:
    failure = failure_of(tmp_path, given(None))
    assert (failure.reason, failure.retryable) == ("no_video", False)
    assert failure.detail == "there is no RL_1_F*_seed03.mp4"


def test_a_file_that_is_not_what_it_was(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"another")
    assert failure_of(tmp_path, given()).reason == "input_changed"
    (tmp_path / NAME).unlink()
    assert failure_of(tmp_path, given()).reason == "missing_file"


def test_a_sample_reaches_nothing_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (tmp_path / "videos").mkdir()
    sample = given("../secret.mp4", b"secret")
    assert failure_of(tmp_path / "videos", sample).reason == "outside_folder"


def test_videos_in_a_bucket(
    s3: S3Server,  # noqa: F811
    bucket: AnyPath,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / NAME).write_bytes(b"a video")
    s3.upload(tmp_path / "videos", "videos", "given")
    folder = parse_path("s3://videos/given")
    [sample] = read_samples(folder, [make_prompt()], {"train": [3]}, tmp_path / "known").samples
    assert GivenVideos(Inputs(folder=folder)).generate(sample).video == b"a video"
