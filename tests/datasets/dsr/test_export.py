"""export: a snapshot's pairs as files that the authors' code reads."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.commands.export import main
from schemas.dsr import DsrPrompt, PairRow, PromptRow, SampleRow, VideoRow
from schemas.record import SchemaError, write_table
from schemas.scene import Split
from schemas.storage import write_atomic
from tasks.datasets.dsr.export import PROMPT_COLUMNS, Preferences, export_pairs, metadata_csv, read_preferences
from tasks.datasets.dsr.pairs import PairConfig, pair_samples, prompt_rows
from tasks.engine.snapshots import LATEST, Snapshot, SnapshotError
from tasks.readers.read_prompts import read_prompts
from tests.support.dsr_rows import make_prompt, make_sample
from tests.support.snapshots import write_snapshot

DEFAULT = PairConfig()
WORDS = st.text(st.characters(exclude_categories=["Cs"]))  # no lone surrogates: no table can hold them
SEEDS: dict[Split, list[int]] = {"train": [0, 1, 2], "test": [0]}
HARD_TO_QUOTE = 'A "fox", they say; it\'s [not]\r\nhere, \\n'

PAIRED = make_prompt("1099_RL")
LONELY = make_prompt("RL_1f", text=HARD_TO_QUOTE, scene='At "Le Coin", quietly')
TESTED = make_prompt("testLRFBT_RL_0", split="test")
SAMPLES = [
    make_sample(PAIRED, 0, dsr_score=0.1 * 7),  # 0.7000000000000001
    make_sample(PAIRED, 2, dsr_score=0.3),
    make_sample(LONELY, 1, dsr_score=0.9),
    make_sample(TESTED, 0, dsr_score=0.9),
]


def publish(
    root: Path,
    samples: Sequence[SampleRow] = SAMPLES,
    prompts: Sequence[DsrPrompt] = (PAIRED, LONELY, TESTED),
    config: PairConfig = DEFAULT,
) -> Snapshot:
    """A snapshot of prompts, samples and pairs, the latest one; each prompt's samples are a shard."""
    pairs = pair_samples(samples, config)
    rows = prompt_rows(prompts, SEEDS, samples, pairs, config)
    tables = {
        "prompts": (PromptRow, rows),
        "pairs": (PairRow, pairs),
        "samples": (SampleRow, samples),
        "videos": (VideoRow, [VideoRow(clip_id=s.clip_id, sha256=s.sha256, video=video_of(s)) for s in samples]),
    }
    shards = {p.prompt_id: [s.clip_id for s in samples if s.prompt_id == p.prompt_id] for p in prompts}
    counts = {"n_inputs": len(samples), "n_accepted": len(samples)}
    snapshot = write_snapshot(root / "snapshots" / "toy-0123", "curate-dsr", tables, shards, **counts)
    write_atomic(root / "snapshots" / LATEST, f"{snapshot.id}\n".encode())
    return snapshot


def video_of(sample: SampleRow) -> bytes:
    return f"the video of {sample.clip_id}".encode()


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# --- The authors' metadata -----------------------------------------------------------------------


def test_the_metadata_reads_as_the_authors_loader_reads_it(tmp_path: Path) -> None:
    metadata = export_pairs(publish(tmp_path), tmp_path / "out")
    assert metadata == tmp_path / "out" / "metadata.csv"
    paired, lonely = read_csv(metadata)
    assert list(paired) == [*PROMPT_COLUMNS, "video", "reward"]
    assert {name: paired[name] for name in PROMPT_COLUMNS} == {
        "type": "RL",
        "prompt_id": "1099_RL",
        "animal": "fox",
        "object": "stump",
        "scene": "In wood 1099_RL,",
        "initial_SR": "on the right of",
        "final_SR": "to the left of",
        "prompt": PAIRED.text,
        "verb": "walks",
    }
    assert ast.literal_eval(paired["video"]) == [f"1099_RL_F81_seed0{seed}.mp4" for seed in (0, 1, 2)]
    assert ast.literal_eval(paired["reward"]) == [0.7, -100, 0.3], "0.7 is what the loader compares with"
    assert ast.literal_eval(lonely["reward"]) == [-100, 0.9, -100]
    assert (lonely["prompt"], lonely["scene"]) == (HARD_TO_QUOTE, 'At "Le Coin", quietly,')


