"""The report of simulated scenes: films show the masks, drawings are in proportion, every number is on the page."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from schemas.kinemask import (
    SHARD_TABLES,
    CollisionRow,
    DrawRow,
    ObjectRow,
    SceneClipRow,
    SceneOutcomeRow,
    VideoRow,
)
from schemas.mask_track import MaskTrack, encode_mask
from schemas.matrix11k import MatrixStatistics
from schemas.outcome import Status
from schemas.provenance import MadeBy
from schemas.record import Record, write_table
from schemas.scene import Scene, SceneSeed, SceneSet, Split, Trajectory
from schemas.snapshot import Count, FunnelStep, ShardEntry, SnapshotManifest
from schemas.storage import parse_path
from schemas.usage import Usage
from tasks.datasets.kinemask import report
from tasks.datasets.kinemask.dataset import KINEMASK
from tasks.datasets.kinemask.report import choose_clips, fair_shares
from tasks.datasets.kinemask.report.charts import MARK_RADIUS, ROSE_RADIUS, number_places, rose, speed_chart
from tasks.datasets.kinemask.report.top_view import floorplan, seen_field, top_view
from tasks.datasets.kinemask.view import GAP_PX, SceneView, footprint, outlined_masks, scene_view, scene_views
from tasks.engine.inputs import Inputs
from tasks.engine.snapshots import Snapshot
from tasks.engine.work import Work
from tasks.media.cast_rays import cast, poses_at
from tasks.media.encoding import encode_video
from tasks.media.velocity_masks import V_MAX_MPS, velocity_picture
from tasks.media.video import iter_frames
from tasks.pages.funnel import MAX_ROWS_PER_GROUP
from tasks.pages.page import PageContext
from tasks.pages.usage import StageUsage, usage_of
from tests.support.pages import Page, tables_of
from tests.support.scenes import glide, make_body, tiny_scene

N_FRAMES = 6
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
GREYS = np.array([[90, 90, 90], [200, 30, 20], [20, 40, 180]], np.uint8)  # floor, id1, id2


# --- A small snapshot ------------------------------------------------------------------------


def object_rows(scene: Scene, trajectories: list[Trajectory], labels: np.ndarray, clip_id: str) -> list[ObjectRow]:
    """labels: (T, H, W): k the visible pixels of bodies[k - 1]"""
    rows = []
    for number, (body, trajectory) in enumerate(zip(scene.bodies, trajectories, strict=True), start=1):
        counts = [encode_mask(frame == number) for frame in labels]
        track = MaskTrack.of(body.instance_id, counts, height=labels.shape[1], width=labels.shape[2], anchor_frame=0)
        of_body = body.model_dump(include={"instance_id", "shape", "colour", "rgb", "size", "mass_kg", "controlled"})
        of_track = track.model_dump(include={"height", "width", "counts", "box_xyxy", "area"})
        of_motion = trajectory.model_dump(exclude={"instance_id"})
        speed_mps = float(np.linalg.norm(body.velocity))
        rows.append(ObjectRow(clip_id=clip_id, noun=body.noun, speed_mps=speed_mps, **of_body, **of_motion, **of_track))
    return rows


def clip_of(scene: Scene, **changes: Any) -> SceneClipRow:
    values: dict[str, Any] = {
        "caption": "The red cube slides to the right. The blue cylinder rests.",
        "caption_faults": [],
        "fps": scene.fps,
        "n_frames": scene.n_frames,
        "width": scene.camera.width,
        "height": scene.camera.height,
        "n_collisions": 2,
        "video_sha256": "ab" * 32,
        "scene": scene,
        "made_by": [MadeBy(stage="render_clips", backend="raster", model="ray caster 1", details="{}")],
    }
    seed = SceneSeed.of("test", scene.set, scene.split, scene.seed)
    return SceneClipRow(**seed.model_dump(), **values | changes)


def see(scene: Scene, trajectories: list[Trajectory]) -> np.ndarray:
    """(T, H, W) uint8 labels"""
    return np.stack(
        [cast(scene.camera, scene.bodies, poses_at(trajectories, frame)).labels for frame in range(scene.n_frames)]
    )


def make_collision(clip_id: str = "clip-1", **changes: Any) -> CollisionRow:
    values: dict[str, Any] = {
        "time_s": 0.125,
        "frame": 3,
        "first_id": "id1",
        "second_id": "id2",
        "point": (0.25, 0.5, 0.25),
        "impulse_ns": 1.625,
        "closing_speed_mps": 0.875,
        "first_velocity_before": (1.2, 0.0, 0.0),
        "first_velocity_after": (0.3, 0.0, 0.0),
        "second_velocity_before": (0.0, 0.0, 0.0),
        "second_velocity_after": (0.9, 0.0, 0.0),
    }
    return CollisionRow(clip_id=clip_id, **values | changes)


class World:
    """The rows of a snapshot, shard by shard."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shards: list[dict[str, list[Record]]] = []
        self.new_shard()

    def new_shard(self) -> None:
        self.shards.append({name: [] for name in SHARD_TABLES})

    @property
    def rows(self) -> dict[str, list[Record]]:
        return self.shards[-1]

    def accept(
        self,
        seed: int = 0,
        set_: SceneSet = "interactions",
        split: Split = "train",
        *,
        damage: Callable[[bytes], bytes] = bytes,
        n_stored: int = N_FRAMES,
        of_scene: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """A clip of the tiny scene with two collisions; `damage` is done to its video, which holds n_stored frames."""
        scene = tiny_scene(N_FRAMES, set=set_, split=split, seed=seed, attempt=2, **of_scene or {})
        clip = clip_of(scene, **changes)
        trajectories = glide(scene)
        labels = see(scene, trajectories)
        video = damage(encode_video(list(GREYS[labels][:n_stored]), scene.fps, crf=4))
        sha256 = hashlib.sha256(video).hexdigest()
        self.rows["clips"].append(clip.model_copy(update={"video_sha256": sha256}))
        self.rows["videos"].append(VideoRow(clip_id=clip.clip_id, sha256=sha256, video=video))
        self.rows["objects"] += object_rows(scene, trajectories, labels, clip.clip_id)
        late = {"time_s": 0.2, "frame": 5, "first_id": "id2", "second_id": "id1", "closing_speed_mps": 0.25}
        self.rows["collisions"] += [make_collision(clip.clip_id, **late), make_collision(clip.clip_id)]
        seed_row = SceneSeed(**clip.model_dump(include=set(SceneSeed.model_fields)))
        self.rows["draws"] += [
            DrawRow(**seed_row.model_dump(), attempt=attempt, reason="late_collision", detail="1.62 s of 1.2 s")
            for attempt in range(2)
        ]
        self.outcome(seed_row, "accepted", "caption_clips", None)
        return clip.clip_id

    def outcome(self, row: SceneSeed, status: Status, stage: str, reason: str | None, detail: str = "") -> None:
        self.rows["outcomes"].append(
            SceneOutcomeRow(
                row_id=row.row_id,
                kind="clip",
                status=status,
                stage=stage,
                reason=reason,
                detail=detail,
                retryable=status == "failed",
                **row.model_dump(exclude={"clip_id"}),
            )
        )

    def end(self, seed: int, status: Status, stage: str, reason: str, detail: str = "") -> None:
        self.outcome(SceneSeed.of("test", "interactions", "test", seed), status, stage, reason, detail)

    def publish(self) -> Snapshot:
        snapshot = self.root / "snapshots" / "scenes-0123"
        for number, rows in enumerate(self.shards, start=1):
            for table, record in SHARD_TABLES.items():
                write_table(record, rows[table], snapshot / table / f"shard-{number}.parquet")
        (snapshot / "manifest.json").write_bytes(self._manifest(snapshot).to_json())
        return Snapshot(snapshot)

    @property
    def work(self) -> Work:
        return Work(root=self.root / "work", inputs=Inputs(folder=self.root))

    def _manifest(self, snapshot: Path) -> SnapshotManifest:
        by_shard = [[o for o in rows["outcomes"] if isinstance(o, SceneOutcomeRow)] for rows in self.shards]
        outcomes = [outcome for shard in by_shard for outcome in shard]
        n = Counter(outcome.status for outcome in outcomes)
        ways = Counter((o.status, o.stage, o.reason) for o in outcomes)
        return SnapshotManifest(
            snapshot_id="scenes-0123",
            flow="curate-kinemask",
            dataset="scenes",
            format_version=2,
            configs="{}",
            made_by=[MadeBy(stage="render_clips", backend="raster", model="ray caster 1", details="{}")],
            n_given=len(outcomes),
            n_inputs=len(outcomes),
            n_accepted=n["accepted"],
            n_rejected=n["rejected"],
            n_failed=n["failed"],
            funnel=[_step("simulate_scenes", outcomes), _step("render_clips", outcomes)],
            outcomes=[Count(status=s, stage=st, reason=r, n=n) for (s, st, r), n in sorted(ways.items(), key=str)],
            statistics=KINEMASK.statistics(snapshot).model_dump(mode="json"),
            shards=[
                ShardEntry(shard_id=f"shard-{number}", clip_ids=[o.row_id for o in shard])
                for number, shard in enumerate(by_shard, start=1)
            ],
            **tables_of(snapshot, SHARD_TABLES),
        )


def _step(stage: str, outcomes: list[SceneOutcomeRow]) -> FunnelStep:
    n = Counter(row.status for row in outcomes if row.stage == stage)
    passed = len(outcomes) - n["rejected"] - n["failed"]
    return FunnelStep(
        stage=stage,
        unit="clips",
        given=len(outcomes),
        passed=passed,
        rejected=n["rejected"],
        failed=n["failed"],
        made=passed,
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data")


def report_on(world: World, name: str = "report", **told: Any) -> tuple[Path, Page]:
    """told: what the page is told beside the snapshot"""
    index = report.write_report(world.publish(), world.root / name, PageContext(world.work, **told))
    return index, Page(index.read_text())


def by_class(svg: str, name: str) -> list[ElementTree.Element]:
    return [e for e in ElementTree.fromstring(svg).iter() if name in e.get("class", "").split()]


def points(element: ElementTree.Element) -> np.ndarray:
    """(N, 2): what a polyline or polygon goes through, y down."""
    return np.array([pair.split(",") for pair in element.attrib["points"].split()], float)


# --- What is on the page ---------------------------------------------------------------------


def test_the_ledger_the_reasons_and_the_commands_are_told(world: World) -> None:
    world.accept()
    world.end(7, "rejected", "simulate_scenes", "no_acceptable_draw", "none of 50 draws")
    world.end(8, "failed", "render_clips", "renderer_crashed", "signal 11")
    index, page = report_on(world)
    assert "3 inputs = 1 accepted + 1 rejected + 1 failed" in page.attributes("div", "aria-label")
    assert "From 3 seeds" in page.text
    assert "no_acceptable_draw 1" in page.text
    assert "interactions · test · seed 7 none of 50 draws" in page.text
    assert "interactions · test · seed 8 worth another try signal 11" in page.text
    assert f"triptych ask --root {index.parent.parent} failed" in page.text


def test_rejected_draws_are_counted_by_set_and_reason_and_by_clip(world: World) -> None:
    world.accept()
    _, page = report_on(world)
    assert "interactions/late_collision 2" in page.text
    assert "Draw 3 of this seed; 2 earlier draws did not fit the set: late_collision 2" in page.text


def test_a_card_shows_the_events_in_order_of_time(world: World) -> None:
    clip_id = world.accept()
    _, page = report_on(world)
    assert page.attributes("article", "id") == [clip_id]
    assert "1 red cube hits blue cylinder 0.12 s, frame 3 · closing 0.88 m/s · 1.62 N s" in page.text
    assert "2 blue cylinder hits red cube 0.20 s, frame 5 · closing 0.25 m/s · 1.62 N s" in page.text
    assert "interactions train seed 0 tiled floor 6 frames of 120×80, 24 a second" in page.text
    assert "red cube controlled, starts at 1.20 blue cylinder at rest" in page.text


def test_the_caption_is_marked_in_the_colours_of_the_objects_and_its_faults_are_told(world: World) -> None:
    world.accept(caption_faults=["The cylinder is said to topple."])
    _, page = report_on(world)
    marks = [attrs["style"] for tag, attrs in page.tags if tag == "mark"]
    assert marks == ["--c: #cc0f0d", "--c: #0d1fb2"]
    assert "The red cube slides to the right. The blue cylinder rests." in page.text
    assert "caption fault The cylinder is said to topple." in page.text


def test_the_conventions_are_stated(world: World) -> None:
    world.accept()
    index, page = report_on(world)
    assert "127.5 + 127.5 · v / v max , cut off at v max = 1.5 m/s" in page.text
    assert "y, away from the camera" in page.text
    legend = cv2.cvtColor(cv2.imread(str(index.parent / "velocity-colours.png")), cv2.COLOR_BGR2RGB)
    middle = len(legend) // 2
    for place, velocity in {
        (middle, -3): (V_MAX_MPS, 0, 0),  # row, column: to the right is +x
        (3, middle): (0, V_MAX_MPS, 0),  # up is +y
    }.items():
        assert np.abs(legend[place].astype(int) - velocity_picture(np.array(velocity, float))).max() <= 6


def test_hostile_text_stays_text(world: World) -> None:
    floor = tiny_scene().floor.model_copy(update={"noun": HOSTILE, "texture": HOSTILE})
    world.accept(of_scene={"floor": floor}, caption=HOSTILE, caption_faults=[HOSTILE])
    world.end(7, "failed", "render_clips", HOSTILE, HOSTILE)
    _, page = report_on(world)
    assert [attrs for tag, attrs in page.tags if tag == "script"] == [{}]  # the template's own
    assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
    assert page.text.count("<script>alert('x')") >= 5


def test_nothing_is_loaded_from_elsewhere(world: World) -> None:
    clip_id = world.accept()
    index, page = report_on(world)
    tags, names = ("img", "video", "script", "link"), ("src", "href", "poster")
    links = [value for tag in tags for name in names for value in page.attributes(tag, name)]
    assert links == ["velocity-colours.png", f"clips/{clip_id}.mp4", f"clips/{clip_id}-0.jpg"]
    assert all((index.parent / link).is_file() for link in links)
    assert "url(" not in index.read_text()


def test_a_snapshot_of_nothing_is_reported(world: World) -> None:
    _, page = report_on(world)
    assert "No clip was accepted." in page.text
    assert "Every first draw fits its set." in page.text
    assert "Nothing was rejected" in page.text


def test_the_report_of_another_dataset_is_refused(world: World) -> None:
    folder = world.publish().folder
    of_videos = MatrixStatistics(
        contact_dynamism=[], interactions_per_clip=[], instances_per_clip=[], top_verbs=[], top_nouns=[]
    )
    changes = {"flow": "curate-matrix11k", "statistics": of_videos.model_dump()}
    (folder / "manifest.json").write_bytes(Snapshot(folder).manifest.model_copy(update=changes).to_json())
    with pytest.raises(ValueError, match="is of curate-matrix11k"):
        report.write_report(Snapshot(folder), world.root / "report", PageContext(world.work))


def test_what_a_captioner_was_asked_is_told_without_a_word_about_candidates(world: World) -> None:
    world.accept()
    usage = Usage(calls=3, prompt_tokens=500, completion_tokens=60)
    asked = StageUsage(shard_id="shard-1", stage="caption_clips", rows=1, role="VLM", model="a-vlm", usage=usage)
    index, page = report_on(world, spent=[asked])
    assert "caption_clips VLM · a-vlm" in page.text
    assert "andidates" not in page.text
    kept = usage_of(index.parent)
    assert kept is not None
    assert kept.whole.total.usage == usage


def test_the_same_snapshot_gives_the_same_bytes(world: World) -> None:
    world.accept()
    world.accept(1, "simple_motion")
    folders = [report_on(world, name)[0].parent for name in ("a", "b")]
    files = [{p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.*")} for folder in folders]
    assert len(files[0]) == 1 + 1 + 2 * 2
    assert files[0] == files[1]


def test_the_page_appears_only_when_all_else_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, picture: np.ndarray) -> None:
        raise OSError("no space left")

    world.accept()
    monkeypatch.setattr("tasks.pages.film.write_jpeg", full_disk)
    with pytest.raises(OSError, match="no space"):
        report_on(world)
    assert not (world.root / "report" / "index.html").exists()


def test_it_may_lie_in_a_store(world: World) -> None:
    clip_id = world.accept()
    folder = parse_path("memory://reports-of-tests/scenes-0123")
    index = report.write_report(world.publish(), folder, PageContext(world.work))
    assert index == folder / "index.html"
    assert clip_id in index.read_bytes().decode()
    assert (folder / "clips" / f"{clip_id}.mp4").is_file()


# --- Which clips -----------------------------------------------------------------------------


def test_fair_shares_are_as_equal_as_the_sizes_allow() -> None:
    assert fair_shares([100, 3, 50], 24) == [11, 3, 10]
    assert fair_shares([1, 2], 24) == [1, 2]
    assert fair_shares([], 24) == []


def test_clips_are_spread_over_sets_splits_and_shards_and_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MAX_CLIPS", 3)
    seeds = range(4)
    train = [world.accept(seed) for seed in seeds[:2]]
    world.new_shard()
    train += [world.accept(seed) for seed in seeds[2:]]
    test = world.accept(0, "simple_motion", "test")
    groups = choose_clips(world.publish(), 3)
    assert [(group.name, group.n, group.shown) for group in groups] == [
        ("interactions/train", 4, [train[0], train[2]]),
        ("simple_motion/test", 1, [test]),
    ]
    _, page = report_on(world)
    assert page.attributes("article", "id") == [train[0], train[2], test]
    assert "3 of 5 accepted clips, spread evenly" in page.text
    assert "interactions/train 2 of 4, simple_motion/test 1 of 1." in page.text


def test_shards_of_which_no_clip_is_shown_are_not_opened_for_their_videos(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MAX_CLIPS", 1)
    shown = world.accept(0)
    world.new_shard()
    world.accept(1)
    snapshot = world.publish()
    (snapshot.folder / "videos" / "shard-2.parquet").write_bytes(b"megabytes that nobody looks at")
    index = report.write_report(snapshot, world.root / "report", PageContext(world.work))
    assert Page(index.read_text()).attributes("article", "id") == [shown]


def test_rejected_seeds_are_listed_up_to_a_bound(world: World) -> None:
    for seed in range(30):
        world.end(seed, "rejected", "simulate_scenes", "no_acceptable_draw")
    _, page = report_on(world)
    assert sum(f"· seed {seed} " in page.text + " " for seed in range(30)) == MAX_ROWS_PER_GROUP
    assert f"… and {30 - MAX_ROWS_PER_GROUP} more." in page.text


# --- Films -----------------------------------------------------------------------------------


def test_a_film_shows_rgb_and_the_velocity_mask_of_the_same_frame(world: World) -> None:
    clip_id = world.accept()
    index, page = report_on(world)
    scene = tiny_scene(N_FRAMES)
    trajectories = glide(scene)
    width, height = scene.camera.width, scene.camera.height
    frames = [frame for _, frame in iter_frames(index.parent / "clips" / f"{clip_id}.mp4")]
    assert len(frames) == N_FRAMES
    moving = velocity_picture(np.array(scene.bodies[0].velocity))
    for number, frame in enumerate(frames):
        assert frame.shape == (height, 2 * width + GAP_PX, 3)
        centres = np.array([trajectory.position[number] for trajectory in trajectories])
        pixels, _ = scene.camera.project(centres)
        for (x, y), rgb, mask in zip(pixels.astype(int), GREYS[1:], [moving, (0, 0, 0)], strict=True):
            assert np.abs(frame[y, x].astype(int) - rgb).max() < 24
            assert np.abs(frame[y, width + GAP_PX + x].astype(int) - mask).max() < 24
    assert page.attributes("video", "src") == [f"clips/{clip_id}.mp4"]
    poster = cv2.imread(str(index.parent / "clips" / f"{clip_id}-0.jpg"))
    assert poster.shape == (height, 2 * width + GAP_PX, 3)


def test_objects_that_are_in_no_velocity_mask_are_outlined_where_they_are() -> None:
    pushed = make_body(position=(0.0, 0.0, 0.25), velocity=(0.0, 0.0, 0.0))
    scene = tiny_scene(N_FRAMES, bodies=[pushed])
    moved = scene.model_copy(update={"bodies": [pushed.model_copy(update={"velocity": (4.0, 0.0, 0.0)})]})
    labels = see(scene, glide(moved))
    rows = object_rows(scene, glide(moved), labels, "clip-1")
    picture_of = outlined_masks(rows)
    for frame, seen in enumerate(labels == 1):
        picture = picture_of(frame)
        edge = seen & ~cv2.erode(seen.astype(np.uint8), np.ones((3, 3))).astype(bool)
        inside = cv2.erode(seen.astype(np.uint8), np.ones((5, 5))).astype(bool)
        assert picture[edge].min(axis=1).mean() > 80
        assert picture[inside].max() == 0


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"damage": lambda video: video[: len(video) // 2]}, "video"),
        ({"n_stored": N_FRAMES - 2}, "frame_count: 4 frames instead of 6"),
    ],
)
def test_a_video_that_cannot_be_shown_leaves_a_gap_and_the_rest(
    world: World, damage: dict[str, Any], reason: str
) -> None:
    world.accept(**damage)
    world.accept(1)
    _, page = report_on(world)
    assert "The film cannot be shown." in page.text
    assert reason in page.text
    assert len(page.attributes("video", "src")) == 1
    assert page.text.count("red cube hits blue cylinder") == 2


def test_what_is_shown_of_a_clip_can_be_written_as_json(world: World) -> None:
    clip_id = world.accept()
    (view,) = scene_views(world.publish(), [clip_id], world.root)
    assert SceneView.model_validate_json(view.model_dump_json()) == view
    assert [hit.time_s for hit in view.collisions] == [0.125, 0.2]
    assert (view.objects["id1"].motion, view.objects["id2"].motion) == ("controlled", "at rest")
    assert view.objects["id1"].way_m == pytest.approx(1.2 * (N_FRAMES - 1) / 24)


# --- Seen from above -------------------------------------------------------------------------


def drawn(scene: Scene, *collisions: CollisionRow) -> tuple[str, str]:
    """The scene's top view and speed chart."""
    trajectories = glide(scene)
    labels = np.zeros((scene.n_frames, scene.camera.height, scene.camera.width), np.uint8)
    rows = object_rows(scene, trajectories, labels, "clip-1")
    view = scene_view(clip_of(scene), rows, collisions)
    return top_view(view), speed_chart(view)


def test_paths_go_as_the_objects_do_with_y_up() -> None:
    bodies = [
        make_body("id1", velocity=(1.2, 0.0, 0.0), controlled=True),
        make_body("id2", "cylinder", position=(2.0, 0.0, 0.25), velocity=(0.0, 0.6, 0.0), controlled=True),
        make_body("id3", colour="green", position=(-1.0, 1.0, 0.25)),
    ]
    view, _ = drawn(tiny_scene(25, bodies=bodies))
    right, away = (points(path) for path in by_class(view, "path"))
    assert len(right) == 25, "one point a frame: the film's dot goes from one to the next"
    way = right[-1] - right[0]
    assert way[0] > 0
    assert way[1] == 0
    assert (away[-1] - away[0])[1] == pytest.approx(-way[0] / 2, abs=0.2)
    assert len(by_class(view, "start")) == 2
    assert len(by_class(view, "end")) == 3
    assert [title.text for title in ElementTree.fromstring(view).iter("title")][-3:] == [
        "id1: red cube",
        "id2: red cylinder",
        "id3: green cube",
    ]


def test_only_controlled_objects_have_an_arrow_along_their_velocity() -> None:
    view, _ = drawn(tiny_scene(25))
    (arrow,) = by_class(view, "arrow")
    (path,) = by_class(view, "path")
    shaft, head = (points(part) for part in arrow)
    assert shaft[0] == pytest.approx(points(path)[0])
    assert head[0] == pytest.approx(points(path)[0] + (points(path)[-1] - points(path)[0]) * 0.4, abs=0.2)  # 1 s long


@pytest.mark.parametrize(
    ("shape", "size", "rotation", "extents"),
    [
        ("cube", (0.4, 0.2, 0.9), (1.0, 0.0, 0.0, 0.0), (0.4, 0.2)),
        ("cube", (0.4, 0.4, 0.9), (math.cos(math.pi / 8), 0.0, 0.0, math.sin(math.pi / 8)), (0.5657, 0.5657)),
        ("cylinder", (0.4, 0.4, 0.9), (1.0, 0.0, 0.0, 0.0), (0.4, 0.4)),
        ("cylinder", (0.4, 0.4, 0.9), (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0), (0.4, 0.9)),  # lies along y
        ("cube", (0.4, 0.2, 0.9), (0.5, 0.5, 0.5, 0.5), (0.9, 0.4)),  # its z lies along x, its x along y
    ],
)
def test_footprints_are_as_large_as_the_object_from_above(
    shape: str, size: tuple[float, ...], rotation: tuple[float, ...], extents: tuple[float, float]
) -> None:
    scene = tiny_scene(1, bodies=[make_body(shape=shape, size=size, rotation=rotation, position=(1.0, 2.0, 0.5))])
    (row,) = object_rows(scene, glide(scene), np.zeros((1, 80, 120), np.uint8), "clip-1")
    outline = footprint(row, 0)
    assert np.ptp(outline, axis=0) == pytest.approx(extents, abs=1e-3)
    assert (outline.min(axis=0) + outline.max(axis=0)) / 2 == pytest.approx((1, 2), abs=1e-3)


def test_the_field_of_view_ends_where_the_picture_does() -> None:
    camera = tiny_scene().camera
    plan = floorplan(np.array([[-10.0, -10.0], [10.0, 10.0]]))
    (field, _) = seen_field(scene_view(clip_of(tiny_scene()), [], []), plan)
    origin, step = plan.place((0, 0)), plan.place((1, 1)) - plan.place((0, 0))
    assert step[0] == pytest.approx(-step[1]), "a metre is as long either way"
    corners = (points(ElementTree.fromstring(field)) - origin) / step
    seen, _ = camera.project(np.concatenate([corners, np.zeros((4, 1))], axis=1))
    assert seen == pytest.approx(np.array([(0, 0), (120, 0), (120, 80), (0, 80)]), abs=1.5)


def test_collisions_at_one_place_have_numbers_beside_each_other() -> None:
    view, _ = drawn(tiny_scene(), *[make_collision() for _ in range(4)])
    numbers = [hit[1].text for hit in by_class(view, "hit")]
    places = [(float(hit[0].attrib["cx"]), float(hit[0].attrib["cy"])) for hit in by_class(view, "hit")]
    assert numbers == ["1", "2", "3", "4"]
    assert min(math.dist(a, b) for i, a in enumerate(places) for b in places[:i]) >= 2 * MARK_RADIUS - 0.2
    assert len(by_class(view, "lead")) == 3


# --- Speeds ----------------------------------------------------------------------------------


def test_speeds_are_in_proportion_and_collisions_at_their_moments() -> None:
    bodies = [
        make_body("id1", velocity=(1.0, 0.0, 0.0), controlled=True),
        make_body("id2", "cylinder", position=(2.0, 0.0, 0.25), velocity=(0.0, 0.5, 0.0), controlled=True),
        make_body("id3", colour="green", position=(-1.0, 1.0, 0.25)),
    ]
    _, chart = drawn(tiny_scene(25, bodies=bodies), make_collision(time_s=0.25))
    fast, slow = (points(path) for path in by_class(chart, "path"))
    assert len(fast) == 25
    (strike,) = by_class(chart, "strike")
    x, bottom = (float(part) for part in strike.attrib["d"][1:].replace("V", " ").split()[::2])
    assert x == pytest.approx(fast[6][0], abs=0.1)  # 0.25 s of 24 frames/s
    assert bottom - fast[0][1] == pytest.approx(2 * (bottom - slow[0][1]), abs=0.2)
    (playhead,) = by_class(chart, "playhead")
    assert float(playhead.attrib["data-step"]) == pytest.approx(fast[1][0] - fast[0][0], abs=0.1)


def test_numbers_of_close_moments_are_put_in_rows() -> None:
    rows = [y for _, y in number_places([10.0, 12.0, 14.0, 40.0, 100.0])]
    assert rows[0] < rows[1] < rows[2]
    assert rows[3:] == [rows[0], rows[0]]


def test_a_clip_of_one_frame_without_motion_is_drawn() -> None:
    view, chart = drawn(tiny_scene(1, bodies=[make_body()]))
    assert not by_class(view, "path")
    assert not by_class(chart, "path")


# --- Statistics ------------------------------------------------------------------------------


def test_the_rose_turns_counter_clockwise_from_x_and_its_areas_are_counts() -> None:
    first, fourth = by_class(rose([4, 0, 0, 1, *[0] * 8]), "bar")
    tip, radius = sector_tip_and_radius(first)
    assert radius == pytest.approx(ROSE_RADIUS)
    assert tip[0] > 0
    assert tip[1] == 0
    tip, radius = sector_tip_and_radius(fourth)
    assert radius == pytest.approx(ROSE_RADIUS / 2)
    assert tip[0] == 0
    assert tip[1] < 0, "away is up"


def sector_tip_and_radius(sector: ElementTree.Element) -> tuple[tuple[float, float], float]:
    """Where a sector's arc begins, from the middle, y down; and its radius."""
    numbers = [float(n) for n in sector.attrib["d"].replace("M", "").replace("L", "").replace("A", "").split()[:5]]
    return (numbers[2] - numbers[0], numbers[3] - numbers[1]), numbers[4]


def test_statistics_are_on_the_page(world: World) -> None:
    world.accept()
    world.accept(0, "simple_motion", "test")
    _, page = report_on(world)
    statistics = page.text[page.text.index("Clips of each set") : page.text.index("of 2 accepted clips")]
    assert "interactions/train 1 simple_motion/test 1 Shapes, objects cube 2 cylinder 2" in statistics
    assert "330 to 360 degrees: 0" not in statistics
    assert "0 to 30 degrees: 2" in statistics  # both cubes go along x
    assert "tiles 2" in statistics
    bars = [attrs["style"] for tag, attrs in page.tags if tag == "rect" and attrs.get("style")]
    assert bars == ["--c: #0d1fb2", "--c: #cc0f0d"]  # blue and red, each twice
