"""The ledger of generated samples: everything that went in, and what ended before any clip was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.dsr import DsrPrompt, DsrSample, PairRow, PromptRow, SampleOutcomeRow
from schemas.outcome import Outcome
from schemas.record import Record
from schemas.snapshot import FunnelStep
from tasks.engine.dataset import Ways, funnel_step


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
    def row_ids(self) -> list[str]:
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
            steps.append(funnel_step(ways, "source", "read_prompts", "lines", self.n_lines))
        if self.n_videos:
            steps.append(funnel_step(ways, "source", "read_samples", "videos", self.n_videos))
        steps.append(funnel_step(ways, "source", self.last_step, "prompts", len(self.prompts), len(self.samples)))
        return steps


def outcome_row(outcome: Outcome, prompt: DsrPrompt, **of_sample: Any) -> SampleOutcomeRow:
    """of_sample: what a prompt alone has not"""
    of_prompt = {"prompt_id": prompt.prompt_id, "split": prompt.split, "type": prompt.dsr_type}
    return SampleOutcomeRow(**outcome.model_dump(), **of_prompt, **of_sample)
