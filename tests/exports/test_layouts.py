"""youtube-vis and webdataset: what is exported of every dataset reads as what was published."""

from __future__ import annotations

import errno
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows.commands.export import export, main
from schemas.storage import is_full_disk
from tasks.datasets.registry import dataset_of
from tasks.engine.export import STATE, ExportFolder, ExportOptions, plan_clips
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.media.video import read_video
from tests.support.flow_runs import files_of
from tests.support.readers_of_exports import read_webdataset, read_youtube_vis

ALL = ExportOptions()
Stop = KeyboardInterrupt  # what ends an export in the midst here


def splits_of(snapshot: Snapshot) -> dict[str, list[str]]:
    """{split: accepted clips, in order}"""
    found: dict[str, list[str]] = {}
    for plan in plan_clips(snapshot, ALL):
        found.setdefault(plan.split, []).append(plan.clip_id)
    return found


def test_every_accepted_clip_is_planned_once_in_its_split(snapshot: Snapshot) -> None:
    planned = plan_clips(snapshot, ALL)
    assert [plan.clip_id for plan in planned] == snapshot.accepted_ids()
    assert [plan.number for plan in planned] == [*range(1, len(planned) + 1)]
    assert len({plan.key for plan in planned}) == len(planned)
    assert set(splits_of(snapshot)) == ({"train"} if dataset_of(snapshot).name == "matrix11k" else {"train", "test"})
    assert plan_clips(snapshot, ExportOptions(limit=2)) == planned[:2]


def test_youtube_vis_holds_frames_and_masks_of_all(snapshot: Snapshot, tmp_path: Path) -> None:
    told = export(snapshot, tmp_path, "youtube-vis")
    assert told == f"{len(snapshot.accepted_ids())} clips: {tmp_path}/SPLIT/instances.json"
    categories = set()
    for split, clip_ids in splits_of(snapshot).items():
        videos = read_youtube_vis(tmp_path / split)
        assert [video.clip_id for video in videos] == clip_ids
        categories.add(str(json.loads((tmp_path / split / "instances.json").read_text())["categories"]))
        for video in videos:
            masks = snapshot.masks(video.clip_id)
            assert len(video.tracks) == len(masks)
            for track, expected in zip(video.tracks, masks.values(), strict=True):
                np.testing.assert_array_equal(track.masks, expected)
            frames = read_video(snapshot.video(video.clip_id))
            assert np.abs(frames.astype(int) - video.pictures).mean() < 4, "JPEG"
    assert len(categories) == 1, "a category has the same id in every split"
    assert {path.name for path in tmp_path.iterdir()} == {*splits_of(snapshot), "skipped.csv", STATE}


def test_webdataset_holds_videos_and_what_is_known_of_all(snapshot: Snapshot, tmp_path: Path) -> None:
    export(snapshot, tmp_path, "webdataset")
    for split, clip_ids in splits_of(snapshot).items():
        samples = list(read_webdataset(tmp_path, split))
        assert [sample.key for sample in samples] == clip_ids
        for sample in samples:
            masks = snapshot.masks(sample.key)
            assert sample.masks.keys() == masks.keys()
            for instance_id, expected in masks.items():
                np.testing.assert_array_equal(sample.masks[instance_id], expected)
            frames = read_video(snapshot.video(sample.key))
            assert np.abs(frames.astype(int) - sample.film.frames[:, : frames.shape[1], : frames.shape[2]]).mean() < 5
            assert sample.known["caption"]
            assert float(sample.film.fps) == pytest.approx(sample.known["fps"])
            assert all(instance["class_name"] in instance["noun"] for instance in sample.known["instances"])
    shards = json.loads((tmp_path / "shards.json").read_text())
    assert {shard["name"]: shard["n_bytes"] for shard in shards} == {
        path.name: path.stat().st_size for path in tmp_path.glob("*.tar")
    }


