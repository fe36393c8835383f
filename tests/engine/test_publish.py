"""tasks.engine.publish: the ledger, the snapshot that appears at once, and what reads it."""

from __future__ import annotations

import json
import os
import shutil
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from schemas.candidate import Anchor, Candidate
from schemas.clip import Clip
from schemas.extraction import Extraction
from schemas.grounding import Grounding
from schemas.interaction import Interaction
from schemas.mask_track import Tracks, decode_mask
from schemas.matrix11k import TABLES, MaskTrackRow, MatrixStatistics
from schemas.outcome import Outcome
from schemas.scene import SceneSeed
from schemas.snapshot import SnapshotManifest
from schemas.source import Source
from schemas.split import DroppedClip, SplitResult
from schemas.track_check import Checked, TrackCheck
from tasks.datasets.kinemask.dataset import KINEMASK
from tasks.datasets.matrix11k.dataset import MATRIX11K
from tasks.datasets.matrix11k.ledger import VideoLedger
from tasks.engine.inputs import Inputs
from tasks.engine.publish import LedgerError, dataset_card, publish_snapshot, shard_file, shortfall, yield_too_low
from tasks.engine.shards import Row, Shard, plan_clip_shards, plan_shards
from tasks.engine.snapshots import Snapshot
from tasks.engine.work import Made, Work
from tasks.engine.write_shard import find_done, write_shard
from tests.support.builders import box_mask, make_clip, make_instance, make_source, make_track
from tests.support.snapshots import latest_folder
from tests.support.stages import MATRIX11K_STAGES

BOX = (10, 10, 30, 30)
CHECK = TrackCheck(instance_id="id1", measure="presence", value=0.5, threshold=0.3, passed=True)


def interaction(**changes: Any) -> Interaction:
    values: dict[str, Any] = {
        "subject_id": "id1",
        "verb": "kick",
        "object_id": "id2",
        "type": "functional_action",
        "source_sentence": "A boy kicks a ball.",
        "contactness": 5,
        "dynamism": 4,
        "explanation": "x",
        "confidence": 0.9,
        "kept": True,
    }
    return Interaction(**values | changes)


def accepted_row(work: Work, clip: Clip) -> Row[Clip]:
    """A clip that went through all stages, with one kept and one dropped interaction."""
    instances = [make_instance("id1", "boy"), make_instance("id2")]
    extraction = Extraction(
        interactions=[interaction(), interaction(verb="watch", kept=False, drop_reason="contactness 1 < 3")],
        instances=instances,
        made_by=[],
    )
    candidates = [
        Candidate(instance_id=i, frame=0, box_xyxy=BOX, score=0.5, verdict="accepted", confidence=0.8)
        for i in ("id1", "id2")
    ]
    anchors = [Anchor(instance_id=i, frame=0, box_xyxy=BOX) for i in ("id1", "id2")]
    tracks = [make_track("id1", [BOX, None]), make_track("id2", [BOX, BOX])]
    made = {
        "extract_triplets": extraction,
        "ground_instances": Grounding(anchors=anchors, candidates=candidates, lost_ids=[], made_by=[]),
        "propagate_masks": Tracks(tracks=tracks, made_by=[]),
        "check_tracks": Checked(checks=[CHECK], kept_ids=["id1", "id2"], review_frames=[0, 1]),
    }
    for stage, result in made.items():
        work.save(type(result), f"{stage}-{clip.clip_id}", Made(result=result))
    return Row[Clip](payload=clip, made={stage: f"{stage}-{clip.clip_id}" for stage in made})


def ended_row(clip: Clip, status: str = "rejected") -> Row[Clip]:
    outcome = Outcome(
        row_id=clip.clip_id, kind="clip", status=status, stage="extract_triplets", reason="dull", retryable=False
    )
    return Row[Clip](payload=clip, outcome=outcome)


