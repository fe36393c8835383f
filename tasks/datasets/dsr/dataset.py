"""The dataset as the engine knows it."""

from __future__ import annotations

from schemas.dsr import SHARD_TABLES, WHOLE_TABLES, PairRow
from tasks.datasets.dsr.export import PAIRS, TRACKED
from tasks.datasets.dsr.report import write_report
from tasks.datasets.dsr.statistics import headline, statistics
from tasks.datasets.dsr.story import STORY
from tasks.datasets.dsr.tables import row_tables
from tasks.datasets.dsr.trainer_export import SPATIALALIGN
from tasks.engine.dataset import Dataset
from tasks.exports.webdataset import webdataset
from tasks.exports.youtube_vis import youtube_vis

DSR = Dataset(
    name="dsr",
    shard_tables=SHARD_TABLES,
    whole_tables=WHOLE_TABLES,
    main_table="samples",
    row_tables=row_tables,
    statistics=statistics,
    headline=headline,
    story=STORY,
    write_report=write_report,
    layouts={
        "pairs": PAIRS,
        "spatialalign": SPATIALALIGN,
        "youtube-vis": youtube_vis(TRACKED),
        "webdataset": webdataset(TRACKED),
    },
    split_of=lambda row: "train" if isinstance(row, PairRow) else row.split,
    about="Prompts in which an animal changes its place relative to a thing, videos generated for them, how well each\n"
    "video shows the change (DSR-Score), and winner and loser pairs for DPO: curated with Triptych after SpatialAlign\n"
    "(sections 3.2, 3.3, A1).",
    reading="`samples`, `videos` and `tracks` hold valid samples only and join on `clip_id`; `pairs` names two of\n"
    "them, both of the training split. `outcomes` has a row for every sample, and every prompt that gave none:\n"
    "`rejected` is an invalid one, which counts as incorrect in Correctness@tau; `failed` was not judged.\n"
    "`dsr_score` is of the formula that `score` names. `official`, the default, is what the authors' code computes,\n"
    "in [0, 1]; the paper's text does not halve the gaps: `paper`, in [-0.25, 1.25]. `r_*` and `g_*` are the same in\n"
    "both: 0.125 (r_initial + r_final + k (g_initial + g_final)) + 0.5 with k = 0.5 or 1.\n"
    "Masks are COCO run lengths: `{'size': [height, width], 'counts': counts[frame]}` for pycocotools.",
)
