"""An outcome: what became of a row. Every input has exactly one.

Outcome(row_id="clip-81b2...", kind="clip", status="rejected", stage="ground_instances",
        reason="no_interaction_left", detail="id2 'a cup': none of 12 candidates verified")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from schemas.record import Record, column
from schemas.service import ServiceDown as ServiceDown

Status = Literal["accepted", "rejected", "failed"]
Kind = str  # "source", "clip"; a dataset may bring its own: "seed", "prompt", "window", "chain"


class Subject(Record):
    """What goes through stages and ends as an outcome: it knows its own id."""

    kind: ClassVar[Kind]

    @property
    def row_id(self) -> str:
        """The row's id, derived from content; outcomes, shards and tables use it."""
        raise NotImplementedError


class Outcome(Record):
    """Accepted, rejected(stage, reason) or failed(stage, error)."""

    schema_version: ClassVar[int] = 1

    row_id: str = column("The manifest line, source or clip it is about: 'line-3', 'src-...', 'clip-...'")
    kind: Kind = column("A source that gave no clip, or a clip")
    status: Status = column("accepted: in the dataset. rejected: judged and dropped. failed: could not be judged")
    stage: str = column("The stage that decided")
    reason: str | None = column("A short fixed word for counting; null if accepted", default=None)
    detail: str | None = column("What was seen, measured or raised", default=None)
    retryable: bool = column("True if running again may end otherwise: a server's error, not a broken file")


class RowRejected(Exception):
    """Raised by a stage that judged a row and drops it.

    reason:   a fixed word, for counting
    detail:   what was observed, for people
    evidence: the stage's partial result, stored beside the outcome: every verdict is kept
    """

    def __init__(self, reason: str, detail: str = "", *, evidence: Record | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail, self.evidence = reason, detail, evidence


def printable(text: str) -> str:
    """Text of a file or a model for a terminal: a character that it would obey (ESC, text direction) is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True)
class Suspicion:
    """What a failed row says of a service if the first rows of a shard all fail like it.

    alike:    the kind of failure, the same for rows that fail alike: "LLM not_json"
    max_rows: after so many, before any row was answered, the service counts as down
    told:     which service, what is wrong and what to do
    """

    alike: str
    max_rows: int
    told: str


class RowFailed(Exception):
    """Raised by a stage that could not judge a row. The shard goes on without it.

    retryable: True if another try may succeed (a server's error), False if not (a broken file)
    suspicion: None if it is a matter of this row alone
    """

    def __init__(self, reason: str, detail: str = "", *, retryable: bool, suspicion: Suspicion | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail, self.retryable, self.suspicion = reason, detail, retryable, suspicion