class Case:
    """Two sources with three clips (one accepted, one rejected, one too short), a third that broke, a bad line."""

    def __init__(self, work: Work, video: str = "v.mp4") -> None:
        self.work = work
        self.snapshots = work.root.parent / "snapshots"
        self.sources = [make_source(text, line=n, video=video) for n, text in enumerate(("one", "two", "three"), 1)]
        clips = [make_clip(self.sources[0]), make_clip(self.sources[1])]
        short = make_clip(self.sources[1], index=1, n_frames=2)
        self.ledger = VideoLedger(
            n_lines=4,
            sources=self.sources,
            line_outcomes=[self.early("line-1", "read_manifest")],
            splits={
                self.sources[0].source_id: SplitResult(clips=clips[:1], dropped=[]),
                self.sources[1].source_id: SplitResult(
                    clips=clips[1:], dropped=[DroppedClip(clip=short, reason="too_short", detail="0.1 s")]
                ),
            },
            source_outcomes=[self.early(self.sources[2].source_id, "split_scenes")],
        )
        rows = [accepted_row(work, clips[0]), ended_row(clips[1])]
        self.shards = [Shard[Clip](shard_id=f"shard-{n}", rows=[row]) for n, row in enumerate(rows)]

    @staticmethod
    def early(row_id: str, stage: str) -> Outcome:
        return Outcome(row_id=row_id, kind="source", status="failed", stage=stage, reason="broken", retryable=False)

    def publish(self, min_yield: float = 0.0) -> Path:
        done = [(shard, write_shard(self.work, shard, MATRIX11K)) for shard in self.shards]
        configs = {"split": {"x": 1}}
        return publish_snapshot(
            *(self.work, self.snapshots, "toy", MATRIX11K, self.ledger, done, configs, MATRIX11K_STAGES, []),
            min_yield=min_yield,
        )


@pytest.fixture
def case(work: Work) -> Case:
    return Case(work)


def test_every_input_is_accounted_for(case: Case) -> None:
    manifest = Snapshot(case.publish()).manifest
    assert manifest.tally == "5 inputs = 1 accepted + 2 rejected + 2 failed"
    funnel = {(s.stage, s.unit): (s.given, s.passed, s.rejected, s.failed, s.made) for s in manifest.funnel}
    assert funnel["read_manifest", "lines"] == (4, 3, 0, 1, 3)
    assert funnel["split_scenes", "sources"] == (3, 2, 0, 1, 3)
    assert funnel["split_scenes", "clips"] == (3, 2, 1, 0, 2)
    assert funnel["extract_triplets", "clips"] == (2, 1, 1, 0, 1)
    assert funnel["check_tracks", "clips"] == (1, 1, 0, 0, 1)


def test_statistics_of_figure_10(case: Case) -> None:
    statistics = Snapshot(case.publish()).statistics(MatrixStatistics)
    assert statistics.contact_dynamism[4][3] == sum(map(sum, statistics.contact_dynamism)) == 1
    assert (statistics.interactions_per_clip, statistics.instances_per_clip) == ([0, 1], [0, 0, 1])
    assert [(v.name, v.n) for v in statistics.top_verbs] == [("kick", 1)]
    assert [(v.name, v.n) for v in statistics.top_nouns] == [("ball", 1), ("boy", 1)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda case: case.shards.pop(),
        lambda case: case.shards.append(case.shards[0]),
        lambda case: case.ledger.source_outcomes.clear(),
        lambda case: case.ledger.line_outcomes.clear(),
        lambda case: case.ledger.source_outcomes.append(Case.early(case.sources[0].source_id, "split_scenes")),
    ],
    ids=["lost shard", "shard twice", "lost source", "lost line", "source ended twice"],
)
def test_a_ledger_that_does_not_add_up_publishes_nothing(case: Case, spoil: Any) -> None:
    spoil(case)
    with pytest.raises(LedgerError):
        case.publish()
    assert Snapshot.latest(case.snapshots) is None
    assert not case.snapshots.exists() or list(case.snapshots.iterdir()) == []


def test_the_same_content_is_the_same_snapshot_byte_for_byte(case: Case, tmp_path: Path) -> None:
    first = case.publish()
    before = {p.relative_to(first): p.read_bytes() for p in first.rglob("*") if p.is_file()}
    assert case.publish() == first
    other = Case(Work(root=tmp_path / "elsewhere" / "work", inputs=Inputs(folder=tmp_path))).publish()
    assert other.name == first.name
    assert {p.relative_to(other): p.read_bytes() for p in other.rglob("*") if p.is_file()} == before