def test_the_authors_split_of_the_rewards_gives_the_pairs(tmp_path: Path) -> None:
    samples = [
        make_sample(make_prompt(f"RL_{place}"), seed, dsr_score=score)
        for place, scores in enumerate([[0.69999999999999, 0.1, 0.7], [0.8, 0.75], [0.2, 0.699999, 0.95]])
        for seed, score in enumerate(scores)
    ]
    prompts = [make_prompt(f"RL_{place}") for place in range(3)]
    export_pairs(publish(tmp_path, samples, prompts), tmp_path / "out")
    rewards = {row["prompt_id"]: ast.literal_eval(row["reward"]) for row in read_csv(tmp_path / "out/metadata.csv")}
    expected = [
        (prompt_id, winner, loser)
        for prompt_id, of_prompt in rewards.items()
        for winner, good in enumerate(of_prompt)
        for loser, bad in enumerate(of_prompt)
        if good >= 0.7 > bad >= -1
    ]
    pairs = [json.loads(line) for line in (tmp_path / "out/pairs.jsonl").read_text().splitlines()]
    assert [(pair["prompt_id"], pair["winner_seed"], pair["loser_seed"]) for pair in pairs] == expected
    assert len(expected) == 4


@given(WORDS.filter(bool), WORDS)
def test_any_words_survive_the_file(text: str, scene: str) -> None:
    prompt = make_prompt(text=text, scene=scene, animal='fox, or "dog"')
    row = PromptRow(**prompt.model_dump(), type="RL", seeds=[0], rewards=[0.25], n_pairs=0)
    (read,) = csv.DictReader(io.StringIO(metadata_csv(Preferences([row], [], [])), newline=""))
    assert (read["prompt"], read["scene"], read["animal"]) == (text, f"{scene}," if scene else "", 'fox, or "dog"')


def test_the_evaluation_has_the_test_prompts_and_the_authors_columns(tmp_path: Path) -> None:
    export_pairs(publish(tmp_path), tmp_path / "out")
    (row,) = read_csv(tmp_path / "out" / "eval.csv")
    assert list(row) == list(PROMPT_COLUMNS)
    assert (row["prompt_id"], row["prompt"]) == ("testLRFBT_RL_0", TESTED.text)


def test_what_is_written_is_read_as_prompts_again(tmp_path: Path) -> None:
    prompts = [PAIRED, TESTED, make_prompt("LT_1", initial="left", final="top")]
    metadata = export_pairs(publish(tmp_path, SAMPLES[:2], prompts), tmp_path / "out")
    train, test = read_prompts(metadata, "train"), read_prompts(metadata.with_name("eval.csv"), "test")
    assert train.outcomes == test.outcomes == []
    assert train.prompts == [prompt for prompt in prompts if prompt.split == "train"]
    assert test.prompts == [TESTED]


def test_invalid_videos_are_called_as_long_as_the_others_are(tmp_path: Path) -> None:
    short = [sample.model_copy(update={"n_frames": 49}) for sample in SAMPLES]
    (paired, _) = read_csv(export_pairs(publish(tmp_path, short), tmp_path / "out"))
    assert ast.literal_eval(paired["video"]) == [f"1099_RL_F49_seed0{seed}.mp4" for seed in (0, 1, 2)]


# --- Pairs and videos ----------------------------------------------------------------------------


def test_a_pair_names_its_videos_and_they_are_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_pairs(publish(tmp_path), out)
    (line,) = (out / "pairs.jsonl").read_text().splitlines()
    pair = json.loads(line)
    winner, loser = SAMPLES[:2]
    assert pair["pair_id"].startswith("pair-")
    assert (pair["prompt_id"], pair["text"]) == ("1099_RL", PAIRED.text)
    assert (pair["type"], pair["reward"]) == ("RL", "dsr_score")
    assert (pair["winner_id"], pair["winner_reward"]) == (winner.clip_id, winner.dsr_score)
    assert (pair["loser_id"], pair["loser_reward"]) == (loser.clip_id, loser.dsr_score)
    assert (pair["winner_video"], pair["loser_video"]) == (
        "videos/1099_RL_F81_seed00.mp4",
        "videos/1099_RL_F81_seed02.mp4",
    )
    assert (out / pair["winner_video"]).read_bytes() == video_of(winner)
    assert (out / pair["loser_video"]).read_bytes() == video_of(loser)


