"""The flow's time over that of its bare stage functions: 64 clips in one shard, embedded backends.

    python -m benchmarks.bench_flow                 # two runs each, about 10 minutes on two slow cores
    python -m benchmarks.bench_flow --clips 8 --repeats 3

`flow` is all of `curate_matrix11k` in one process, from reading the manifest to the published snapshot and its report,
with a Prefect server that runs already. `bare` calls the same stage functions on the same clips in as many threads: no
Prefect, keys, stored results or Parquet. They take turns, each in a fresh folder, and must accept the same number of
clips. Prefect's task runs show what the flow spends outside the stages. Not timed: imports, the drawing of the input
and the server's start. The server's CPU time is listed separately (from /proc: Linux only).
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterStartTime

from flows.curate_matrix11k import CurateMatrix11k, curate_matrix11k
from schemas.clip import Clip
from schemas.extraction import Extraction
from schemas.grounding import Grounding, Wanted
from schemas.mask_track import Tracks
from schemas.outcome import RowFailed, RowRejected
from schemas.source import Source
from schemas.split import SplitResult
from schemas.truth import read_truths
from tasks.check_tracks import Tracked, check_tracks
from tasks.check_tracks import load_backends as load_lookers
from tasks.datasets.matrix11k.dataset import MATRIX11K
from tasks.datasets.matrix11k.drawn_input import SCENES, draw_scenes
from tasks.engine.shards import SHARD_SIZE
from tasks.engine.snapshots import Snapshot
from tasks.extract_triplets import extract_triplets
from tasks.extract_triplets import load_backend as load_reader
from tasks.ground_instances import GroundConfig, ground_instances
from tasks.ground_instances import load_backends as load_detector_and_verifier
from tasks.ground_instances import makers as grounded_by
from tasks.media.pictures import max_side_of
from tasks.media.video import read_frames, sample_indices
from tasks.pages.page import PageContext
from tasks.propagate_masks import load_backend as load_propagator
from tasks.propagate_masks import propagate_masks
from tasks.readers.read_manifest import read_manifest
from tasks.split_scenes import split_scenes

REPEATS = 2
DRAWN = GroundConfig(grounding="colour", vlm="rules")  # the default's networks know photographs
SERVER_PATIENCE_S = 120
REPORT = "write_report"  # the last task
STAGES = [step.stage for step in CurateMatrix11k.steps]

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Cost:
    """What one run took, and each of its parts: name -> wall seconds."""

    wall_s: float
    cpu_s: float  # of this process, all threads
    server_cpu_s: float
    parts: dict[str, float]
    n_accepted: int
    report_cpu_s: float = 0.0  # of the report, written again to time it alone


# --- Input -----------------------------------------------------------------------------------


def draw_clips(folder: Path, n_clips: int) -> Path:
    """A manifest of drawn videos with n_clips shots: the scenes repeated, each time painted anew."""
    lines: list[str] = []
    left, seed = n_clips, 0
    while left:
        part = f"seed-{seed}"
        draw_scenes(folder / part, seed=seed, n_scenes=min(left, len(SCENES)))
        for truth in read_truths(folder / part):
            n_shots = len(truth.cuts) + 1
            if truth.n_frames > 1 and n_shots <= left and truth.id != "duplicate":
                lines.append(json.dumps({"video": f"{part}/{truth.video}", "caption": truth.caption}))
                left -= n_shots
        seed += 1
    manifest = folder / "manifest.jsonl"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


# --- The two runs ----------------------------------------------------------------------------


def run_flow(manifest: Path, root: Path, server: int) -> Cost:
    config = CurateMatrix11k(manifest=manifest, root=root, ground=DRAWN)
    started = datetime.now(UTC)
    server_cpu_s, cpu_s, start = cpu_of(server), time.process_time(), time.perf_counter()
    state = curate_matrix11k(config, return_state=True)
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_s
    server_cpu_s = cpu_of(server) - server_cpu_s
    snapshot = state.result()
    published = Snapshot(snapshot)
    n_accepted = published.manifest.n_accepted
    report_cpu_s = time.process_time()
    MATRIX11K.write_report(published, root / "report-again", PageContext(config.work))
    report_cpu_s = time.process_time() - report_cpu_s
    return Cost(wall_s, cpu_s, server_cpu_s, task_seconds(started), n_accepted, report_cpu_s)


def run_bare(manifest: Path, root: Path, server: int) -> Cost:
    config = CurateMatrix11k(manifest=manifest, root=root, ground=DRAWN)
    sources = read_manifest(manifest).sources  # not timed
    server_cpu_s, cpu_s, start = cpu_of(server), time.process_time(), time.perf_counter()
    bare = Bare(config)
    n_accepted = bare.run(sources)
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_s
    return Cost(wall_s, cpu_s, cpu_of(server) - server_cpu_s, bare.seconds, n_accepted)


class Bare:
    """The stage functions in sequence over all clips; results are passed on in memory."""

    def __init__(self, config: CurateMatrix11k) -> None:
        self.config = config
        self.seconds: dict[str, float] = {}
        self.concurrency = {name: config.stage(name).concurrency for name in STAGES}
        cache = config.work.root / "llm"
        self.reader = load_reader(config.extract, config.endpoint, cache, config.local, config.torch)
        self.detector, self.verifier = load_detector_and_verifier(
            config.ground, config.endpoint, cache, config.dino, config.torch, config.local
        )
        self.propagator = load_propagator(config.propagate, config.sam2, config.torch)
        self.lookers = load_lookers(
            config.work, config.check, config.ground, config.endpoint, config.propagate, config.sam2, config.torch
        )

    def run(self, sources: Sequence[Source]) -> int:
        """Run all stages. Returns the number of accepted clips."""
        splits = self._stage("split_scenes", self._split, sources)
        clips = [clip for split in splits.values() for clip in split.clips]
        # Each caption is read once, as in the flow, whose keys hold only the caption.
        captions = list(dict.fromkeys(clip.caption for clip in clips))
        extractions = self._stage("extract_triplets", self._extract, captions)
        read = [(clip, extractions[clip.caption]) for clip in clips if clip.caption in extractions]
        groundings = self._stage("ground_instances", self._ground, read, key=_clip_id)
        grounded = [(clip, e, groundings[clip.clip_id]) for clip, e in read if clip.clip_id in groundings]
        tracks = self._stage("propagate_masks", self._propagate, grounded, key=_clip_id)
        tracked = [(clip, e, tracks[clip.clip_id]) for clip, e, _ in grounded if clip.clip_id in tracks]
        return len(self._stage("check_tracks", self._check, tracked, key=_clip_id))

    def _stage(
        self, name: str, compute: Callable[[A], B], rows: Iterable[A], key: Callable[[A], object] | None = None
    ) -> dict[object, B]:
        """{key of the row: result} for the rows that this stage keeps."""
        rows = list(rows)
        start = time.perf_counter()
        with ThreadPoolExecutor(self.concurrency[name]) as pool:
            results = list(pool.map(lambda row: _unless_dropped(compute, row), rows))
        self.seconds[name] = time.perf_counter() - start
        keys = [key(row) if key else row for row in rows]
        return {key: result for key, result in zip(keys, results, strict=True) if result is not None}

    def _video(self, row: Source | Clip) -> Path:
        return self.config.work.inputs.locate(row.video)

    def _split(self, source: Source) -> SplitResult:
        return split_scenes(self._video(source), source, self.config.split)

    def _extract(self, caption: str | None) -> Extraction:
        return extract_triplets(caption, self.reader, self.config.extract)

    def _ground(self, row: tuple[Clip, Extraction]) -> Grounding:
        clip, extraction = row
        indices = sample_indices(clip.n_frames, self.config.ground.n_frames)
        frames = read_frames(self._video(clip), clip, indices)
        proposals = self.detector.propose(frames, extraction.instances)
        wanted = Wanted(clip.caption or "", extraction.instances, extraction.pairs)
        made_by = grounded_by(self.detector, self.verifier)
        return ground_instances(frames, indices, wanted, proposals, self.verifier, self.config.ground, made_by)

    def _propagate(self, row: tuple[Clip, Extraction, Grounding]) -> Tracks:
        clip, _, grounding = row
        max_side = max_side_of(clip.width, clip.height, self.propagator.short_side_px)
        frames = read_frames(self._video(clip), clip, max_side=max_side)
        return propagate_masks(frames, grounding.anchors, self.propagator, (clip.height, clip.width))

    def _check(self, row: tuple[Clip, Extraction, Tracks]) -> object:
        clip, extraction, tracks = row
        wanted = Wanted(clip.caption or "", extraction.instances, extraction.pairs)
        seen = Tracked(BareFootage(self._video(clip), clip, wanted), tracks.tracks)
        looks = self.lookers.looks(seen, self.config.check) if self.lookers else []
        return check_tracks(tracks.tracks, extraction.instances, extraction.pairs, self.config.check, looks)


@dataclass(frozen=True)
class BareFootage:
    """A clip's pictures, without a stage's work folder."""

    path: Path
    clip: Clip
    wanted: Wanted

    @property
    def span(self) -> list[object]:
        return self.clip.video_span

    @property
    def n_frames(self) -> int:
        return self.clip.n_frames

    def frames(self, indices: Sequence[int] | None = None) -> np.ndarray:
        return read_frames(self.path, self.clip, indices)


def _clip_id(row: tuple) -> str:
    return row[0].clip_id


def _unless_dropped(compute: Callable[[A], B], row: A) -> B | None:
    try:
        return compute(row)
    except (RowRejected, RowFailed):
        return None


# --- Measures --------------------------------------------------------------------------------


def task_seconds(started: datetime) -> dict[str, float]:
    """Wall seconds of the tasks since then, by name, as Prefect recorded them."""
    since = TaskRunFilter(start_time=TaskRunFilterStartTime(after_=started))
    give_up = time.monotonic() + SERVER_PATIENCE_S
    while time.monotonic() < give_up:
        with get_client(sync_client=True) as client:
            runs = client.read_task_runs(task_run_filter=since, limit=200)
        # A subflow is also listed among its parent's tasks: only its own tasks count.
        tasks = [run for run in runs if not (run.state and run.state.state_details.child_flow_run_id)]
        if REPORT in {run.name for run in tasks} and all(run.end_time for run in tasks):
            seconds: dict[str, float] = defaultdict(float)
            for run in tasks:
                seconds[run.name] += run.total_run_time.total_seconds()
            return dict(seconds)
        time.sleep(0.5)  # the server records them a little later
    raise RuntimeError(f"the Prefect server recorded no end of {REPORT}")


def cpu_of(pid: int) -> float:
    """User and system seconds of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(manifest: Path, repeats: int, server: int) -> dict[str, list[Cost]]:
    """Both runs in alternating order."""
    runs = {"flow": run_flow, "bare": run_bare}
    costs: dict[str, list[Cost]] = {name: [] for name in runs}
    for turn in range(repeats):
        for name in sorted(runs, reverse=turn % 2 == 1):
            with tempfile.TemporaryDirectory() as root:
                costs[name].append(runs[name](manifest, Path(root), server))
            print(f"{name}: {costs[name][-1].wall_s:.1f} s, CPU {costs[name][-1].cpu_s:.1f} s", file=sys.stderr)
    accepted = {cost.n_accepted for of_name in costs.values() for cost in of_name}
    assert len(accepted) == 1, f"the runs accept different numbers of clips: {accepted}"
    return costs


