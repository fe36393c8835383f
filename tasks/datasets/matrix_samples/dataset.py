"""The dataset as the engine knows it."""

from __future__ import annotations

from tasks.datasets.matrix_samples.report import write_report
from tasks.datasets.matrix_samples.tables import SHARD_TABLES, row_tables
from tasks.datasets.samples.dataset import samples_dataset

MATRIX_SAMPLES = samples_dataset(
    "matrix-samples",
    SHARD_TABLES,
    row_tables,
    write_report,
    about="Clips of matrix11k as CogVideoX is trained on them with MATRIX (sections 4.2 and 5): latents of the video,\n"
    "its first frame and its ID map, the prompt's embedding with the tokens of every subject, verb and object, masks.",
    reading="All tables join on `clip_id`; all but `outcomes` hold samples only. The split `test` is not trained on.\n"
    "`roles` tells which characters and tokens of `samples.prompt` are whose; a verb's masks are those of both its\n"
    "instances. Masks are COCO run lengths in the size of the video: `{'size': [height, width], 'counts': counts[i]}`.",
)
