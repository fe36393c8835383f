"""The dataset as the engine knows it."""

from __future__ import annotations

from schemas.kinemask import SHARD_TABLES
from tasks.datasets.kinemask.statistics import statistics
from tasks.datasets.kinemask.tables import CLIP_STAGES, clip_tables
from tasks.engine.dataset import Dataset

KINEMASK = Dataset(
    flow="curate-kinemask",
    clip_stages=CLIP_STAGES,
    shard_tables=SHARD_TABLES,
    main_table="clips",
    clip_tables=clip_tables,
    statistics=statistics,
    about="Rigid bodies that are pushed across textured floors and what they hit: rendered clips with exact masks\n"
    "and velocities of every object in every frame, simulated with Triptych after KineMask (sections 3.2, 3.3, 4.1).",
    reading="All tables join on `clip_id`; all but `outcomes` and `draws` hold accepted clips only. `outcomes` has a\n"
    "row for every seed, `draws` one for every draw that was no clip of its set.\n"
    "World axes in metres: x to the right of the image, y away from the camera, z up. Frame f shows the time f / fps.\n"
    "Masks are COCO run lengths: `{'size': [height, width], 'counts': counts[frame]}` for pycocotools. The velocity\n"
    "mask (frames, height, width, 3), in m/s along x, y, z, carries `velocity[frame]` in the mask of each object that\n"
    "is `controlled`, and zero elsewhere: `velocity_masks_of` of tasks/media/velocity_masks.py rebuilds it.",
)
