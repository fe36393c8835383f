"""Ask a dataset: what happened to a clip, what failed and how to rerun it.

python -m flows.commands.ask --root data                   the latest snapshot's yield, and all snapshots
python -m flows.commands.ask --root data clip clip-81b2    its whole story, stage by stage (or src-..., a video's name,
                                                  of a simulated clip interactions/train/7, of a generated
                                                  sample PROMPT/SEED, or a prompt's id for all its samples)
python -m flows.commands.ask --root data failed            what failed, why, and what to do
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import polars as pl

from schemas.outcome import ServiceDown
from schemas.storage import AnyPath, parse_path
from tasks.engine.snapshots import all_snapshots, is_snapshot, latest_snapshot, read_snapshot, table_files
from tasks.pages.usage import usage_of

SHOWN_REFUSALS = 3
RERUN = "Run the same command (or the deployment) again: only these rows are redone."
MEND = "Mend or replace the input, then run again: a changed input is a new one."


def summary(root: AnyPath, snapshot: AnyPath) -> Iterator[str]:
    manifest = read_snapshot(snapshot)
    yield f"{manifest.snapshot_id}: {manifest.tally}"
    if usage := usage_of(root / "reports" / snapshot.name):
        yield usage.line()
    yield ""
    yield f"{'stage':<18} {'unit':<8} {'given':>6} {'rejected':>9} {'failed':>7} {'passed':>7}"
    for step in manifest.funnel:
        yield (f"{step.stage:<18} {step.unit:<8} {step.given:>6} {step.rejected:>9} {step.failed:>7} {step.passed:>7}")
    yield ""
    for count in manifest.outcomes:
        yield f"{count.n:>6} {count.status} {count.stage} {count.reason or ''}".rstrip()
    yield ""
    yield "snapshots: " + ", ".join(all_snapshots(root / "snapshots"))


def failed(snapshot: AnyPath) -> Iterator[str]:
    rows = _table(snapshot, "outcomes").filter(pl.col("status") == "failed").sort("retryable", "stage", "row_id")
    if rows.is_empty():
        yield "nothing failed"
    for retryable, remedy in ((True, RERUN), (False, MEND)):
        chosen = rows.filter(pl.col("retryable") == retryable)
        for row in chosen.to_dicts():
            yield (
                f"{row['row_id']} {_name_of(row)}".rstrip()
                + f": {row['stage']} {row['reason']}: {_line(row['detail'])}"
            )
        if not chosen.is_empty():
            yield f"  -> {remedy}"


def stories(snapshot: AnyPath, name: str) -> Iterator[str]:
    """The story of each row that `name` means."""
    match read_snapshot(snapshot).flow:
        case "curate-matrix11k":
            found, story = _meant_videos(snapshot, name), video_story
        case "curate-kinemask":
            found, story = _meant_seeds(snapshot, name), scene_story
        case "curate-dsr":
            found, story = _meant_samples(snapshot, name), sample_story
    if found.is_empty():
        sys.exit(f"{snapshot.name} knows no {name!r}; give the beginning of an id, or a name as --help shows them")
    for number, row in enumerate(found.to_dicts()):
        if number:
            yield ""
        yield f"{row['row_id']}: {row['status']}" + _because(row)
        yield from story(snapshot, row)


# --- Captioned videos ------------------------------------------------------------------------


def _meant_videos(snapshot: AnyPath, name: str) -> pl.DataFrame:
    """Outcomes of a clip, source or line: by an id (or its beginning), a video, the user's own id."""
    outcomes = _table(snapshot, "outcomes")
    sources = _table(snapshot, "sources").filter((pl.col("external_id") == name) | (pl.col("video") == name))
    meant = (
        outcomes["row_id"].str.starts_with(name)
        | outcomes["source_id"].str.starts_with(name).fill_null(False)
        | outcomes["source_id"].is_in(sources["source_id"].implode()).fill_null(False)
    )
    return outcomes.filter(meant).sort("video", "start_s", nulls_last=True)


