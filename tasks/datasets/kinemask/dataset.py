"""The dataset as the engine knows it."""

from __future__ import annotations

from schemas.kinemask import SHARD_TABLES
from tasks.datasets.kinemask.export import MANIFEST, TRACKED
from tasks.datasets.kinemask.report import write_report
from tasks.datasets.kinemask.statistics import headline, statistics
from tasks.datasets.kinemask.story import STORY
from tasks.datasets.kinemask.tables import row_tables
from tasks.datasets.kinemask.trainer_export import KINEMASK_TRAINER
from tasks.engine.dataset import Dataset
from tasks.exports.webdataset import webdataset
from tasks.exports.youtube_vis import youtube_vis

KINEMASK = Dataset(
    name="kinemask",
    shard_tables=SHARD_TABLES,
    main_table="clips",
    row_tables=row_tables,
    statistics=statistics,
    headline=headline,
    story=STORY,
    write_report=write_report,
    layouts={
        "manifest": MANIFEST,
        "kinemask": KINEMASK_TRAINER,
        "youtube-vis": youtube_vis(TRACKED),
        "webdataset": webdataset(TRACKED),
    },
    split_of=lambda seed: seed.split,
    about="Rigid bodies that are pushed across textured floors and what they hit: rendered clips with exact masks\n"
    "and velocities of every object in every frame, simulated with Triptych after KineMask (sections 3.2, 3.3, 4.1).",
    reading="All tables join on `clip_id`; all but `outcomes` and `draws` hold accepted clips only. `outcomes` has a\n"
    "row for every seed, `draws` one for every draw that was no clip of its set.\n"
    "World axes in metres: x to the right of the image, y away from the camera, z up. Frame f shows the time f / fps.\n"
    "Masks are COCO run lengths: `{'size': [height, width], 'counts': counts[frame]}` for pycocotools. The velocity\n"
    "mask (frames, height, width, 3), in m/s along x, y, z, carries `velocity[frame]` in the mask of each object that\n"
    "is `controlled`, and zero elsewhere: `velocity_masks_of` of tasks/media/velocity_masks.py rebuilds it.",
)
