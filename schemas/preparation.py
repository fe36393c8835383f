"""The results of the stages that prepare matrix11k's clips: roles in the prompt, a clip in a model's size.

PlacedRoles(prompt="A boy kicks a red ball.", roles=[PlacedRole("id1", "subject", spans=[(2, 5)]), ...])
FittedClip(video=b"...", source_frames=[0, 3, 6, ...], tracks=[...], id_map=b"...")
"""

from __future__ import annotations

from typing import ClassVar

from schemas.candidate import Box
from schemas.mask_track import MaskTrack
from schemas.provenance import MadeBy
from schemas.record import StageResult, column
from schemas.training_samples import PlacedRole


class PlacedRoles(StageResult):
    """A prompt, and which words of it name what."""

    stage_name: ClassVar[str] = "place_roles"

    prompt: str = column("The text that is encoded")
    roles: list[PlacedRole] = column("Instances in the order of their ids, then the verbs")
    made_by: list[MadeBy] = column("What read the caption")


class FittedClip(StageResult):
    """A clip in the frames and the size that a model takes."""

    stage_name: ClassVar[str] = "fit_clips"

    video: bytes = column("H.264 in MP4, exactly the sample's frames")
    video_sha256: str = column("SHA-256 of the video", unit="hex")
    psnr_db: float = column("How close the stored frames are to the fitted ones", unit="dB", ge=0)
    fps: float = column("Frames a second", unit="frames/s", gt=0)
    n_frames: int = column("Frames", ge=1)
    width: int = column("Width", unit="px", ge=1)
    height: int = column("Height", unit="px", ge=1)
    source_frames: list[int] = column("One a frame: the frame of the clip that it is")
    source_box_xyxy: Box = column("The part of the clip's picture that is shown", unit="px")
    tracks: list[MaskTrack] = column("The instances' masks in the sample's frames and size; none where masks are not")
    id_map: bytes | None = column("The ID map of the first frame, PNG; null without masks", default=None)
    made_by: list[MadeBy] = column("What fitted it")
