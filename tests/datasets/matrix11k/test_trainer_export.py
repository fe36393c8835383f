"""export --format matrix: the folder that MATRIX's own trainer reads."""

from __future__ import annotations

import csv
import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from flows.commands.export import export
from schemas.clip import Clip
from schemas.interaction import Interaction
from schemas.mask_track import MaskTrack, encode_mask
from schemas.matrix11k import ClipRow, InstanceRow, InteractionRow, MaskTrackRow, OutcomeRow
from schemas.outcome import RowRejected
from schemas.record import Rational
from schemas.source import Source
from tasks.datasets.matrix11k.trainer_export import FIT, load_counter, most_tokens, require_tokens
from tasks.engine.export import ExportOptions
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.media.id_map import ID_COLOURS
from tests.support.builders import make_clip as make_matrix_clip
from tests.support.builders import make_instance, make_source
from tests.support.flow_runs import files_of
from tests.support.readers_of_exports import read_matrix
from tests.support.snapshots import write_snapshot

CAPTION = "A boy kicks a red ball."
FEW = ExportOptions(n_frames=49)
WIDTH, HEIGHT, N_FRAMES, FPS = 160, 80, 80, 24


def make_instance_row(instance_id: str, noun: str, **changes: Any) -> InstanceRow:
    of_it = make_instance(instance_id, noun.split()[-1], noun=noun).model_dump()
    anchor = {"anchor_frame": 0, "anchor_box_xyxy": (0, 0, 9, 9), "anchor_score": 0.9}
    return InstanceRow(**{"clip_id": "clip-0", **of_it, **anchor} | changes)


# --- The prompt ------------------------------------------------------------------------------


def test_tokens_are_counted_by_a_stated_rule() -> None:
    assert most_tokens("A <id1> boy kicks é.") == 1 + 1 + 2 + 1 + 2 + 2 + 1
    require_tokens(" ".join(["<id1>"] * 127), most_tokens)
    with pytest.raises(RowRejected, match="prompt_too_long: 257 tokens, the most are 255"):
        require_tokens(" ".join(["<id1>"] * 128), most_tokens)


@pytest.mark.models
def test_a_tokenizer_counts_exactly_and_knows_ids(tmp_path: Path) -> None:
    from tasks.training.models.tiny import draw_tokenizer

    draw_tokenizer().save_pretrained(tmp_path)
    count = load_counter(str(tmp_path))
    assert count("a <id1> boy") - count("a boy") in (1, 2), "a space beside it may be a token of its own"


def test_a_tokenizer_that_is_not_there_is_told(tmp_path: Path) -> None:
    snapshot = publish(tmp_path)
    with pytest.raises(SnapshotError, match=r"--tokenizer .*nowhere: "):
        export(snapshot, tmp_path / "out", "matrix", ExportOptions(tokenizer=str(tmp_path / "nowhere")))
    assert not (tmp_path / "out").exists()


# --- The pictures ----------------------------------------------------------------------------


def ball_at(t: int) -> tuple[int, int]:
    """The left edge of each square in frame t, px."""
    return 60 + t // 8, 100 - t // 8


def frame_at(t: int) -> np.ndarray:
    """Two squares of 20 px that move: red on the left, blue on the right; the frame's number is its grey."""
    picture = np.full((HEIGHT, WIDTH, 3), 60 + t, np.uint8)
    for left, colour in zip(ball_at(t), ((230, 20, 20), (20, 20, 230)), strict=True):
        picture[30:50, left : left + 20] = colour
    return picture


def track_of(instance_id: str, which: int, at_edge: bool) -> MaskTrack:
    """A square's masks; at_edge: of something else, in the five columns at the left edge."""
    counts = []
    for t in range(N_FRAMES):
        mask, left = np.zeros((HEIGHT, WIDTH), bool), ball_at(t)[which]
        mask[30:50, slice(5) if at_edge else slice(left, left + 20)] = True
        counts.append(encode_mask(mask))
    return MaskTrack.of(instance_id, counts, height=HEIGHT, width=WIDTH, anchor_frame=0)


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt, stream.options = WIDTH, HEIGHT, "yuv444p", {"crf": "1"}
        for t in range(N_FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_at(t), format="rgb24")))
        container.mux(stream.encode())


