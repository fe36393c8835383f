"""dsr's tables: prompts, valid samples with their scores and videos, and the pairs that they make.

64 samples, 41 of them valid -> samples and videos with 41 rows, tracks with 82, outcomes with 64
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from schemas.dsr import (
    N_SCORE_BINS,
    ROLES,
    SCORE_BIN,
    SCORE_BINS_FROM,
    SHARD_TABLES,
    DsrPrompt,
    DsrSample,
    DsrStatistics,
    PairRow,
    PromptRow,
    SampleOutcomeRow,
    SampleRow,
    TrackRow,
    VideoRow,
)
from schemas.generation import Generated
from schemas.grounding import Grounding
from schemas.mask_track import Tracks
from schemas.outcome import Outcome
from schemas.record import Record
from schemas.scores import Answers, Scored
from schemas.snapshot import FunnelStep
from schemas.tables import CandidateRow
from tasks.datasets import Dataset, Ways, funnel_step, made_of, outcome_of, ranked, read_columns
from tasks.measure_correctness import TAUS, curves, rounded
from tasks.stage import Row, Work

CLIP_STAGES = ("generate_samples", "ground_instances", "propagate_masks", "score_dsr", "ask_relations")


# --- The ledger ------------------------------------------------------------------------------


@dataclass(frozen=True)
class PromptLedger:
    """Every prompt (and every given video), the samples that were asked for, and what they were paired into."""

    n_lines: int  # prompts that were given, those that cannot be read among them
    n_videos: int  # files of the folder of given videos
    last_step: str  # the step that prompts leave as samples: plan_samples, or rewrite_prompts if that is done before
    prompts: Sequence[DsrPrompt]
    samples: Sequence[DsrSample]
    line_outcomes: Sequence[Outcome] = ()  # lines that are no prompt
    video_outcomes: Sequence[Outcome] = ()  # files that are no sample
    prompt_outcomes: Sequence[Outcome] = ()  # prompts that gave no sample
    prompt_rows: Sequence[PromptRow] = ()
    pairs: Sequence[PairRow] = ()

    @property
    def n_given(self) -> int:
        return self.n_lines + self.n_videos

    @property
    def clip_ids(self) -> list[str]:
        return [sample.clip_id for sample in self.samples]

    def problems(self) -> list[str]:
        found = []
        if self.n_lines != len(self.prompts) + len(self.line_outcomes):
            found.append(
                f"{self.n_lines} lines, but {len(self.prompts)} prompts and {len(self.line_outcomes)} line outcomes"
            )
        n_used = sum(sample.video is not None for sample in self.samples)
        if self.n_videos != n_used + len(self.video_outcomes):
            found.append(
                f"{self.n_videos} videos, but {n_used} samples have one and {len(self.video_outcomes)} are no sample's"
            )
        sampled = {sample.prompt_id for sample in self.samples} | {o.row_id for o in self.prompt_outcomes}
        if lost := sorted({prompt.prompt_id for prompt in self.prompts} - sampled):
            found.append(f"prompts that ended nowhere: {', '.join(lost[:5])}")
        return found

    def early_outcomes(self) -> list[SampleOutcomeRow]:
        prompts = {prompt.prompt_id: prompt for prompt in self.prompts}
        rows = [SampleOutcomeRow(**o.model_dump()) for o in (*self.line_outcomes, *self.video_outcomes)]
        return rows + [outcome_row(o, prompts[o.row_id]) for o in self.prompt_outcomes]

    def tables(self) -> dict[str, tuple[type[Record], Sequence[Any]]]:
        return {"prompts": (PromptRow, self.prompt_rows), "pairs": (PairRow, self.pairs)}

    def first_steps(self, ways: Ways) -> list[FunnelStep]:
        steps = []
        if self.line_outcomes:
            steps.append(funnel_step(ways, "read_prompts", "lines", self.n_lines))
        if self.n_videos:
            steps.append(funnel_step(ways, "read_samples", "videos", self.n_videos))
        steps.append(funnel_step(ways, self.last_step, "prompts", len(self.prompts), len(self.samples)))
        return steps


# --- A sample's rows -------------------------------------------------------------------------


def clip_tables(work: Work, row: Row[DsrSample]) -> dict[str, list[Record]]:
    """All table rows of one sample, as far as it came."""
    sample = row.payload
    of_clip = {"clip_id": sample.clip_id}
    generated: Generated | None = made_of(work, row, "generate_samples", Generated)
    grounding: Grounding | None = made_of(work, row, "ground_instances", Grounding)
    tracks: Tracks | None = made_of(work, row, "propagate_masks", Tracks)
    scored: Scored | None = made_of(work, row, "score_dsr", Scored)
    answers: Answers | None = made_of(work, row, "ask_relations", Answers)
    outcome = outcome_of(row, CLIP_STAGES[-1])

    tables: dict[str, list[Record]] = {name: [] for name in SHARD_TABLES}
    drawn = generated.drawn if generated else None
    tables["outcomes"].append(outcome_row(outcome, sample, seed=sample.seed, drawn=drawn))
    if grounding:
        tables["candidates"] = [CandidateRow(**of_clip, **c.model_dump()) for c in grounding.candidates]
    if outcome.status == "accepted" and generated and grounding and tracks and scored and answers:
        made_by = generated.made_by + grounding.made_by + tracks.made_by + answers.made_by
        tables["samples"].append(
            SampleRow(
                **sample.model_dump(),
                **generated.model_dump(include={"n_frames", "fps", "width", "height", "drawn"}),
                **scored.model_dump(include=set(Scored.model_fields) & set(SampleRow.model_fields)),
                **answers.model_dump(include={"initial_yes", "final_yes"}),
                type=sample.dsr_type,
                sha256=generated.video_sha256,
                made_by=made_by,
            )
        )
        tables["videos"].append(VideoRow(**of_clip, sha256=generated.video_sha256, video=generated.video))
        tables["tracks"] = [
            TrackRow(**of_clip, **track.model_dump(), role=ROLES[track.instance_id]) for track in tracks.tracks
        ]
    return tables


def outcome_row(outcome: Outcome, prompt: DsrPrompt, **of_sample: Any) -> SampleOutcomeRow:
    """of_sample: what a prompt alone has not"""
    of_prompt = {"prompt_id": prompt.prompt_id, "split": prompt.split, "type": prompt.dsr_type}
    return SampleOutcomeRow(**outcome.model_dump(), **of_prompt, **of_sample)


# --- Statistics ------------------------------------------------------------------------------


def statistics(folder: Path) -> DsrStatistics:
    """What a snapshot's folder holds, counted."""
    prompts = read_columns(folder, "prompts", "split", "type", "n_pairs")
    samples = read_columns(folder, "samples", "clip_id", "split", "type", "animal", "object", "drawn", "dsr_score")
    outcomes = read_columns(folder, "outcomes", "row_id", "kind", "status", "stage", "reason", "split", "type")
    clips = outcomes.filter(pl.col("kind") == "clip")
    rejected = clips.filter(pl.col("status") == "rejected")
    judged = clips.filter(pl.col("status") != "failed").join(
        samples.select(row_id="clip_id", score="dsr_score"), on="row_id", how="left", maintain_order="left"
    )
    return DsrStatistics(
        prompts=ranked(_parts(prompts)),
        samples=ranked(_parts(samples)),
        invalid=ranked([f"{stage}/{reason}" for stage, reason in rejected.select("stage", "reason").iter_rows()]),
        taus=list(TAUS),
        curves=curves(judged["split"].to_list(), judged["type"].to_list(), judged["score"].to_numpy()),
        scores=_bins(samples["dsr_score"].to_numpy()),
        animals=ranked(samples["animal"].to_list()),
        objects=ranked(samples["object"].to_list()),
        drawn=ranked(samples["drawn"].drop_nulls().to_list()),
        n_pairs=int(prompts["n_pairs"].sum()),
        n_paired_prompts=int((prompts["n_pairs"] > 0).sum()),
    )


def _parts(rows: pl.DataFrame) -> list[str]:
    """'train/LT' of each row."""
    return [f"{split}/{code}" for split, code in rows.select("split", "type").iter_rows()]


def _bins(scores: np.ndarray) -> list[int]:
    """How many scores lie in each bin; the topmost bin holds its upper edge as well."""
    # 0.7 is a bin's lower edge, and (0.7 + 0.25) / 0.05 is a little less than 19 in floats.
    places = np.floor(rounded((scores - SCORE_BINS_FROM) / SCORE_BIN)).astype(int).clip(0, N_SCORE_BINS - 1)
    counts = Counter(places.tolist())
    return [counts[place] for place in range(N_SCORE_BINS)]


DSR = Dataset(
    flow="curate-dsr",
    clip_stages=CLIP_STAGES,
    shard_tables=SHARD_TABLES,
    main_table="samples",
    clip_tables=clip_tables,
    statistics=statistics,
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
