"""export: simulated clips as files, and the truth that goes with them."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.commands.export import main
from flows.curate_matrix11k import CurateMatrix11k
from schemas.mask_track import MaskTrack, encode_mask
from schemas.scene import Body, Collision, Floor, Scene, SceneSeed, Trajectory, Vector
from schemas.simulation import Captioned, Rendered, Rendering, Simulation
from schemas.truth import TrueInstance, TrueTriplet, read_truths
from tasks.backends.caption_rules import CaptionRules
from tasks.backends.event_captions import EventCaptions
from tasks.backends.raster import RasterRenderer
from tasks.datasets.kinemask.dataset import KINEMASK
from tasks.datasets.kinemask.export import SimulatedClip, export_clips, read_clips, truth_of
from tasks.datasets.kinemask.ledger import SeedLedger
from tasks.engine.inputs import Inputs
from tasks.engine.publish import publish_snapshot
from tasks.engine.shards import Row, Shard
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.engine.work import Made, Work
from tasks.engine.write_shard import write_shard
from tasks.extract_triplets import ExtractConfig, extract_triplets
from tasks.ground_instances import GroundConfig
from tasks.media.cast_rays import cast, poses_at
from tasks.media.floors import Floors
from tasks.metrics.compare_truth import compare_snapshot
from tasks.readers.read_manifest import read_manifest
from tasks.render_clips import store_pictures
from tasks.simulate_scenes import SceneConfig, simulate
from tests.support.flow_runs import run_here
from tests.support.scenes import BLUE, glide, make_body, make_camera, tiny_scene
from tests.support.stages import KINEMASK_STAGES

CAPTION = "On a tiled floor, the red cube moves to the right and collides with the blue cylinder."


def make_collision(first: str = "id1", second: str = "id2", frame: int = 2, **changes: Any) -> Collision:
    values: dict[str, Any] = {
        "time_s": frame / 24,
        "frame": frame,
        "first_id": first,
        "second_id": second,
        "point": (0.0, 0.0, 0.25),
        "impulse_ns": 0.4,
        "closing_speed_mps": 0.8,
    }
    velocities = ("first_velocity_before", "first_velocity_after", "second_velocity_before", "second_velocity_after")
    return Collision(**values | dict.fromkeys(velocities, (0.0, 0.0, 0.0)) | changes)


def render(scene: Scene, trajectories: list[Trajectory]) -> Rendered:
    """True masks, and frames of nothing but noise."""
    labels = np.stack(
        [cast(scene.camera, scene.bodies, poses_at(trajectories, t)).labels for t in range(scene.n_frames)]
    )
    frames = np.random.default_rng([scene.seed]).integers(0, 255, (*labels.shape, 3), np.uint8)
    return store_pictures(Rendering(frames, labels), scene, 16, [])


def make_clip(
    seed: int = 0, collisions: list[Collision] | None = None, caption: str = CAPTION, **changes: Any
) -> SimulatedClip:
    scene = tiny_scene(set="interactions", seed=seed, **changes)
    rendered = render(scene, glide(scene))
    return SimulatedClip(
        clip_id=f"clip-{seed:016x}",
        caption=caption,
        scene=scene,
        tracks=rendered.tracks,
        collisions=[make_collision()] if collisions is None else collisions,
        video=rendered.video,
    )


def hide(clip: SimulatedClip, instance_id: str) -> SimulatedClip:
    """The same clip with a body that nobody ever sees."""
    camera, empty = clip.scene.camera, encode_mask(np.zeros((clip.scene.camera.height, clip.scene.camera.width), bool))
    hidden = MaskTrack.of(
        instance_id, [empty] * clip.scene.n_frames, height=camera.height, width=camera.width, anchor_frame=0
    )
    tracks = [hidden if track.instance_id == instance_id else track for track in clip.tracks]
    return SimulatedClip(clip.clip_id, clip.caption, clip.scene, tracks, clip.collisions, clip.video)


def of_kind(triplets: list[TrueTriplet], *, optional: bool) -> set[tuple[str, str, str]]:
    return {(t.subject, t.verb, t.object) for t in triplets if t.optional is optional}


# --- What is true ----------------------------------------------------------------------------


def test_the_truth_has_every_body_with_its_exact_masks() -> None:
    clip = make_clip()
    truth = truth_of(clip, line=3)
    assert [(i.name, i.class_name, i.noun, i.colours, i.living) for i in truth.instances] == [
        ("red cube", "cube", "a red cube", ["red"], False),
        ("blue cylinder", "cylinder", "a blue cylinder", ["blue"], False),
    ]
    assert [i.counts for i in truth.instances] == [track.counts for track in clip.tracks]
    assert (truth.id, truth.line, truth.caption, truth.cuts) == (clip.clip_id, 3, CAPTION, [])
    assert (truth.width, truth.height, truth.n_frames, float(truth.fps)) == (120, 80, 4, 24.0)


def test_nouns_are_those_of_english_captions() -> None:
    bodies = [make_body(colour="orange"), make_body("id2", "cylinder", colour="light blue", rgb=BLUE)]
    instances = truth_of(make_clip(bodies=bodies), line=1).instances
    assert [(i.noun, i.colours) for i in instances] == [
        ("an orange cube", ["orange"]),
        ("a light blue cylinder", ["light", "blue"]),
    ]


def test_a_collision_must_be_told_by_who_hits_and_may_be_told_otherwise() -> None:
    truth = truth_of(make_clip(), line=1)
    assert of_kind(truth.triplets, optional=False) == {("red cube", "collide with", "blue cylinder")}
    assert of_kind(truth.triplets, optional=True) == {
        ("blue cylinder", "collide with", "red cube"),
        ("red cube", "push", "blue cylinder"),
        ("blue cylinder", "push", "red cube"),
    }
    assert all("hit" in t.also for t in truth.triplets if t.verb == "collide with")
    assert [(e.status, e.stage) for e in truth.expect] == [("accepted", None)]


def test_a_pair_that_collides_again_need_not_be_told_again() -> None:
    again = [make_collision(frame=1), make_collision("id2", "id1", frame=3)]
    triplets = truth_of(make_clip(collisions=again), line=1).triplets
    assert of_kind(triplets, optional=False) == {("red cube", "collide with", "blue cylinder")}
    names = [(t.subject, t.verb, t.object) for t in triplets]
    assert len(set(names)) == len(names), "nothing is both required and optional"


def test_a_chain_of_collisions_is_a_triplet_a_pair() -> None:
    bodies = [*tiny_scene().bodies, make_body("id3", colour="green", position=(1.2, 0.0, 0.25))]
    chain = [make_collision(frame=1), make_collision("id2", "id3", frame=2)]
    triplets = truth_of(make_clip(collisions=chain, bodies=bodies), line=1).triplets
    assert of_kind(triplets, optional=False) == {
        ("red cube", "collide with", "blue cylinder"),
        ("blue cylinder", "collide with", "green cube"),
    }


def test_what_nobody_sees_need_not_be_told() -> None:
    truth = truth_of(hide(make_clip(), "id2"), line=1)
    assert of_kind(truth.triplets, optional=False) == set()
    assert ("red cube", "collide with", "blue cylinder") in of_kind(truth.triplets, optional=True)
    assert truth.expect == [], "whether it is accepted depends on what the caption tells"


def test_without_a_collision_no_triplet_is_there_to_be_extracted() -> None:
    truth = truth_of(make_clip(collisions=[]), line=1)
    assert truth.triplets == []
    assert [(e.status, e.stage, e.reason) for e in truth.expect] == [("rejected", "extract_triplets", "no_interaction")]


@pytest.mark.parametrize("seed", range(5))
def test_what_the_captioner_tells_is_what_the_reader_finds(seed: int) -> None:
    scenes = SceneConfig(width=120, height=80)
    simulation = simulate(SceneSeed.of(scenes, "interactions", "train", seed), scenes, Floors())
    rendered = render(simulation.scene, simulation.trajectories)
    caption = EventCaptions().caption(simulation, rendered)
    clip = SimulatedClip("clip-0", caption, simulation.scene, rendered.tracks, simulation.collisions, rendered.video)
    truth = truth_of(clip, line=1)

    config = ExtractConfig(subjects="any", max_instances=len(simulation.scene.bodies))
    extraction = extract_triplets(caption, CaptionRules("any"), config)
    name = {i.instance_id: i.noun.split(" ", 1)[1] for i in extraction.instances}
    told = {(name[i.subject_id], i.verb.split()[0], name[i.object_id]) for i in extraction.interactions if i.kept}
    may = {(t.subject, verb.split()[0], t.object) for t in truth.triplets for verb in (t.verb, *t.also)}
    must = {(t.subject, t.object) for t in truth.triplets if not t.optional}
    assert must
    assert must <= {(subject, target) for subject, _, target in told}
    assert told <= may


# --- Files -----------------------------------------------------------------------------------


def test_what_is_written_is_read_by_the_first_flow(tmp_path: Path) -> None:
    clips = [make_clip(0), make_clip(1, caption="The red cube hits the blue cylinder.")]
    manifest = export_clips(iter(clips), tmp_path)
    listing = read_manifest(manifest)
    assert listing.outcomes == []
    assert [(s.external_id, s.line, s.caption) for s in listing.sources] == [
        (clip.clip_id, line, clip.caption) for line, clip in enumerate(clips, start=1)
    ]
    assert [(tmp_path / s.video).read_bytes() for s in listing.sources] == [clip.video for clip in clips]
    assert read_truths(tmp_path) == [truth_of(clip, line) for line, clip in enumerate(clips, start=1)]


def test_exporting_again_leaves_no_clip_of_before_and_touches_nothing_else(tmp_path: Path) -> None:
    export_clips([make_clip(0), make_clip(1)], tmp_path)
    (tmp_path / "truth" / "push-0.json").write_text("somebody else's")
    export_clips([make_clip(1), make_clip(2)], tmp_path)
    kept = {f"clip-{seed:016x}" for seed in (1, 2)}
    assert {path.stem for path in (tmp_path / "clips").iterdir()} == kept
    assert {path.stem for path in (tmp_path / "truth").iterdir()} == kept | {"push-0"}
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert {json.loads(line)["id"] for line in lines} == kept


# --- A published snapshot --------------------------------------------------------------------


def publish(root: Path, n_clips: int = 3, shard_size: int = 2, quiet: Collection[int] = ()) -> Snapshot:
    """A snapshot of clips whose stages' results are made by hand; in the quiet ones nothing collides."""
    work = Work(root=root / "work", inputs=Inputs(folder=root))
    seeds = [SceneSeed.of({}, "interactions", "train", seed) for seed in range(n_clips)]
    rows = [accepted_row(work, seed, [] if seed.seed in quiet else [make_collision()]) for seed in seeds]
    shards = [
        Shard[SceneSeed](shard_id=f"shard-{i}", rows=rows[i : i + shard_size]) for i in range(0, n_clips, shard_size)
    ]
    done = [(shard, write_shard(work, shard, KINEMASK)) for shard in shards]
    ledger = SeedLedger(seeds)
    return Snapshot(
        publish_snapshot(work, root / "snapshots", "toy", KINEMASK, ledger, done, {}, KINEMASK_STAGES, made_by=[])
    )