# --- Report ----------------------------------------------------------------------------------


def report(title: str, flow: Sequence[Cost], bare: Sequence[Cost]) -> str:
    """Medians of both, of their common parts, and of the flow's other parts."""

    def row(label: str, of_flow: Iterable[float], of_bare: Iterable[float]) -> str:
        ours, theirs = statistics.median(of_flow), statistics.median(of_bare)
        return f"| {label} | {ours:.2f} | {theirs:.2f} | {ours - theirs:.2f} | {ours / theirs:.3f} |"

    def flow_row(label: str, of_flow: Iterable[float]) -> str:
        return f"| {label} | {statistics.median(of_flow):.2f} | | | |"

    lines = [f"{title}: {flow[0].n_accepted} accepted by both, medians of {len(flow)} runs", ""]
    lines += ["| | flow | bare | difference | ratio |", "|---|---|---|---|---|"]
    lines.append(row("all: wall, s", (c.wall_s for c in flow), (c.wall_s for c in bare)))
    lines.append(row("all: CPU, s", (c.cpu_s for c in flow), (c.cpu_s for c in bare)))
    lines.append(row("without the report: CPU, s", (c.cpu_s - c.report_cpu_s for c in flow), (c.cpu_s for c in bare)))
    for stage in STAGES:
        lines.append(row(f"{stage}: wall, s", (c.parts[stage] for c in flow), (c.parts[stage] for c in bare)))
    for task in sorted(flow[0].parts.keys() - set(STAGES)):
        lines.append(flow_row(f"{task}: wall, s", (c.parts[task] for c in flow)))
    lines.append(flow_row("between the tasks: wall, s", (c.wall_s - sum(c.parts.values()) for c in flow)))
    lines.append(flow_row("Prefect server: CPU, s", (c.server_cpu_s for c in flow)))
    in_stages = [sum(c.parts[stage] for stage in STAGES) for c in flow]
    own = statistics.median(c.wall_s / s for c, s in zip(flow, in_stages, strict=True))
    no_report = statistics.median((c.wall_s - c.parts[REPORT]) / s for c, s in zip(flow, in_stages, strict=True))
    lines += ["", f"The flow's wall time over its own stage tasks': {own:.3f}, without the report {no_report:.3f}."]
    return "\n".join([*lines, ""])


