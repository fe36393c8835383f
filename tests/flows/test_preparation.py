"""A snapshot of another flow becomes samples: which rows are taken, in which shards, and what is told of errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.commands import cli
from flows.engine.preparation import plan_sample_shards, split_by
from flows.registry import FLOWS
from schemas.training_samples import SampleOutcomeRow, SampleRow, SnapshotRow
from tasks.datasets.registry import DATASETS
from tasks.engine.snapshots import MANIFEST, Snapshot
from tests.support.prepare_toy_samples import TOY_SAMPLES, PrepareToySamples, look_ahead, prepare_toy_samples
from tests.support.toy.flow import CurateToy, curate_toy

WORDS = "the dog throws a ball to the boy who laughs at it loudly"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "toy", "tests.support.toy.dataset:TOY")
    monkeypatch.setitem(DATASETS, "toy-samples", "tests.support.prepare_toy_samples:TOY_SAMPLES")
    monkeypatch.setitem(FLOWS, "toy-samples", "tests.support.prepare_toy_samples")


def curate(root: Path, words: str = WORDS) -> Path:
    return Path(curate_toy.fn(CurateToy(root=root, words=words, shard_size=2, report=False)))


def config_for(root: Path, snapshot: Path, **changes: object) -> PrepareToySamples:
    values = {"root": root, "snapshot": snapshot, "shard_size": 2, "report": False}
    return PrepareToySamples.model_validate(values | changes)


def test_every_accepted_row_ends_in_one_way_and_the_lineage_is_told(tmp_path: Path) -> None:
    source = curate(tmp_path / "toy")
    snapshot = Snapshot(prepare_toy_samples.fn(config_for(tmp_path / "samples", tmp_path / "toy")))
    manifest = snapshot.manifest
    assert (manifest.flow, manifest.snapshot_id.startswith("toy-samples-")) == ("prepare-toy-samples", True)
    assert manifest.tally == "7 inputs = 6 accepted + 1 rejected + 0 failed"
    assert json.loads(manifest.configs)["snapshot"] == {"snapshot_id": source.name, "flow": "curate-toy"}
    outcomes = {row.row_id: row for row in snapshot.rows(SampleOutcomeRow)}
    assert len(outcomes) == 7
    assert {row.prompt for row in snapshot.rows(SampleRow)} >= {"THE DOG", "THROWS A"}
    splits = {row.clip_id: row.split for row in snapshot.rows(SampleRow)}
    assert all(outcomes[clip_id].split == split for clip_id, split in splits.items())
    assert {Path(file.path).name.partition("-")[0] for file in manifest.files} == {"train", "test"}


def test_a_folder_and_a_root_name_the_same_snapshot(tmp_path: Path) -> None:
    source = curate(tmp_path / "toy")
    by_root, by_folder = config_for(tmp_path, tmp_path / "toy"), config_for(tmp_path, source)
    assert by_root.tables.snapshot.folder == by_folder.tables.snapshot.folder == source
    curate(tmp_path / "toy", WORDS + " and on")
    assert by_root.pinned().snapshot == source  # what the run began with
    assert config_for(tmp_path, tmp_path / "toy").tables.snapshot.folder != source


def test_a_second_run_computes_nothing_and_a_grown_snapshot_only_what_is_new(tmp_path: Path) -> None:
    curate(tmp_path / "toy")
    config = config_for(tmp_path / "samples", tmp_path / "toy")
    before = prepare_toy_samples.fn(config)
    assert [(line.known, line.to_compute) for line in look_ahead(config)] == [(7, 0)]
    assert prepare_toy_samples.fn(config) == before
    curate(tmp_path / "toy", WORDS.replace("loudly", "and he runs away"))
    grown = config_for(tmp_path / "samples", tmp_path / "toy")
    assert [(line.known, line.to_compute) for line in look_ahead(grown)] == [(6, 2)]
    after = Snapshot(prepare_toy_samples.fn(grown)).manifest.shards
    kept = {shard.shard_id for shard in Snapshot(before).manifest.shards} & {shard.shard_id for shard in after}
    assert kept


def test_what_is_no_snapshot_of_its_flow_ends_with_one_line(tmp_path: Path) -> None:
    source = curate(tmp_path / "toy")

    def told(snapshot: Path) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main(["prepare", "toy-samples", "--snapshot", str(snapshot), "--root", str(tmp_path / "samples")])
        assert "\n" not in str(ended.value)
        return str(ended.value)

    assert "nothing was published in" in told(tmp_path / "elsewhere")
    prepared = Path(prepare_toy_samples.fn(config_for(tmp_path / "samples", source)))
    assert "was made by prepare-toy-samples; give a snapshot of curate-toy" in told(prepared)
    (source / MANIFEST).write_text("{")
    assert "cannot be read" in told(source)
    assert "cannot be read" in told(tmp_path / "toy")


def test_the_page_and_the_story_tell_of_samples_without_a_video(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curate(tmp_path / "toy")
    folder = Path(prepare_toy_samples.fn(config_for(tmp_path, tmp_path / "toy", report=True)))
    page = (tmp_path / "reports" / folder.name / "index.html").read_text()
    assert "THE DOG" in page
    assert "1 frame of 16×16" in page
    assert next(iter(TOY_SAMPLES.headline(Snapshot(folder), None))).startswith("samples: ")
    clip_id = Snapshot(folder).accepted_ids()[0]
    cli.main(["ask", "--root", str(tmp_path), "clip", clip_id])
    assert "prompt     " in capsys.readouterr().out


def test_what_is_kept_out_stays_so_when_a_dataset_grows() -> None:
    keys = [f"source-{n}" for n in range(2000)]
    few, more = ({key for key in keys if split_by(key, share) == "test"} for share in (0.1, 0.3))
    assert few < more
    assert 0.07 < len(few) / len(keys) < 0.13
    assert not any(split_by(key, 0.0) == "test" for key in keys)
    assert all(split_by(key, 1.0) == "test" for key in keys)


def test_no_shard_holds_two_splits_and_earlier_shards_stay() -> None:
    def row(n: int) -> SnapshotRow:
        return SnapshotRow(clip_id=f"clip-{n}", split="test" if n % 3 == 0 else "train", content=f"{n:064}")

    rows = [row(n) for n in range(9)]
    before = plan_sample_shards(rows, 2)
    assert [[r.payload.clip_id for r in shard.rows] for shard in before] == [
        ["clip-0", "clip-3"], ["clip-6"], ["clip-1", "clip-2"], ["clip-4", "clip-5"], ["clip-7", "clip-8"],
    ]  # fmt: skip
    earlier = [[r.payload.clip_id for r in shard.rows] for shard in before]
    after = plan_sample_shards([row(10), *rows], 2, earlier)
    assert {shard.shard_id for shard in before} < {shard.shard_id for shard in after}
