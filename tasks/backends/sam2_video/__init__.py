"""Mask propagation by SAM2 (MATRIX A.2): the sam2 package, or transformers' own port.

    NativeSam2(Sam2Config(), TorchConfig()).propagate(frames, [Anchor(instance_id="id1", frame=16, box_xyxy=...)])
    ->  {"id1": ["PPYo0...", ...]}     one COCO run length a frame

The network segments each instance from its anchor's box, remembers it, and continues frame by frame, forward and then
backward. All instances advance together: a frame is encoded at most once per direction.

    walk.py       the order of the frames, which memories may be dropped, and whose a contested pixel is
    propagator.py what both libraries share
    native.py     sam2                      port.py   transformers

Source: SAM 2 (Ravi et al., 2024).
"""

from __future__ import annotations

from pydantic import Field

from schemas.config import StageConfig
from tasks.backends.torch_runtime import Precision


class Sam2Config(StageConfig):
    """Which SAM2 propagates masks, and how. MATRIX gives no size or version; the default is the largest of 2.1."""

    architecture: str = Field(
        "hiera_l",
        description="sam2: hiera_t, hiera_s, hiera_b+ or hiera_l of SAM 2.1, or a YAML file like those of the sam2 "
        "package. transformers reads it from the checkpoint",
    )
    checkpoint: str | None = Field(
        None,
        description="Weights: a path, or OWNER/NAME[@REVISION] of the model hub; null: the hub's for this architecture",
    )
    precision: Precision = Field("bfloat16", description="Precision of the forward passes")
    offload_video: bool = Field(False, description="Keep the frames in main memory: less GPU memory, a little slower")
    offload_state: bool = Field(False, description="Keep the memory bank in main memory: less GPU memory, slower")
