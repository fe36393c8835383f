"""Prompts in other words: 'from ... to ...', or rewritten by a language model (SpatialAlign 4.3, table 3d).

    structured  "In a wood, a fox is on the left of a chair, then the fox sprints to the right of the chair."
    from_to     "In a wood, a fox sprints from the left of a chair to the right of the chair."
    rewritten   "A fox waits on the left of a chair in a wood. Then it sprints to the right of the chair."

The first two are functions of the labels (word_prompt). The third comes from a rewriter; a text that does not say any
more what the labels say (tasks/datasets/dsr/rewording.py) is asked for again, and in the end the prompt fails.
"""

from __future__ import annotations

from typing import Literal, Protocol

from pydantic import Field

from schemas.config import StageConfig
from schemas.dsr import DsrLabels, DsrPrompt, Form, Rewritten
from schemas.outcome import RowFailed
from schemas.provenance import MadeBy
from schemas.storage import AnyPath
from tasks.backends.openai.api import EndpointConfig
from tasks.datasets.dsr.rewording import keeps_labels
from tasks.datasets.dsr.wording import from_to_text, structured_text
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work


class RewriteConfig(StageConfig):
    """How prompts are worded."""

    form: Form | None = Field(
        None,
        description="structured: as the paper trains; from_to: in one clause; rewritten: in a rewriter's words; null: "
        "as they are, which is structured for the grammar's",
    )
    rewriter: Literal["template", "openai"] = Field(
        "template", description="template: a handful of sentence patterns, embedded; openai: any compatible server"
    )
    attempts: int = Field(
        3, ge=1, description="How often a rewriter is asked for a text that keeps the labels before the prompt fails"
    )


class Rewriter(Protocol):
    """Says what a prompt says in other words."""

    identity: dict[str, str]
    concurrency: int

    def rewrite(self, labels: DsrLabels, attempt: int) -> str:
        """A text. Raises RowFailed or ServiceDown, never makes one up.

        attempt is 0 at first, then 1, 2, ...: another text is to be found, past any cache.
        """


def word_prompt(prompt: DsrPrompt, form: Form) -> DsrPrompt:
    """The prompt in a form that is a function of its labels; one that is in this form stays as it is.

    Raises ValueError for 'rewritten', which is none.
    """
    if form == "rewritten":
        raise ValueError("a rewritten prompt comes from the stage rewrite_prompts, not from the labels alone")
    if prompt.form == form:
        return prompt
    text = structured_text(prompt) if form == "structured" else from_to_text(prompt)
    return prompt.model_copy(update={"form": form, "text": text})


def rewritten_prompt(work: Work, row: Row[DsrPrompt]) -> DsrPrompt:
    """The prompt in the words that the stage found for it."""
    return row.payload.model_copy(update={"form": "rewritten", "text": work.result(row, Rewritten).text})


def rewrite_prompt(labels: DsrLabels, rewriter: Rewriter, attempts: int, made_by: list[MadeBy]) -> Rewritten:
    """Ask until a text keeps the labels. Raises RowFailed("labels_lost") if none of them does."""
    lost = []
    for attempt in range(attempts):
        text = " ".join(rewriter.rewrite(labels, attempt).split())
        why_not = rewording_fault(text, labels)
        if why_not is None:
            return Rewritten(text=text, made_by=made_by)
        lost.append(f"{text[:200]!r}: {why_not}")
    # Final: the replies are in the cache, so that the same questions would be answered alike again.
    raise RowFailed("labels_lost", f"{attempts} times: {'; '.join(lost)}", retryable=False)


def rewording_fault(text: str, labels: DsrLabels) -> str | None:
    """None, or why a text is no rewording of a prompt."""
    if text.casefold().rstrip(".") == structured_text(labels).casefold().rstrip("."):
        return "it is worded as before"
    return keeps_labels(text, labels)


def load_backend(config: RewriteConfig, endpoint: EndpointConfig, cache: AnyPath) -> Rewriter:
    match config.rewriter:
        case "template":
            from tasks.backends.template_rewriter import TemplateRewriter

            return TemplateRewriter()
        case "openai":
            from tasks.backends.openai.rewriter import OpenAIRewriter

            return OpenAIRewriter(endpoint, cache)


def stage(work: Work, config: RewriteConfig, endpoint: EndpointConfig) -> Stage[DsrPrompt, DsrLabels, Rewritten]:
    rewriter = load_backend(config, endpoint, work.root / "llm")
    made_by = [MadeBy.of(Rewritten.stage_name, rewriter.identity)]

    def read(row: Row[DsrPrompt]) -> DsrLabels:
        """Neither id nor split nor the words so far: the rewriter is told the labels."""
        return DsrLabels(**row.payload.model_dump(include=set(DsrLabels.model_fields)))

    return Stage(
        version=1,
        result=Rewritten,
        config=config,
        made_by=made_by,
        read=read,
        key_of=lambda labels: [labels],
        compute=lambda labels: rewrite_prompt(labels, rewriter, config.attempts, made_by),
        concurrency=rewriter.concurrency,
    )
