"""What a snapshot of captioned videos holds, counted: for its manifest and its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from schemas.clip import traits_of
from schemas.matrix11k import MatrixStatistics
from schemas.record import Rational
from tasks.engine.dataset import histogram, ranked, read_columns
from tasks.engine.snapshots import Snapshot
from tasks.metrics.compare_truth import TruthReport

TOP = 50  # verbs and nouns in figure 10


def statistics(folder: Path) -> MatrixStatistics:
    """Figure 10 of MATRIX: contact x dynamism, interactions and identities a clip, top verbs and nouns."""
    clip_ids: list[str] = read_columns(folder, "clips", "clip_id")["clip_id"].to_list()
    pictures = read_columns(folder, "clips", "sample_aspect", "stretched", "transfer", "field_order")
    interactions = read_columns(folder, "interactions", "clip_id", "verb", "contactness", "dynamism")
    instances = read_columns(folder, "instances", "clip_id", "class_name")
    grid = [[0] * 5 for _ in range(5)]
    for contactness, dynamism in interactions.select("contactness", "dynamism").iter_rows():
        grid[contactness - 1][dynamism - 1] += 1

    def rows_per_clip(of_clips: list[str]) -> list[int]:
        n_rows = Counter(of_clips)
        return histogram([n_rows[clip_id] for clip_id in clip_ids])

    def unconverted() -> Iterator[str]:
        for aspect, stretched, transfer, field_order in pictures.iter_rows():
            yield from traits_of(Rational(**aspect).fraction, transfer, field_order, stretched=stretched)

    return MatrixStatistics(
        contact_dynamism=grid,
        interactions_per_clip=rows_per_clip(interactions["clip_id"].to_list()),
        instances_per_clip=rows_per_clip(instances["clip_id"].to_list()),
        top_verbs=ranked(interactions["verb"].to_list(), TOP),
        top_nouns=ranked(instances["class_name"].to_list(), TOP),
        unconverted=ranked(list(unconverted())),
    )


def headline(snapshot: Snapshot, truth: TruthReport | None) -> Iterator[str]:
    """What was found, against the truth where that is known."""
    statistics = snapshot.statistics(MatrixStatistics)
    n_triplets, n_tracks = (
        sum(n * clips for n, clips in enumerate(per_clip))
        for per_clip in (statistics.interactions_per_clip, statistics.instances_per_clip)
    )
    yield f"{n_triplets} triplets, {n_tracks} mask tracks"
    if truth is None:
        return

    def rate(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    yield (
        f"masks against the truth: mean IoU {rate(truth.mean_iou)}, where visible {rate(truth.mean_visible_iou)}, "
        f"{truth.instances_delivered} tracks, {rate(truth.instance_recall)} of the instances"
    )
    yield (
        f"cuts: precision {rate(truth.cut_precision)}, recall {rate(truth.cut_recall)}; "
        f"triplets: precision {rate(truth.triplet_precision)}, recall {rate(truth.triplet_recall)}"
    )
    yield f"rows that ended as expected: {truth.rows_met} of {truth.rows_expected}"
