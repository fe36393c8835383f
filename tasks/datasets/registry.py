"""Every dataset by its name: the one place that lists them.

    load_dataset("matrix11k").flow                  -> "curate-matrix11k"
    dataset_of(Snapshot.open("data"))               -> the Dataset whose flow published it

To add one: a room beside the others that ends in a `Dataset`, a line here, and a flow file (docs/adding-a-dataset.md).
"""

from __future__ import annotations

from importlib import import_module

from tasks.engine.dataset import Dataset
from tasks.engine.snapshots import Snapshot, SnapshotError

DATASETS: dict[str, str] = {
    "matrix11k": "tasks.datasets.matrix11k.dataset:MATRIX11K",
    "kinemask": "tasks.datasets.kinemask.dataset:KINEMASK",
    "dsr": "tasks.datasets.dsr.dataset:DSR",
    "videos": "tasks.datasets.videos.dataset:VIDEOS",
    "matrix-samples": "tasks.datasets.matrix_samples.dataset:MATRIX_SAMPLES",
    "kinemask-samples": "tasks.datasets.kinemask_samples.dataset:KINEMASK_SAMPLES",
    "dsr-samples": "tasks.datasets.dsr_samples.dataset:DSR_SAMPLES",
}


def load_dataset(name: str) -> Dataset:
    """A dataset by its name. Its room is imported now: a broken one stops no other. Raises KeyError."""
    module, _, attribute = DATASETS[name].partition(":")
    dataset: Dataset = getattr(import_module(module), attribute)
    return dataset


def dataset_of(snapshot: Snapshot) -> Dataset:
    """The dataset whose flow made a snapshot. Raises SnapshotError if it is none of these."""
    flow = snapshot.manifest.flow
    name = flow.partition("-")[2]  # curate-NAME, prepare-NAME
    if name not in DATASETS:
        raise SnapshotError(f"{snapshot.id} was made by {flow!r}; this version knows {', '.join(DATASETS)}")
    return load_dataset(name)
