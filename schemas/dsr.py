"""The tables of dsr: prompts about changing spatial relationships, generated videos, scores, preference pairs.

prompts/  samples/  videos/  tracks/  pairs/        the dataset: valid samples only
outcomes/  candidates/                              the audit: how it was made

DsrPrompt(prompt_id="LR_3f9c2a71b0de", animal="fox", object="stump", initial="right", final="left", ...)
DsrSample(clip_id="clip-81b2...", seed=3, ...)      one video of a prompt: the unit of a row
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, model_validator

from schemas.candidate import Box
from schemas.mask_track import MaskTrack
from schemas.outcome import Kind, Outcome, Subject
from schemas.provenance import MadeBy
from schemas.record import Record, StageResult, column, content_hash
from schemas.relation import known_relation, type_code
from schemas.scene import Split
from schemas.tables import CandidateRow, Named, OfClip

Form = Literal["structured", "from_to", "rewritten"]
Role = Literal["animal", "object"]
Reward = Literal["dsr_score", "endpoint", "vlm"]
RelationName = Annotated[str, AfterValidator(known_relation)]

ANIMAL, OBJECT = "id1", "id2"  # instance ids of the two things of a prompt, in every sample
ROLES: dict[str, Role] = {ANIMAL: "animal", OBJECT: "object"}

SCORE_BINS_FROM, SCORE_BIN, N_SCORE_BINS = -0.25, 0.05, 30  # of DsrStatistics: the paper's formula reaches 1.25


class DsrLabels(Record):
    """What a prompt says: an animal changes its place relative to a thing that stays (SpatialAlign 3.1)."""

    scene: str = column("Where it happens, as an opening phrase without its comma: 'In a misty forest clearing'")
    animal: str = column("Base noun of what moves", pattern=r"\S")
    object: str = column("Base noun of what stays", pattern=r"\S")
    verb: str = column("How it moves, third person: 'jumps'", pattern=r"\S")
    initial: RelationName = column("Relation of the animal to the object at first: left, right, top")
    final: RelationName = column("Relation at the end, another one")

    @model_validator(mode="after")
    def _changes(self) -> DsrLabels:
        if self.initial == self.final:
            raise ValueError(f"the relation is {self.initial!r} at first and at the end: nothing changes")
        return self

    @property
    def dsr_type(self) -> str:
        """'LT': left to top."""
        return type_code(self.initial, self.final)


class DsrPrompt(DsrLabels, Subject):
    """A prompt with its labels."""

    schema_version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "source"

    # Part of file names: the authors name videos after it.
    prompt_id: str = column(
        "Derived from the labels, or as the prompts' file names it", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"
    )
    split: Split = column("train or test")
    form: Form = column("How it is worded: two sentences, 'from ... to ...', or rewritten by a language model")
    text: str = column("The prompt as a generator is given it", min_length=1)

    @property
    def row_id(self) -> str:
        return self.prompt_id

    @staticmethod
    def id_of(labels: DsrLabels) -> str:
        """A generated prompt's id."""
        said = labels.model_dump(mode="json", include=set(DsrLabels.model_fields))
        return f"{labels.dsr_type}_{content_hash('dsr-prompt', said, length=12)}"


class DsrSample(DsrPrompt):
    """One video to be generated, or found already generated, for a prompt."""

    schema_version: ClassVar[int] = 1
    kind: ClassVar[Kind] = "clip"

    clip_id: str = column("Derived from the labels, the wording, the seed and given bytes; it never moves")
    seed: int = column("Seed of the generator", ge=0)
    video: str | None = column("Path of the video within the folder of generated ones", default=None)
    video_sha256: str | None = column("SHA-256 of that video", unit="hex", default=None)

    @property
    def row_id(self) -> str:
        return self.clip_id

    @classmethod
    def of(cls, prompt: DsrPrompt, seed: int, video: str | None = None, video_sha256: str | None = None) -> DsrSample:
        said = prompt.model_dump(mode="json", exclude={"prompt_id", "split"})
        clip_id = "clip-" + content_hash("dsr", said, seed, video_sha256, length=16)
        return cls(**prompt.model_dump(), clip_id=clip_id, seed=seed, video=video, video_sha256=video_sha256)

    @property
    def official_name(self) -> str:
        """The authors' file name, with the number of frames left open: '1099_RL_F{n_frames}_seed03.mp4'."""
        return f"{self.prompt_id}_F{{n_frames}}_seed{self.seed:02d}.mp4"


# --- The tables ------------------------------------------------------------------------------


class PromptRow(DsrPrompt):
    """A prompt that videos were asked for, with what became of them."""

    table_name: ClassVar[str | None] = "prompts"

    type: str = column("The change of relation in the authors' letters: 'LT' is left to top")
    seeds: list[int] = column("The seeds that were asked for")
    rewards: list[float | None] = column(
        "One a seed: the reward that pairs are made with; null where invalid or failed"
    )
    n_pairs: int = column("Pairs of its samples", ge=0)