# --- Server ----------------------------------------------------------------------------------


@contextmanager
def prefect_server(home: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Start a Prefect server on loopback: its pid, and the environment to reach it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(f"{api}/health", process, home / "server.log")
        yield process.pid, environment
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    give_up = time.monotonic() + SERVER_PATIENCE_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)
    raise RuntimeError(f"the Prefect server does not answer at {url}:\n{log.read_text()[-2000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_flow", description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=SHARD_SIZE)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--server", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.server is None:
        # Prefect reads its settings on import, so the measured code runs in its own process.
        with tempfile.TemporaryDirectory() as home, prefect_server(Path(home)) as (pid, environment):
            subprocess.run(
                [sys.executable, "-m", "benchmarks.bench_flow", *sys.argv[1:], "--server", str(pid)],
                env=environment,
                check=True,
            )
        return
    with tempfile.TemporaryDirectory() as folder:
        one = draw_clips(Path(folder) / "one", 1)
        many = draw_clips(Path(folder) / "many", options.clips)
        measure(one, 1, options.server)  # warm
        print(report("1 clip, the fixed costs", **measure(one, 3, options.server)), flush=True)
        print(report(f"{options.clips} clips", **measure(many, options.repeats, options.server)), flush=True)


if __name__ == "__main__":
    main()
