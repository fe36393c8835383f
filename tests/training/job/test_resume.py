"""A job of two processes under torchrun, killed in every way, ends with the very bits of one that nobody killed.

Accumulation, dropout, noise, two phases, and epochs that end within an update (13 samples).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.models

pytest.importorskip("torch")

from tests.support.toy_recipe import publish_samples, write_request  # noqa: E402

ROOT = Path(__file__).parents[3]
TIME_S = ("seconds", "samples_per_s")


@contextmanager
def job(run: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Two processes, and whatever is left of them afterwards is killed."""
    statuses = run.parent / "statuses"
    statuses.mkdir(exist_ok=True)
    for old in statuses.iterdir():
        old.unlink()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    started = subprocess.Popen(
        [*command, "-m", "tasks.training.rank", "tasks.training.job", str(run)],
        cwd=ROOT,
        env=os.environ
        | {"TOY_PAUSED": str(run.parent / "paused"), "TRIPTYCH_RANK_STATUSES": str(statuses), "OMP_NUM_THREADS": "1"}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield started
    finally:
        kill_all(started)


def ended(run: Path, started: subprocess.Popen[str]) -> tuple[set[str], str]:
    """What its processes ended with, and what they said."""
    said, _ = started.communicate(timeout=120)
    return {file.read_text().split()[0] for file in (run.parent / "statuses").glob("[0-9]*")}, said


def kill_all(started: subprocess.Popen[str]) -> None:
    if started.poll() is None:
        for pid in [started.pid, *ranks_of(started)]:
            os.kill(pid, signal.SIGKILL)
        started.wait()


def ranks_of(started: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()]


def wait_paused(run: Path, started: subprocess.Popen[str]) -> Path:
    paused = run.parent / "paused"
    end_s = time.monotonic() + 90
    while not paused.exists():
        assert started.poll() is None, started.communicate()[0]
        assert time.monotonic() < end_s
        time.sleep(0.05)
    return paused


def lines(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def results(run: Path) -> dict[str, bytes]:
    """All files but what tells the time."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in ("metrics.jsonl", "state.json")
    }


def newest(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_a_job_that_is_killed_in_every_way_ends_with_the_same_bits(tmp_path: Path) -> None:
    publish_samples(tmp_path / "samples")
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    for run in (whole, killed):
        write_request(run, tmp_path / "samples", n_processes=2)

    with job(whole) as started:
        statuses, said = ended(whole, started)
    assert statuses == {"0"}, said

    with job(killed, TOY_PAUSE="loss 9") as started:  # in the fifth update
        wait_paused(killed, started)
        kill_all(started)
    assert newest(killed) == ["step-000003"]
    assert [line["step"] for line in lines(killed)] == [1, 2, 3, 4]
    with (killed / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # the machine went down while it was written
    (killed.parent / "paused").unlink()

    with job(killed, TOY_PAUSE="saving 7") as started:  # five files and the folder are step 5's; this is step 6's first
        wait_paused(killed, started)
        kill_all(started)
    assert newest(killed) == [".step-000006", "step-000005"]
    (killed.parent / "paused").unlink()

    with job(killed, TOY_FULL="1") as started:
        statuses, said = ended(killed, started)
    assert statuses == {"1"}
    assert "the checkpoint of step 6 cannot be written" in said
    assert "that of step 5 stays" in said
    assert newest(killed) == ["step-000005"]

    with job(killed, TOY_PAUSE="loss 5") as started:  # in the eighth update
        paused = wait_paused(killed, started)
        for pid in [started.pid, *ranks_of(started)]:
            os.kill(pid, signal.SIGTERM)  # torchrun sends it on: each process gets two
        paused.unlink()
        assert ended(killed, started)[0] == {"75"}
    assert newest(killed) == ["step-000008"]

    with job(killed) as started:
        statuses, said = ended(killed, started)
    assert statuses == {"0"}, said
    assert results(killed) == results(whole)
    assert {*results(whole)} >= {
        "weights/toy.safetensors",
        "checkpoints/step-000010/optimiser.safetensors",
        "validation/step-000005/sum.txt",
    }
    without_time = [
        [{k: v for k, v in line.items() if k not in TIME_S} for line in lines(run)] for run in (whole, killed)
    ]
    assert without_time[0] == without_time[1]
    assert [line["step"] for line in lines(whole)] == list(range(1, 11))


def test_a_signal_while_libraries_are_imported_ends_it_with_75(tmp_path: Path) -> None:
    publish_samples(tmp_path / "samples")
    write_request(tmp_path / "run", tmp_path / "samples")
    command = [sys.executable, "-m", "tasks.training.job", str(tmp_path / "run")]
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while not caught(started.pid) >> (signal.SIGTERM - 1) & 1:
            time.sleep(0.005)
        assert "libtorch" not in Path(f"/proc/{started.pid}/maps").read_text()
        started.send_signal(signal.SIGTERM)
        said, _ = started.communicate(timeout=60)
    finally:
        started.kill()
    assert (started.returncode, said) == (75, "told to stop: goes on from step 0\n")
    assert not (tmp_path / "run" / "checkpoints").exists()


def caught(pid: int) -> int:
    """Signals that a process has handlers for, a bit each."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("SigCgt:")[2].split()[0], 16)