class SampleRow(DsrSample):
    """A valid sample: its score, and the two curves that it comes from (SpatialAlign 3.2, figure 2b)."""

    table_name: ClassVar[str | None] = "samples"

    type: str = column("The change of relation in the authors' letters: 'LT' is left to top")
    fps: float = column("Frames a second", unit="frames/s", gt=0)
    n_frames: int = column("Frames of the video", ge=1)
    width: int = column("Width", unit="px", ge=1)
    height: int = column("Height", unit="px", ge=1)
    sha256: str = column("SHA-256 of the video", unit="hex")
    score: Literal["official", "paper"] = column("Which formula `dsr_score` is of")
    dsr_score: float = column("DSR-Score; official: 0..1, paper: -0.25..1.25")
    r_initial: float = column("Mean SSR-Score of the initial relation over the first found frames", unit="-1..1")
    r_final: float = column("Mean SSR-Score of the final relation over the last found frames", unit="-1..1")
    g_initial: float = column("Initial relation: SSR-Score of the first found frame minus that of the last")
    g_final: float = column("Final relation: SSR-Score of the last found frame minus that of the first")
    n_found: int = column("Frames in which both things are found", ge=0)
    ssr_initial: list[float | None] = column("One a frame: SSR-Score of the initial relation; null: not both found")
    ssr_final: list[float | None] = column("One a frame: SSR-Score of the final relation; null: not both found")
    initial_yes: bool = column("Answer to: is the animal initially in the initial relation to the object?")
    final_yes: bool = column("Answer to: is the animal finally in the final relation to the object?")
    drawn: str | None = column("What an embedded generator drew on purpose; null: a generator that cannot say")
    true_score: float | None = column("The score of the boxes that it drew, by the same formula", default=None)
    box_iou: float | None = column("Mean IoU of the tracked boxes with those that it drew", unit="0..1", default=None)
    made_by: list[MadeBy] = column("Backend and model of every stage")


class VideoRow(OfClip):
    """A sample's video: in a table of its own, so that the others are read without it."""

    table_name: ClassVar[str | None] = "videos"

    sha256: str = column("SHA-256 of the video", unit="hex")
    video: bytes = column("The video file: H.264 in MP4 unless it was given")


class TrackRow(MaskTrack, OfClip):
    """Masks and boxes of the animal or the object of a valid sample."""

    table_name: ClassVar[str | None] = "tracks"

    role: Role = column("animal or object")


class PairRow(Record):
    """A winner and a loser of one prompt (SpatialAlign 3.3): a row of DPO training data."""

    table_name: ClassVar[str | None] = "pairs"

    pair_id: str = column("Derived from both samples; it never moves")
    prompt_id: str = column("Their prompt")
    text: str = column("The prompt as the generator was given it")
    type: str = column("The change of relation in the authors' letters")
    reward: Reward = column("What the rewards are: the DSR-Score, its endpoints only, or a VLM's answers")
    winner_id: str = column("clip_id of the better one")
    loser_id: str = column("clip_id of the worse one")
    winner_seed: int = column("Seed of the better one", ge=0)
    loser_seed: int = column("Seed of the worse one", ge=0)
    winner_reward: float = column("Reward of the better one")
    loser_reward: float = column("Reward of the worse one")


class SampleOutcomeRow(Outcome):
    """What became of a prompt that gave no sample, a given file that is no prompt's, or a sample."""

    table_name: ClassVar[str | None] = "outcomes"

    prompt_id: str | None = column("The prompt; null for what belongs to none", default=None)
    split: str | None = column("train or test", default=None)
    type: str | None = column("The change of relation in the authors' letters", default=None)
    seed: int | None = column("Seed of the generator", ge=0, default=None)
    drawn: str | None = column("What an embedded generator drew on purpose", default=None)


class CorrectnessCurve(Record):
    """Share of judged samples whose score reaches a threshold (SpatialAlign A1.1). Invalid samples reach none."""

    name: str = column("Whose: 'test', 'test/LT', ...")
    n_judged: int = column("Valid and invalid samples; those that failed were not judged", ge=0)
    n_valid: int = column("Valid samples", ge=0)
    correctness: list[float] = column("One a threshold of `taus`", unit="0..1")


class DsrStatistics(Record):
    """What the samples are like."""

    prompts: list[Named] = column("Prompts of each split and type: 'train/LT'")
    samples: list[Named] = column("Valid samples of each split and type")
    invalid: list[Named] = column("Invalid samples by stage and reason")
    taus: list[float] = column("Thresholds of the curves")
    curves: list[CorrectnessCurve] = column("Correctness@tau of each split, and of each type within it")
    scores: list[int] = column("Valid samples by score: -0.25 to -0.2, -0.2 to -0.15, ..., 1.2 to 1.25")
    animals: list[Named] = column("Valid samples by animal")
    objects: list[Named] = column("Valid samples by object")
    drawn: list[Named] = column("Valid samples by what was drawn on purpose")
    n_pairs: int = column("Preference pairs", ge=0)
    n_paired_prompts: int = column("Prompts that have a pair", ge=0)


SHARD_TABLES: dict[str, type[Record]] = {
    "samples": SampleRow,
    "videos": VideoRow,
    "tracks": TrackRow,
    "outcomes": SampleOutcomeRow,
    "candidates": CandidateRow,
}
WHOLE_TABLES: dict[str, type[Record]] = {"prompts": PromptRow, "pairs": PairRow}  # one file, written at publishing


class TrueBoxes(Record):
    """Where an embedded generator drew a thing."""

    instance_id: str = column("Which")
    box_xyxy: list[Box | None] = column("One a frame: right and bottom exclusive; null where hidden", unit="px")


class Rewritten(StageResult):
    """A prompt in other words."""

    schema_version: ClassVar[int] = 1
    stage_name: ClassVar[str] = "rewrite_prompts"

    text: str = column("The prompt as a generator is given it", min_length=1)
    made_by: list[MadeBy] = column("The rewriter")
