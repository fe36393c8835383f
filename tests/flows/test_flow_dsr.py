"""Whole runs of curate-dsr: what is published, what is computed again, what a fault costs."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import av
import duckdb
import polars as pl
import pytest
import yaml

from flows.commands import ask
from flows.commands.export import main as export
from flows.curate_dsr import CurateDsr
from flows.engine.config import DispatchConfig
from flows.engine.dispatch import ShardsFailed
from schemas.dsr import ROLES, SHARD_TABLES, WHOLE_TABLES, DsrSample, DsrStatistics
from schemas.outcome import RowFailed, ServiceDown
from schemas.storage import AnyPath, read_whole
from tasks.backends.drawn_videos import DrawnVideos
from tasks.backends.openai.api import EndpointConfig
from tasks.datasets.dsr.grammar import structured_text
from tasks.datasets.dsr.pairs import PairConfig
from tasks.engine.snapshots import Snapshot
from tasks.generate_samples import wanted_instances
from tasks.metrics.correctness import TAUS
from tasks.score_dsr import ScoreConfig
from tests.support.dsr_runs import TINY, sample_here, tiny_samples
from tests.support.endpoint import LocalEndpoint
from tests.support.flow_runs import (
    REPOSITORY,
    assert_same_snapshot,
    point_at,
    rows_by_split,
    run_in_vain,
    table,
    watch,
)
from tests.support.stages import DSR_STAGES


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[CurateDsr, Path]:
    """A run of seven tiny samples, with its report. Not to be written to."""
    config = tiny_samples(tmp_path_factory.mktemp("dsr"))
    return config, sample_here(config, report=True)


@pytest.fixture
def again(run: tuple[CurateDsr, Path], tmp_path: Path) -> tuple[CurateDsr, Path]:
    """A copy of that run's folder, to go on in."""
    config, snapshot = run
    shutil.copytree(config.root, tmp_path / "root")
    return config.model_copy(update={"root": tmp_path / "root"}), snapshot


def n_valid(snapshot: Path) -> int:
    return len(table(snapshot, "samples"))


# --- What is published -------------------------------------------------------------------------


def test_every_sample_is_accounted_for(run: tuple[CurateDsr, Path]) -> None:
    manifest = Snapshot(run[1]).manifest
    assert (manifest.flow, manifest.n_given, manifest.n_inputs, manifest.n_failed) == ("curate-dsr", 3, 7, 0)
    assert 0 < manifest.n_accepted < 7, "some are valid and some are drawn invalid"
    assert [(step.stage, step.given, step.made) for step in manifest.funnel[:2]] == [
        ("plan_samples", 3, 7),
        ("generate_samples", 7, 7),
    ]
    assert manifest.funnel[-1].passed == manifest.n_accepted == n_valid(run[1])
    configs = json.loads(manifest.configs)
    assert configs["pair_samples"]["tau"] == 0.7
    assert configs["generate_dsr_prompts"]["n_train"] == 2


def test_polars_duckdb_and_datasets_read_every_table(run: tuple[CurateDsr, Path], tmp_path: Path) -> None:
    import datasets

    for name, record in (SHARD_TABLES | WHOLE_TABLES).items():
        files = f"{run[1]}/{name}/*.parquet"
        columns = record.arrow_schema().names
        in_polars = pl.read_parquet(files)
        assert in_polars.columns == columns == duckdb.sql(f"select * from read_parquet('{files}')").columns
        if len(in_polars):
            loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "hf"))
            assert loaded.column_names == columns
            assert loaded.num_rows == len(in_polars)


def test_datasets_finds_training_and_test_rows_apart(run: tuple[CurateDsr, Path], tmp_path: Path) -> None:
    found = rows_by_split(run[1], tmp_path)
    assert set(found["prompts"]) == set(found["samples"]) == set(found["outcomes"]) == {"train", "test"}
    assert {sample["split"] for sample in found["samples"]["train"]} == {"train"}
    assert set(found["pairs"]) == {"train"}


