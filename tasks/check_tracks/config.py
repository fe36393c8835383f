"""What a mask track must satisfy: a threshold a measure."""

from __future__ import annotations

from pydantic import Field

from schemas.config import StageConfig


class CheckConfig(StageConfig):
    """What a mask track must satisfy."""

    min_presence: float = Field(
        0.3, gt=0, le=1, description="Share of the clip's frames that hold a mask; a track without any never passes"
    )
    max_gap: float = Field(0.5, ge=0, le=1, description="Longest run of empty frames between two masks, as a share")
    min_area: float = Field(0.0003, ge=0, le=1, description="Median mask area, as a share of the frame")
    max_area: float = Field(0.8, gt=0, le=1, description="Median mask area, as a share of the frame")
    max_swell: float = Field(
        0.2, ge=0, le=1, description="Share of masks over `swell_ratio` times the median area: drift into the ground"
    )
    swell_ratio: float = Field(3.0, gt=1, description="From how many median areas on a mask counts as swollen")
    max_leaps: float = Field(
        0.1, ge=0, le=1, description="Share of steps in which the box's centre leaps over `leap_distance`: drift"
    )
    leap_distance: float = Field(
        0.25, gt=0, description="A leap, as a share of the frame's diagonal, from frame to frame"
    )
    max_duplicate_iou: float = Field(
        0.5, gt=0, le=1, description="Mean IoU with a same-class track from which on the worse of both is dropped"
    )
    max_swallowed: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of a mask that a smaller instance's mask takes up, too: a person with what the person holds",
    )
    min_outline: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Share of the outline that lies on edges of the picture, median over the frames looked at; with "
        "less, and without a motion of its own, a mask is a patch of its background",
    )
    min_own_motion: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Share of the frames looked at in which a mask moves otherwise than what is around it, so that it "
        "needs no outline",
    )
    min_likeness: float = Field(
        0.7,
        ge=0,
        le=1,
        description="Likeness of the colours inside the mask to those on the anchor's frame, in all but the worst "
        "fifth of the frames looked at",
    )
    min_return_iou: float = Field(
        0.25,
        ge=0,
        le=1,
        description="IoU with the mask on the anchor's frame, after a second walk back to it from a far frame's box",
    )
    min_confirmed: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of yes among the verifier's answers about the track's box on other frames; 0: it is not "
        "asked",
    )
    n_looks: int = Field(
        8,
        ge=0,
        description="Frames of a clip, evenly sampled, on which its pictures are looked at and the second walk goes (a "
        "walk that fails is repeated over three times as many); 0: measure masks alone",
    )
    n_questions: int = Field(
        2,
        ge=0,
        description="Questions to ground.vlm about each track that is left, each about another frame, until "
        "min_confirmed is decided: a paid VLM gets one more call for a good track, mostly; 0: none",
    )
