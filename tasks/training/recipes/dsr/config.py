"""What a DSR training is made from: SpatialAlign's numbers are the defaults, and each says where it stands.

    DsrTraining()                     the paper's: DPO, zeroth-order regularisation, threshold 0.7
    variant("sft_regulariser")        an alternative of the paper's ablations, by name
    variant("tau_0.8", seed=1)        the same with another setting

[code] is the authors' train.py and run_train.sh (github.com/fengming001ntu/SpatialAlign), where the paper says nothing.
Which samples become winner and loser is `pairs`, the PairConfig of tasks/datasets/dsr/pairs.py, which makes the rows
that training reads; nothing here asks for rewards. "Table 4" is the paper's ablations, which its text calls table 3.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from schemas.config import StageConfig
from tasks.datasets.dsr.pairs import PairConfig
from tasks.training.optimisation import Optimisation
from tasks.training.validation import ValidationConfig


class LoraConfig(StageConfig):
    """The trained weights."""

    rank: int = Field(16, ge=1, description="Rank (4.1)")
    alpha: float = Field(16, gt=0, description="Scale: alpha / rank; not in the paper [code]")
    target: str = Field(
        r"condition_embedder\.text_embedder\.linear_[12]|blocks\.\d+\.attn2\.to_[kv]",
        description="Layers, as a regular expression of whole names in diffusers' WanTransformer3DModel: the text's "
        "projection, and keys and values of every cross-attention (4.1)",
    )


class LossConfig(StageConfig):
    """What is minimised."""

    objective: Literal["dpo", "sft"] = Field(
        "dpo",
        description="dpo: winners before losers (eq. 1); sft: the denoising loss of a prompt's best samples (table 4a)",
    )
    beta: float = Field(1.0, gt=0, description="Steepness of the preference (4.1)")
    max_margin: float | None = Field(
        5.0,
        gt=0,
        description="The margin is clipped to so much either way [code]; beyond it DPO has no gradient. null: never",
    )
    regulariser: Literal["zeroth_order", "sft", "none"] = Field(
        "zeroth_order",
        description="zeroth_order: stay near the reference's predictions (eq. 5); sft: denoise both videos (eq. 4, "
        "table 4a); none: DPO alone (figure A7)",
    )
    regulariser_weight: float = Field(
        0.25,
        ge=0,
        description="Of the sum over winner and loser: lambda_ZO (4.1); [code] has 0.5 times half the sum. The weight "
        "of eq. 4 is not stated; the same is ours",
    )
    n_sft_samples: int = Field(2, ge=1, description="sft: samples of a prompt, the best by reward (table 4a: top-2)")


class WanValidation(ValidationConfig):
    """Of what videos are made, and how."""

    guidance: float = Field(5.0, ge=1, description="Scale of classifier-free guidance; 1: none. diffusers' for Wan")


class DsrTraining(StageConfig):
    """A training of SpatialAlign's LoRA on a text-to-video model."""

    model: str = Field(
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", description="A WanPipeline (4.1): a folder or OWNER/NAME[@REVISION]"
    )
    lora: LoraConfig = LoraConfig()
    loss: LossConfig = LossConfig()
    pairs: PairConfig = Field(
        PairConfig(), description="How winners and losers are chosen: reward, rule and threshold (table 4a to 4c)"
    )
    flow_shift: float = Field(
        5.0,
        gt=0,
        description="Shift of the training's timesteps towards high noise; not in the paper. The authors train with "
        "DiffSynth-Studio's WanVideoPipeline (bf81de0, their README), whose scheduler has 5",
    )
    # 4.1: AdamW 1e-4, batch 48, 2,400 steps. [code]: bf16; warm-up of 300 steps, then a cosine that would reach zero at
    # 3,000; a checkpoint every 100; torch's own betas and weight decay; gradients are not clipped.
    optimisation: Optimisation = Optimisation(
        n_steps=2400,
        batch_size=48,
        n_warmup_steps=300,
        n_schedule_steps=3000,
        max_grad_norm=None,
        checkpoint_every=100,
    )
    n_frames: int = Field(81, ge=5, description="Frames of a video (4.1): 4k + 1")
    width: int = Field(832, ge=16, multiple_of=16, description="Width in px (4.1)")
    height: int = Field(480, ge=16, multiple_of=16, description="Height in px (4.1)")
    validation: WanValidation = WanValidation()
    seed: int = Field(0, ge=0, description="Of noise and timesteps")


# The paper's ablations, which it trains for 800 steps; here with the steps of the paper's model unless changed.
# The thresholds of other rewards than the DSR-Score are not stated: 0.7 as well.
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "dpo_only": {"loss": {"regulariser": "none"}},  # figures 3 and A7
    "sft_top2": {"loss": {"objective": "sft"}},  # table 4a
    "no_threshold": {"pairs": {"rule": "ranked"}},  # table 4a
    "sft_regulariser": {"loss": {"regulariser": "sft"}},  # table 4a
    "vlm_reward": {"pairs": {"reward": "vlm"}},  # table 4b; which VLM judges is the snapshot's
    "endpoint_reward": {"pairs": {"reward": "endpoint"}},  # table 4b
    "tau_0.6": {"pairs": {"tau": 0.6}},  # table 4c
    "tau_0.8": {"pairs": {"tau": 0.8}},  # table 4c
}


def variant(name: str, **changes: Any) -> DsrTraining:
    """A named alternative of the paper. Raises ValueError for a name that is not in VARIANTS."""
    if name not in VARIANTS:
        raise ValueError(f"no variant {name!r}; there are {', '.join(VARIANTS)}")
    return DsrTraining(**VARIANTS[name] | changes)
