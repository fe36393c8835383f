"""Shared by the tables of several datasets: a row's clip, candidates, and counted words.

Named(name="kick", n=12)
"""

from __future__ import annotations

from typing import ClassVar

from schemas.candidate import Candidate
from schemas.record import Record, column


class OfClip(Record):
    """A row of some clip."""

    clip_id: str = column("The clip it belongs to")


class CandidateRow(Candidate, OfClip):
    """A candidate of any clip, with its verdict."""

    table_name: ClassVar[str | None] = "candidates"


class Named(Record):
    """A word and how often it occurs."""

    name: str = column("The word")
    n: int = column("Occurrences", ge=0)
