"""Which columns of a user's file are read, which are left out, and which are misspelt.

    columns = Columns.of(ManifestRow)
    columns.misspelt(["video", "Caption"])   -> "column 'Caption': is 'caption' meant? Rename it, or leave it out"
    columns.misspelt(["video", "group"])     -> None; `group` is left out, with a warning

A misspelt column is one that differs from a known one by case, blanks and signs only, or one that resembles a known
column which is not there. To leave it out would be to lose what it says.
"""

from __future__ import annotations

import difflib
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydantic import AliasChoices

from schemas.record import Record

# 'captions', 'captoin', 'start', 'end' and 'start_sec' resemble columns of ManifestRow; 'uid', 'index' and 'video_id'
# do not.
LIKENESS = 0.85
MAX_NAME_CHARS = 64
MAX_NAMED = 10  # columns in a message


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns that a record takes from a file."""

    names: Sequence[tuple[str, ...]]  # of each field; there may be several to choose from
    required: Sequence[tuple[str, ...]]
    read: frozenset[str]
    passed_over: frozenset[str]  # known, and left out without a word

    @classmethod
    def of(cls, record: type[Record], passed_over: Collection[str] = ()) -> Columns:
        fields = {_names_of(name, info.validation_alias): info for name, info in record.model_fields.items()}
        required = [names for names, info in fields.items() if info.is_required()]
        return cls([*fields], required, frozenset(itertools.chain(*fields)), frozenset(passed_over))

    def ignored(self, given: Iterable[str]) -> list[str]:
        """The columns that are left out with a warning."""
        return [name for name in given if name not in self.read and name not in self.passed_over]

    def misspelt(self, given: Iterable[str]) -> str | None:
        """What to say of the first misspelt column; None if there is none."""
        return _misspelt(self, tuple(given))

    def repeated(self, given: Sequence[str]) -> str | None:
        """What is there twice, if only by its other name: which one is meant is unknown."""
        n_given = Counter(given)
        for names in self.names:
            there = [name for name in names for _ in range(n_given[name])]
            if len(there) > 1:
                first, second = there[:2]
                return (
                    f"column {first!r} twice"
                    if first == second
                    else f"columns {first!r} and {second!r}, which mean the same"
                )
        return None

    def missing(self, given: Collection[str]) -> str | None:
        """The first required column that is not among them."""
        return next((names[0] for names in self.required if not {*names} & {*given}), None)


def _names_of(name: str, alias: object) -> tuple[str, ...]:
    return tuple(str(choice) for choice in alias.choices) if isinstance(alias, AliasChoices) else (name,)


@lru_cache(maxsize=1024)  # the lines of a file have the same columns
def _misspelt(columns: Columns, given: tuple[str, ...]) -> str | None:
    there = {*given}
    for name in columns.ignored(given):
        for names in columns.names:
            for known in names:
                if _is_meant(name, known, is_there=not there.isdisjoint(names)):
                    return f"column {name!r}: is {known!r} meant? Rename it, or leave it out"
    return None


def _is_meant(name: str, known: str, *, is_there: bool) -> bool:
    if len(name) > MAX_NAME_CHARS:
        return False
    written, meant = _letters(name), _letters(known)
    if written == meant:
        return True
    if is_there or abs(len(written) - len(meant)) > 3:  # quickly: no such names are that alike
        return False
    return difflib.SequenceMatcher(None, written, meant).ratio() >= LIKENESS


def _letters(name: str) -> str:
    """'Start S', 'start-s' and 'start_s' -> 'starts'"""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name)).casefold()