@pytest.mark.parametrize("n", [{"n_train": 0}, {"n_test": 0}])
def test_a_split_without_rows_is_not_in_the_card(
    n: dict[str, int], run: tuple[CurateDsr, Path], tmp_path: Path
) -> None:
    config, _ = run
    shutil.copytree(config.root, tmp_path / "root")
    grammar = config.grammar.model_copy(update=n)
    found = rows_by_split(
        sample_here(config.model_copy(update={"root": tmp_path / "root", "grammar": grammar})), tmp_path
    )
    there = "test" if "n_train" in n else "train"
    assert {split for table in found.values() for split in table} == {there}


def test_lines_that_are_no_prompt_are_in_neither_split(again: tuple[CurateDsr, Path], tmp_path: Path) -> None:
    """Splits that change from line to line: shards hold two samples, and never of two splits."""
    config, _ = again
    lines = [
        {
            "prompt_id": "a",
            "prompt": "a fox is on the left of a stump, then the fox walks to the right of the stump.",
            "split": "train",
        },
        {
            "prompt_id": "b",
            "prompt": "a cat is on the left of a crate, then the cat walks to the right of the crate.",
            "split": "test",
        },
        {
            "prompt_id": "c",
            "prompt": "a dog is on the left of a rock, then the dog walks to the right of the rock.",
            "split": "train",
        },
        {"prompt_id": "d", "prompt": "nothing moves"},
    ]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = rows_by_split(sample_here(config.model_copy(update={"prompts": prompts, "seeds_train": 1})), tmp_path)
    assert {split: len(rows) for split, rows in found["outcomes"].items()} == {"train": 2, "test": 1, "other": 1}
    assert [row["prompt_id"] for row in found["prompts"]["test"]] == ["b"]


def test_a_sample_has_a_video_two_tracks_and_a_curve_over_its_frames(run: tuple[CurateDsr, Path]) -> None:
    samples = table(run[1], "samples")
    assert (samples["n_frames"] == TINY.n_frames).all()
    for curve in ("ssr_initial", "ssr_final"):
        assert (samples[curve].list.len() == TINY.n_frames).all()
        assert samples[curve].list.drop_nulls().list.len().to_list() == samples["n_found"].to_list()
    for video in table(run[1], "videos")["video"].to_list():
        with av.open(io.BytesIO(video)) as container:
            assert len(list(container.decode(video=0))) == TINY.n_frames
    tracks = table(run[1], "tracks")
    assert dict(tracks.group_by("clip_id").len().iter_rows()) == dict.fromkeys(samples["clip_id"].to_list(), 2)
    assert set(tracks.select("instance_id", "role").iter_rows()) == set(ROLES.items())


def test_scores_are_those_of_the_boxes_that_were_drawn(run: tuple[CurateDsr, Path]) -> None:
    samples = table(run[1], "samples")
    assert (samples["box_iou"] > 0.7).all(), samples.select("drawn", "box_iou").rows()
    assert ((samples["dsr_score"] - samples["true_score"]).abs() < 0.15).all()


def test_correctness_counts_the_invalid_as_incorrect(run: tuple[CurateDsr, Path]) -> None:
    statistics = Snapshot(run[1]).statistics(DsrStatistics)
    samples = table(run[1], "samples")
    for curve in statistics.curves:
        split, _, code = curve.name.partition("/")
        of_part = samples.filter((pl.col("split") == split) & (pl.lit(not code) | (pl.col("type") == code)))
        n_reached = [int((of_part["dsr_score"] >= tau).sum()) for tau in TAUS]
        assert curve.correctness == pytest.approx([n / curve.n_judged for n in n_reached])
        assert curve.n_valid == len(of_part)
    whole = {curve.name: curve.n_judged for curve in statistics.curves}
    assert (whole["train"], whole["test"]) == (6, 1)


