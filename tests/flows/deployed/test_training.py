"""A training on a worker: its progress in the UI; Cancel has it save, and Retry goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.training.launch import LOG
from tests.support.deployed import Deployed
from tests.support.flow_runs import REPOSITORY
from tests.support.prefect_stack import PrefectStack
from tests.support.stand_in_job import STEP_S
from tests.support.training_samples import publish_samples

pytestmark = pytest.mark.slow

TRAIN = "triptych-train"
N_STEPS = 24


def deploy(stack: PrefectStack, folder: Path) -> dict[str, Any]:
    """Deploy the stand-in training; its config."""
    publish_samples(folder / "training", "counting-samples")
    optimisation = {"n_steps": N_STEPS, "batch_size": 4}
    config = {
        "samples": str(folder / "training"),
        "runs": str(folder / "runs"),
        "training": {"optimisation": optimisation},
    }
    deployment = {
        "name": "default",
        "entrypoint": "tests.support.deployed_training.train_counting",
        "schedules": [],
        "work_pool": {"name": TRAIN},
        "parameters": {"config": config},
    }
    project = folder / "prefect.yaml"
    project.write_text(yaml.safe_dump({"name": "tests", "pull": [], "deployments": [deployment]}))
    with stack.elsewhere({"PYTHONPATH": str(REPOSITORY)}):
        stack.cli("--no-prompt", "deploy", "--all", "--prefect-file", str(project))
    return config


def artifacts(stack: PrefectStack, run: str) -> dict[str, dict[str, Any]]:
    found = stack.post("/artifacts/filter", {"flow_runs": {"id": {"any_": [run]}}})
    assert len({artifact["key"] for artifact in found}) == len(found)
    return {artifact["key"]: artifact for artifact in found}


def test_it_is_cancelled_and_goes_on(deployed: Deployed, tmp_path: Path) -> None:
    stack = deployed.stack
    deploy(stack, tmp_path)
    worker = stack.start_worker(TRAIN, limit=1, env={"PYTHONPATH": str(REPOSITORY), STEP_S: "0.3"})
    run = stack.start("train-counting/default")
    stack.wait_until(
        lambda: 0 < artifacts(stack, run).get("training-progress-counting", {"data": 0})["data"] < 100, "it trains"
    )
    bar, table = artifacts(stack, run)["training-progress-counting"], artifacts(stack, run)["training-counting"]
    assert bar["type"] == "progress"
    assert f" of {N_STEPS} | " in table["data"]
    (folder,) = (tmp_path / "runs").glob("counting-*")

    stack.cancel(run)
    stack.wait_for(run, "CANCELLED")
    log = (folder / LOG).read_text()
    assert log.splitlines()[-1].startswith("saved after step")
    assert "begins after step 0" in stack.log_of(run)

    stack.retry(run)
    stack.wait_for(run, "COMPLETED", run_count=2)
    worker.end()
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, N_STEPS + 1))
    assert (
        (folder / LOG).read_text().startswith(f"{log}begins after {log.splitlines()[-1].removeprefix('saved after ')}")
    )
    after = artifacts(stack, run)
    assert (after[bar["key"]]["id"], after[bar["key"]]["data"]) == (bar["id"], 100)
    assert (folder / "manifest.json").is_file()
