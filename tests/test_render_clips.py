"""tasks.render_clips: what is stored of a rendered clip, and what becomes of a renderer's failures."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from schemas.mask_track import decode_masks
from schemas.outcome import RowFailed, ServiceDown
from schemas.provenance import MadeBy
from schemas.record import content_hash
from schemas.scene import Floor, Scene, SceneSeed
from schemas.simulation import Rendered, Rendering, Simulation
from tasks import render_clips
from tasks.backends.cycles import CyclesConfig
from tasks.backends.raster import RasterRenderer
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Row, Shard, load_shard
from tasks.engine.stage import run_stage
from tasks.engine.work import Made, Work
from tasks.media.floors import Floors
from tasks.render_clips import RenderConfig, load_backend, stage, store_pictures
from tests.support.scenes import checkerboard, glide, make_camera, tiny_scene

MADE_BY = [MadeBy.of("render_clips", {"backend": "raster", "model": "m"})]
PAINTED = Floor(texture="tiles-1", noun="tiled floor", tile_m=2.0, offset_m=(0.0, 0.0), turn_deg=0.0)


def decode(video: bytes) -> np.ndarray:
    with av.open(io.BytesIO(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def rendered(scene: Scene) -> tuple[Rendering, Rendered]:
    pictures = RasterRenderer().render(scene, glide(scene), checkerboard())
    return pictures, store_pictures(pictures, scene, 16, MADE_BY)


# --- What is stored --------------------------------------------------------------------------


def test_49_frames_are_exactly_49_in_the_video() -> None:
    pictures, stored = rendered(tiny_scene(49))
    frames = decode(stored.video)
    assert frames.shape == pictures.frames.shape == (49, 80, 120, 3)
    apart = [[np.abs(frame.astype(int) - picture).mean() for picture in pictures.frames] for frame in frames]
    assert np.argmin(apart, axis=1).tolist() == list(range(49)), "every frame is at its place"
    with av.open(io.BytesIO(stored.video)) as container:
        assert container.streams.video[0].average_rate == 24
        assert container.streams.video[0].codec_context.name == "h264"
    assert stored.video_sha256 == hashlib.sha256(stored.video).hexdigest()


def test_masks_go_there_and_back() -> None:
    scene = tiny_scene(3, camera=make_camera(75, 50))
    pictures, stored = rendered(scene)
    assert [track.instance_id for track in stored.tracks] == ["id1", "id2"]
    for label, track in enumerate(stored.tracks, start=1):
        assert np.array_equal(decode_masks(track.counts, 50, 75), pictures.labels == label)
        assert track.area == [(labels == label).sum() for labels in pictures.labels]


def test_same_pictures_same_bytes() -> None:
    scene = tiny_scene(4)
    assert rendered(scene)[1].to_json() == rendered(scene)[1].to_json()


def test_a_body_that_is_never_seen_has_an_empty_track() -> None:
    scene = tiny_scene(2)
    away = scene.bodies[1].model_copy(update={"position": (0.0, 50.0, 0.25)})
    _, stored = rendered(scene.model_copy(update={"bodies": [scene.bodies[0], away]}))
    assert stored.tracks[1].area == [0, 0]
    assert stored.tracks[1].present == [False, False]


def flawed(scene: Scene, **changes: Any) -> Rendering:
    return RasterRenderer().render(scene, glide(scene), checkerboard())._replace(**changes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"frames": np.zeros((3, 80, 120, 3), np.uint8)}, "frames"),
        ({"labels": np.zeros((4, 80, 60), np.uint8)}, "labels"),
        ({"labels": np.full((4, 80, 120), 3, np.uint8)}, "label 3 in a scene of 2 bodies"),
        ({"frames": np.zeros((4, 80, 120, 3), np.float32)}, "float32"),
        ({"labels": np.zeros((4, 80, 120), bool)}, "bool"),
    ],
)
def test_pictures_of_another_scene_are_refused(changes: dict[str, Any], complaint: str) -> None:
    scene = tiny_scene(4)
    with pytest.raises(ValueError, match=complaint):
        store_pictures(flawed(scene, **changes), scene, 16, MADE_BY)


# --- The stage -------------------------------------------------------------------------------


class Moody:
    """A renderer that fails for the seeds it is told to."""

    concurrency = 1

    def __init__(self, **ends: Exception) -> None:
        self.identity = {"backend": "moody", "model": "1"}
        self.ends = {int(seed.removeprefix("seed")): error for seed, error in ends.items()}
        self.rendered: list[int] = []

    def render(self, scene: Scene, trajectories: Any, floor: np.ndarray) -> Rendering:
        self.rendered.append(scene.seed)
        if scene.seed in self.ends:
            raise self.ends[scene.seed]
        return RasterRenderer().render(scene, trajectories, floor)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path))


def simulated(work: Work, seeds: range, **changes: Any) -> Shard[SceneSeed]:
    """Rows whose scenes have been simulated."""
    rows = []
    for seed in seeds:
        scene = tiny_scene(2, seed=seed, floor=PAINTED, camera=make_camera(48, 32), **changes)
        simulation = Simulation(scene=scene, trajectories=glide(scene), collisions=[], rejected_draws=[], made_by=[])
        key = content_hash(simulation)
        work.save(Simulation, key, Made[Simulation](result=simulation))
        payload = SceneSeed.of("config", "simple_motion", "train", seed)
        rows.append(Row[SceneSeed](payload=payload, made={"simulate_scenes": key}))
    return Shard[SceneSeed](shard_id="shard-1", rows=rows)


def run(
    work: Work,
    shard: Shard[SceneSeed],
    monkeypatch: pytest.MonkeyPatch,
    renderer: Any = None,
    floors: Floors | None = None,
    **config: Any,
) -> Shard[SceneSeed]:
    with monkeypatch.context() as patch:
        if renderer is not None:
            patch.setattr(render_clips, "load_backend", lambda config, cycles: renderer)
        step = stage(work, RenderConfig(**config), floors or Floors(), CyclesConfig())
    return load_shard(run_stage(work, shard, step), SceneSeed)


def test_the_stage_stores_a_video_and_a_track_a_body(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = run(work, simulated(work, range(1)), monkeypatch)
    stored = work.result(shard.rows[0], Rendered)
    assert len(decode(stored.video)) == 2
    assert len(stored.tracks) == 2
    assert [made.backend for made in stored.made_by] == ["raster"]


def test_a_row_that_cannot_be_rendered_fails_alone(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = Moody(seed1=RowFailed("render_crashed", "signal 11", retryable=True))
    shard = run(work, simulated(work, range(3)), monkeypatch, renderer)
    assert [row.outcome and (row.outcome.status, row.outcome.reason) for row in shard.rows] == [
        None,
        ("failed", "render_crashed"),
        None,
    ]
    again = Moody()
    assert [row.outcome for row in run(work, simulated(work, range(3)), monkeypatch, again).rows] == [None] * 3
    assert again.rendered == [1], "what was rendered is not rendered again"


def test_a_renderer_that_is_not_there_ends_the_shard(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceDown, match="no Blender"):
        run(work, simulated(work, range(3)), monkeypatch, Moody(seed0=ServiceDown("no Blender")))


@pytest.mark.logs_errors
def test_a_renderer_that_gives_other_pictures_fails_the_row(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = Moody()
    monkeypatch.setattr(renderer, "render", lambda *_: flawed(tiny_scene(2)))
    shard = run(work, simulated(work, range(1)), monkeypatch, renderer)
    assert shard.rows[0].outcome
    assert "asked for" in str(shard.rows[0].outcome.detail)


def test_a_scene_is_rendered_again_when_what_it_shows_changes(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = Moody()
    run(work, simulated(work, range(2)), monkeypatch, renderer)
    run(work, simulated(work, range(2)), monkeypatch, renderer)
    assert renderer.rendered == [0, 1]
    run(work, simulated(work, range(2)), monkeypatch, renderer, crf=20)
    run(work, simulated(work, range(1), bodies=tiny_scene().bodies[:1]), monkeypatch, renderer)
    monkeypatch.setattr("tasks.media.floors.painted.VERSION", "another")
    run(work, simulated(work, range(1)), monkeypatch, renderer)
    assert renderer.rendered == [0, 1, 0, 1, 0, 0]


def test_a_floor_that_nobody_paints_fails_the_row(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_render_clips.PAINTED", PAINTED.model_copy(update={"texture": "lava"}))
    shard = run(work, simulated(work, range(1)), monkeypatch)
    assert [row.outcome and row.outcome.reason for row in shard.rows] == ["unknown_floor"]


def test_the_embedded_renderer_is_the_default() -> None:
    assert load_backend(RenderConfig(), CyclesConfig()).identity["backend"] == "raster"