def test_pairs_are_the_winners_and_losers_of_training_prompts(run: tuple[CurateDsr, Path]) -> None:
    samples = table(run[1], "samples").filter(pl.col("split") == "train")
    expected = {
        (winner["clip_id"], loser["clip_id"])
        for winner in samples.to_dicts()
        for loser in samples.to_dicts()
        if winner["prompt_id"] == loser["prompt_id"] and winner["dsr_score"] >= 0.7 > loser["dsr_score"]
    }
    pairs = table(run[1], "pairs")
    assert set(pairs.select("winner_id", "loser_id").iter_rows()) == expected
    prompts = {row["prompt_id"]: row for row in table(run[1], "prompts").to_dicts()}
    assert len(prompts) == 3
    scores = {(s["prompt_id"], s["seed"]): s["dsr_score"] for s in table(run[1], "samples").to_dicts()}
    for prompt_id, prompt in prompts.items():
        assert prompt["rewards"] == [scores.get((prompt_id, seed)) for seed in prompt["seeds"]]
    assert sum(prompt["n_pairs"] for prompt in prompts.values()) == len(pairs)


def test_there_is_a_report(run: tuple[CurateDsr, Path]) -> None:
    config, snapshot = run
    assert snapshot.name in (config.root / "reports" / snapshot.name / "index.html").read_text()


def test_a_samples_story_can_be_asked_for(run: tuple[CurateDsr, Path], capsys: pytest.CaptureFixture) -> None:
    config, snapshot = run
    sample = table(snapshot, "samples").row(0, named=True)
    for name in (sample["clip_id"], f"{sample['prompt_id']}/{sample['seed']}"):
        ask.main(["--root", str(config.root), "clip", name])
        told = capsys.readouterr().out
        assert "accepted" in told
        assert sample["text"] in told
        assert f"score      {sample['dsr_score']:.3f} (official" in told
        assert "made by    generate_samples: drawn" in told
    ask.main(["--root", str(config.root), "clip", sample["prompt_id"]])
    assert capsys.readouterr().out.count("  prompt     ") == (3 if sample["split"] == "train" else 1)
    ask.main(["--root", str(config.root), "failed"])
    assert "nothing failed" in capsys.readouterr().out


@pytest.mark.parametrize("changes", [{"score": {"min_found": 1000}}, {"grammar": {"n_train": 0, "n_test": 0}}])
def test_a_dataset_without_a_valid_sample_is_published_and_says_so(tmp_path: Path, changes: dict) -> None:
    few = {"grammar": {"n_train": 1, "n_test": 0}, "seeds_train": 1}
    snapshot = run_in_vain(sample_here, tiny_samples(tmp_path, **few | changes), report=True)
    assert (tmp_path / "reports" / snapshot.name / "index.html").is_file()
    manifest = Snapshot(snapshot).manifest
    statistics = Snapshot(snapshot).statistics(DsrStatistics)
    assert manifest.n_accepted == manifest.n_failed == statistics.n_pairs == 0
    assert all(curve.correctness == [0.0] * len(TAUS) for curve in statistics.curves)


# --- What is read ------------------------------------------------------------------------------


