"""The report: every number and reason is on the page, pictures show the masks, and no text gets out of its place."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from schemas.clip import Clip
from schemas.config import StageConfig
from schemas.matrix11k import (
    SHARD_TABLES,
    TABLES,
    CandidateRow,
    ClipRow,
    InstanceRow,
    InteractionRow,
    MaskTrackRow,
    MatrixStatistics,
    OutcomeRow,
    TrackCheckRow,
)
from schemas.outcome import ServiceDown, Status
from schemas.provenance import MadeBy
from schemas.record import Rational, Record, StageResult, column, write_table
from schemas.snapshot import Count, FunnelStep, ShardEntry, SnapshotManifest
from schemas.source import Source
from schemas.tables import Named
from schemas.usage import DeviceTime, ModelRole, TokenPrice, TokenPrices, Usage
from tasks.datasets.matrix11k import report
from tasks.datasets.matrix11k.report.charts import heat_map, presence_bar
from tasks.datasets.matrix11k.view import VideoClipView, clip_views, draw_candidates, mark_nouns
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Row, Shard
from tasks.engine.snapshots import Snapshot
from tasks.engine.stage import Stage, run_stage
from tasks.engine.work import Work
from tasks.media.encoding import write_video
from tasks.media.video import iter_frames
from tasks.metrics.compare_truth import InstanceScore, MissedInstance, RowCheck, TruthReport
from tasks.pages.colours import PALETTE, colour_of, css
from tasks.pages.funnel import MAX_ROWS_PER_GROUP
from tasks.pages.page import PageContext
from tasks.pages.usage import StageDevice, StageUsage, read_usage, usage_of
from tests.support.builders import HEIGHT, WIDTH, make_clip, make_instance, make_source, make_track
from tests.support.pages import Page, tables_of

N_FRAMES = 12
ANCHOR = 3
BOY = (4, 10, 20, 50)
BALL = (40, 20, 60, 40)
HIDDEN = range(6, 9)  # frames without a ball
REVIEW = [0, 3, 11]
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
CAPTION = f"A boy kicks a red ball. {HOSTILE}"


# --- A small snapshot ------------------------------------------------------------------------


class World:
    """A folder of inputs and the rows of a snapshot about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = Work(root=folder / "data" / "work", inputs=Inputs(folder=folder / "inputs"))
        self.rows: dict[str, list[Record]] = {name: [] for name in SHARD_TABLES}
        self.sources: list[Source] = []
        self.clips: list[Clip] = []
        video = folder / "inputs" / "v.mp4"
        write_video(video, [np.full((HEIGHT, WIDTH, 3), 128, np.uint8)] * 2 * N_FRAMES, 24)
        self.sha256 = hashlib.sha256(video.read_bytes()).hexdigest()

    def accept(self, index: int = 0, video: str = "v.mp4") -> str:
        """An accepted clip of a boy and a ball that is hidden for a while."""
        source = make_source(CAPTION, video=video, video_sha256=self.sha256, line=len(self.sources) + 1)
        clip = make_clip(source, index, N_FRAMES)
        of_clip = {"clip_id": clip.clip_id}
        instances = {"id1": ("boy", BOY, "A boy"), "id2": ("ball", BALL, "a red ball")}
        for instance_id, (class_name, box, noun) in instances.items():
            hidden = HIDDEN if instance_id == "id2" else range(0)
            track = make_track(instance_id, [None if i in hidden else box for i in range(N_FRAMES)], ANCHOR)
            self.rows["mask_tracks"].append(MaskTrackRow(**of_clip, **track.model_dump()))
            self.rows["instances"].append(
                InstanceRow(
                    **of_clip,
                    **make_instance(instance_id, class_name, noun=noun).model_dump(),
                    anchor_frame=ANCHOR,
                    anchor_box_xyxy=box,
                    anchor_score=0.5,
                    verifier_confidence=0.75,
                )
            )
            self.candidate(clip.clip_id, instance_id, "accepted", f"rationale of {instance_id}", box)
            self.rows["track_checks"].append(
                TrackCheckRow(
                    **of_clip, instance_id=instance_id, measure="presence", value=0.875, threshold=0.3, passed=True
                )
            )
        self.interaction(clip.clip_id, "kick", kept=True)
        self.interaction(clip.clip_id, "watch", kept=False)
        made_by = [MadeBy(stage="propagate_masks", backend="flow", model="farneback", details="{}").model_dump()]
        self.rows["clips"].append(ClipRow(**clip.model_dump(), review_frames=REVIEW, made_by=made_by))
        self.outcome(clip.clip_id, "accepted", "check_tracks", None)
        self.sources.append(source)
        self.clips.append(clip)
        return clip.clip_id

    def interaction(self, clip_id: str, verb: str, *, kept: bool) -> None:
        self.rows["interactions" if kept else "dropped_interactions"].append(
            InteractionRow(
                clip_id=clip_id,
                subject_id="id1",
                verb=verb,
                object_id="id2",
                type="functional_action",
                source_sentence=CAPTION,
                contactness=5 if kept else 1,
                dynamism=4,
                explanation="why",
                confidence=0.9,
                kept=kept,
                drop_reason=None if kept else "contactness 1 < 3",
            )
        )

    def candidate(
        self, clip_id: str, instance_id: str, verdict: str, rationale: str, box: tuple[int, ...], frame: int = ANCHOR
    ) -> None:
        values = {"verdict": verdict, "rationale": rationale, "confidence": 0.9, "score": 0.5, "frame": frame}
        self.rows["candidates"].append(
            CandidateRow(clip_id=clip_id, instance_id=instance_id, box_xyxy=tuple(map(float, box)), **values)
        )

    def outcome(self, row_id: str, status: Status, stage: str, reason: str | None, **values: Any) -> None:
        kind = "clip" if row_id.startswith("clip-") else "source"
        self.rows["outcomes"].append(
            OutcomeRow(row_id=row_id, kind=kind, status=status, stage=stage, reason=reason, retryable=False, **values)
        )

    def reject_in_grounding(self, index: int = 1) -> str:
        """A clip whose ball was looked for in two candidates; the surer one lies on its frame 5."""
        source = make_source("A boy kicks a green ball.", video="v.mp4", video_sha256=self.sha256)
        clip = make_clip(source, index, N_FRAMES)
        self.sources.append(source)
        self.clips.append(clip)
        self.candidate(clip.clip_id, "id2", "refused", f"it is grey {HOSTILE}", BALL, frame=5)
        self.outcome(
            clip.clip_id,
            "rejected",
            "ground_instances",
            "no_interaction_left",
            detail=f"id2: none of 1 candidates verified {HOSTILE}",
            source_id=source.source_id,
            video=source.video,
            start_s=clip.start_s,
            end_s=clip.end_s,
            caption=source.caption,
        )
        return clip.clip_id

    def publish(self, backend: str = "rules") -> Snapshot:
        snapshot = self.folder / "data" / "snapshots" / "demo-0123"
        for table, record in SHARD_TABLES.items():
            write_table(record, self.rows[table], snapshot / table / "shard-1.parquet")
        write_table(Source, self.sources, snapshot / "sources" / "sources.parquet")
        write_table(Clip, self.clips, snapshot / "all_clips" / "clips.parquet")
        manifest = self._manifest(snapshot, backend)
        (snapshot / "manifest.json").write_bytes(manifest.to_json())
        return Snapshot(snapshot)

    def _manifest(self, snapshot: Path, backend: str) -> SnapshotManifest:
        outcomes = [row for row in self.rows["outcomes"] if isinstance(row, OutcomeRow)]
        n = Counter(row.status for row in outcomes)
        ways = Counter((row.status, row.stage, row.reason) for row in outcomes)
        clips = [row.row_id for row in outcomes if row.kind == "clip"]
        return SnapshotManifest(
            snapshot_id="demo-0123",
            flow="curate-matrix11k",
            dataset="demo",
            format_version=1,
            configs="{}",
            made_by=[MadeBy(stage="extract_triplets", backend=backend, model="grammar-1", details="{}")],
            n_given=len(self.sources),
            n_inputs=len(outcomes),
            n_accepted=n["accepted"],
            n_rejected=n["rejected"],
            n_failed=n["failed"],
            funnel=[_step("split_scenes", "sources", outcomes), _step("ground_instances", "clips", outcomes)],
            outcomes=[Count(status=s, stage=st, reason=r, n=n) for (s, st, r), n in sorted(ways.items(), key=str)],
            statistics=MatrixStatistics(
                contact_dynamism=[[0, 0, 0, 0, 0]] * 4 + [[0, 0, 0, 17, 0]],
                interactions_per_clip=[0, 1],
                instances_per_clip=[0, 0, 1],
                top_verbs=[Named(name="kick", n=17)],
                top_nouns=[Named(name="ball<b>", n=1)],
            ).model_dump(mode="json"),
            shards=[ShardEntry(shard_id="shard-1", clip_ids=clips)],
            **tables_of(snapshot, TABLES),
        )