def test_what_a_caption_says_who_does_is_in_the_json(roots: Path, tmp_path: Path) -> None:
    snapshot = Snapshot.open(roots / "matrix11k", inputs=roots / "matrix11k" / "input")
    export(snapshot, tmp_path, "webdataset")
    told = {
        (i["subject_id"], i["verb"], i["object_id"])
        for sample in read_webdataset(tmp_path, "train")
        for i in sample.known["interactions"]
    }
    assert told == {("id1", "carry", "id2")}


@pytest.fixture
def simulated(roots: Path) -> Snapshot:
    return Snapshot.open(roots / "kinemask")


def test_tar_files_are_bounded_and_hold_no_time_and_no_owner(
    simulated: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.exports.webdataset.MEGABYTE", 2**10)
    export(simulated, tmp_path, "webdataset", ExportOptions(shard_mb=20))
    tars = sorted(tmp_path.glob("*.tar"))
    assert len(tars) > len(splits_of(simulated))
    for path in tars:
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        assert path.stat().st_size <= 20 * 2**10 or len(members) == 2, "a single clip may be larger"
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    assert [s.key for s in read_webdataset(tmp_path, "train")] == splits_of(simulated)["train"]


# --- Again ---------------------------------------------------------------------------------------

LAYOUTS = ("webdataset", "kinemask")


@pytest.fixture
def small_tars(monkeypatch: pytest.MonkeyPatch) -> ExportOptions:
    monkeypatch.setattr("tasks.exports.webdataset.MEGABYTE", 2**10)
    return ExportOptions(shard_mb=20)


def options_for(layout: str) -> ExportOptions:
    return ExportOptions(shard_mb=20) if layout == "webdataset" else ALL


def stop_after(monkeypatch: pytest.MonkeyPatch, n_renames: int) -> None:
    """Ends the process's export when it has renamed so many things: as a kill does, without any clearing up."""
    rename, left = os.replace, [n_renames]

    def count(source: Path, target: Path) -> None:
        if STATE not in Path(target).parts:
            left[0] -= 1
            if left[0] < 0:
                raise Stop
        rename(source, target)

    monkeypatch.setattr("tasks.engine.export.os.replace", count)


@pytest.mark.usefixtures("small_tars")
@pytest.mark.parametrize(
    ("layout", "n_renames"),
    [("youtube-vis", 2), ("webdataset", 1), ("webdataset", 2), ("kinemask", 0), ("kinemask", 4)],
)
def test_stopped_anywhere_and_run_again_it_ends_in_the_same_bytes(
    simulated: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, n_renames: int
) -> None:
    options = options_for(layout)
    export(simulated, tmp_path / "whole", layout, options)
    with monkeypatch.context() as patch:
        stop_after(patch, n_renames)
        with pytest.raises(Stop):
            export(simulated, tmp_path / "stopped", layout, options)
    with (tmp_path / "stopped" / STATE / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"done": "cli')  # cut off
    export(simulated, tmp_path / "stopped", layout, options)
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")


@pytest.mark.usefixtures("small_tars")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_finished_is_not_made_again(
    simulated: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    export(simulated, tmp_path, layout, options_for(layout))
    before = files_of(tmp_path)
    made: list[str] = []
    unit = ExportFolder.unit

    def note(self: ExportFolder, name: str, *rest: object) -> object:
        made.append(name)
        return unit(self, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ExportFolder, "unit", note)
    export(simulated, tmp_path, layout, options_for(layout))
    assert made == [""], "only the lists"
    assert files_of(tmp_path) == before


@pytest.mark.usefixtures("small_tars")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strays_of_an_earlier_export_go_and_nobody_elses(simulated: Snapshot, tmp_path: Path, layout: str) -> None:
    few = options_for(layout).model_copy(update={"limit": 2})
    export(simulated, tmp_path / "fresh", layout, few)
    export(simulated, tmp_path / "again", layout, options_for(layout))
    (tmp_path / "again" / "train").mkdir(exist_ok=True)
    (tmp_path / "again" / "train" / "mine.txt").write_text("mine")
    export(simulated, tmp_path / "again", layout, few)
    again = files_of(tmp_path / "again")
    assert again.pop("train/mine.txt")
    assert again == files_of(tmp_path / "fresh")


def test_a_file_of_somebody_else_is_never_overwritten(simulated: Snapshot, tmp_path: Path) -> None:
    mine = tmp_path / "train" / "videos" / f"{splits_of(simulated)['train'][0]}.mp4"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(SnapshotError, match=r"\.mp4 is there, and not of an earlier export; give an empty folder"):
        export(simulated, tmp_path, "kinemask")
    assert mine.read_bytes() == b"mine"


def test_another_layout_in_the_same_folder_is_refused(simulated: Snapshot, tmp_path: Path) -> None:
    export(simulated, tmp_path, "kinemask")
    with pytest.raises(SnapshotError, match="holds an export in the layout kinemask; give another folder"):
        export(simulated, tmp_path, "youtube-vis")


def test_two_exports_do_not_write_to_one_folder(
    simulated: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*_: object) -> None:
        with pytest.raises(SnapshotError, match="another export is writing there"):
            export(simulated, tmp_path, "youtube-vis")
        raise Stop

    monkeypatch.setattr("tasks.exports.youtube_vis.write_frames", meanwhile)
    with pytest.raises(Stop):
        export(simulated, tmp_path, "youtube-vis")


# --- What goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["youtube-vis", "webdataset"])
def test_a_clip_whose_source_is_gone_is_named_and_the_others_go_on(roots: Path, tmp_path: Path, layout: str) -> None:
    inputs = tmp_path / "input"
    inputs.mkdir()
    source = roots / "matrix11k" / "input"
    (inputs / "cut.mp4").write_bytes((source / "cut.mp4").read_bytes())
    snapshot = Snapshot.open(roots / "matrix11k", inputs=inputs)
    told = export(snapshot, tmp_path / "out", layout)
    assert told.startswith("2 clips, 1 left out (skipped.csv: 1 missing_file): ")
    (header, line) = (tmp_path / "out" / "skipped.csv").read_text().splitlines()
    assert header == "clip_id,reason,detail"
    assert line.split(",")[1] == "missing_file"

    (inputs / "plain.mp4").write_bytes((source / "plain.mp4").read_bytes())
    assert export(snapshot, tmp_path / "out", layout).startswith("3 clips: ")
    export(Snapshot.open(roots / "matrix11k", inputs=source), tmp_path / "whole", layout)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole"), "back again, it is as if it had never gone"


def test_without_any_source_it_says_so(roots: Path, tmp_path: Path) -> None:
    arguments = ["--root", str(roots / "matrix11k"), "--folder", str(tmp_path / "out"), "--format", "webdataset"]
    with pytest.raises(SystemExit, match="holds no videos: give the folder of its manifest, --inputs FOLDER"):
        main(arguments)
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit, match=r"no clip can be exported \(3 missing_file\), such as clip-"):
        main([*arguments, "--inputs", str(tmp_path)])


def test_the_command_refuses_what_a_layout_has_not(roots: Path, tmp_path: Path) -> None:
    arguments = ["--root", str(roots / "dsr"), "--folder", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match=r"dsr has no layout 'matrix'\. pairs: .*; spatialalign: .*; webdataset: "):
        main([*arguments, "--format", "matrix"])
    with pytest.raises(SystemExit, match="the layout youtube-vis does not take --n-frames, --shard-mb"):
        main([*arguments, "--format", "youtube-vis", "--n-frames", "49", "--shard-mb", "3"])
    with pytest.raises(SystemExit, match="a snapshot of dsr is exported whole"):
        main([*arguments, "--limit", "1"])
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_line_and_the_next_try_goes_on(
    simulated: Snapshot, roots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write: Callable[..., int] = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.suffix == ".npz" and len(list(tmp_path.glob("out/*/masks/*"))) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    assert is_full_disk(OSError(errno.ENOSPC, ""))
    arguments = ["--root", str(roots / "kinemask"), "--format", "kinemask", "--folder", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(
            SystemExit, match=r"out: No space left on device; free some and run the same again: .* kept$"
        ):
            main(arguments)
    main(arguments)
    export(simulated, tmp_path / "whole", "kinemask")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
