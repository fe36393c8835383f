"""The stages of each flow that its shards go through, in order, as its table has them."""

from __future__ import annotations

from flows.curate_dsr import CurateDsr
from flows.curate_kinemask import CurateKinemask
from flows.curate_matrix11k import CurateMatrix11k
from flows.engine.config import CurationConfig


def shard_stages(config_type: type[CurationConfig]) -> list[str]:
    """Those whose rows are the last stage's; `shard_stage_names` of a config that is there."""
    return [step.stage for step in config_type.steps if step.payload is config_type.steps[-1].payload]


MATRIX11K_STAGES = shard_stages(CurateMatrix11k)
KINEMASK_STAGES = shard_stages(CurateKinemask)
DSR_STAGES = shard_stages(CurateDsr)
