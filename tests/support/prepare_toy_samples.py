"""prepare-toy-samples: the windows of curate-toy -> samples without pictures, for tests of what such flows share.

PrepareToySamples(snapshot=tmp_path / "toy", root=tmp_path / "samples")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from flows.engine.command import CurationFlow
from flows.engine.config import Step
from flows.engine.pipeline import curation_flow, shard_flow
from flows.engine.preparation import PreparationConfig, look_ahead, prepare, split_by
from schemas.config import StageConfig
from schemas.outcome import RowRejected
from schemas.record import Record, StageResult, column
from schemas.storage import AnyPath
from schemas.training_samples import SampleOutcomeRow, SampleRow, SnapshotRow
from tasks.datasets.samples.ledger import outcome_row
from tasks.datasets.samples.report import write_report
from tasks.datasets.samples.statistics import headline, statistics
from tasks.datasets.samples.story import STORY
from tasks.engine.clip_tables import ClipTables
from tasks.engine.dataset import Dataset
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tests.support.toy.dataset import LettersRow


class Prompted(StageResult):
    """What the stage makes of a row."""

    stage_name: ClassVar[str] = "write_prompt"

    prompt: str = column("The prompt")


def stage(tables: ClipTables) -> Stage[SnapshotRow, LettersRow, Prompted]:
    """The window's words as a prompt; one word is too short for it."""

    def read(row: Row[SnapshotRow]) -> LettersRow:
        (window,) = tables.rows(LettersRow, row.payload.clip_id)
        return window

    def compute(window: LettersRow) -> Prompted:
        if " " not in window.text:
            raise RowRejected("one_word", window.text)
        return Prompted(prompt=window.text.upper())

    return Stage(version=1, result=Prompted, config=StageConfig(), made_by=[], read=read, compute=compute)


def row_tables(work: Work, row: Row[SnapshotRow]) -> dict[str, list[Record]]:
    prompted = work.find_result(row, Prompted)
    tables: dict[str, list[Record]] = {"samples": [], "outcomes": [outcome_row(row)]}
    if prompted:
        sample = SampleRow(
            clip_id=row.payload.clip_id,
            split=row.payload.split,
            prompt=prompted.prompt,
            fps=8.0,
            n_frames=1,
            width=16,
            height=16,
            source_frames=[0],
            source_box_xyxy=(0, 0, 16, 16),
            made_by=[],
        )
        tables["samples"].append(sample)
    return tables


TOY_SAMPLES = Dataset(
    name="toy-samples",
    shard_tables={"samples": SampleRow, "outcomes": SampleOutcomeRow},
    main_table="samples",
    row_tables=row_tables,
    statistics=statistics,
    headline=headline,
    story=STORY,
    write_report=write_report,
    about="Words in capitals.",
    reading="`samples` holds accepted windows.",
    split_of=lambda row: row.split,
    verb="prepare",
)


class PrepareToySamples(PreparationConfig):
    """Everything the flow can be told."""

    product: ClassVar[Dataset] = TOY_SAMPLES
    takes: ClassVar[str] = "curate-toy"
    first_options: ClassVar[Sequence[str]] = ("snapshot", "root")
    steps: ClassVar[Sequence[Step]] = (Step(SnapshotRow, Prompted, lambda c: stage(c.tables)),)

    dataset: str = "toy-samples"
    test_share: float = 0.5

    def read_rows(self) -> list[SnapshotRow]:
        contents = self.tables.contents({"windows": ["text"]})
        return [
            SnapshotRow(clip_id=clip_id, split=split_by(clip_id, self.test_share), content=contents[clip_id])
            for clip_id in self.tables.snapshot.accepted_ids()
        ]


@curation_flow(PrepareToySamples)
def prepare_toy_samples(config: PrepareToySamples) -> AnyPath:
    return prepare(config, prepare_toy_samples_shard)


prepare_toy_samples_shard = shard_flow(PrepareToySamples)

FLOW = CurationFlow(PrepareToySamples, prepare_toy_samples, look_ahead)
