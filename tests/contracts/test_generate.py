"""What every generator owes the stage, whatever its videos are worth."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from schemas.dsr import ANIMAL, OBJECT, DsrSample
from schemas.provenance import MadeBy
from tasks.backends.drawn_videos import DrawnVideos
from tasks.backends.given_videos import GivenVideos
from tasks.engine.inputs import Inputs
from tasks.generate_samples import GenerateConfig, Generator, store_generation
from tasks.media.encoding import encode_video
from tasks.media.video import decode_bytes
from tests.support.dsr_rows import make_prompt
from tests.support.tiny_wan import tiny_wan
from tests.support.told import told_by

N_FRAMES, WIDTH, HEIGHT = 9, 96, 64
SIZE = {"n_frames": N_FRAMES, "width": WIDTH, "height": HEIGHT}


@pytest.fixture(scope="module", params=["drawn", "folder", pytest.param("diffusers", marks=pytest.mark.models)])
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator:
    folder = tmp_path_factory.mktemp("generator")
    match request.param:
        case "diffusers":
            return tiny_wan(folder, SIZE)
        case "folder":
            for seed in range(3):
                (folder / f"{seed}.mp4").write_bytes(film(seed))
            return GivenVideos(Inputs(folder=folder))
    return DrawnVideos(GenerateConfig(**SIZE))


def film(seed: int) -> bytes:
    frames = np.random.default_rng(seed).integers(0, 256, (N_FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    return encode_video(frames, 16)


def sample(seed: int = 0) -> DsrSample:
    """Whoever generates needs no video; who has videos needs their names."""
    video = film(seed)
    return DsrSample.of(make_prompt(), seed, f"{seed}.mp4", hashlib.sha256(video).hexdigest())


def test_the_video_has_the_size_that_was_asked_for(generator: Generator) -> None:
    assert decode_bytes(generator.generate(sample()).video).shape == (N_FRAMES, HEIGHT, WIDTH, 3)


def test_the_stage_takes_it(generator: Generator) -> None:
    made_by = [MadeBy.of("generate_samples", generator.identity)]
    generated = store_generation(sample(), generator.generate(sample()), made_by)
    assert (generated.n_frames, generated.width, generated.height, generated.fps) == (N_FRAMES, WIDTH, HEIGHT, 16.0)
    assert [(i.instance_id, i.class_name) for i in generated.instances] == [(ANIMAL, "fox"), (OBJECT, "stump")]
    assert generated == type(generated).from_json(generated.to_json())


def test_same_sample_same_bytes_in_any_thread_and_order(generator: Generator) -> None:
    first = [generator.generate(sample(seed)) for seed in (0, 1)]
    assert first[0].video != first[1].video
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda seed: generator.generate(sample(seed)), (1, 0))) == first[::-1]


def test_boxes_are_those_of_the_two_things_one_a_frame_within_the_picture(generator: Generator) -> None:
    """Of those who know them."""
    generation = generator.generate(sample())
    assert set(generation.boxes) <= {ANIMAL, OBJECT}
    assert bool(generation.boxes) == (generation.drawn is not None)
    for boxes in generation.boxes.values():
        assert len(boxes) == N_FRAMES
        for left, top, right, bottom in filter(None, boxes):
            assert 0 <= left < right <= WIDTH
            assert 0 <= top < bottom <= HEIGHT


def test_it_tells_how_far_it_is(generator: Generator) -> None:
    units = {"drawn": f"{N_FRAMES} of {N_FRAMES} frames", "diffusers": "2 of 2 denoising steps"}
    expected = units.get(generator.identity["backend"])  # a folder's are there already
    assert told_by(generator.generate, sample())[-1:] == ([expected] if expected else [])


def test_it_says_what_it_is(generator: Generator) -> None:
    assert generator.identity["backend"] in ("drawn", "folder", "diffusers")
    assert json.loads(json.dumps(generator.identity)) == generator.identity
    assert all(isinstance(value, str) for value in generator.identity.values())
    assert generator.concurrency >= 1


def test_its_identity_does_not_change_while_it_works(generator: Generator) -> None:
    before = dict(generator.identity)
    generator.generate(sample())
    assert generator.identity == before


def test_the_identity_of_given_videos_does_not_depend_on_where_they_lie(tmp_path: Path) -> None:
    here, there = (GivenVideos(Inputs(folder=tmp_path / name)) for name in ("here", "there"))
    assert here.identity == there.identity