def test_a_generated_video_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Detected in, tracked through, scored, judged and published; the rows that tell of it hold no bytes."""
    reads: Counter[AnyPath] = Counter()

    def read_and_count(path: AnyPath) -> bytes:
        reads[path] += 1
        return read_whole(path)

    monkeypatch.setattr("tasks.engine.blobs.read_whole", read_and_count)
    config = tiny_samples(tmp_path)
    snapshot = sample_here(config)
    videos = [path for path in (config.work.root / "blobs").glob("*/*") if path.is_file()]
    assert {path.name for path in videos} >= set(table(snapshot, "videos")["sha256"])
    assert [reads[path] for path in videos] == [1] * 7
    assert all(path.stat().st_size < 20_000 for path in (config.work.root / "rows/generate_samples").rglob("*.json"))


# --- What is computed again --------------------------------------------------------------------


def test_a_video_that_is_lost_is_generated_again_and_nothing_else(
    again: tuple[CurateDsr, Path], caplog: pytest.LogCaptureFixture
) -> None:
    config, snapshot = again
    path = next((config.work.root / "blobs").glob("*/*"))
    video = path.read_bytes()
    path.write_bytes(video[:-1])
    shutil.rmtree(config.work.root / "shards")
    with watch(config) as computed:
        assert sample_here(config).name == snapshot.name
    assert computed.counts == {"generate_samples": 1}
    assert path.read_bytes() == video
    assert f"{path} is damaged" in caplog.text


@pytest.mark.slow
def test_the_same_prompts_elsewhere_are_the_same_bytes_and_a_rerun_computes_nothing(
    run: tuple[CurateDsr, Path], tmp_path: Path
) -> None:
    config = tiny_samples(tmp_path / "elsewhere")
    assert_same_snapshot(sample_here(config), run[1])
    with watch(config) as computed:
        assert sample_here(config).name == run[1].name
    assert not computed.counts


def test_another_threshold_pairs_again_and_computes_nothing(again: tuple[CurateDsr, Path]) -> None:
    config, snapshot = again
    with watch(config) as computed:
        ranked = sample_here(config.model_copy(update={"pair": PairConfig(rule="ranked")}))
    assert not computed.counts
    assert ranked.name != snapshot.name
    pairs = table(ranked, "pairs")
    assert len(pairs) >= len(table(snapshot, "pairs"))
    assert (pairs["winner_reward"] > pairs["loser_reward"]).all()


def test_the_papers_formula_scores_again_and_tracks_nothing(again: tuple[CurateDsr, Path]) -> None:
    config, snapshot = again
    with watch(config) as computed:
        paper = sample_here(config.model_copy(update={"score": ScoreConfig(score="paper")}))
    assert computed.counts["score_dsr"] == 7 - sum(
        outcome["stage"] == "ground_instances" for outcome in table(snapshot, "outcomes").to_dicts()
    )
    assert set(computed.counts) <= {"score_dsr", "ask_relations"}
    for sample in table(paper, "samples").to_dicts():
        parts = [sample[part] for part in ("r_initial", "r_final", "g_initial", "g_final")]
        assert sample["dsr_score"] == pytest.approx(0.125 * sum(parts) + 0.5)


def test_more_seeds_compute_only_what_is_new(again: tuple[CurateDsr, Path]) -> None:
    config, _ = again
    with watch(config) as computed:
        grown = sample_here(config.model_copy(update={"seeds_train": 4}))
    assert computed.counts["generate_samples"] == 2
    assert Snapshot(grown).manifest.n_inputs == 9


def test_another_wording_keeps_the_labels(run: tuple[CurateDsr, Path], tmp_path: Path) -> None:
    few = {"grammar": {"n_train": 1, "n_test": 0}, "seeds_train": 1}
    for form, rewrite in (("from_to", {"form": "from_to"}), ("rewritten", {"form": "rewritten"})):
        snapshot = sample_here(tiny_samples(tmp_path / form, **few, rewrite=rewrite))
        prompt = table(snapshot, "prompts").row(0, named=True)
        given = table(run[1], "prompts").filter(pl.col("prompt_id") == prompt["prompt_id"]).row(0, named=True)
        assert prompt["form"] == form
        rewritten_by = [m.backend for m in Snapshot(snapshot).manifest.made_by if m.stage == "rewrite_prompts"]
        assert rewritten_by == (["template"] if form == "rewritten" else [])
        assert prompt["text"] != given["text"]
        labels = ("scene", "animal", "object", "verb", "initial", "final", "type")
        assert [prompt[label] for label in labels] == [given[label] for label in labels]


# --- Videos that are there ---------------------------------------------------------------------


@pytest.mark.slow
def test_given_videos_are_scored_and_every_file_and_line_is_accounted_for(
    run: tuple[CurateDsr, Path], tmp_path: Path
) -> None:
    """Drawn videos under the authors' names; the prompts name the colours, which the embedded detector needs."""
    config, snapshot = run
    of_prompt: dict[str, list[bytes]] = {}
    for sample, video in samples_with_videos(snapshot):
        of_prompt.setdefault(coloured_text(sample, DrawnVideos(config.generate)), []).append(video)
    (tmp_path / "videos").mkdir()
    lines = []
    for number, (text, videos) in enumerate(of_prompt.items()):
        lines.append({"prompt_id": f"{number}_XY", "prompt": text})
        for seed, video in enumerate(videos):
            (tmp_path / f"videos/{number}_XY_F24_seed{seed:02d}.mp4").write_bytes(video)
    lines += [{"prompt_id": "90_XY", "prompt": "A dog barks."}, {"prompt_id": "91_XY", "prompt": lines[0]["prompt"]}]
    (tmp_path / "videos/92_XY_F24_seed00.mp4").write_bytes(b"nobody's")
    with (tmp_path / "prompts.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["prompt_id", "prompt"])
        writer.writeheader()
        writer.writerows(lines)

    given = tiny_samples(
        tmp_path / "out",
        prompts=tmp_path / "prompts.csv",
        prompts_split="train",
        videos=tmp_path / "videos",
        generate=TINY.model_copy(update={"generator": "folder"}),
        seeds_train=3,
    )
    published = sample_here(given)
    n_prompts, n_videos = len(of_prompt), n_valid(snapshot)
    assert Snapshot(published).manifest.n_given == (n_prompts + 2) + (n_videos + 1), "lines and files"
    ends = table(published, "outcomes").select("stage", "status", "reason").rows()
    assert ends.count(("read_prompts", "failed", "no_relation")) == 1
    assert ends.count(("read_prompts", "rejected", "duplicate_prompt")) == 1
    assert ends.count(("read_samples", "rejected", "unknown_prompt")) == 1
    assert ends.count(("generate_samples", "failed", "no_video")) == 3 * n_prompts - n_videos
    scores = sorted(table(published, "samples")["dsr_score"].to_list())
    assert scores == pytest.approx(sorted(table(snapshot, "samples")["dsr_score"].to_list()))
    assert set(table(published, "videos")["sha256"]) == set(table(snapshot, "videos")["sha256"])


def samples_with_videos(snapshot: Path) -> list[tuple[DsrSample, bytes]]:
    videos = dict(table(snapshot, "videos").select("clip_id", "video").iter_rows())
    rows = table(snapshot, "samples").select(list(DsrSample.model_fields)).to_dicts()
    return [(DsrSample(**row), videos[row["clip_id"]]) for row in rows]


def coloured_text(sample: DsrSample, generator: DrawnVideos) -> str:
    """Its prompt with 'orange fox' for 'fox', as the generator drew it."""
    animal, thing = (i.noun.split(maxsplit=1)[1] for i in wanted_instances(sample, generator.generate(sample).looks))
    return structured_text(sample.model_copy(update={"animal": animal, "object": thing}))


def test_the_export_is_what_the_authors_training_reads(run: tuple[CurateDsr, Path], tmp_path: Path) -> None:
    config, snapshot = run
    export(["--root", str(config.root), "--folder", str(tmp_path / "out")])
    with (tmp_path / "out/metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rewards = {p["prompt_id"]: p["rewards"] for p in table(snapshot, "prompts").to_dicts() if p["split"] == "train"}
    assert {row["prompt_id"]: json.loads(row["reward"]) for row in rows} == {
        prompt_id: [-100 if reward is None else pytest.approx(reward) for reward in of_prompt]
        for prompt_id, of_prompt in rewards.items()
    }
    names = {path.name for path in (tmp_path / "out/videos").iterdir()}
    samples = [sample for sample, _ in samples_with_videos(snapshot) if sample.split == "train"]
    assert names == {sample.official_name.format(n_frames=24) for sample in samples}


# --- Faults ------------------------------------------------------------------------------------


def test_a_sample_that_cannot_be_generated_fails_alone_and_is_tried_again(
    again: tuple[CurateDsr, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    generate, asked = DrawnVideos.generate, []

    def fail_once(self: DrawnVideos, sample: object) -> object:
        asked.append(sample)
        if len(asked) == 1:
            raise RowFailed("out_of_memory", "the GPU's memory is full", retryable=True)
        return generate(self, sample)  # type: ignore[arg-type]

    monkeypatch.setattr(DrawnVideos, "generate", fail_once)
    config = again[0].model_copy(update={"seeds_train": 4})
    snapshot = Snapshot(sample_here(config))
    assert (snapshot.manifest.n_inputs, snapshot.manifest.n_failed) == (9, 1)
    whole = [curve for curve in snapshot.statistics(DsrStatistics).curves if "/" not in curve.name]
    assert sum(curve.n_judged for curve in whole) == 8, "what failed is not judged"
    with watch(config) as computed:
        assert Snapshot(sample_here(config)).manifest.n_failed == 0
    assert computed.counts["generate_samples"] == 1


def test_a_service_that_is_down_is_named_and_nothing_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(self: DrawnVideos, sample: object) -> object:
        raise ServiceDown("the generator is away; call it back")

    monkeypatch.setattr(DrawnVideos, "generate", down)
    with pytest.raises(ShardsFailed, match="call it back"):
        sample_here(tiny_samples(tmp_path))
    assert Snapshot.latest(tmp_path / "snapshots") is None


def test_a_server_that_answers_nothing_is_never_a_no(
    again: tuple[CurateDsr, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, snapshot = again
    openai = {"ask": config.ask.model_copy(update={"judge": "openai"}), "endpoint": EndpointConfig(max_retries=0)}
    asking = config.model_copy(update=openai)
    with LocalEndpoint() as server:
        point_at(server, monkeypatch)
        answered = sample_here(asking)
    assert n_valid(answered) == n_valid(snapshot)
    monkeypatch.setenv("TRIPTYCH_VLM_MODEL", "another")
    with pytest.raises(ShardsFailed, match="Start the server"):
        sample_here(asking)


@pytest.mark.slow
def test_killed_anywhere_and_run_again_it_publishes_the_same(run: tuple[CurateDsr, Path], tmp_path: Path) -> None:
    """SIGKILL as soon as a stage has left its first result, stage after stage; then it is let go on."""
    config = tiny_samples(tmp_path / "killed")
    # Without Prefect's engine: a killed run would leave a server behind.
    script = "import sys; from tests.support.dsr_runs import *; sample_here(CurateDsr.model_validate_json(sys.argv[1]))"
    command = [sys.executable, "-c", script, config.model_dump_json()]
    for stage in DSR_STAGES:
        process = subprocess.Popen(command, cwd=REPOSITORY)
        deadline_s = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline_s:
            if any((config.work.root / "rows" / stage).glob("*/*.json")):
                process.kill()
            time.sleep(0.002)
        assert process.wait(10) == -signal.SIGKILL
    assert Snapshot.latest(config.snapshots) is None
    assert_same_snapshot(sample_here(config), run[1])


# --- Deployments -------------------------------------------------------------------------------


def test_deployments_find_their_parameters(tmp_path: Path) -> None:
    """What prefect.yaml gives the flow is a config of it."""
    project = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    found = [d for d in project["deployments"] if d["entrypoint"].endswith(".curate_dsr")]
    assert {d["name"] for d in found} == {"default", "paper"}
    for deployment in found:
        text = json.dumps(deployment["parameters"]["config"]).replace("{{ $TRIPTYCH_DSR_ROOT }}", str(tmp_path))
        config = CurateDsr.model_validate_json(text)
        assert isinstance(config.dispatch, DispatchConfig)
        assert set(config.dispatch.routes) <= set(DSR_STAGES)
        assert (config.generate.generator == "diffusers") == (deployment["name"] == "paper")