def test_valid_videos_of_training_prompts_are_written_and_no_others(tmp_path: Path) -> None:
    export_pairs(publish(tmp_path), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out" / "videos").iterdir()}
    assert names == {"1099_RL_F81_seed00.mp4", "1099_RL_F81_seed02.mp4", "RL_1f_F81_seed01.mp4"}


def test_exporting_again_gives_the_same(tmp_path: Path) -> None:
    out = tmp_path / "out"
    snapshot = publish(tmp_path)
    export_pairs(snapshot, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    export_pairs(snapshot, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_no_file_of_anybody_is_touched(tmp_path: Path) -> None:
    """The folder may be the one that the videos were generated into: its names are the same."""
    videos = tmp_path / "out" / "videos"
    videos.mkdir(parents=True)
    (videos / "7_LR_F81_seed00.mp4").write_bytes(b"of another prompt")
    (videos / "1099_RL_F81_seed00.mp4").write_bytes(b"of this one, from another model")
    with pytest.raises(SnapshotError, match="is there and is another video; export to an empty folder"):
        export_pairs(publish(tmp_path), tmp_path / "out")
    assert (videos / "7_LR_F81_seed00.mp4").read_bytes() == b"of another prompt"
    assert (videos / "1099_RL_F81_seed00.mp4").read_bytes() == b"of this one, from another model"
    assert not (tmp_path / "out" / "metadata.csv").exists()


def test_the_metadata_names_no_video_before_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def note(path: Path, data: bytes) -> None:
        written.append(path.name)
        write_atomic(path, data)

    monkeypatch.setattr("tasks.datasets.dsr.export.write_atomic", note)
    export_pairs(publish(tmp_path), tmp_path / "out")
    assert written[-1] == "metadata.csv"
    assert len(written) == 6


# --- What to look out for ------------------------------------------------------------------------


def test_without_a_pair_the_rest_is_exported_and_it_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    metadata = export_pairs(publish(tmp_path, SAMPLES[2:]), tmp_path / "out")
    assert "there is no pair" in caplog.text
    assert (tmp_path / "out" / "pairs.jsonl").read_bytes() == b""
    assert [row["prompt_id"] for row in read_csv(metadata)] == ["1099_RL", "RL_1f"]


def test_without_a_sample_there_are_prompts_only(tmp_path: Path) -> None:
    (paired, _) = read_csv(export_pairs(publish(tmp_path, []), tmp_path / "out"))
    assert ast.literal_eval(paired["reward"]) == [-100, -100, -100]
    assert ast.literal_eval(paired["video"])[0] == "1099_RL_F81_seed00.mp4"


@pytest.mark.parametrize(
    ("config", "scores", "told"),
    [
        (DEFAULT, [0.9, 0.8, 0.4], []),
        (PairConfig(tau=0.5), [0.9, 0.6, 0.4], ["1 of 2"]),
        (PairConfig(rule="ranked"), [0.9, 0.8, 0.4], ["1 of 3"]),
        (PairConfig(rule="ranked"), [0.1, 0.2], ["1 of 1"]),
    ],
)
def test_pairs_that_the_authors_loader_would_not_make_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, config: PairConfig, scores: list[float], told: list[str]
) -> None:
    samples = [make_sample(PAIRED, seed, dsr_score=score) for seed, score in enumerate(scores)]
    export_pairs(publish(tmp_path, samples, config=config), tmp_path / "out")
    assert re.findall(r"(\d+ of \d+) pairs are none to the authors' loader", caplog.text) == told


def test_what_is_no_snapshot_of_dsr_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(SnapshotError, match="nowhere is no snapshot"):
        export_pairs(Snapshot(tmp_path / "nowhere"), out)
    manifest = publish(tmp_path).folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"curate-dsr"', '"curate-kinemask"'))
    with pytest.raises(SnapshotError, match="made by curate-kinemask; give a snapshot of curate-dsr"):
        export_pairs(Snapshot(manifest.parent), out)
    assert not out.exists()


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    snapshot = publish(tmp_path)
    path = snapshot.folder / "samples" / "1099_RL.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("prompt_id")
    hostile = pa.array(["../../1099_RL"] * table.num_rows)
    pq.write_table(table.set_column(place, table.schema.field(place), hostile), path)
    with pytest.raises(ValidationError, match="prompt_id"):
        export_pairs(snapshot, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tables_of_another_version_are_refused(tmp_path: Path) -> None:
    snapshot = publish(tmp_path)
    (path,) = (snapshot.folder / "pairs").iterdir()
    write_table(VideoRow, [], path)
    with pytest.raises(SchemaError, match="columns are not those of PairRow"):
        read_preferences(snapshot)


# --- The command ---------------------------------------------------------------------------------


def run_command(root: Path, *options: Any) -> None:
    main(["--root", str(root), "--folder", str(root / "out"), *map(str, options)])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = publish(tmp_path)
    run_command(tmp_path)
    said = capsys.readouterr().out
    assert said.startswith(f"{tmp_path / 'out' / 'metadata.csv'} lists the training prompts of {snapshot.id};")
    run_command(tmp_path, "--snapshot", snapshot.id)
    assert len(read_csv(tmp_path / "out" / "metadata.csv")) == 2


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nothing was published"):
        run_command(tmp_path)
    snapshot = publish(tmp_path)
    with pytest.raises(SystemExit, match=f"nonsense is no snapshot; there are {snapshot.id}"):
        run_command(tmp_path, "--snapshot", "nonsense")
    with pytest.raises(SystemExit, match=r"^SnapshotError: a snapshot of dsr is exported whole"):
        run_command(tmp_path, "--limit", 1)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").write_text("no folder")
    with pytest.raises(SystemExit, match="out"):
        run_command(tmp_path)
