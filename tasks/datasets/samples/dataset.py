"""What every dataset of samples tells the engine alike: it gives its tables, its page and its card.

KINEMASK_SAMPLES = samples_dataset("kinemask-samples", SHARD_TABLES, row_tables, write_report, about=..., reading=...)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from schemas.record import Record
from schemas.storage import AnyPath
from tasks.datasets.samples.statistics import headline, statistics
from tasks.datasets.samples.story import STORY
from tasks.engine.dataset import Dataset


def samples_dataset(
    name: str,
    shard_tables: Mapping[str, type[Record]],
    row_tables: Callable[..., dict[str, list[Record]]],
    write_report: Callable[..., AnyPath],
    *,
    about: str,
    reading: str,
) -> Dataset:
    """A dataset whose rows are made of a snapshot's."""
    return Dataset(
        name=name,
        shard_tables=shard_tables,
        main_table="samples",
        row_tables=row_tables,
        statistics=statistics,
        headline=headline,
        story=STORY,
        write_report=write_report,
        split_of=lambda row: row.split,
        verb="prepare",
        about=about,
        reading=reading,
    )
