"""The dataset as the engine knows it."""

from __future__ import annotations

from schemas.matrix11k import SHARD_TABLES, WHOLE_TABLES
from tasks.datasets.matrix11k.export import TRACKED, with_inputs
from tasks.datasets.matrix11k.report import write_report
from tasks.datasets.matrix11k.statistics import headline, statistics
from tasks.datasets.matrix11k.story import STORY
from tasks.datasets.matrix11k.tables import row_tables
from tasks.datasets.matrix11k.trainer_export import MATRIX
from tasks.engine.dataset import Dataset
from tasks.exports.webdataset import webdataset
from tasks.exports.youtube_vis import youtube_vis

MATRIX11K = Dataset(
    name="matrix11k",
    shard_tables=SHARD_TABLES,
    whole_tables=WHOLE_TABLES,
    main_table="clips",
    row_tables=row_tables,
    statistics=statistics,
    headline=headline,
    story=STORY,
    write_report=write_report,
    layouts={
        "matrix": with_inputs(MATRIX),
        "youtube-vis": with_inputs(youtube_vis(TRACKED)),
        "webdataset": with_inputs(webdataset(TRACKED)),
    },
    about="Who does what to whom, and where, in every frame: interaction triplets, described instances and\n"
    "one mask track an instance, curated with Triptych after MATRIX (section 3, appendix A).",
    reading="`clips`, `interactions`, `instances` and `mask_tracks` hold accepted clips only and join on `clip_id`.\n"
    "The other tables tell how the dataset came about; `outcomes` has one row for every input.\n"
    "Masks are COCO run lengths: `{'size': [height, width], 'counts': counts[frame]}` for pycocotools.",
)
