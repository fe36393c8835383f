"""One stack serves all tests of deployed flows: a real Prefect server, real workers, a real browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.curate_matrix11k import CurateMatrix11k
from flows.engine.config import DispatchConfig
from tasks.backends.openai.api import EndpointConfig
from tasks.extract_triplets import ExtractConfig
from tasks.ground_instances import GroundConfig
from tests.support.deployed import KEY, PARENT, SCENES, SHARD, SILENCE_S, Case, Deployed, name_scenes
from tests.support.flow_runs import DRAWN, FEW_FRAMES, draw_input
from tests.support.prefect_stack import PLAN, SHARDS, PrefectStack, free_port


@pytest.fixture(scope="package")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deployed")
    inputs, llm_port, reports_port = folder / "input", free_port(), free_port()
    draw_input(inputs, SCENES)
    config = CurateMatrix11k(
        manifest=name_scenes(inputs, SCENES[:2]),
        root=folder / "root",
        ground=GroundConfig(**DRAWN),
        dispatch=DispatchConfig(deployment=SHARD),
    )
    env = {
        "TRIPTYCH_MANIFEST": str(config.manifest),
        "TRIPTYCH_ROOT": str(config.root),
        "TRIPTYCH_LLM_BASE_URL": f"http://127.0.0.1:{llm_port}/v1",
        "TRIPTYCH_LLM_MODEL": "rules-behind-http",
        "TRIPTYCH_LLM_API_KEY": KEY,
        "TRIPTYCH_REPORTS_URL": f"http://127.0.0.1:{reports_port}",
    }
    with PrefectStack(folder, env) as stack:
        stack.deploy()
        stack.start_worker(PLAN, limit=4)  # waiting parents have places, too
        yield Deployed(stack, inputs, config, llm_port, reports_port, [stack.start_worker(SHARDS)])


@pytest.fixture(scope="package")
def published(deployed: Deployed) -> Path:
    """The first snapshot, made as a user makes it."""
    asked = json.dumps(deployed.parameters_of(PARENT)["config"])
    deployed.stack.cli("deployment", "run", PARENT, "--watch", "--param", f"config={asked}")
    return deployed.snapshot


@pytest.fixture
def case(request: pytest.FixtureRequest, deployed: Deployed, published: Path, tmp_path: Path) -> Case:
    """One scene, or those it is parametrized with (indirect), two clips a shard."""
    scenes = getattr(request, "param", SCENES[:1])
    shutil.copytree(deployed.inputs, tmp_path / "input")
    shutil.copytree(deployed.config.work.root / "rows/split_scenes", tmp_path / "root/work/rows/split_scenes")
    config = CurateMatrix11k(
        manifest=name_scenes(tmp_path / "input", scenes),
        root=tmp_path / "root",
        shard_size=2,
        extract=ExtractConfig(llm="openai"),
        ground=FEW_FRAMES,
        endpoint=EndpointConfig(max_retries=0, concurrency=1, deadline_s=300),
        dispatch=DispatchConfig(deployment=SHARD, poll_s=1, silence_s=SILENCE_S),
    )
    return Case(config)
