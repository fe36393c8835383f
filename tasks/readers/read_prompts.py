"""A file of prompts -> prompts with their labels, or a reason for each unusable line.

    type,prompt_id,animal,object,scene,initial_SR,final_SR,prompt              the authors' CSV
    LR,7_LR,fox,chair,"In a wood,",on the left of,to the right of,"In a wood, a fox is on the left of a chair, ..."
        -> DsrPrompt(prompt_id="7_LR", animal="fox", verb="sprints", ..., split="test", form="structured")
    {"text": "a fox sprints from the left of a chair to the right of the chair"}
        -> DsrPrompt(prompt_id="LR_3f9c2a71b0de", form="from_to", ...)

JSON lines, CSV or Parquet with columns of schemas.dsr.DsrPrompt, under these or the authors' names; only the text is
required, and other columns are left out. Labels are read from the text (parse_prompts.py); given labels must agree. A
free wording needs all its labels and must keep them (tasks/datasets/dsr/rewording.py).
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from pydantic import AliasChoices, ValidationError, field_validator

from schemas.dsr import DsrLabels, DsrPrompt, Form
from schemas.outcome import Outcome, RowFailed, RowRejected
from schemas.record import Record, column
from schemas.scene import Split
from schemas.source import id_as_text
from schemas.storage import AnyPath
from tasks.datasets.dsr.rewording import keeps_labels
from tasks.datasets.dsr.wording import from_to_text, structured_text
from tasks.readers.columns import Columns
from tasks.readers.lines import (
    EndedLines,
    InputLine,
    ManifestError,
    at_line,
    parse_line,
    problems_of,
    read_lines,
    require_manifest,
)
from tasks.readers.parse_prompts import MAX_PROMPT_CHARACTERS, PromptRefused, parse_prompt, plain, relation_of

STAGE = "read_prompts"

# Result columns of our tables and of the authors' files.
_OF_RESULTS = ("seeds", "rewards", "n_pairs", "video", "reward", "prompt_from_to")


def _either(ours: str, theirs: str) -> AliasChoices:
    return AliasChoices(ours, theirs)


class PromptLine(Record):
    """One line of a file of prompts, as a user or the authors write it."""

    text: str = column(
        "The prompt", min_length=1, max_length=MAX_PROMPT_CHARACTERS, validation_alias=_either("text", "prompt")
    )
    prompt_id: str | None = column("It names the prompt's videos; derived from the labels if empty", default=None)
    split: Split | None = column("train or test", default=None)
    form: Form | None = column("How it is worded", default=None)
    type: str | None = column("The change of relation in the authors' letters: 'LT'", default=None)
    scene: str | None = column("Opening phrase, with or without its comma", default=None)
    animal: str | None = column("Base noun of what moves", default=None)
    object: str | None = column("Base noun of what stays", default=None)
    verb: str | None = column("How it moves, third person", default=None)
    initial: str | None = column(
        "Relation at first: 'left' or 'on the left of'", default=None, validation_alias=_either("initial", "initial_SR")
    )
    final: str | None = column(
        "Relation at the end: 'right' or 'to the right of'", default=None, validation_alias=_either("final", "final_SR")
    )

    @field_validator("prompt_id", mode="before")
    @classmethod
    def _integers_are_ids(cls, value: Any) -> Any:
        return id_as_text(value)

    @field_validator("scene", "animal", "object", "verb")
    @classmethod
    def _blank_is_no_value(cls, value: str | None) -> str | None:
        return " ".join((value or "").split()).rstrip(" ,") or None

    @field_validator("animal", "object", "verb")
    @classmethod
    def _lower_case(cls, value: str | None) -> str | None:
        return value and value.lower()

    @field_validator("initial", "final")
    @classmethod
    def _known_relation(cls, value: str | None) -> str | None:
        return None if value is None else relation_of(value)

    @property
    def said(self) -> dict[str, str]:
        """The labels that the line gives besides the text."""
        given = {name: getattr(self, name) for name in DsrLabels.model_fields}
        return {name: value for name, value in given.items() if value is not None}


COLUMNS = Columns.of(PromptLine, passed_over=_OF_RESULTS)


class PromptListing(Record):
    """A file of prompts, read: every line is a prompt or an outcome."""

    prompts: list[DsrPrompt] = column("Usable lines, in the file's order")
    outcomes: list[Outcome] = column("Lines that ended here: unusable, or a repetition of an earlier one")


def read_prompts(path: AnyPath, split: Split = "train", limit: int | None = None) -> PromptListing:
    """Read a file of prompts, or its first `limit` lines. split: for lines without one.

    Raises ManifestError if the file is missing or of another kind.
    """
    require_manifest(path)
    if path.is_dir():
        raise ManifestError(f"{path} is a folder; give the file of prompts in it")
    prompts: list[DsrPrompt] = []
    line_of_id: dict[str, int] = {}
    line_of_text: dict[str, int] = {}
    ended = EndedLines(STAGE)
    for line in islice(read_lines(path, COLUMNS), limit):
        try:
            prompt = _read_line(line, split)
            _reject_repetition(prompt, line_of_id, line_of_text)
        except (RowFailed, RowRejected) as end:
            ended.add(line, at_line(line, end))
            continue
        line_of_id[prompt.prompt_id] = line_of_text[_compared(prompt.text)] = line.number
        prompts.append(prompt)
    return PromptListing(prompts=prompts, outcomes=ended.outcomes)


def _reject_repetition(prompt: DsrPrompt, line_of_id: dict[str, int], line_of_text: dict[str, int]) -> None:
    # Texts first: a prompt in both splits would test a model on its training data.
    if first := line_of_text.get(_compared(prompt.text)):
        raise RowRejected("duplicate_prompt", f"worded as line {first}")
    if first := line_of_id.get(prompt.prompt_id):
        detail = f"{prompt.prompt_id!r} is line {first}, which is worded otherwise; give each a prompt_id of its own"
        raise RowRejected("duplicate_id", detail)


def _read_line(line: InputLine, split: Split) -> DsrPrompt:
    row = parse_line(line, PromptLine)
    form, labels = read_labels(row)
    try:
        return DsrPrompt(
            **labels.model_dump(),
            prompt_id=DsrPrompt.id_of(labels) if row.prompt_id is None else row.prompt_id,
            split=row.split or split,
            form=form,
            text=" ".join(row.text.split()),
        )
    except ValidationError as error:
        raise RowFailed("unsafe_id", f"{problems_of(error)}; it would name files", retryable=False) from error


def read_labels(row: PromptLine) -> tuple[Form, DsrLabels]:
    """A line's form and labels. Raises RowFailed if the text cannot be read or contradicts the labels."""
    given = _complete_labels(row)
    try:
        form, labels = _form_of(row.text, given) or parse_prompt(row.text)
    except PromptRefused as refused:
        if given is None:
            detail = f"{refused.detail} (free words need all labels beside them: {', '.join(DsrLabels.model_fields)})"
            raise RowFailed(refused.reason, detail, retryable=False) from refused
        if why_not := keeps_labels(row.text, given):
            raise RowFailed("labels_contradict", f"{row.text[:200]!r}: {why_not}", retryable=False) from refused
        form, labels = "rewritten", given
    said = labels.model_dump() | {"type": labels.dsr_type, "form": form}
    also = row.said | {name: value for name in ("type", "form") if (value := getattr(row, name)) is not None}
    if against := [name for name, value in also.items() if value.casefold() != said[name].casefold()]:
        told = "; ".join(f"{name} is {also[name]!r}, but the text says {said[name]!r}" for name in against)
        raise RowFailed("labels_contradict", told, retryable=False)
    return form, labels


def _complete_labels(row: PromptLine) -> DsrLabels | None:
    """The given labels, if complete. An empty scene counts as given."""
    said = {"scene": ""} | row.said
    if set(said) < set(DsrLabels.model_fields) or said["initial"] == said["final"]:
        return None
    return DsrLabels(**said)


def _form_of(text: str, labels: DsrLabels | None) -> tuple[Form, DsrLabels] | None:
    """The form whose text for these labels equals the given text: then nothing has to be parsed."""
    if labels is None:
        return None
    texts: dict[Form, str] = {"structured": structured_text(labels), "from_to": from_to_text(labels)}
    return next(((form, labels) for form, said in texts.items() if _compared(said) == _compared(text)), None)


def _compared(text: str) -> str:
    return plain(text).casefold()
