"""docker/train-*: the pool's template and the batch script, without a cluster."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from prefect.utilities.templating import apply_values, find_placeholders

from tasks.training.launch import LaunchConfig

ROOT = Path(__file__).parent.parent
TEMPLATE: dict[str, Any] = json.loads((ROOT / "docker" / "train-kubernetes.json").read_text())
SCRIPT = ROOT / "docker" / "train-slurm.sbatch"
# What prefect-kubernetes 0.8.0 reads of a template's job_configuration, and writes into the manifest by itself.
CONFIGURATION = {
    "annotations",
    "command",
    "env",
    "labels",
    "name",
    "namespace",
    "job_manifest",
    "cluster_config",
    "stream_output",
}
CONFIGURATION |= {"job_watch_timeout_seconds", "pod_watch_timeout_seconds"}


def manifest() -> dict[str, Any]:
    """The job that a worker makes of the template's defaults."""
    defaults = {name: of["default"] for name, of in TEMPLATE["variables"]["properties"].items() if "default" in of}
    values = defaults | {"env": [{"name": "A", "value": "b"}], "labels": {"a": "b"}, "name": "train"}
    values |= {"command": ["prefect", "flow-run", "execute"], "annotations": {"a": "b"}}
    filled: dict[str, Any] = apply_values(TEMPLATE["job_configuration"]["job_manifest"], values, remove_notset=True)
    return {**filled, "metadata": {k: v for k, v in filled["metadata"].items() if v is not None}}


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def test_the_templates_variables_are_a_schema_that_its_defaults_meet() -> None:
    variables = TEMPLATE["variables"]
    Draft202012Validator.check_schema(variables)
    for name, of in variables["properties"].items():
        if "default" in of:
            Draft202012Validator({**of, "definitions": variables["definitions"]}).validate(of["default"])
        assert of["description"], name
    used = {found.name for found in find_placeholders(json.dumps(TEMPLATE["job_configuration"]))}
    assert used == set(variables["properties"])
    assert set(TEMPLATE["job_configuration"]) == CONFIGURATION


def test_its_pod_has_a_gpu_shared_memory_the_data_and_time_to_save() -> None:
    spec = manifest()["spec"]
    pod = spec["template"]["spec"]
    assert (spec["backoffLimit"], pod["restartPolicy"]) == (0, "Never")  # Prefect schedules the run again, not the job
    assert pod["terminationGracePeriodSeconds"] > LaunchConfig().save_s
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} == {
        "data": "/data",
        "shm": "/dev/shm",
    }
    assert {volume["name"] for volume in pod["volumes"]} == {"data", "shm"}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert container["image"] == f"triptych-gpu:{version}"


def test_its_job_is_one_of_kubernetes() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="no schema of Kubernetes is installed").validate
    validate(without_nulls(manifest()), "1.34", strict=True)
    with pytest.raises(Exception, match="parallelisms"):
        validate({**without_nulls(manifest()), "spec": {"template": {}, "parallelisms": 1}}, "1.34", strict=True)


# --- Slurm -------------------------------------------------------------------------------------


STAND_IN = """#!/bin/bash
echo "$@" >> {folder}/asked
trap 'sleep 0.2; exit 143' TERM  # it saves
touch {folder}/at-work
{then}
"""


@pytest.fixture
def stand_ins(tmp_path: Path) -> Path:
    (tmp_path / "scontrol").write_text(f'#!/bin/bash\necho "$@" > {tmp_path}/requeued\n')
    (tmp_path / "scontrol").chmod(0o755)
    return tmp_path


def start(folder: Path, then: str) -> subprocess.Popen[bytes]:
    (folder / "triptych").write_text(STAND_IN.format(folder=folder, then=then))
    (folder / "triptych").chmod(0o755)
    env = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "42"}
    return subprocess.Popen(["bash", SCRIPT, "matrix", "--samples", "a b"], env=env)


@pytest.mark.parametrize(
    ("then", "status", "requeued"), [("exit 0", 0, False), ("exit 1", 1, False), ("exit 75", 75, True)]
)
def test_only_one_that_can_go_on_is_queued_again(stand_ins: Path, then: str, status: int, requeued: bool) -> None:
    assert start(stand_ins, then).wait(20) == status
    assert (stand_ins / "asked").read_text() == "train matrix --samples a b\n"
    assert (stand_ins / "requeued").exists() == requeued


def test_a_preempted_one_saves_and_is_queued_again(stand_ins: Path) -> None:
    job = start(stand_ins, "while true; do sleep 0.05; done")
    while not (stand_ins / "at-work").exists():
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    assert job.wait(20) == 143
    assert (stand_ins / "requeued").read_text() == "requeue 42\n"


def test_slurm_gives_it_time_to_save() -> None:
    (seconds,) = re.findall(r"^#SBATCH --signal=B:TERM@(\d+) ", SCRIPT.read_text(), re.MULTILINE)
    assert int(seconds) > LaunchConfig().save_s