def test_a_kill_while_publishing_leaves_nothing_that_looks_published(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(manifest: object, dataset: object) -> str:
        raise Killed

    monkeypatch.setattr("tasks.engine.publish.dataset_card", die)
    with pytest.raises(Killed):
        case.publish()
    assert Snapshot.latest(case.snapshots) is None
    monkeypatch.undo()
    for name, age_s in (("old", 100_000), ("young", 0)):  # what a SIGKILL leaves behind, and a run that lives
        folder = case.snapshots / f".{name}.incomplete"
        folder.mkdir()
        os.utime(folder, (time.time() - age_s,) * 2)
    assert case.publish().is_dir()
    assert [p.name for p in case.snapshots.glob(".*")] == [".young.incomplete"]


def test_an_older_snapshot_stays_readable(case: Case) -> None:
    old = case.publish()
    case.ledger.line_outcomes.append(Case.early("line-2", "read_manifest"))
    case.ledger.n_lines += 1
    new = case.publish()
    assert latest_folder(case.snapshots) == new != old
    assert Snapshot(old).manifest.n_inputs == 5
    assert len(pl.read_parquet(old / "clips" / "*.parquet")) == 1


def test_a_snapshot_of_format_1_stays_readable(case: Case) -> None:
    snapshot = case.publish()
    manifest = json.loads((snapshot / "manifest.json").read_text())
    del manifest["flow"]
    manifest |= {"format_version": 1, "n_lines": manifest.pop("n_given")}
    (snapshot / "manifest.json").write_text(json.dumps(manifest))
    read = Snapshot(snapshot).manifest
    assert (read.flow, read.n_given, read.format_version) == ("curate-matrix11k", 4, 1)


def test_polars_duckdb_and_datasets_read_every_table(case: Case, tmp_path: Path) -> None:
    import datasets

    snapshot = case.publish()
    for table, record in TABLES.items():
        files = f"{snapshot}/{table}/*.parquet"
        names = record.arrow_schema().names
        in_polars = pl.read_parquet(files)
        assert in_polars.columns == names
        in_duckdb = duckdb.sql(f"select * from read_parquet('{files}')")
        assert in_duckdb.columns == names
        loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "hf"))
        assert loaded.column_names == names
        assert len(in_polars) == in_duckdb.shape[0] == loaded.num_rows
    by_card = datasets.load_dataset(str(snapshot), "mask_tracks", split="train", cache_dir=str(tmp_path / "hf2"))
    row = by_card[0]
    assert (decode_mask(row["counts"][0], row["height"], row["width"]) == box_mask(BOX)).all()


def test_datasets_reads_past_a_shard_without_rows(case: Case, tmp_path: Path) -> None:
    import datasets

    case.shards.reverse()  # the rejected clip's, of no accepted row, comes first
    snapshot = case.publish()
    assert len(datasets.load_dataset(str(snapshot), split="train", cache_dir=str(tmp_path / "hf"))) == 1


def test_a_shard_of_two_splits_is_not_published() -> None:
    seeds = [SceneSeed.of([], "interactions", split, 0) for split in ("train", "test")]
    assert shard_file(KINEMASK, Shard.of(seeds[:1])) == f"train-{Shard.id_of(seeds[:1])}.parquet"
    with pytest.raises(LedgerError, match="holds rows of several splits"):
        shard_file(KINEMASK, Shard.of(seeds))


def test_accepted_tables_hold_nothing_of_other_clips(case: Case) -> None:
    snapshot = case.publish()
    kept = pl.read_parquet(snapshot / "interactions" / "*.parquet")
    dropped = pl.read_parquet(snapshot / "dropped_interactions" / "*.parquet")
    assert kept["kept"].to_list() == [True]
    assert dropped["drop_reason"].to_list() == ["contactness 1 < 3"]
    tracks = pl.read_parquet(snapshot / "mask_tracks" / "*.parquet")
    assert tracks["present"].to_list() == [[True, False], [True, True]]
    assert set(tracks.columns) == set(MaskTrackRow.model_fields)


def test_the_manifest_and_card_tell_versions_and_hold_no_path(case: Case, tmp_path: Path) -> None:
    snapshot = case.publish()
    text = (snapshot / "manifest.json").read_text() + (snapshot / "README.md").read_text()
    assert str(tmp_path) not in text
    manifest = Snapshot(snapshot).manifest
    assert {v.name: v.n for v in manifest.record_versions}["clips"] == 2
    assert json.loads(manifest.configs) == {"split": {"x": 1}}
    assert sum(f.rows for f in manifest.files if f.table == "outcomes") == manifest.n_inputs
    assert "config_name: mask_tracks" in dataset_card(manifest, MATRIX11K)


def test_done_is_believed_only_with_all_its_tables(case: Case) -> None:
    shard = case.shards[0]
    done = write_shard(case.work, shard, MATRIX11K)
    assert find_done(case.work, shard.shard_id, shard.chain) == done
    case.work.shard_path(shard.shard_id, f"{done.folder}/clips.parquet").unlink()
    assert find_done(case.work, shard.shard_id, shard.chain) is None


# --- The yield -------------------------------------------------------------------------------


@pytest.mark.parametrize(("min_yield", "is_latest"), [(0.0, True), (0.2, True), (0.2000001, False), (1.0, False)])
def test_latest_names_what_has_the_least_yield(case: Case, min_yield: float, is_latest: bool) -> None:
    """One of five rows of the ledger was accepted: of two clips, a short one, an unreadable video and a bad line."""
    snapshot = case.publish(min_yield)
    assert snapshot.is_dir()
    assert Snapshot.latest(case.snapshots) == (Snapshot(snapshot) if is_latest else None)


