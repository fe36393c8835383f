"""What a snapshot of samples holds, counted: for its manifest and its page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.training_samples import SampleStatistics
from tasks.engine.dataset import ranked, read_columns
from tasks.engine.snapshots import Snapshot


def statistics(folder: Path) -> SampleStatistics:
    """What a snapshot's folder holds, counted."""
    samples = read_columns(folder, "samples", "split", "n_frames", "width", "height", "fps")
    sizes = samples.select("n_frames", "width", "height", "fps").iter_rows()
    return SampleStatistics(
        splits=ranked(samples["split"].to_list()),
        sizes=ranked([f"{n} frames of {width}x{height} at {fps:g} frames/s" for n, width, height, fps in sizes]),
    )


def headline(snapshot: Snapshot, truth: Any = None) -> Iterator[str]:
    """What was made."""
    counted = snapshot.statistics(SampleStatistics)
    yield "samples: " + (", ".join(f"{split.n} {split.name}" for split in counted.splits) or "none")
    yield from (f"{size.n} of {size.name}" for size in counted.sizes)
