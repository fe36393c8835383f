"""The dataset as the engine knows it."""

from __future__ import annotations

from tasks.datasets.dsr_samples.tables import SHARD_TABLES, row_tables
from tasks.datasets.samples.report import write_report
from tasks.datasets.samples.statistics import headline, statistics
from tasks.datasets.samples.story import STORY
from tasks.engine.dataset import Dataset

DSR_SAMPLES = Dataset(
    name="dsr-samples",
    shard_tables=SHARD_TABLES,
    main_table="samples",
    row_tables=row_tables,
    statistics=statistics,
    headline=headline,
    story=STORY,
    write_report=write_report,
    split_of=lambda row: row.split,
    verb="prepare",
    about="Generated videos as Wan2.1 is trained on them with SpatialAlign (section 3.3): latents of the video, the\n"
    "prompt's embedding, and all scores.",
    reading="All tables join on `clip_id`; all but `outcomes` hold samples only. The split `test` is not trained on;\n"
    "it has one sample a prompt, for the prompt. `scores` has every column of the curated sample; a training chooses\n"
    "winners and losers by them, so that every reward and threshold can be trained with.",
)
