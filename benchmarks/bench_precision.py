"""How many of the instances that a run accepts are right, and how many false captions it refuses, on real clips.

    python -m benchmarks.bench_precision LABELLED                      LABELLED/labels.jsonl and its videos
    python -m benchmarks.bench_precision LABELLED --only default

Each way to run sees every clip twice: with its true and with a false caption (benchmarks/labelled_clips.py). The clips
that the backends were tuned on are told apart from new ones. For each check: how many tracks it removed that are right,
and how many that are wrong; all tracks under a false caption are wrong. A few clips prove little: intervals are
Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.labelled_clips import Judged, Label, interval, judge, read_labels, write_manifest
from flows.curate_matrix11k import FLOW, CurateMatrix11k
from schemas.clip import Clip
from schemas.extraction import Extraction
from schemas.mask_track import Tracks
from schemas.track_check import Checked
from tasks.engine.shards import Row, load_shard
from tasks.engine.snapshots import Snapshot
from tasks.engine.stage import state_path

KNOWN = ("bedroom", "coffee", "cups", "dog", "juggle")  # the default's thresholds were set on these
WAYS: dict[str, list[str]] = {
    "colours": ["--ground.grounding", "colour", "--ground.vlm", "rules"],
    "default": [],
    "nanodet": ["--ground.grounding", "nanodet"],
}


class Track(NamedTuple):
    """A track of a run."""

    judged: Judged
    failed: list[str]  # the checks that it failed
    kept: bool  # in the dataset


class Seen(NamedTuple):
    """What a run made of a clip with one of its captions."""

    label: Label
    kind: str  # "true" or "false", its caption
    accepted: bool
    tracks: list[Track]

    @property
    def known(self) -> bool:
        return self.label.source_video.startswith(KNOWN)


def run(labels: Sequence[Label], folder: Path, root: Path, options: Sequence[str]) -> tuple[list[Seen], float]:
    """A run over all clips with both captions: what it made of them, and its CPU time, s."""
    manifest = write_manifest(labels, folder / "manifest.jsonl")
    command = ["curate", "matrix11k", "--manifest", str(manifest), "--root", str(root), "--no-report", *options]
    before = os.times()
    done = subprocess.run([sys.executable, "-m", "flows.commands.cli", *command], check=False)
    after = os.times()
    if Snapshot.latest_readable(root / "snapshots") is None and done.returncode != 0:
        print("nothing was accepted")
    config = FLOW.parse(command[2:])
    seen = [_seen(config, row, labels) for row in _rows(config)]
    return seen, after.children_user + after.children_system - before.children_user - before.children_system


def _rows(config: CurateMatrix11k) -> Iterable[Row[Clip]]:
    """Every clip after its stages, whatever became of it."""
    stages = config.shard_stages
    for path in sorted((config.work.root / "shards").glob("shard-*")):
        state = state_path(config.work, path.name, stages)
        if state.exists():
            yield from load_shard(state, Clip).rows


def _seen(config: CurateMatrix11k, row: Row[Clip], labels: Sequence[Label]) -> Seen:
    clip = row.payload
    label = next(x for x in labels if clip.video.endswith(x.video) and clip.caption in (x.caption, x.false_caption))
    kind = "true" if clip.caption == label.caption else "false"
    extraction, tracks, checked = (config.work.find_result(row, r) for r in (Extraction, Tracks, Checked))
    instances = {i.instance_id: i for i in extraction.instances} if extraction else {}
    kept = set(checked.kept_ids) if checked and row.outcome is None else set()
    failed: dict[str, list[str]] = {}
    for check in checked.checks if checked else []:
        if not check.passed:
            failed.setdefault(check.instance_id, []).append(check.measure)
    judged = [
        Track(
            judge(t, clip, instances[t.instance_id], label) if kind == "true" else Judged(None, None),
            failed.get(t.instance_id, []),
            t.instance_id in kept,
        )
        for t in (tracks.tracks if tracks else [])
    ]
    return Seen(label, kind, bool(kept), judged)


# --- Telling ---------------------------------------------------------------------------------


def summary(seen: Sequence[Seen]) -> dict[str, tuple[int, int]]:
    """Of so many, so many: what the README and the report tell."""
    true = [s for s in seen if s.kind == "true"]
    accepted = [t.judged for s in true for t in s.tracks if t.kept and t.judged.iou is not None]
    found = {(s.label.video, t.judged.entity) for s in true for t in s.tracks if t.kept and t.judged.right}
    return {
        "accepted instances that are right": (sum(j.right for j in accepted), len(accepted)),
        "labelled entities found": (len(found), sum(len(s.label.entities) for s in true)),
        "true captions accepted": (sum(s.accepted for s in true), len(true)),
        "false captions accepted": (sum(s.accepted for s in seen if s.kind == "false"), len(seen) - len(true)),
    }


def told(k: int, n: int) -> str:
    low, high = interval(k, n)
    return f"{k} of {n} ({low:.0%} to {high:.0%})"


def print_way(name: str, seen: Sequence[Seen], cpu_s: float, wall_s: float) -> None:
    groups = {"known clips": [s for s in seen if s.known], "new clips": [s for s in seen if not s.known], "all": seen}
    print(f"\n{name}: {cpu_s / max(len(seen), 1):.1f} CPU s a clip and caption, {wall_s:.0f} s in all")
    print(f"| | {' | '.join(groups)} |\n|---|{'---|' * len(groups)}")
    told_of = {group: summary(of) for group, of in groups.items()}
    for line in told_of["all"]:
        print(f"| {line} | {' | '.join(told(*told_of[group][line]) for group in groups)} |")
    removed = {
        group: Counter((m, t.judged.right) for s in of for t in s.tracks for m in t.failed)
        for group, of in groups.items()
    }
    for measure in sorted({m for m, _ in removed["all"]}):
        cells = [f"{removed[g][measure, False]} wrong, {removed[g][measure, True]} right" for g in groups]
        print(f"| removed by {measure} | {' | '.join(cells)} |")
    for s in seen:
        tracks = [f"{t.judged.entity or '?'} {t.judged.iou or 0:.2f}{'' if t.kept else ' dropped'}" for t in s.tracks]
        end = "accepted" if s.accepted else "refused"
        print(f"    {s.label.video} {s.kind}: {end}; {', '.join(tracks) or 'no track'}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_precision", description=__doc__.split("\n")[0])
    parser.add_argument("labelled", type=Path, help="a folder with labels.jsonl and the videos that it names")
    parser.add_argument("--only", choices=WAYS, action="append", help="not all ways to run")
    arguments = parser.parse_args()
    labels = read_labels(arguments.labelled / "labels.jsonl")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for label in labels:
            shutil.copyfile(arguments.labelled / label.video, folder / label.video)
        for way in arguments.only or WAYS:
            start = time.perf_counter()
            seen, cpu_s = run(labels, folder, folder / way, WAYS[way])
            print_way(way, seen, cpu_s, time.perf_counter() - start)


if __name__ == "__main__":
    main()