def _step(stage: str, unit: str, outcomes: Sequence[OutcomeRow]) -> FunnelStep:
    of_kind = [row for row in outcomes if row.kind == unit.removesuffix("s")]
    n = Counter(row.status for row in of_kind if row.stage == stage)
    given, passed = len(of_kind), len(of_kind) - n["rejected"] - n["failed"]
    return FunnelStep(
        stage=stage, unit=unit, given=given, passed=passed, rejected=n["rejected"], failed=n["failed"], made=passed
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def report_on(world: World, name: str = "report", backend: str = "rules", **told: Any) -> tuple[Path, Page]:
    """told: what the page is told beside the snapshot"""
    index = report.write_report(world.publish(backend), world.folder / name, PageContext(world.work, **told))
    return index, Page(index.read_text())


def frames_of(path: Path) -> list[np.ndarray]:
    return [frame for _, frame in iter_frames(path)]


def tint(grey: int, instance_id: str) -> np.ndarray:
    """The colour of a grey pixel under an instance's mask."""
    return 0.6 * grey + 0.4 * np.array(colour_of(instance_id))


# --- What is on the page ---------------------------------------------------------------------


def test_the_ledger_the_reasons_and_the_commands_are_told(world: World) -> None:
    world.accept()
    world.reject_in_grounding()
    world.outcome("src-1", "failed", "split_scenes", "truncated_video", detail="12 of 48 frames", video="cut.mp4")
    _, page = report_on(world)
    assert "3 inputs = 1 accepted + 1 rejected + 1 failed" in page.attributes("div", "aria-label")
    assert "truncated_video 1" in page.text
    assert "no_interaction_left 1" in page.text
    assert "12 of 48 frames" in page.text
    assert f"triptych ask --root {world.folder / 'data'} failed" in page.text


def test_a_card_shows_triplet_noun_verdict_and_check(world: World) -> None:
    clip_id = world.accept()
    _, page = report_on(world)
    assert clip_id in page.attributes("article", "id")
    assert "boy — kick → ball" in page.text
    assert f"boy —watch→ ball : contactness 1 < 3. “{CAPTION}”" in page.text
    assert "“rationale of id2”" in page.text
    assert "presence 0.875 0.3 passed" in page.text
    assert "75 %" in page.text  # the ball: 9 of 12 frames
    assert [attrs["style"] for tag, attrs in page.tags if tag == "mark"] == [
        f"--c: {css(PALETTE[0])}",
        f"--c: {css(PALETTE[1])}",
    ]


def test_hostile_text_stays_text(world: World) -> None:
    world.accept()
    world.reject_in_grounding()
    world.outcome("src-1", "failed", "split_scenes", HOSTILE, detail=HOSTILE, video=HOSTILE, caption=HOSTILE)
    _, page = report_on(world)
    assert [attrs for tag, attrs in page.tags if tag == "script"] == [{}]  # the template's own
    assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
    assert page.text.count(HOSTILE) >= 5
    assert all(name.startswith("clips/clip-") for name in page.attributes("img", "src"))


def test_nothing_is_loaded_from_elsewhere(world: World) -> None:
    world.accept()
    index, page = report_on(world)
    links = [
        v for tag in ("img", "video", "script", "link", "a") for n in ("src", "href") for v in page.attributes(tag, n)
    ]
    assert links
    assert all(link.startswith(("#", "clips/")) for link in links)
    assert "url(" not in index.read_text()


def test_only_embedded_backends_get_the_note(world: World) -> None:
    world.accept()
    (_, embedded), (_, served) = (report_on(world, backend, backend) for backend in ("rules", "openai"))
    assert "embedded backends" in embedded.text
    assert "embedded backends" not in served.text


def test_a_snapshot_of_nothing_is_reported(world: World) -> None:
    _, page = report_on(world)
    assert "No clip was accepted." in page.text
    assert "Nothing was rejected" in page.text


# --- Bounds ----------------------------------------------------------------------------------


def test_clips_are_spread_and_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_CLIPS", 1)
    clip_ids = [world.accept(index) for index in range(2)]
    index, page = report_on(world)
    assert "1 of 2 accepted clips" in page.text
    assert page.attributes("article", "id") == [clip_ids[0]]
    assert [p.name for p in (index.parent / "clips").glob("*.mp4")] == [f"{clip_ids[0]}.mp4"]


def test_rejected_rows_are_listed_up_to_a_bound(world: World) -> None:
    for number in range(50):
        world.outcome(f"clip-{number:02}", "rejected", "extract_triplets", "no_caption")
    _, page = report_on(world)
    assert sum(f"clip-{number:02}" in page.text for number in range(50)) == MAX_ROWS_PER_GROUP
    assert f"… and {50 - MAX_ROWS_PER_GROUP} more." in page.text


# --- Pictures --------------------------------------------------------------------------------


def test_the_video_shows_the_masks_where_they_are(world: World) -> None:
    clip_id = world.accept(index=1)  # the second half of the video: the times must be right
    index, _ = report_on(world)
    frames = frames_of(index.parent / "clips" / f"{clip_id}.mp4")
    assert len(frames) == N_FRAMES
    for number, frame in enumerate(frames):
        assert np.abs(frame[45, 12] - tint(128, "id1")).max() < 14
        ball = np.full(3, 128.0) if number in HIDDEN else tint(128, "id2")
        assert np.abs(frame[35, 50] - ball).max() < 14
        assert np.abs(frame[55, 70] - 128.0).max() < 14


def test_review_frames_lie_beside_it_and_the_middle_one_is_the_poster(world: World) -> None:
    clip_id = world.accept()
    index, page = report_on(world)
    names = [f"clips/{clip_id}-{frame}.jpg" for frame in REVIEW]
    assert page.attributes("img", "src") == names
    assert page.attributes("video", "poster") == [names[1]]
    picture = cv2.cvtColor(cv2.imread(str(index.parent / names[0])), cv2.COLOR_BGR2RGB)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(picture[35, 50] - tint(128, "id2")).max() < 14


def test_review_frames_can_be_focused_and_keep_their_place_when_shown_large(world: World) -> None:
    world.accept()
    _, page = report_on(world)
    frames = [attrs for tag, attrs in page.tags if tag == "figure"]
    assert frames == [{"tabindex": "0", "style": f"aspect-ratio: {WIDTH} / {HEIGHT}"}] * len(REVIEW)


def test_a_video_that_is_gone_leaves_a_gap(world: World) -> None:
    world.accept(video="gone.mp4")
    world.accept(index=1)
    _, page = report_on(world)
    assert "The film cannot be shown. missing_file" in page.text
    assert len(page.attributes("video", "src")) == 1


def test_a_video_that_was_rewritten_is_not_shown_under_old_masks(world: World) -> None:
    world.accept()
    write_video(world.folder / "inputs" / "v.mp4", [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 2 * N_FRAMES, 24)
    _, page = report_on(world)
    assert "input_changed" in page.text
    assert page.attributes("video", "src") == []


def test_a_rejected_clip_shows_its_best_candidate_with_the_box(world: World) -> None:
    clip_id = world.reject_in_grounding()
    world.candidate(clip_id, "id2", "not_asked", "never seen", (0, 0, 4, 4), frame=11)
    index, page = report_on(world)
    assert page.attributes("img", "src") == [f"clips/{clip_id}-candidate0.jpg"]
    assert "id2 refused · frame 5" in page.text
    assert f"“it is grey {HOSTILE}”" in page.text
    picture = cv2.cvtColor(cv2.imread(str(index.parent / f"clips/{clip_id}-candidate0.jpg")), cv2.COLOR_BGR2RGB)
    edge, inside = picture[BALL[3] - 1, 50].astype(int), picture[30, 50].astype(int)
    assert np.abs(edge - colour_of("id2")).max() < 60
    assert np.abs(inside - 128).max() < 14


def test_a_candidate_is_drawn_on_its_frame_of_a_clip_that_starts_at_no_float(tmp_path: Path) -> None:
    fps, first = Fraction(30_000, 1001), 7
    write_video(tmp_path / "v.mp4", [np.full((HEIGHT, WIDTH, 3), 10 * i, np.uint8) for i in range(20)], fps)
    start, end = Rational.of(first / fps), Rational.of(20 / fps)
    sha256 = hashlib.sha256((tmp_path / "v.mp4").read_bytes()).hexdigest()
    spans = {"start": start, "end": end, "start_s": float(first / fps), "end_s": float(20 / fps)}
    world = World(tmp_path / "world")
    world.clips.append(clip := make_clip(n_frames=20 - first, video_sha256=sha256, **spans))
    values = {"verdict": "refused", "confidence": 0.9, "score": 0.5, "rationale": None}
    candidates = [
        CandidateRow(clip_id=clip.clip_id, instance_id="id1", frame=frame, box_xyxy=(0, 20, 9, 29), **values)
        for frame in (5, 0)
    ]
    names = draw_candidates(Snapshot(world.publish().folder, tmp_path), clip, candidates, tmp_path)
    greys = [int(cv2.imread(str(tmp_path / name))[50, 70].mean()) for name in names]
    assert greys == pytest.approx([10 * (first + 5), 10 * first], abs=4)


def test_each_candidate_has_a_picture_of_its_own(world: World) -> None:
    clip_id = world.reject_in_grounding()
    world.candidate(clip_id, "id1", "accepted", "it is a boy", BOY, frame=5)
    index, page = report_on(world)
    names = [f"clips/{clip_id}-candidate{number}.jpg" for number in range(2)]
    assert page.attributes("img", "src") == names
    second = cv2.imread(str(index.parent / names[1]))
    assert np.abs(second[BOY[3] - 1, 12] - 128.0).max() < 14  # no edge of the first one's box


def test_a_rejected_clip_without_its_video_keeps_its_verdicts(world: World) -> None:
    world.reject_in_grounding()
    (world.folder / "inputs" / "v.mp4").unlink()
    _, page = report_on(world)
    assert "No pictures: missing_file" in page.text
    assert "id2 refused · frame 5" in page.text


def test_the_same_snapshot_gives_the_same_bytes(world: World) -> None:
    world.accept()
    world.accept(index=1)
    world.reject_in_grounding()
    folders = [report_on(world, name)[0].parent for name in ("a", "b")]
    files = [{p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.*")} for folder in folders]
    assert len(files[0]) == 1 + 2 * (1 + len(REVIEW)) + 1
    assert files[0] == files[1]


def test_the_page_appears_only_when_all_else_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, picture: np.ndarray) -> None:
        raise OSError("no space left")

    world.accept()
    monkeypatch.setattr("tasks.pages.film.write_jpeg", full_disk)
    with pytest.raises(OSError, match="no space"):
        report_on(world)
    assert not (world.folder / "report" / "index.html").exists()


def test_what_is_shown_of_a_clip_can_be_written_as_json(world: World) -> None:
    clip_id = world.accept()
    (view,) = clip_views(Snapshot(world.publish().folder, world.folder / "inputs"), [clip_id], world.folder)
    assert VideoClipView.model_validate_json(view.model_dump_json()) == view
    assert view.film is not None
    assert sorted(view.film.stills) == REVIEW
    assert {name: view.instances[name].row.noun for name in view.instances} == {"id1": "A boy", "id2": "a red ball"}


def test_a_clip_is_shown_without_its_film_where_no_inputs_are_given(world: World) -> None:
    clip_id = world.accept()
    (view,) = clip_views(world.publish(), [clip_id], world.folder)
    assert view.film is None
    assert "open it with inputs=" in (view.trouble or "")


# --- The truth -------------------------------------------------------------------------------


def truth_of(clip_id: str) -> TruthReport:
    def instance(instance_id: str, iou: float) -> InstanceScore:
        return InstanceScore(
            id="push-0",
            video="v.mp4",
            clip_id=clip_id,
            instance_id=instance_id,
            noun=f"noun of {instance_id}",
            true_noun="a ball",
            iou=iou,
            visible_iou=None,
            n_frames=N_FRAMES,
            n_visible=9,
            worst_frame=7,
            worst_iou=0.25,
            presence_hits=9,
            presence_false=0,
        )

    rates = dict.fromkeys(("presence_precision", "presence_recall", "hidden_recall", "instance_recall"), 0.5)
    return TruthReport(
        mean_iou=0.8765,
        mean_visible_iou=0.7654,
        cut_precision=1.0,
        cut_recall=None,
        triplet_precision=0.75,
        triplet_recall=0.6,
        instances_delivered=2,
        rows_met=3,
        rows_expected=4,
        instances=[instance("id1", 0.95), instance("id2", 0.41)],
        missed=[MissedInstance(id="hide-0", shot=1, noun="a cup")],
        rows=[
            RowCheck(id="met", line=1, shot=0, expected="accepted", actual="accepted", met=True),
            RowCheck(id="unmet", line=2, shot=0, expected="accepted", actual="failed at split_scenes", met=False),
        ],
        **rates,
    )


def test_the_truth_is_reported_with_the_worst_first(world: World) -> None:
    truth = truth_of(world.accept())
    _, page = report_on(world, truth=truth)
    for expected in ("0.88", "0.77", "75 % / 60 %", "100 % / –", "3 of 4", "a cup (hide-0, shot 1)", "IoU 0.41"):
        assert expected in page.text
    assert "push-0 worst id2 noun of id2" in page.text
    assert page.text.index("noun of id2") < page.text.index("noun of id1")
    assert "unmet 2 0 accepted failed at split_scenes" in page.text
    assert "met 1 0" not in page.text


def test_without_a_truth_nothing_is_said_of_it(world: World) -> None:
    world.accept()
    _, page = report_on(world)
    assert "IoU" not in page.text


# --- Captions --------------------------------------------------------------------------------


def pieces_of(caption: str, *instances: tuple[str, str, str]) -> list[tuple[str, str | None]]:
    """Pieces with instance ids for colours; instances: (id, class, noun phrase)."""
    rows = [
        InstanceRow(
            clip_id="clip-1",
            **make_instance(i, class_name, noun=noun).model_dump(),
            anchor_frame=0,
            anchor_box_xyxy=(0, 0, 1, 1),
            anchor_score=1,
        )
        for i, class_name, noun in instances
    ]
    id_of = {css(colour_of(i)): i for i, _, _ in instances}
    pieces = mark_nouns(caption, rows)
    assert "".join(text for text, _ in pieces) == caption
    return [(text, id_of[colour]) for text, colour in pieces if colour]


def test_nouns_are_found_with_and_without_their_article() -> None:
    assert pieces_of("A boy kicks the red\nball.", ("id1", "boy", "a boy"), ("id2", "ball", "a red ball")) == [
        ("A boy", "id1"),
        ("the red\nball", "id2"),
    ]


def test_a_class_names_its_only_instance_but_not_another_things_colour() -> None:
    assert pieces_of("The dog takes a blue ball and its ball.", ("id1", "ball", "a red ball")) == [("its ball", "id1")]


def test_a_class_of_two_instances_names_neither() -> None:
    boys = (("id1", "boy", "a boy in red"), ("id2", "boy", "a boy in blue"))
    assert pieces_of("A boy in red hugs a boy in blue. The boy smiles.", *boys) == [
        ("A boy in red", "id1"),
        ("a boy in blue", "id2"),
    ]


def test_the_longer_of_two_overlapping_nouns_is_meant() -> None:
    assert pieces_of("He lifts the ball bag.", ("id1", "ball", "a ball"), ("id2", "bag", "the ball bag")) == [
        ("the ball bag", "id2")
    ]


def test_a_noun_is_no_pattern_and_no_part_of_a_word() -> None:
    assert pieces_of("A boyish (.*) grin", ("id1", "boy", "a boy"), ("id2", "(.*)", "(.*)")) == [("(.*)", "id2")]


# --- Charts ----------------------------------------------------------------------------------


def test_the_heat_map_has_contactness_5_on_top() -> None:
    grid = [[10 * contact + dynamism for dynamism in range(1, 6)] for contact in range(1, 6)]
    by_place = {
        (int(e.find("rect").attrib["y"]), int(e.find("rect").attrib["x"])): e.find("text").text  # type: ignore[union-attr]
        for e in ElementTree.fromstring(heat_map(grid)).iter("g")
    }
    assert [by_place[place] for place in sorted(by_place)] == [
        str(grid[contact][dynamism]) for contact in (4, 3, 2, 1, 0) for dynamism in range(5)
    ]


def test_a_heat_map_of_nothing_is_drawn() -> None:
    ElementTree.fromstring(heat_map([[0] * 5] * 5))


def test_the_presence_bar_has_a_piece_for_each_run() -> None:
    svg = ElementTree.fromstring(presence_bar([True, True, False, True], anchor_frame=1))
    assert [(e.attrib["x"], e.attrib["width"]) for e in svg.iter("rect")] == [("0", "2"), ("3", "1")]
    assert svg.attrib["viewBox"] == "0 0 4 10"


# --- Calls and cost --------------------------------------------------------------------------


def spent(
    stage: str = "extract_triplets", role: ModelRole = "LLM", shard_id: str = "shard-1", **usage: int
) -> StageUsage:
    return StageUsage(shard_id=shard_id, stage=stage, rows=2, role=role, model=f"m {HOSTILE}", usage=Usage(**usage))


ASKED = [
    spent(calls=30, unanswered=2, cached=4, prompt_tokens=12_000, completion_tokens=3000),
    spent("ground_instances", "VLM", calls=9, prompt_tokens=5000, completion_tokens=500),
]
PRICES = TokenPrices(llm=TokenPrice(usd_per_mtok_prompt=1000, usd_per_mtok_completion=2000))


def section_of(page: Page) -> str:
    return page.text[page.text.index("Every request to model servers") : page.text.index("What failed, and how")]


def test_calls_and_tokens_are_told_by_stage_and_summed(world: World) -> None:
    world.accept()
    world.reject_in_grounding()
    _, page = report_on(world, spent=ASKED)
    text = section_of(page)
    assert "#usage" in page.attributes("a", "href")
    assert f"shard-1 1 of 2 clips accepted extract_triplets LLM · m {HOSTILE[:20]}" in text
    assert "2 30 2 4 12,000 3,000 15,000 –" in text
    assert "2 9 0 0 5,000 500 5,500 –" in text
    assert "all stages 2 39 2 4 17,000 3,500 20,500 –" in text
    assert "the config names no prices" in text
    assert "all shards" not in text, "one shard is its own sum"


def test_the_verifier_is_shown_against_the_naive_scan(world: World) -> None:
    clip_id = world.accept()
    for _ in range(5):
        world.candidate(clip_id, "id2", "not_asked", "never", BALL)
    world.candidate(clip_id, "id2", "refused", "grey", BALL)
    _, page = report_on(world, spent=ASKED)
    # 8 candidates for 2 instances, 3 of them judged; 9 calls
    assert "shard-1 1 of 1 clip accepted 8 3 2 1.5 4.0 62 % 4.5" in section_of(page)
    assert "Candidates asked for, an instance 1.5 a naive scan: 4.0" in section_of(page)


def test_a_price_that_is_missing_makes_the_sum_a_lower_bound(world: World) -> None:
    world.accept()
    index, page = report_on(world, spent=ASKED, prices=PRICES)
    assert "12,000 3,000 15,000 $18.00" in section_of(page)
    assert "5,000 500 5,500 –" in section_of(page)
    assert "17,000 3,500 20,500 at least $18.00" in section_of(page)
    kept = usage_of(index.parent)
    assert kept is not None
    assert kept.line().endswith("17,000 prompt and 3,500 completion tokens, at least $18.00")


def test_tokens_that_nobody_counted_are_no_zeros(world: World) -> None:
    world.accept()
    asked = [
        spent(calls=3, uncounted=3),
        spent("ground_instances", "VLM", calls=2, uncounted=1, prompt_tokens=50, completion_tokens=5),
    ]
    _, page = report_on(world, spent=asked, prices=PRICES)
    assert "3 0 0 unknown unknown unknown –" in section_of(page)
    assert "2 0 0 ≥ 50 ≥ 5 ≥ 55" in section_of(page)
    assert "did not tell the tokens of 4 completions" in section_of(page)


def test_without_accepted_clips_there_is_no_quotient(world: World) -> None:
    world.reject_in_grounding()
    _, page = report_on(world, spent=ASKED, prices=PRICES)
    assert "12,000 3,000 – $18.00" in section_of(page)
    assert "no clip accepted" in section_of(page)
    assert "1 1 0 – – 0 % –" in section_of(page)


def test_shards_are_listed_up_to_a_bound_and_summed_over_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.pages.page.MAX_SHARDS", 2)
    clip_ids = [world.accept(index) for index in range(2)]
    folder = world.publish().folder
    # No file is named after one of these: each may hold the rows of any.
    shards = [ShardEntry(shard_id=f"shard-x{n}", clip_ids=clip_ids[n : n + 1]) for n in range(3)]
    manifest = Snapshot(folder).manifest.model_copy(update={"shards": shards})
    (folder / "manifest.json").write_bytes(manifest.to_json())
    asked = [spent(shard_id=f"shard-x{n}", calls=n, prompt_tokens=100 * n) for n in (1, 2)]
    index = report.write_report(Snapshot(folder), world.folder / "report", PageContext(world.work, asked))
    page = Page(index.read_text())
    assert "all shards 2 of 2 clips accepted" in section_of(page)
    assert "4 3 0 0 300 0 150" in section_of(page)
    assert "shard-x0 1 of 1 clip accepted no request that is not counted" in section_of(page)
    assert "shard-x2" not in section_of(page)
    assert "… and 1 more shards, all of them in usage.json" in section_of(page)
    kept = usage_of(index.parent)
    assert kept is not None
    assert [shard.total.usage.calls for shard in kept.shards] == [0, 1, 2]


def test_where_no_server_was_asked_there_is_no_such_section(world: World) -> None:
    world.accept()
    index, page = report_on(world, prices=PRICES)
    assert "#usage" not in page.attributes("a", "href")
    assert "model servers" not in page.text
    assert usage_of(index.parent) is None


def test_how_busy_devices_were_is_told_by_stage_and_shard(world: World) -> None:
    world.accept()
    times = [(None, 386.0, 400.0), ("shard-1", 288.0, 300.0), ("shard-2", 98.0, 100.0)]
    device = [
        StageDevice(shard_id=shard_id, stage="propagate_masks", taken=DeviceTime(busy_s=busy_s, wall_s=wall_s))
        for shard_id, busy_s, wall_s in times
    ]
    index, page = report_on(world, device=device)
    assert "#device" in page.attributes("a", "href")
    assert "propagate_masks all shards 386.0 s 400.0 s 96 %" in page.text
    assert "propagate_masks shard-1 288.0 s 300.0 s 96 % propagate_masks shard-2 98.0 s 100.0 s 98 %" in page.text
    assert usage_of(index.parent) is None, "the file is of model servers"


def test_where_no_network_ran_there_is_no_such_section(world: World) -> None:
    world.accept()
    _, page = report_on(world, spent=ASKED)
    assert "#device" not in page.attributes("a", "href")
    assert "device" not in page.text.lower()


class Counted(StageResult):
    """What nobody comes to count."""

    stage_name: ClassVar[str] = "count"

    n: int = column("How many")


def keyless_stage(error: Exception) -> Stage[Clip, None, Counted]:
    """A stage that cannot even say what a row's answer depends on."""

    def read(row: Row[Clip]) -> None:
        raise error

    return Stage(
        version=1,
        result=Counted,
        config=StageConfig(),
        made_by=[],
        read=read,
        compute=lambda seen: Counted(n=1),
    )


@pytest.mark.logs_errors
def test_a_row_that_failed_before_it_could_ask_is_no_trouble(world: World) -> None:
    stage = keyless_stage(KeyError("surprise"))
    shard = Shard[Clip].of([make_clip()])
    run_stage(world.work, shard, stage)
    entry = ShardEntry(shard_id=shard.shard_id, clip_ids=[shard.rows[0].payload.clip_id])
    assert read_usage(world.work, [entry], [stage], Clip) == []
    with pytest.raises(ServiceDown, match="store is away"):
        read_usage(world.work, [entry], [keyless_stage(ServiceDown("the store is away"))], Clip)
