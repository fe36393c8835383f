"""curate-toy: words -> windows with their letters counted.

python -m tests.support.toy.flow --root data --words "the dog throws a ball"
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from flows.engine.command import CurationFlow
from flows.engine.config import CurationConfig, Step
from flows.engine.growing_page import GrowingPage
from flows.engine.pipeline import Preview, curate_shards, curation_flow, finish, preview, shard_flow
from flows.engine.steps import run_logger
from schemas.config import StageConfig
from schemas.outcome import RowRejected
from schemas.storage import AnyPath
from tasks.engine.dataset import Dataset
from tasks.engine.inputs import Inputs
from tasks.engine.shards import plan_shards
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tests.support.toy.dataset import TOY, Letters, Window, WindowLedger


class CountConfig(StageConfig):
    """How letters are counted."""

    forbidden: str = Field("", description="Windows that hold this letter are rejected")


def count_letters(text: str, config: CountConfig) -> Letters:
    if text == os.environ.get("TOY_KILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    if config.forbidden and config.forbidden in text:
        raise RowRejected("forbidden_letter", f"{config.forbidden} in {text!r}")
    return Letters(letters=sum(map(str.isalpha, text)))


def stage(config: CountConfig) -> Stage[Window, str, Letters]:
    return Stage(
        version=1,
        result=Letters,
        config=config,
        made_by=[],
        read=lambda row: row.payload.text,
        compute=lambda text: count_letters(text, config),
    )


class CurateToy(CurationConfig):
    """Everything the flow can be told."""

    product: ClassVar[Dataset] = TOY
    first_options: ClassVar[Sequence[str]] = ("root", "words")
    steps: ClassVar[Sequence[Step]] = (Step(Window, Letters, lambda c: stage(c.count)),)

    dataset: str = Field("toy", description="Name of the dataset")
    words: str = Field(description="The text")
    count: CountConfig = CountConfig()

    @property
    def work(self) -> Work:
        work = self.root / "work"
        return Work(root=work, inputs=Inputs(folder=work))

    @property
    def windows(self) -> list[Window]:
        words = self.words.split()
        texts = dict.fromkeys(" ".join(words[i : i + 2]) for i in range(0, len(words), 2))
        return [Window.of(text) for text in texts][: self.limit]


@curation_flow(CurateToy)
def curate_toy(config: CurateToy) -> AnyPath:
    log = run_logger()
    ledger = WindowLedger(config.windows)
    planned, page = plan_shards(config.windows, config.shard_size), GrowingPage(config, ledger, log)
    return finish(config, ledger, curate_shards(config, curate_toy_shard, planned, log, page), log)


curate_toy_shard = shard_flow(CurateToy)


def look_ahead(config: CurateToy) -> list[Preview]:
    return preview(config, config.shard_stage_names, config.windows)[0]


def demo(folder: Path) -> list[str]:
    return ["--words", "the dog throws a ball to the boy"]


FLOW = CurationFlow(CurateToy, curate_toy, look_ahead, demo)
