"""The dataset as the engine knows it."""

from __future__ import annotations

from tasks.datasets.dsr_samples.tables import SHARD_TABLES, row_tables
from tasks.datasets.samples.dataset import samples_dataset
from tasks.datasets.samples.report import write_report

DSR_SAMPLES = samples_dataset(
    "dsr-samples",
    SHARD_TABLES,
    row_tables,
    write_report,
    about="Generated videos as Wan2.1 is trained on them with SpatialAlign (section 3.3): latents of the video, the\n"
    "prompt's embedding, and all scores.",
    reading="All tables join on `clip_id`; all but `outcomes` hold samples only. The split `test` is not trained on;\n"
    "it has one sample a prompt, for the prompt. `scores` has every column of the curated sample; a training chooses\n"
    "winners and losers by them, so that every reward and threshold can be trained with.",
)
