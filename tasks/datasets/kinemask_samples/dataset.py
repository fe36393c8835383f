"""The dataset as the engine knows it."""

from __future__ import annotations

from tasks.datasets.kinemask_samples.report import write_report
from tasks.datasets.kinemask_samples.tables import SHARD_TABLES, row_tables
from tasks.datasets.samples.dataset import samples_dataset

KINEMASK_SAMPLES = samples_dataset(
    "kinemask-samples",
    SHARD_TABLES,
    row_tables,
    write_report,
    about="Simulated clips as a video model is trained on them with KineMask (sections 3.1 to 3.3): latents of the\n"
    "video and of its first frame, the prompt's embedding, and every object's masks and motion.",
    reading="All tables join on `clip_id`; all but `outcomes` hold samples only. The split `test` is not trained on.\n"
    "`scenes` tells the set that a sample belongs to and when its objects collide. Velocity masks (frames, height,\n"
    "width, 3), in m/s along x, y, z, are rebuilt from `objects`: tasks/media/velocity_masks.py.",
)
