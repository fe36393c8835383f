"""What a MATRIX training is made from: the paper's numbers are the defaults, and each says where it stands.

    MatrixTraining()                     the paper's: LoRA on blocks 7, 11, 12; SGA on 7 and 11, SPA on 12
    variant("spa_only")                  a row of the paper's table 2, by name
    variant("official", seed=1)          the settings of the authors' code, on this network

Blocks are counted from 0, as diffusers and the authors' analysis do; the paper does not say. [code] is the authors'
training (github.com/cvlab-kaist/MATRIX, 5926282), which is another experiment: Wan2.1-I2V-14B, flow matching, 480x832.
Its choices are here, its network is not: CogVideoX-5B-I2V takes no other size than 480x720, and the code's weighting of
the alignment losses by timestep belongs to flow matching.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from schemas.config import StageConfig
from tasks.metrics.attention_alignment import LatentRule
from tasks.training.optimisation import Optimisation
from tasks.training.validation import ValidationConfig

Blocks = tuple[Annotated[int, Field(ge=0)], ...]


def _whole(value: Any) -> Any:
    """An option's text as the number that a Literal wants."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class LoraConfig(StageConfig):
    """The trained weights of the transformer's blocks."""

    rank: int = Field(128, ge=1, description="Rank (C.2)")
    alpha: float = Field(64, gt=0, description="Scale: alpha / rank (C.2)")
    blocks: Blocks | None = Field(
        (7, 11, 12),
        description="Blocks whose query, key, value and output projections it adapts (C.1), counted from 0; null: all, "
        "without layer selection (table 2)",
    )


class MaskLossConfig(StageConfig):
    """l(X, Y) of MATRIX 5, between a decoded map and a mask. The paper publishes no weight: all are ours."""

    bce: float = Field(1.0, ge=0, description="Weight of binary cross-entropy; not in the paper")
    dice: float = Field(1.0, ge=0, description="Weight of 1 - Dice; not in the paper. The code has no Dice: 0")
    l2: float = Field(
        1.0,
        ge=0,
        description="Weight of the squared difference; not in the paper. Its mean over pixels: the sum that is printed "
        "would be 17 million times as much. The code has none: 0",
    )
    max_pos_weight: float | None = Field(
        None,
        ge=1,
        description="Pixels inside masks count as much as those outside, but at most this often, in the cross-entropy; "
        "10 in the code. null: all pixels count the same",
    )


class AlignmentConfig(StageConfig):
    """SGA and SPA (MATRIX 5, C.1)."""

    sga_blocks: Blocks = Field((7, 11), description="Blocks of SGA, video-to-text (C.1); none: no SGA (table 2)")
    spa_blocks: Blocks = Field((12,), description="Blocks of SPA, video-to-video (C.1); none: no SPA (table 2)")
    sga_weight: float = Field(0.01, ge=0, description="lambda of SGA; not in the paper, so that of the code")
    spa_weight: float = Field(0.005, ge=0, description="lambda of SPA; not in the paper, so that of the code")
    measure: Literal["scores", "softmax"] = Field(
        "scores",
        description="What the decoders read. scores: query-key products (C.1); softmax: attention in [0, 1] (5), times "
        "the number of tokens, so that even attention is 1. The paper says both",
    )
    heads: Literal["mean", "sum"] = Field("mean", description="How heads are put together for the decoders (C.1: mean)")
    words: Literal["noun_and_modifiers", "id"] = Field(
        "noun_and_modifiers",
        description="Prompt tokens of an instance: its words (4.2), or a literal <id1> to <id5> that is written into "
        "the prompt [code]. Read where samples are made",
    )
    verbs: bool = Field(True, description="SGA of verbs with the union of subject and object (5); false in the code")
    over_roles: Literal["sum", "mean"] = Field(
        "sum", description="Losses of a sample's roles are added up (5), or their mean is taken [code]"
    )
    mask_stride_px: Annotated[Literal[1, 2, 4, 8, 16], BeforeValidator(_whole)] = Field(
        1, description="Masks are compared at every so many pixels: 1 is the video's own resolution (5), 8 in the code"
    )
    query_rule: LatentRule = Field(
        "any",
        description="First-frame tokens from which SPA starts: half of the token's pixels are in the mask, or any. The "
        "paper does not say; any, so that small instances have one",
    )
    decoder_channels: int = Field(
        16,
        ge=4,
        multiple_of=4,
        description='Channels of the "lightweight" decoders (C.1), halved near full resolution; ours',
    )
    loss: MaskLossConfig = MaskLossConfig()


