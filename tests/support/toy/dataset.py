"""Words of a text, window by window: which letters they hold.

"the dog", window 0 -> LettersRow(clip_id="window-3f9c...", text="the dog", letters=6)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from schemas.outcome import Kind, Outcome, Subject
from schemas.record import Record, StageResult, column, content_hash
from schemas.snapshot import FunnelStep
from schemas.storage import AnyPath
from tasks.engine.dataset import Dataset, Story, Ways, outcome_of, ranked, read_columns
from tasks.engine.shards import Row
from tasks.engine.snapshots import Snapshot
from tasks.engine.work import Work
from tasks.pages.funnel import ended_groups
from tasks.pages.page import PageContext, write_page


class Window(Subject):
    """Some words of a text."""

    kind: ClassVar[Kind] = "window"

    window_id: str = column("Derived from its words")
    text: str = column("Its words")

    @classmethod
    def of(cls, text: str) -> Window:
        return cls(window_id=f"window-{content_hash(text, length=16)}", text=text)

    @property
    def row_id(self) -> str:
        return self.window_id


class Letters(StageResult):
    """What the stage makes of a window."""

    stage_name: ClassVar[str] = "count_letters"

    letters: int = column("Letters", ge=0)


class LettersRow(Record):
    """An accepted window."""

    table_name: ClassVar[str | None] = "windows"

    clip_id: str = column("The window")
    text: str = column("Its words")
    letters: int = column("Letters", ge=0)


class WindowOutcome(Outcome):
    """What became of a window."""

    table_name: ClassVar[str | None] = "outcomes"

    text: str = column("Its words")


class ToyStatistics(Record):
    """What the accepted windows are like."""

    n_letters: int = column("Letters of all", ge=0)
    words: list[Any] = column("Words by how often they occur")


@dataclass(frozen=True)
class WindowLedger:
    windows: Sequence[Window]

    @property
    def n_given(self) -> int:
        return len(self.windows)

    @property
    def row_ids(self) -> list[str]:
        return [window.window_id for window in self.windows]

    def problems(self) -> list[str]:
        return []

    def early_outcomes(self) -> list[WindowOutcome]:
        return []

    def tables(self) -> dict[str, tuple[type[Record], Sequence[Any]]]:
        return {}

    def first_steps(self, ways: Ways) -> list[FunnelStep]:
        return []


def row_tables(work: Work, row: Row[Window]) -> dict[str, list[Record]]:
    window = row.payload
    letters = work.find_result(row, Letters)
    outcome = outcome_of(row)
    tables: dict[str, list[Record]] = {"windows": [], "outcomes": []}
    tables["outcomes"].append(WindowOutcome(**outcome.model_dump(), text=window.text))
    if outcome.status == "accepted" and letters:
        tables["windows"].append(LettersRow(clip_id=window.window_id, text=window.text, letters=letters.letters))
    return tables


def statistics(folder: Path) -> ToyStatistics:
    windows = read_columns(folder, "windows", "text", "letters")
    words = [word for text in windows["text"].to_list() for word in text.split()]
    return ToyStatistics(n_letters=int(windows["letters"].sum()), words=[w.model_dump() for w in ranked(words)])


def find(snapshot: Snapshot, name: str) -> pl.DataFrame:
    return snapshot.scan("outcomes").filter(pl.col("text").str.contains(name, literal=True)).collect()


def tell(snapshot: Snapshot, outcome: dict[str, Any]) -> Iterator[str]:
    for row in snapshot.rows(LettersRow, [outcome["row_id"]]):
        yield f"  letters    {row.letters}"


def write_report(snapshot: Snapshot, folder: AnyPath, context: PageContext) -> AnyPath:
    ended = ended_groups(snapshot, WindowOutcome, ["text"])
    rows = snapshot.rows(LettersRow)
    return write_page(Path(__file__).parent, snapshot, folder, context, ["count"], ended, rows=rows)


TOY = Dataset(
    name="toy",
    shard_tables={"windows": LettersRow, "outcomes": WindowOutcome},
    main_table="windows",
    row_tables=row_tables,
    statistics=statistics,
    headline=lambda snapshot, truth: iter([f"{snapshot.manifest.statistics['n_letters']} letters"]),
    story=Story(find, tell, lambda outcome: outcome["text"]),
    write_report=write_report,
    about="Words, counted.",
    reading="`windows` holds accepted windows.",
    row_kind="window",
    row_unit="windows",
)
