"""A stand-in for tasks.training.job, without torch: the same files, signals and exit statuses; it learns nothing.

monkeypatch.setattr(launch, "JOB", STAND_IN)
write_job(folder, "sys.exit(3)")     the run's job is this code; without it, it counts the steps of request.json
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

STAND_IN = "tests.support.stand_in_job"
CODE = "job.py"
STEP_S = "TRIPTYCH_TEST_STEP_S"

stopped = False


def stop(*_: Any) -> None:
    global stopped
    stopped = True


def write_job(folder: Path, code: str) -> Path:
    """A run's folder whose job is this code, in a loop's terms: `folder`, `stopped()`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CODE).write_text(code)
    return folder


def count_steps(folder: Path, n_steps: int, batch_size: int) -> None:
    """Go on from the newest checkpoint to the last step; a line of metrics and a checkpoint a step."""
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    done = max((int(path.name.removeprefix("step-")) for path in checkpoints.iterdir()), default=0)
    print(f"begins after step {done}", flush=True)
    for step in range(done + 1, n_steps + 1):
        time.sleep(float(os.environ.get(STEP_S, "0")))
        with (folder / "metrics.jsonl").open("a") as metrics:
            line = {"step": step, "loss": 1 / step, "learning_rate": 1e-4, "batch": batch_size, "seconds": 0.1 * step}
            metrics.write(f"{json.dumps(line)}\n")
        (checkpoints / f"step-{step:06}").mkdir()
        if stopped and step < n_steps:
            print(f"saved after step {step}", flush=True)
            sys.exit(75)
    (folder / "weights").mkdir(exist_ok=True)
    (folder / "weights" / "trained.safetensors").write_bytes(bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"{}")


def main() -> None:
    signal.signal(signal.SIGTERM, stop)
    folder = Path(sys.argv[1])
    if (folder / CODE).exists():
        exec((folder / CODE).read_text(), {"folder": folder, "stopped": lambda: stopped, "sys": sys, "time": time})
        return
    config = json.loads(json.loads((folder / "request.json").read_text())["config"])["optimisation"]
    count_steps(folder, config["n_steps"], config["batch_size"])


if __name__ == "__main__":
    main()
