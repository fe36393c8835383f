"""Class-only proposals by GroundingDINO (MATRIX A.2): groundingdino-py, or transformers' own port.

"man", "ball", "man"  ->  "man . ball ."  ->  a score for each class and box

prompts.py   class names -> captions      detector.py what both libraries share
native.py    groundingdino-py             port.py     transformers
"""

from __future__ import annotations

from pydantic import Field

from schemas.config import StageConfig
from tasks.backends.torch_runtime import Precision


class DinoConfig(StageConfig):
    """Which GroundingDINO proposes boxes, and how. MATRIX gives no thresholds; these are from the authors' demos."""

    checkpoint: str | None = Field(
        None,
        description="Weights: a path, or OWNER/NAME[@REVISION] of the model hub; null: ShilongLiu/GroundingDINO "
        "(groundingdino), IDEA-Research/grounding-dino-base (transformers)",
    )
    architecture: str = Field(
        "swin_t",
        description="groundingdino: swin_t, swin_b, or a JSON file of settings that differ from swin_t's. "
        "transformers reads it from the checkpoint",
    )
    text_encoder: str = Field(
        "google-bert/bert-base-uncased",
        description="groundingdino: BERT and its tokenizer, a folder or a repository. transformers has it in the "
        "checkpoint",
    )
    box_threshold: float = Field(0.25, ge=0, le=1, description="Lowest class score of a proposal")
    nms_iou: float = Field(
        0.8, gt=0, le=1, description="Of two boxes of a class that overlap more, only the better is kept; 1 keeps all"
    )
    short_side_px: int = Field(800, ge=32, description="Shorter side to which frames are scaled, as in training ...")
    long_side_px: int = Field(1333, ge=32, description="... unless the longer side would exceed this")
    precision: Precision = Field("float32", description="bfloat16 is faster, and moves boxes by a pixel or two")
    batch_frames: int = Field(
        4,
        ge=1,
        description="Frames per forward pass: several on a GPU, 1 is fastest on a CPU; enters no key, as boxes differ "
        "only by rounding",
    )
