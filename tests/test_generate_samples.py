"""tasks.generate_samples: what is stored of a video, and when it is made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.dsr import ANIMAL, OBJECT, DsrPrompt, DsrSample
from schemas.generation import Generated, Generation
from schemas.outcome import RowFailed
from tasks.backends.diffusers_videos import DiffusersConfig
from tasks.backends.torch_runtime import TorchConfig
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Row, Shard, load_shard
from tasks.engine.stage import Stage, run_stage
from tasks.engine.work import Work
from tasks.generate_samples import (
    GenerateConfig,
    SampleFootage,
    load_backend,
    sample_footage,
    stage,
    store_generation,
    wanted_instances,
)
from tasks.media import decoding
from tasks.media.container import UnreadableVideo
from tasks.media.encoding import encode_video
from tests.support.dsr_rows import make_prompt

TINY = GenerateConfig(n_frames=4, width=64, height=48)
SAMPLE = DsrSample.of(make_prompt(), 3)


def shades(n_frames: int) -> bytes:
    """A video of grey frames, each lighter than the last."""
    return encode_video([np.full((48, 64, 3), 40 * (t + 1), np.uint8) for t in range(n_frames)], 8)


def work_in(folder: Path) -> Work:
    return Work(root=folder / "work", inputs=Inputs(folder=folder))


def stage_in(folder: Path, config: GenerateConfig = TINY) -> Stage[DsrSample, DsrSample, Generated]:
    return stage(work_in(folder), config, DiffusersConfig(), TorchConfig())


# --- What is stored --------------------------------------------------------------------------


def test_a_video_is_stored_with_what_it_is() -> None:
    video = shades(3)
    generated = store_generation(SAMPLE, Generation(video), [])
    assert (generated.n_frames, generated.fps, generated.width, generated.height) == (3, 8.0, 64, 48)
    assert generated.video == video
    assert (generated.true_boxes, generated.drawn) == ([], None)


@pytest.mark.parametrize("data", [b"", b"no video", shades(3)[:-200]], ids=["empty", "text", "cut off"])
def test_bytes_that_are_no_whole_video_fail_the_row(data: bytes) -> None:
    with pytest.raises(UnreadableVideo) as failure:
        store_generation(SAMPLE, Generation(data), [])
    assert not failure.value.retryable


def test_boxes_are_one_a_frame_or_the_row_fails() -> None:
    boxes = {ANIMAL: [(1.0, 2.0, 9.0, 9.0), None, (2.0, 2.0, 9.0, 9.0)]}
    stored = store_generation(SAMPLE, Generation(shades(3), boxes=boxes), []).true_boxes
    assert [(true.instance_id, true.box_xyxy) for true in stored] == list(boxes.items())
    with pytest.raises(RowFailed) as failure:
        store_generation(SAMPLE, Generation(shades(2), boxes=boxes), [])
    assert (failure.value.reason, failure.value.detail) == ("wrong_length", "id1: 3 boxes for 2 frames")


def test_the_two_things_are_named_as_the_prompt_names_them() -> None:
    sample = DsrSample.of(make_prompt(animal="owl", object="tree stump"), 0)
    animal, thing = wanted_instances(sample, {})
    assert (animal.instance_id, animal.class_name, animal.noun, animal.living) == (ANIMAL, "owl", "an owl", True)
    assert (thing.instance_id, thing.class_name, thing.noun, thing.living) == (
        OBJECT,
        "tree stump",
        "a tree stump",
        False,
    )


def test_looks_that_the_generator_knows_come_first() -> None:
    animal, thing = wanted_instances(SAMPLE, {ANIMAL: "an orange fox"})
    assert (animal.noun, animal.class_name, thing.noun) == ("an orange fox", "fox", "a stump")


# --- Footage ---------------------------------------------------------------------------------


def test_footage_of_a_stored_video() -> None:
    generated = store_generation(SAMPLE, Generation(shades(4)), [])
    footage = SampleFootage(SAMPLE.text, generated)
    assert footage.n_frames == 4
    assert footage.wanted.caption == SAMPLE.text
    assert footage.wanted.pairs == [(ANIMAL, OBJECT)]
    assert footage.wanted.instances == generated.instances
    assert footage.frames().shape == (4, 48, 64, 3)
    assert [round(frame.mean(), -1) for frame in footage.frames([1, 3])] == [80, 160]
    assert footage.span == [generated.video_sha256]


def test_footage_decodes_up_to_the_last_asked_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies behind it may be anything: a video is looked at whole when it is stored, and then is known by hash."""
    generated = store_generation(SAMPLE, Generation(encode_video([np.zeros((48, 64, 3), np.uint8)] * 12, 8)), [])
    decoded = []
    dated = decoding.Decoding._dated

    def count(self: Any, *frame: Any) -> Any:
        decoded.append(frame)
        return dated(self, *frame)

    monkeypatch.setattr(decoding.Decoding, "_dated", count)
    SampleFootage(SAMPLE.text, generated).frames([0, 3])
    assert len(decoded) == 4


def test_footage_is_read_from_what_the_stage_made(tmp_path: Path) -> None:
    work = work_in(tmp_path)
    path = run_stage(work, Shard[DsrSample].of([SAMPLE]), stage_in(tmp_path))
    [row] = load_shard(path, DsrSample).rows
    assert row.outcome is None
    assert sample_footage(work, row).frames([0]).shape == (1, 48, 64, 3)


# --- Keys ------------------------------------------------------------------------------------


def key(folder: Path, sample: DsrSample, **settings: Any) -> str:
    return stage_in(folder, TINY.model_copy(update=settings)).key(Row[DsrSample](payload=sample))


def prompt(**changes: Any) -> DsrPrompt:
    return DsrPrompt(**make_prompt().model_dump() | changes)


@pytest.mark.parametrize("change", [{"prompt_id": "RL_2"}, {"split": "test"}], ids=str)
def test_the_prompts_name_and_split_make_no_other_video(tmp_path: Path, change: dict[str, Any]) -> None:
    assert key(tmp_path, DsrSample.of(prompt(**change), 3)) == key(tmp_path, SAMPLE)


@pytest.mark.parametrize(
    "change",
    [{"text": "other"}, {"animal": "owl"}, {"object": "log"}, {"verb": "runs"}, {"final": "top"}, {"scene": "At sea"}],
    ids=str,
)
def test_other_labels_or_words_make_another(tmp_path: Path, change: dict[str, Any]) -> None:
    assert key(tmp_path, DsrSample.of(prompt(**change), 3)) != key(tmp_path, SAMPLE)


def test_another_seed_or_size_makes_another(tmp_path: Path) -> None:
    assert key(tmp_path, DsrSample.of(prompt(), 4)) != key(tmp_path, SAMPLE)
    assert key(tmp_path, SAMPLE, width=80) != key(tmp_path, SAMPLE)


def test_given_videos_are_known_by_their_bytes_not_by_their_paths(tmp_path: Path) -> None:
    def given(name: str, sha256: str) -> str:
        return key(tmp_path, DsrSample.of(prompt(), 3, name, sha256), generator="folder")

    assert given("a.mp4", "ab" * 32) == given("b.mp4", "ab" * 32)
    assert given("a.mp4", "ab" * 32) != given("a.mp4", "cd" * 32)


@pytest.mark.parametrize("generator", ["drawn", "folder"])
def test_the_config_chooses_the_generator(tmp_path: Path, generator: str) -> None:
    config = GenerateConfig(generator=generator)
    backend = load_backend(config, work_in(tmp_path), DiffusersConfig(), TorchConfig())
    assert backend.identity["backend"] == generator
