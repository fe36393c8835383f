"""How the result compares with the truth: the numbers as tiles, the instances with the worst first.

TruthReport(mean_iou=0.93, ...) -> Tile("Mean IoU", "0.93", "41 tracks, every frame"), ...
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.metrics.compare_truth import InstanceScore, TruthReport
from tasks.pages.wording import percent, score

MAX_SCORES = 60  # instances that are listed, the worst first


@dataclass(frozen=True)
class Tile:
    """One number, large."""

    label: str
    value: str
    hint: str


@dataclass(frozen=True)
class TruthView:
    """How the result compares with the truth."""

    report: TruthReport
    tiles: list[Tile]
    worst: list[InstanceScore]  # ascending IoU


def truth_view(truth: TruthReport) -> TruthView:
    def rates(label: str, precision: float | None, recall: float | None, hint: str) -> Tile:
        return Tile(label, f"{percent(precision)} / {percent(recall)}", hint)

    tiles = [
        Tile("Mean IoU", score(truth.mean_iou), f"{truth.instances_delivered} tracks, every frame"),
        Tile("Visible-frame IoU", score(truth.mean_visible_iou), "only frames where the thing can be seen"),
        rates("Presence", truth.presence_precision, truth.presence_recall, "precision / recall of frames with a mask"),
        rates("Cuts", truth.cut_precision, truth.cut_recall, "precision / recall"),
        rates("Triplets", truth.triplet_precision, truth.triplet_recall, "precision / recall"),
        Tile("Instances found", percent(truth.instance_recall), f"{len(truth.missed)} without a track"),
        Tile("Hidden frames", percent(truth.hidden_recall), "frames without a mask where nothing can be seen"),
        Tile("Rows as expected", f"{truth.rows_met} of {truth.rows_expected}", "accepted, rejected or failed as due"),
    ]
    worst = sorted(truth.instances, key=lambda s: (s.iou, s.clip_id, s.instance_id))
    return TruthView(report=truth, tiles=tiles, worst=worst[:MAX_SCORES])