def publish(root: Path, *captions: str, n_frames: int = N_FRAMES, edge: bool = False) -> Snapshot:
    """A snapshot of clips of the same drawn video, one a caption; edge: the last clip's ball is at the left edge."""
    draw(root / "input" / "v.mp4")
    sha256 = hashlib.sha256((root / "input" / "v.mp4").read_bytes()).hexdigest()
    sources = [make_source(caption, video_sha256=sha256) for caption in captions or (CAPTION,)]
    end = Fraction(n_frames, FPS)
    about = {"width": WIDTH, "height": HEIGHT, "end": Rational.of(end), "end_s": float(end)}
    clips = [make_matrix_clip(source, n_frames=n_frames, **about) for source in sources]
    tracks = [
        MaskTrackRow(
            clip_id=clip.clip_id, **track_of(f"id{2 * which + 1}", which, edge and clip is clips[-1]).model_dump()
        )
        for clip in clips
        for which in (0, 1)
    ]
    instances = [
        make_instance_row(id_, noun, clip_id=clip.clip_id)
        for clip in clips
        for id_, noun in (("id1", "a boy"), ("id3", "a red ball"))
    ]
    interaction = Interaction(
        subject_id="id1",
        verb="kick",
        object_id="id3",
        type="functional_action",
        source_sentence="",
        contactness=5,
        dynamism=5,
        explanation="",
        confidence=1,
        kept=True,
    )
    interactions = [InteractionRow(clip_id=clip.clip_id, **interaction.model_dump()) for clip in clips]
    outcomes = [
        OutcomeRow(row_id=clip.clip_id, kind="clip", status="accepted", stage="check_tracks", retryable=False)
        for clip in clips
    ]
    tables = {
        "clips": (ClipRow, [ClipRow(**clip.model_dump(), review_frames=[], made_by=[]) for clip in clips]),
        "instances": (InstanceRow, instances),
        "interactions": (InteractionRow, interactions),
        "mask_tracks": (MaskTrackRow, tracks),
        "outcomes": (OutcomeRow, outcomes),
        "sources": (Source, sources),
        "all_clips": (Clip, clips),
    }
    shards = {"shard-0": [clip.clip_id for clip in clips]}
    folder = write_snapshot(root / "snapshots" / "toy-0", "curate-matrix11k", tables, shards).folder
    return Snapshot(folder, root / "input")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("matrix")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.datasets.matrix11k.trainer_export.FIT", FIT.model_copy(update={"max_enlarge": 6}))
        told = export(publish(root), root / "out", "matrix", FEW)
    assert told == f"1 clip: {root}/out/metadata.csv"
    return root


@pytest.mark.slow
def test_the_trainer_reads_video_masks_and_prompt(exported: Path) -> None:
    (sample,) = read_matrix(exported / "out")
    assert (sample.video, sample.prompt) == ("000001.mp4", "A <id1> boy kicks a <id2> red ball.")
    assert sample.film.frames.shape == (49, 480, 832, 3)
    assert list(sample.masks) == [1, 2]
    # Each frame's grey tells which frame of the clip it is: three of 24 a second for two of 16.
    shown = sample.film.frames[:, 20:60, 400:440].mean(axis=(1, 2, 3)) - 60
    np.testing.assert_allclose(np.diff(shown[::2]), 3, atol=1)
    assert -1 <= shown[0] <= shown[-1] <= N_FRAMES
    # 160x80 -> 139x80 -> 832x480: six times as large, from the 11th column on.
    for k in (0, 20, 48):
        for number, left in enumerate(ball_at(round(shown[k])), start=1):
            ys, xs = np.nonzero(sample.masks[number][k])
            edges = (ys.min(), ys.max() + 1, xs.min(), xs.max() + 1)
            np.testing.assert_allclose(edges, (180, 300, (left - 10) * 832 / 139, (left + 10) * 832 / 139), atol=7)


