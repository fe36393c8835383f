"""The stack that all tests of deployed flows share, and datasets that they run on it (tests/flows/deployed/).

The videos are a second long; LLM calls go over HTTP to a reader that a test can stop, hold and count.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flows.curate_matrix11k import CurateMatrix11k
from schemas.clip import Clip
from tasks.engine.shards import load_shard
from tasks.engine.snapshots import Snapshot
from tests.support.endpoint import Answers, LocalEndpoint
from tests.support.flow_runs import DRAWN, Scene, carry, ends, write_manifest
from tests.support.prefect_stack import PrefectStack, Program, Run
from tests.support.reader import read_caption
from tests.support.snapshots import latest_folder
from tests.support.stages import MATRIX11K_STAGES

PARENT, NIGHTLY, SHARD = "curate-matrix11k/default", "curate-matrix11k/nightly", "curate-matrix11k-shard/default"
SCENES = (carry("yellow", "red"), carry("blue", "orange"), carry("green", "red"))
KEY = "sk-of-the-tests-0123456789"
SILENCE_S = 70  # more than two heartbeats of prefect.yaml
OUTAGE_S = 20


class Deployed(NamedTuple):
    """The stack, and what its runs work on when they are given no parameters."""

    stack: PrefectStack
    inputs: Path  # all scenes' videos; the manifest names the first two
    config: CurateMatrix11k
    llm_port: int
    reports_port: int  # where the workers believe the server of reports to be; nobody listens
    shard_workers: list[Program]

    @property
    def snapshot(self) -> Path:
        return latest_folder(self.config.snapshots)

    def parameters_of(self, deployment: str) -> dict[str, Any]:
        """A deployment's own parameters, and the backends for drawn scenes."""
        config = self.stack.get(f"/deployments/name/{deployment}")["parameters"]["config"]
        return {"config": {**config, "ground": DRAWN}}


class Case(NamedTuple):
    """A dataset of a test's own, whose triplets come from the LLM; its videos have been split before."""

    config: CurateMatrix11k

    @property
    def parameters(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(mode="json", exclude_unset=True)}

    @property
    def snapshot(self) -> Path | None:
        latest = Snapshot.latest(self.config.snapshots)
        return latest.folder if latest else None


def name_scenes(folder: Path, scenes: Sequence[Scene]) -> Path:
    return write_manifest(folder, [scene.line for scene in scenes])


def clip_shards(stack: PrefectStack, parent_id: str) -> list[Run]:
    """The parent's flow runs that take clips through the stages."""
    return [run for run in stack.shards_of(parent_id) if run["parameters"]["stages"][0] == MATRIX11K_STAGES[0]]


class LocksOut(LocalEndpoint):
    """A reader that refuses the key, and quotes it, whenever it is asked about one of these captions."""

    def __init__(self, captions: Sequence[str], port: int, answers: Answers = read_caption) -> None:
        super().__init__(answers=answers, port=port)
        self.captions = list(captions)

    def arrive(self, request: dict[str, Any], headers: dict[str, str]) -> str:
        super().arrive(request, headers)
        return "401" if any(caption in json.dumps(request) for caption in self.captions) else "ok"


def n_clips(run: Run) -> int:
    return len(load_shard(run["parameters"]["shard"], Clip).rows)


def start_and_hold(stack: PrefectStack, case: Case, reader: LocalEndpoint) -> tuple[str, str]:
    """Start a run and wait till its shard asks the reader; returns the ids of both runs."""
    parent = stack.start(PARENT, case.parameters)
    stack.wait_until(lambda: reader.calls > 0, "the shard asks the reader")
    (shard,) = clip_shards(stack, parent)
    return parent, shard["id"]


def assert_published(case: Case) -> None:
    assert case.snapshot is not None
    assert [end[0] for end in ends(case.snapshot).values()] == ["accepted"]
