"""Verifier calls per accepted instance, and their time, against the naive scan.

    python -m benchmarks.bench_verify                # the demo's 23 drawn clips, about two minutes on two slow cores

Both sides get the same proposals for the same clips. The naive scan verifies every candidate of every instance in
sequence and then takes the best accepted one. `ground_instances` (MATRIX A.2) stops at the first accepted one, skips
taken boxes, and verifies instances of different classes, and several clips, in parallel. Both use the embedded
verifier, with each answer delayed like a model server's.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from schemas.candidate import Box
from schemas.clip import Clip
from schemas.extraction import Extraction
from schemas.grounding import Answer, Proposal, Wanted
from schemas.instance import Instance
from schemas.outcome import RowRejected
from tasks.backends.caption_rules import CaptionRules
from tasks.backends.colour import AttributeVerifier, ColourDetector
from tasks.datasets.matrix11k.drawn_input import draw_scenes
from tasks.extract_triplets import ExtractConfig, extract_triplets
from tasks.ground_instances import GroundConfig, Search, candidate_pool, ground_instances
from tasks.media.video import read_frames, sample_indices
from tasks.readers.read_manifest import read_manifest
from tasks.split_scenes import SplitConfig, split_scenes

CONFIG = GroundConfig()


class Question(NamedTuple):
    """A clip with everything that its verification needs."""

    clip: Clip
    frames: np.ndarray
    indices: list[int]
    extraction: Extraction
    proposals: dict[str, list[Proposal]]


class SlowVerifier:
    """The embedded verifier with a server's answer time; counts its calls."""

    def __init__(self, answer_s: float, concurrency: int) -> None:
        self._verifier = AttributeVerifier()
        self.identity, self.concurrency = self._verifier.identity, concurrency
        self.answer_s, self.calls, self._lock = answer_s, 0, threading.Lock()

    def verify(self, frame: np.ndarray, box_xyxy: Box, instance: Instance, caption: str) -> Answer:
        with self._lock:
            self.calls += 1
            answer = self._verifier.verify(
                frame, box_xyxy, instance, caption
            )  # one at a time: a server has its own CPU
        time.sleep(self.answer_s)
        return answer


def read_questions(folder: Path) -> list[Question]:
    manifest = draw_scenes(folder)
    reader, detector = CaptionRules(), ColourDetector()
    questions = []
    for source in read_manifest(manifest).sources:
        try:
            clips = split_scenes(folder / source.video, source, SplitConfig()).clips
            extraction = extract_triplets(source.caption, reader, ExtractConfig())
        except Exception:  # noqa: BLE001 - the demo's input holds broken rows on purpose
            continue
        for clip in clips:
            indices = sample_indices(clip.n_frames, CONFIG.n_frames)
            frames = read_frames(folder / clip.video, clip, indices)
            proposals = detector.propose(frames, extraction.instances)
            questions.append(Question(clip, frames, indices, extraction, proposals))
    return questions


def naive(questions: Sequence[Question], verifier: SlowVerifier) -> int:
    """Verify everything; returns the number of instances with an accepted candidate that is not taken."""
    n_accepted = 0
    for q in questions:
        searches: list[Search] = []
        for instance in q.extraction.instances:
            height, width = q.frames.shape[1:3]
            pool = candidate_pool(q.proposals.get(instance.instance_id, []), CONFIG.max_candidates, width, height)
            answers = [verifier.verify(q.frames[p.frame], p.box_xyxy, instance, q.clip.caption or "") for p in pool]
            search = Search(instance, pool)
            while search.next is not None:
                search.exclude(
                    [s for s in searches if s.instance.class_name == instance.class_name], CONFIG.exclusion_iou
                )
                if search.next is not None:
                    search.take(answers[len(search.judged)], CONFIG.min_verdict_confidence)
            searches.append(search)
            n_accepted += search.found is not None
    return n_accepted


def ours(questions: Sequence[Question], verifier: SlowVerifier) -> int:
    def ground(q: Question) -> int:
        try:
            wanted = Wanted(q.clip.caption or "", q.extraction.instances, q.extraction.pairs)
            grounding = ground_instances(q.frames, q.indices, wanted, q.proposals, verifier, CONFIG, [])
        except RowRejected as error:
            grounding = error.evidence  # type: ignore[assignment]
        return sum(c.verdict == "accepted" for c in grounding.candidates)

    with ThreadPoolExecutor(verifier.concurrency) as pool:
        return sum(pool.map(ground, questions))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_verify", description=__doc__.split("\n")[0])
    parser.add_argument("--answer-s", type=float, default=0.1, help="time of an answer, s (default: 0.1)")
    parser.add_argument("--concurrency", type=int, default=8, help="requests at once (default: 8)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        questions = read_questions(Path(folder))
    n_instances = sum(len(q.extraction.instances) for q in questions)
    print(f"{len(questions)} clips, {n_instances} instances")
    print(f"{'':24}{'calls':>8}{'accepted':>10}{'calls each':>12}{'wall, s':>10}")
    figures = {}
    for name, run, concurrency in (
        ("naive scan", naive, 1),
        ("one at a time", ours, 1),
        ("ground_instances", ours, arguments.concurrency),
    ):
        verifier = SlowVerifier(arguments.answer_s, concurrency)
        start = time.perf_counter()
        accepted = run(questions, verifier)
        figures[name] = wall_s, calls = time.perf_counter() - start, verifier.calls
        print(f"{name:24}{calls:8}{accepted:10}{calls / accepted:12.2f}{wall_s:10.1f}")
    (naive_s, naive_calls), (our_s, our_calls) = figures["naive scan"], figures["ground_instances"]
    print(f"ratios: {naive_calls / our_calls:.1f}x fewer calls, {naive_s / our_s:.1f}x less time")


if __name__ == "__main__":
    main()