def accepted_row(work: Work, seed: SceneSeed, collisions: list[Collision]) -> Row[SceneSeed]:
    scene = tiny_scene(set="interactions", seed=seed.seed)
    trajectories = glide(scene)
    made = {
        "simulate_scenes": Simulation(
            scene=scene, trajectories=trajectories, collisions=collisions, rejected_draws=[], made_by=[]
        ),
        "render_clips": render(scene, trajectories),
        "caption_clips": Captioned(caption=CAPTION, faults=[], made_by=[]),
    }
    for stage, result in made.items():
        work.save(type(result), f"{stage}-{seed.clip_id}", Made(result=result))
    return Row[SceneSeed](payload=seed, made={stage: f"{stage}-{seed.clip_id}" for stage in made})


def test_a_snapshots_clips_are_what_was_simulated(tmp_path: Path) -> None:
    clips = list(read_clips(publish(tmp_path)))
    assert [clip.scene.seed for clip in clips] == [0, 1, 2]
    for clip in clips:
        expected = make_clip(clip.scene.seed)
        assert clip.clip_id == SceneSeed.of({}, "interactions", "train", clip.scene.seed).clip_id
        assert (clip.scene, clip.caption, clip.video) == (expected.scene, expected.caption, expected.video)
        assert clip.tracks == expected.tracks
        assert [c.model_dump(exclude={"clip_id"}) for c in clip.collisions] == [make_collision().model_dump()]