class AttentionConfig(StageConfig):
    """Where attention is looked at in validations. The same for all rows of table 2, so that they can be compared."""

    v2t_blocks: Blocks = Field((7, 11), description="Blocks whose grounding is measured (C.1); none: no grounding")
    v2v_blocks: Blocks = Field((12,), description="Blocks whose propagation is measured (C.1); none: no propagation")
    timesteps: tuple[Annotated[int, Field(ge=0, lt=1000)], ...] = Field(
        (200, 400, 600, 800),
        min_length=1,
        description="Noise that is added to the kept-out clips. Ours: the paper takes all 50 steps of generated videos",
    )


class MatrixTraining(StageConfig):
    """A training of MATRIX on a CogVideoX image-to-video model."""

    model: str = Field(
        "THUDM/CogVideoX-5b-I2V", description="Its weights (5): a folder or OWNER/NAME[@REVISION]; not CogVideoX 1.5"
    )
    lora: LoraConfig = LoraConfig()
    alignment: AlignmentConfig = AlignmentConfig()
    # C.2: AdamW, cosine decay, about 4,000 steps, 32 hours on one A6000. Learning rate, batch, betas, weight decay and
    # clipping are not in the paper. 29 s a step fit one clip; 1e-4 is what CogVideoX's own LoRA training has.
    optimisation: Optimisation = Optimisation(n_steps=4000, batch_size=1, learning_rate=1e-4)
    n_frames: int = Field(49, ge=5, description="Frames of a video (C.2): 4k + 1")
    width: int = Field(720, ge=16, multiple_of=16, description="Width in px (C.2)")
    height: int = Field(480, ge=16, multiple_of=16, description="Height in px (C.2)")
    gradient_checkpointing: bool = Field(
        True, description="Blocks are run again in the backward pass: less memory, more time, the same gradients"
    )
    validation: ValidationConfig = ValidationConfig()
    attention: AttentionConfig = AttentionConfig()
    seed: int = Field(0, ge=0, description="Of noise, timesteps and new weights")


_UNALIGNED: dict[str, Any] = {"sga_blocks": (), "spa_blocks": ()}

# Rows III to VII of table 2; I is the model as it is, II another method. All rows see the ID map and train the input
# projection; rows IV to VII adapt the same blocks.
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},  # VII: selection, SGA and SPA
    "no_layer_selection": {"lora": {"blocks": None}, "alignment": _UNALIGNED},  # III
    "selection_only": {"alignment": _UNALIGNED},  # IV
    "spa_only": {"alignment": {"sga_blocks": ()}},  # V
    "sga_only": {"alignment": {"spa_blocks": ()}},  # VI
    "official": {
        # The code adapts cross-attention in 20 and 24 and self-attention in 6 and 8; here both are one attention.
        # DiffSynth-Studio, which it trains with, has alpha = rank and a constant learning rate; 5 epochs of 11,000.
        "lora": {"rank": 16, "alpha": 16, "blocks": (6, 8, 20, 24)},
        "alignment": {
            "sga_blocks": (20, 24),
            "spa_blocks": (6, 8),
            "words": "id",
            "verbs": False,
            "over_roles": "mean",
            "mask_stride_px": 8,
            "loss": {"dice": 0, "l2": 0, "max_pos_weight": 10},
        },
        "attention": {"v2t_blocks": (20, 24), "v2v_blocks": (6, 8)},
        "optimisation": {"n_steps": 55_000, "batch_size": 1, "learning_rate": 1e-5, "schedule": "constant"},
    },
}


def variant(name: str, **changes: Any) -> MatrixTraining:
    """A named row of table 2, or the authors' code. Raises ValueError for a name that is not in VARIANTS."""
    if name not in VARIANTS:
        raise ValueError(f"no variant {name!r}; there are {', '.join(VARIANTS)}")
    return MatrixTraining(**VARIANTS[name] | changes)