def test_the_yield_is_no_part_of_what_is_published(case: Case, tmp_path: Path) -> None:
    asked = case.publish(1.0)
    other = Case(Work(root=tmp_path / "elsewhere" / "work", inputs=Inputs(folder=tmp_path))).publish(0.0)
    assert other.name == asked.name
    for path in other.rglob("*"):
        assert path.is_dir() or path.read_bytes() == (asked / path.relative_to(other)).read_bytes()


def counted(n_accepted: int, n_inputs: int) -> SnapshotManifest:
    return SnapshotManifest.model_construct(n_accepted=n_accepted, n_inputs=n_inputs)


@pytest.mark.parametrize(
    ("n_accepted", "n_inputs", "min_yield", "why"),
    [
        (0, 0, 0.0, "nothing went in: there is no row"),
        (0, 120, 0.0, "none of 120 rows was accepted"),
        (3, 120, 0.2, "3 of 120 rows were accepted (2.5 %), fewer than --min-yield 0.2"),
        (1999, 10_000, 0.2, "1999 of 10000 rows were accepted (19.9 %), fewer than --min-yield 0.2"),  # not 20.0 %
        (7, 100, 0.07, None),  # in floats, 0.07 * 100 > 7
        (1, 1_000_000, 0.0, None),
        (5, 5, 1.0, None),
    ],
)
def test_a_shortfall_says_how_many(n_accepted: int, n_inputs: int, min_yield: float, why: str | None) -> None:
    assert shortfall(counted(n_accepted, n_inputs), min_yield) == why


def test_a_yield_that_is_too_low_tells_why_and_where_to_look(case: Case) -> None:
    snapshot = Snapshot(case.publish(0.5))
    root = case.snapshots.parent

    def told() -> str:
        error = yield_too_low(snapshot, "1 of 5 rows was accepted")
        assert error.folder == snapshot.folder
        return str(error)

    most = "most: 1 failed in read_manifest (broken), 1 failed in split_scenes (broken), 1 rejected in extract_triplets"
    see = f"See `triptych ask --root {root} --snapshot {snapshot.id} failed`"
    assert told().startswith(f"1 of 5 rows was accepted; {most}")
    assert told().endswith(f"{snapshot.folder} is published, and there is no LATEST yet. {see}")
    (case.snapshots / "LATEST").write_text("toy-older\n")
    assert "is published, and LATEST still names toy-older, which is gone. See" in told()
    shutil.copytree(snapshot.folder, case.snapshots / "toy-older")
    assert "is published, and LATEST still names toy-older. See" in told()
    (case.snapshots / "LATEST").write_text(f"{snapshot.id}\n")
    assert "is published, and LATEST names it since an earlier run. See" in told()
    for damaged in (b"\xff\xfe", b"", b"toy-older\ntoy-newer\n", b"/etc"):
        (case.snapshots / "LATEST").write_bytes(damaged)
        assert "is published, and LATEST is damaged. See" in told()


# --- Planning --------------------------------------------------------------------------------


def clips(n: int) -> list[Clip]:
    source = make_source()
    return [make_clip(source, index=i) for i in range(n)]


def test_shards_are_fixed_lists_in_order() -> None:
    shards = plan_shards(clips(150), 64)
    assert [len(s.rows) for s in shards] == [64, 64, 22]
    assert [s.shard_id for s in shards] == [s.shard_id for s in plan_shards(clips(150), 64)]


def test_a_refresh_leaves_shards_alone_whose_clips_stay() -> None:
    before = plan_clip_shards(clips(6), 2)
    earlier = [[r.payload.clip_id for r in s.rows] for s in before]
    now = [c for c in clips(9) if c.clip_id != earlier[1][0]]
    after = plan_clip_shards(now[::-1], 2, earlier)
    assert [s.shard_id for s in after][0::2][:2] == [before[0].shard_id, before[2].shard_id]
    assert [len(s.rows) for s in after] == [2, 1, 2, 2, 1]
    assert sorted(r.payload.clip_id for s in after for r in s.rows) == sorted(c.clip_id for c in now)


def test_a_renamed_file_is_another_shard_with_the_same_clips() -> None:
    [before] = plan_clip_shards(clips(2), 2)
    renamed = [c.model_copy(update={"video": "new.mp4"}) for c in clips(2)]
    [after] = plan_clip_shards(renamed, 2, [[r.payload.clip_id for r in before.rows]])
    assert after.shard_id != before.shard_id


def test_source_ids_know_the_span() -> None:
    ids = {Source.id_of("ab", "x", start, None) for start in (None, 0.0, 1.0)}
    assert len(ids) == 3
    assert Clip.id_of("s", Fraction(0), Fraction(1)) != Clip.id_of("s", Fraction(0), Fraction(2))