def test_a_shard_in_which_nothing_collides_is_exported_too(tmp_path: Path) -> None:
    clips = list(read_clips(publish(tmp_path, shard_size=1, quiet={0, 1})))
    assert [len(clip.collisions) for clip in clips] == [0, 0, 1]


@pytest.mark.parametrize(("max_clips", "n"), [(None, 3), (2, 2), (0, 0), (9, 3)])
def test_no_more_clips_than_asked_for(tmp_path: Path, max_clips: int | None, n: int) -> None:
    assert len(list(read_clips(publish(tmp_path), max_clips))) == n


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = publish(tmp_path / "data")
    out = tmp_path / "out"
    main(["--root", str(tmp_path / "data"), "--folder", str(out), "--limit", "2"])
    assert capsys.readouterr().out == f"{out / 'manifest.jsonl'} lists the clips of {snapshot.id}\n"
    assert len(read_manifest(out / "manifest.jsonl").sources) == len(read_truths(out)) == 2
    main(["--root", str(tmp_path / "data"), "--folder", str(out), "--snapshot", snapshot.id])
    assert len(read_truths(out)) == 3


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    arguments = ["--root", str(tmp_path), "--folder", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="nothing was published"):
        main(arguments)
    snapshot = publish(tmp_path)
    with pytest.raises(SystemExit, match=f"nonsense is no snapshot; there are {snapshot.id}"):
        main([*arguments, "--snapshot", "nonsense"])
    assert not (tmp_path / "out").exists()


