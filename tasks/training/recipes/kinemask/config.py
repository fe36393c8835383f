"""What a KineMask training is made from: the paper's numbers are the defaults, and each says where it stands.

    KinemaskTraining()                         the paper's model: both stages, interactions, captions, v_t
    variant("uniform_dropout")                 a row of the paper's tables, by name
    variant("wan", seed=1)                     the same with another setting

Line numbers in brackets are of the paper's sections: 3.2 stages, 4.1 setup, A.2 hyperparameters, A.3 ablations.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from schemas.config import StageConfig
from tasks.datasets.kinemask.condition_clips import ConditioningConfig
from tasks.media.velocity_masks import V_MAX_MPS, Encoding
from tasks.training.optimisation import Optimisation
from tasks.training.validation import ValidationConfig

MODELS = {"cogvideox": "THUDM/CogVideoX-5b-I2V", "wan": "Wan-AI/Wan2.2-TI2V-5B-Diffusers"}
LATENT_PX = {"cogvideox": 8, "wan": 16}  # edge of a latent's pixel in the video; tokens are 2 x 2 of them


class ControlConfig(StageConfig):
    """The ControlNet."""

    n_layers: int = Field(8, ge=1, description="First layers of the backbone that it controls (4.1, A.2)")
    downscale: int = Field(
        8, ge=1, description="Downscaling of masks to the size of latents (A.2); Wan2.2-TI2V-5B's need 16"
    )
    weight: float = Field(0.5, gt=0, description="Of what it adds to a layer (4.1, A.2)")
    encoded_channels: int = Field(
        32, ge=2, multiple_of=2, description="Channels of the encoded mask; not stated, as Force Prompting has it"
    )
    v_max_mps: float = Field(
        V_MAX_MPS, gt=0, description="The speed that is 1 to the network; not stated, ours: the data's fastest (A.2)"
    )


class KinemaskTraining(StageConfig):
    """A training of KineMask's ControlNet on a frozen image-to-video model."""

    backbone: Literal["cogvideox", "wan"] = Field(
        "cogvideox", description="cogvideox: CogVideoX-5B-I2V (4.1); wan: Wan2.2-TI2V-5B (table 4)"
    )
    model: str | None = Field(None, description="Its weights: a folder or OWNER/NAME[@REVISION]; null: the paper's")
    stages: Literal["both", "first", "second"] = Field(
        "both",
        description="both: all masks, then fine-tuned with mask dropout (3.2); first: the upper bound of table 1, "
        "evaluated with all masks; second: dropout from the start, the ablation of table 1",
    )
    set: Literal["interactions", "simple_motion"] = Field(
        "interactions", description="Training clips (4.1); simple_motion: tables 1 and 2"
    )
    prompt: Literal["caption", "constant"] = Field(
        "caption", description="caption: the clip's c; constant: c_0, 'An object moving on a surface' (tables 1 to 3)"
    )
    encoding: Encoding = Field("v_t", description="v_t: velocity of each frame; v_0: the first frame's (table 5a)")
    dropout: ConditioningConfig = Field(
        ConditioningConfig(), description="Mask dropout of the second stage; uniform: the ablation of table 5b"
    )
    control: ControlConfig = ControlConfig()
    # The paper has 1,000 steps, batch 40, checkpoints every 250, bf16, AdamW 1e-4 (0.9, 0.95), clipping at 1.0 and a
    # "cosine-with-restart" schedule (A.2). It does not say whether 1,000 steps are one stage or both, how many restarts
    # there are, whether there is a warm-up, or the weight decay: a stage, one, none and torch's are ours.
    first: Optimisation = Field(
        Optimisation(n_steps=1000, batch_size=40, betas=(0.9, 0.95), schedule="cosine_with_restarts"),
        description="Of the first stage (A.2)",
    )
    second: Optimisation = Field(
        Optimisation(n_steps=1000, batch_size=40, betas=(0.9, 0.95), schedule="cosine_with_restarts"),
        description="Of the second stage (A.2)",
    )
    n_frames: int = Field(49, ge=5, description="Frames of a video (4.1): 4k + 1")
    width: int = Field(720, ge=16, description="Width in px: CogVideoX's own; a multiple of 16, for wan of 32")
    height: int = Field(480, ge=16, description="Height in px: CogVideoX's own; a multiple of 16, for wan of 32")
    flow_shift: float = Field(
        5.0, gt=0, description="wan: shift of the training's timesteps towards high noise; not stated, its scheduler's"
    )
    validation: ValidationConfig = ValidationConfig()
    seed: int = Field(0, ge=0, description="Of noise, timesteps and mask dropout")

    @model_validator(mode="after")
    def _size_fits(self) -> KinemaskTraining:
        if self.n_frames % 4 != 1:
            raise ValueError(f"n_frames is {self.n_frames}; the models make 4k + 1, such as 45 or 49")
        shrunk = LATENT_PX[self.backbone]
        if self.control.downscale != shrunk:
            raise ValueError(f"control.downscale is {self.control.downscale}; latents of {self.backbone} need {shrunk}")
        if self.width % (2 * shrunk) or self.height % (2 * shrunk):
            raise ValueError(f"{self.width}x{self.height}; {self.backbone} needs multiples of {2 * shrunk}")
        return self

    @property
    def weights(self) -> str:
        """The backbone's weights: a folder or OWNER/NAME[@REVISION]."""
        return self.model or MODELS[self.backbone]


# Settings of the paper's rows, beside the defaults. Table 1 and 2 train with c_0 (4.3.1, 4.3.2), table 5 with c: its
# non-uniform row is table 3's last.
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "simple_motion": {"set": "simple_motion", "prompt": "constant"},  # table 1 "ours", table 2
    "second_stage_only": {"set": "simple_motion", "prompt": "constant", "stages": "second"},  # table 1
    "first_stage_only": {"set": "simple_motion", "prompt": "constant", "stages": "first"},  # table 1
    "constant_prompt": {"prompt": "constant"},  # tables 2 and 3
    # Table 4: its CogVideoX row is table 3's with c_0. Size not stated; 720 px are no multiple of 32.
    "wan": {"prompt": "constant", "backbone": "wan", "width": 704, "control": {"downscale": 16}},
    "v_0": {"encoding": "v_0"},  # table 5a
    "uniform_dropout": {"dropout": {"sampling": "uniform"}},  # table 5b
}


def variant(name: str, **changes: Any) -> KinemaskTraining:
    """A named row of the paper's tables. Raises ValueError for a name that is not in VARIANTS."""
    if name not in VARIANTS:
        raise ValueError(f"no variant {name!r}; there are {', '.join(VARIANTS)}")
    return KinemaskTraining(**VARIANTS[name] | changes)