def video_story(snapshot: AnyPath, outcome: dict[str, Any]) -> Iterator[str]:
    """A clip's, source's or line's way through the stages."""
    if outcome["video"]:
        yield f"  source     {outcome['source_id']} {outcome['video']}"
    if outcome["start_s"] is not None:
        yield f"  span       {outcome['start_s']:.3f} to {outcome['end_s']:.3f} s"
    if outcome["caption"]:
        yield f"  caption    {_line(outcome['caption'])}"
    if outcome["kind"] != "clip":
        return

    rows = partial(_rows_of, snapshot, outcome["row_id"])
    for it in rows("interactions") + rows("dropped_interactions"):
        end = "kept" if it["kept"] else f"dropped: {it['drop_reason']}"
        scores = f"contact {it['contactness']}, dynamism {it['dynamism']}, confidence {it['confidence']:g}"
        yield f"  triplet    {it['subject_id']} {it['verb']} {it['object_id']} ({scores}) {end}"
    for i in rows("instances"):
        box = ", ".join(f"{v:.0f}" for v in i["anchor_box_xyxy"])
        yield f"  instance   {i['instance_id']} {i['noun']!r}: anchor [{box}] on frame {i['anchor_frame']}"
    yield from _candidate_lines(rows("candidates"))
    for c in rows("track_checks"):
        end = "passed" if c["passed"] else "FAILED"
        yield f"  check      {c['instance_id']} {c['measure']} {c['value']:.3g} (limit {c['threshold']:g}) {end}"
    yield from _maker_lines(rows("clips"))


def _candidate_lines(candidates: list[dict[str, Any]]) -> Iterator[str]:
    """What was asked of the verifier: every yes, and the first refusals of each instance."""
    refusals: Counter[str] = Counter()
    for c in candidates:
        if c["verdict"] == "not_asked":
            continue
        if c["verdict"] != "accepted":
            refusals[c["instance_id"]] += 1
            if refusals[c["instance_id"]] > SHOWN_REFUSALS:
                continue
        box = ", ".join(f"{v:.0f}" for v in c["box_xyxy"])
        said = f"{c['verdict']}: {_line(c['rationale'])}"
        yield f"  candidate  {c['instance_id']} frame {c['frame']} [{box}] score {c['score']:.2f} {said}"
    for instance_id, n in refusals.items():
        if n > SHOWN_REFUSALS:
            yield f"  candidate  {instance_id}: {n - SHOWN_REFUSALS} more refused or excluded"


# --- Simulated clips -------------------------------------------------------------------------


def _meant_seeds(snapshot: AnyPath, name: str) -> pl.DataFrame:
    """Outcomes of seeds: by an id (or its beginning), or SET/SPLIT/SEED."""
    outcomes = _table(snapshot, "outcomes")
    names = pl.concat_str("set", "split", pl.col("seed").cast(pl.String), separator="/")
    return outcomes.filter(pl.col("row_id").str.starts_with(name) | (names == name)).sort("set", "split", "seed")


def scene_story(snapshot: AnyPath, outcome: dict[str, Any]) -> Iterator[str]:
    """A seed's way from its draws to a captioned clip."""
    rows = partial(_rows_of, snapshot, outcome["row_id"])
    yield f"  seed       {_name_of(outcome)}"
    for draw in rows("draws"):
        yield f"  draw {draw['attempt']:<5} no clip of its set: {draw['reason']}: {_line(draw['detail'])}"
    clips = rows("clips")
    for clip in clips:
        yield f"  floor      {_line(clip['scene']['floor']['noun'])} ({_line(clip['scene']['floor']['texture'])})"
    for thing in rows("objects"):
        moved = f"starts at {thing['speed_mps']:.2f} m/s" if thing["controlled"] else "at rest"
        seen = sum(area > 0 for area in thing["area"])
        yield f"  object     {thing['instance_id']} {thing['noun']}, {moved}, seen in {seen} frames"
    for hit in rows("collisions"):
        when = f"{hit['time_s']:.2f} s (frame {hit['frame']})"
        yield f"  collision  {when}: {hit['first_id']} {hit['second_id']} at {hit['closing_speed_mps']:.2f} m/s"
    for clip in clips:
        yield f"  caption    {_line(clip['caption'])}"
        for fault in clip["caption_faults"]:
            yield f"  FAULT      {_line(fault)}"
    yield from _maker_lines(clips)


# --- Generated samples -----------------------------------------------------------------------