@pytest.mark.slow
def test_masks_lie_on_what_is_seen_and_the_id_map_is_the_first_frames(exported: Path) -> None:
    (sample,) = read_matrix(exported / "out")
    for k in (0, 24, 48):
        red, _, blue = np.moveaxis(sample.film.frames[k].astype(int), -1, 0)
        seen = {1: red - blue > 100, 2: blue - red > 100}
        for number, mask in sample.masks.items():
            both, either = (mask[k] & seen[number]).sum(), (mask[k] | seen[number]).sum()
            assert both / either > 0.95, (k, number)
    for number, mask in sample.masks.items():
        assert {tuple(colour) for colour in sample.id_map[mask[0]]} == {ID_COLOURS[number - 1]}
    assert not sample.id_map[~(sample.masks[1][0] | sample.masks[2][0])].any()


# --- Clips that are left out, and exporting again ------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of a tenth of the size: what is tested is which are there."""
    monkeypatch.setattr(
        "tasks.datasets.matrix11k.trainer_export.FIT", FIT.model_copy(update={"width": 80, "height": 48})
    )


def skipped(folder: Path) -> dict[str, tuple[str, str]]:
    with (folder / "skipped.csv").open(newline="") as file:
        return {row["clip_id"]: (row["reason"], row["detail"]) for row in csv.DictReader(file)}


@pytest.mark.usefixtures("small")
def test_a_clip_that_cannot_be_used_is_named_and_keeps_its_number(tmp_path: Path) -> None:
    long = f"A boy kicks a red ball. {'Wind blows. ' * 100}"
    tagged = "A <id3> boy kicks a red ball."
    snapshot = publish(tmp_path, "A girl waits.", CAPTION, long, tagged, "A boy kicks a big red ball.", edge=True)
    ids = snapshot.accepted_ids()
    told = export(snapshot, tmp_path / "out", "matrix", FEW)
    assert told.startswith(
        "1 clip, 4 left out (skipped.csv: 1 ids_in_caption, 1 not_seen, 1 prompt_too_long, 1 words_not_found)"
    )
    assert {clip_id: reason for clip_id, (reason, _) in skipped(tmp_path / "out").items()} == {
        ids[0]: "words_not_found",
        ids[2]: "prompt_too_long",
        ids[3]: "ids_in_caption",
        ids[4]: "not_seen",
    }
    (sample,) = read_matrix(tmp_path / "out")
    assert sample.video == "000002.mp4"
    assert [path.name for path in (tmp_path / "out" / "videos").iterdir()] == ["000002.mp4"]
    assert [path.name for path in (tmp_path / "out" / "mask_annotation").iterdir()] == ["000002"]


@pytest.mark.usefixtures("small")
def test_a_clip_is_as_long_as_is_asked_for_or_left_out(tmp_path: Path) -> None:
    snapshot = publish(tmp_path)
    with pytest.raises(
        SnapshotError, match=r"too_short: 80 frames over 3\.292 s; 81 at up to 16 frames/s take 5\.000 s"
    ):
        export(snapshot, tmp_path / "out", "matrix")
    export(snapshot, tmp_path / "out", "matrix", FEW)
    assert len(read_matrix(tmp_path / "out")[0].film.frames) == 49


@pytest.mark.usefixtures("small")
def test_exporting_again_gives_the_same_bytes(tmp_path: Path) -> None:
    snapshot = publish(tmp_path, CAPTION, "A boy kicks a big red ball.")
    export(snapshot, tmp_path / "out", "matrix", FEW)
    before = files_of(tmp_path / "out")
    assert len(before) == 2 * (1 + 2 * 49 + 1) + 3
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "videos").iterdir()}
    (tmp_path / "out" / "metadata.csv").unlink()
    export(snapshot, tmp_path / "out", "matrix", FEW)
    assert files_of(tmp_path / "out") == before
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    export(snapshot, tmp_path / "other", "matrix", FEW)
    assert files_of(tmp_path / "other") == before


@pytest.mark.usefixtures("small")
def test_a_source_that_has_changed_is_no_clips(tmp_path: Path) -> None:
    snapshot = publish(tmp_path)
    (tmp_path / "input" / "v.mp4").write_bytes(b"another")
    with pytest.raises(SnapshotError, match=r"no clip can be exported \(1 input_changed\)"):
        export(snapshot, tmp_path / "out", "matrix", FEW)
    assert not list((tmp_path / "out").glob("videos/*"))