def test_a_snapshot_of_another_flow_is_refused(tmp_path: Path) -> None:
    manifest = publish(tmp_path).folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"curate-kinemask"', '"curate-matrix11k"'))
    with pytest.raises(SnapshotError, match="made by curate-matrix11k; give a snapshot of curate-kinemask"):
        read_clips(Snapshot(manifest.parent))
    arguments = ["--root", str(tmp_path), "--folder", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match=r"^SnapshotError: toy-\w+ holds no videos: give the folder of its manifest"):
        main(arguments)


# --- Curated, against the truth --------------------------------------------------------------


def roll(body: Body, n_frames: int, fps: int, velocity_mps: np.ndarray) -> Trajectory:
    """Along x, with a velocity (T,) m/s."""
    x_m = body.position[0] + np.concatenate([[0.0], np.cumsum(velocity_mps)[:-1]]) / fps
    _, y, z = body.position
    still = [(0.0, 0.0, 0.0)] * n_frames
    return Trajectory(
        instance_id=body.instance_id,
        position=[(x, y, z) for x in x_m.round(6).tolist()],
        rotation=[body.rotation] * n_frames,
        velocity=[(v, 0.0, 0.0) for v in velocity_mps.round(6).tolist()],
        angular_velocity=still,
    )


def simulate_bump(seed: int, mover: Body, target: Body) -> Simulation:
    """In frame 14 the mover hits the target and stops; the target slides on and comes to rest."""
    t = np.arange(49)
    before = np.where(t < 14, 1.3, 0.0)
    after = np.where(t < 14, 0.0, np.maximum(0.8 - 0.04 * (t - 14), 0.0))
    speed: Vector = (1.3, 0.0, 0.0)
    wood = Floors().listing("train")[0]
    mover = mover.model_copy(update={"velocity": speed, "controlled": True})
    scene = tiny_scene(
        set="interactions",
        seed=seed,
        n_frames=len(t),
        bodies=[mover, target],
        camera=make_camera(240, 160),
        floor=Floor(texture=wood.texture, noun=wood.noun, tile_m=2.0, offset_m=(0.3, 0.1), turn_deg=20.0),
    )
    motions = [roll(mover, len(t), scene.fps, before), roll(target, len(t), scene.fps, after)]
    hit = make_collision(frame=14, closing_speed_mps=1.3, first_velocity_before=speed)
    return Simulation(scene=scene, trajectories=motions, collisions=[hit], rejected_draws=[], made_by=[])


def bump(seed: int, mover: Body, target: Body) -> SimulatedClip:
    simulation = simulate_bump(seed, mover, target)
    scene = simulation.scene
    pictures = RasterRenderer().render(scene, simulation.trajectories, Floors().picture(scene.floor))
    rendered = store_pictures(pictures, scene, 16, [])
    caption = EventCaptions().caption(simulation, rendered)
    return SimulatedClip(f"clip-{seed:016x}", caption, scene, rendered.tracks, simulation.collisions, rendered.video)


@pytest.mark.slow
def test_the_first_flow_is_measured_by_exported_clips(tmp_path: Path) -> None:
    left, right, green = (-1.0, 0.0, 0.25), (0.25, 0.0, 0.25), (0.1, 0.6, 0.15)
    red_cube = make_body(position=left)
    blue_cylinder = make_body("id2", "cylinder", colour="blue", rgb=BLUE, position=right)
    green_cube = make_body(colour="green", rgb=green, position=left)
    clips = [bump(0, red_cube, blue_cylinder), bump(1, green_cube, blue_cylinder)]
    manifest = export_clips(clips, tmp_path)
    config = CurateMatrix11k(
        manifest=manifest,
        root=tmp_path / "matrix",
        truth=tmp_path,
        extract=ExtractConfig(subjects="any"),
        ground=GroundConfig(grounding="colour", vlm="rules"),
    )
    snapshot = Snapshot(run_here(config, report=True))
    truths = read_truths(tmp_path)
    report = compare_snapshot(snapshot, truths)

    assert (report.rows_met, report.instances_delivered, report.missed) == (2, 4, [])
    assert (report.triplet_precision, report.triplet_recall) == (1.0, 1.0)
    assert min(score.iou for score in report.instances) > 0.8
    exchanged = [truth.model_copy(update={"instances": exchange_masks(truth.instances)}) for truth in truths]
    wrong = compare_snapshot(snapshot, exchanged)
    assert max(score.iou for score in wrong.instances) < 0.2, "another body's masks are no match"
    page = (tmp_path / "matrix" / "reports" / snapshot.id / "index.html").read_text()
    assert "Mean IoU" in page
    assert f"{report.mean_iou:.2f}" in page


def exchange_masks(instances: list[TrueInstance]) -> list[TrueInstance]:
    one, other = instances
    return [one.model_copy(update={"counts": other.counts}), other.model_copy(update={"counts": one.counts})]