def _meant_samples(snapshot: AnyPath, name: str) -> pl.DataFrame:
    """Outcomes of samples: by an id (or its beginning), a prompt's id, or PROMPT/SEED."""
    outcomes = _table(snapshot, "outcomes")
    names = pl.concat_str("prompt_id", pl.col("seed").cast(pl.String), separator="/")
    meant = pl.col("row_id").str.starts_with(name) | (pl.col("prompt_id") == name) | (names == name)
    return outcomes.filter(meant.fill_null(False)).sort("prompt_id", "seed", nulls_last=True)


def sample_story(snapshot: AnyPath, outcome: dict[str, Any]) -> Iterator[str]:
    """A sample's way from its prompt to a score and its pairs."""
    if outcome["prompt_id"]:
        yield f"  prompt     {_name_of(outcome)}, {outcome['split']}, {outcome['type']}"
    rows = partial(_rows_of, snapshot, outcome["row_id"])
    yield from _candidate_lines(rows("candidates"))
    for track in rows("tracks"):
        yield f"  track      {track['role']}, in {sum(track['present'])} of {len(track['present'])} frames"
    samples = rows("samples")
    for sample in samples:
        yield f"  text       {_line(sample['text'])}"
        parts = ", ".join(f"{part} {sample[part]:+.2f}" for part in ("r_initial", "r_final", "g_initial", "g_final"))
        yield f"  score      {sample['dsr_score']:.3f} ({sample['score']}; {parts}; {sample['n_found']} frames)"
        answers = [("yes" if sample[end] else "no") for end in ("initial_yes", "final_yes")]
        yield f"  answers    initially {sample['initial']}: {answers[0]}; finally {sample['final']}: {answers[1]}"
    pairs = _table(snapshot, "pairs")
    won, lost = (len(pairs.filter(pl.col(end) == outcome["row_id"])) for end in ("winner_id", "loser_id"))
    yield f"  pairs      winner of {won}, loser of {lost}"
    yield from _maker_lines(samples)


# --- Rows and lines --------------------------------------------------------------------------


def _name_of(outcome: dict[str, Any]) -> str:
    """What people call an outcome's row, as far as it has a name."""
    if outcome.get("set"):
        return f"{outcome['set']}/{outcome['split']}/{outcome['seed']}"
    if outcome.get("prompt_id"):
        return outcome["prompt_id"] + ("" if outcome["seed"] is None else f"/{outcome['seed']}")
    return outcome.get("video") or ""


def _maker_lines(clips: list[dict[str, Any]]) -> Iterator[str]:
    for maker in (maker for clip in clips for maker in clip["made_by"]):
        yield f"  made by    {maker['stage']}: {maker['backend']}, {maker['model']}"


def _because(outcome: dict[str, Any]) -> str:
    if outcome["status"] == "accepted":
        return ""
    return f" in {outcome['stage']}: {outcome['reason']}: {_line(outcome['detail'])}"


def _line(text: str | None) -> str:
    """Untrusted text on one line: control characters would write to the terminal."""
    return json.dumps(text or "", ensure_ascii=False)[1:-1]


def _rows_of(snapshot: AnyPath, clip_id: str, table: str) -> list[dict[str, Any]]:
    found = pl.scan_parquet(table_files(snapshot, table)).filter(pl.col("clip_id") == clip_id)
    return found.collect().to_dicts()


def _table(snapshot: AnyPath, name: str) -> pl.DataFrame:
    return pl.read_parquet(table_files(snapshot, name))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m flows.commands.ask", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=parse_path, default="data", help="the flow's --root (default: data)")
    parser.add_argument("--snapshot", help="ask this one, not the latest")
    questions = parser.add_subparsers(dest="question")
    questions.add_parser("clip", help="the whole story of a clip or source").add_argument("name")
    questions.add_parser("failed", help="what failed and how to rerun it")
    try:
        answer(parser.parse_args(arguments))
    except ServiceDown as error:
        sys.exit(f"ServiceDown: {error}")


def answer(asked: argparse.Namespace) -> None:
    snapshot = (
        asked.root / "snapshots" / asked.snapshot if asked.snapshot else latest_snapshot(asked.root / "snapshots")
    )
    if snapshot is None or not is_snapshot(snapshot):
        sys.exit(f"no snapshot in {asked.root / 'snapshots'}: nothing was published there yet; is --root right?")
    match asked.question:
        case "clip":
            lines = stories(snapshot, asked.name)
        case "failed":
            lines = failed(snapshot)
        case _:
            lines = summary(asked.root, snapshot)
    for line in lines:
        print(line)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    main()
