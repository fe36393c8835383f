"""Every dataset by its name: the one place that lists them.

    DATASETS["matrix11k"].flow                      -> "curate-matrix11k"
    dataset_of(Snapshot.open("data"))               -> the Dataset whose flow published it

To add one: a room beside the others that ends in a `Dataset`, a line here, and a flow file (docs/adding-a-dataset.md).
"""

from __future__ import annotations

from tasks.datasets.dsr.dataset import DSR
from tasks.datasets.kinemask.dataset import KINEMASK
from tasks.datasets.matrix11k.dataset import MATRIX11K
from tasks.engine.dataset import Dataset
from tasks.engine.snapshots import Snapshot, SnapshotError

DATASETS: dict[str, Dataset] = {
    "matrix11k": MATRIX11K,
    "kinemask": KINEMASK,
    "dsr": DSR,
}


def dataset_of(snapshot: Snapshot) -> Dataset:
    """The dataset whose flow made a snapshot. Raises SnapshotError if it is none of these."""
    flow = snapshot.manifest.flow
    found = next((dataset for dataset in DATASETS.values() if dataset.flow == flow), None)
    if found is None:
        raise SnapshotError(f"{snapshot.id} was made by {flow}; this version knows {', '.join(DATASETS)}")
    return found
