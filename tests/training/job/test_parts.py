"""The parts of the job: order of samples, randomness, metrics.jsonl, checkpoints, signals."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.training.job.failures import JobError
from tasks.training.job.metrics import MetricsLog, averaged
from tasks.training.job.stopping import Stopping

pytestmark = pytest.mark.models

torch = pytest.importorskip("torch")

from tasks.training.job.checkpoints import Checkpoint, Checkpoints  # noqa: E402
from tasks.training.job.randomness import begin_micro_batch  # noqa: E402
from tasks.training.job.reading import MicroBatch, SampleOrder, read_ahead  # noqa: E402
from tests.support.toy_recipe import write_request  # noqa: E402

ORDER = SampleOrder(seed=0, phase=0, n_samples=13, micro_batch=2, n_processes=2, n_accumulated=2)


def test_an_epoch_shows_every_sample_at_most_once_and_the_next_has_another_order() -> None:
    seen = [ORDER.at(step, micro, rank) for step in range(9) for micro in range(2) for rank in range(2)]
    epochs = [[i for one in seen if one.epoch == epoch for i in one.indices] for epoch in range(6)]
    assert [one.epoch for one in seen] == sorted(one.epoch for one in seen)
    assert all(len(epoch) == 12 and len({*epoch}) == 12 for epoch in epochs)  # the 13th fills no micro-batch
    assert len({tuple(epoch) for epoch in epochs}) == 6
    assert {i for epoch in epochs for i in epoch} == {*range(13)}  # another one is left out each time


def test_the_order_differs_by_seed_and_phase_and_goes_on_anywhere() -> None:
    others = [replace(ORDER, seed=1), replace(ORDER, phase=1)]
    assert all(list(other.after(0, 9, rank=0)) != list(ORDER.after(0, 9, rank=0)) for other in others)
    assert list(ORDER.after(5, 9, rank=1)) == list(ORDER.after(0, 9, rank=1))[10:]


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(JobError, match="1 samples do not fill a micro-batch of 2"):
        replace(ORDER, n_samples=1)


def test_micro_batches_come_in_order_and_are_read_ahead() -> None:
    read: list[int] = []
    threads = set()

    def collate(indices: list[int], epoch: int) -> int:
        time.sleep(0.01 * (indices[0] % 2))
        threads.add(threading.current_thread().name)
        read.append(indices[0])
        return 10 * indices[0]

    batches = read_ahead((MicroBatch([i], 0) for i in range(8)), collate)
    assert next(batches) == (MicroBatch([0], 0), 0)
    time.sleep(0.2)
    assert sorted(read) == [0, 1, 2, 3, 4]  # no further: each may be large
    assert [batch for _, batch in batches] == [10, 20, 30, 40, 50, 60, 70]
    assert all(name.startswith("samples") for name in threads)


def test_every_micro_batch_has_randomness_of_its_own() -> None:
    keys = [(0, 0, 0, 0, 0), (1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (0, 0, 1, 0, 0), (0, 0, 0, 1, 0), (0, 0, 0, 0, 1)]

    def drawn(key: tuple[int, ...]) -> tuple[float, ...]:
        randomness = begin_micro_batch(*key)
        return (torch.rand(()).item(), torch.rand((), generator=randomness.torch).item(), randomness.numpy.random())

    values = [number for key in keys for number in drawn(key)]
    assert max(Counter(values).values()) == 1  # nor is dropout's that of the noise
    assert [number for key in keys for number in drawn(key)] == values


def test_metrics_are_averaged_over_those_who_have_them() -> None:
    nan = float("nan")
    averages = averaged([{"loss": 1.0, "aas": nan}, {"loss": 2.0, "aas": 0.5}, {"loss": 6.0, "verb": nan}])
    assert averages == {"loss": 3.0, "aas": 0.5, "verb": None}


def test_metrics_are_cut_back(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in range(1, 5):
        log.add({"step": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2')  # half a line, whatever it would have been
    log.cut_back(3)
    log.add({"step": 4})
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3, 4]


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    request = write_request(tmp_path / "run", tmp_path)
    return Checkpoints(tmp_path / "run" / "checkpoints", request)


def made(step: int) -> Checkpoint:
    return Checkpoint(step, 1.5, "cpu, 1 threads", {"w": torch.full((3,), step + 0.1)}, {"w.step": torch.tensor(1.0)})


def test_a_checkpoint_comes_back_and_the_one_before_goes(checkpoints: Checkpoints, tmp_path: Path) -> None:
    assert checkpoints.load() is None
    for step in (1, 2, 1_000_000):
        checkpoints.save(made(step))
        loaded = checkpoints.load()
        assert loaded is not None
        assert (loaded.step, loaded.seconds, loaded.machine) == (step, 1.5, "cpu, 1 threads")
        assert torch.equal(loaded.weights["w"], made(step).weights["w"])
        assert len(list((tmp_path / "run/checkpoints").iterdir())) == 1


def test_the_one_before_stays_until_the_next_is_whole(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(made(1))
    renamed = os.rename
    seen = []

    def look(self: Path, target: Path) -> None:
        seen.append(checkpoints.newest())
        renamed(self, target)
        seen.append(checkpoints.newest())

    monkeypatch.setattr(Path, "rename", look)
    checkpoints.save(made(2))
    assert seen == [1, 2]


def test_a_damaged_checkpoint_is_told_of(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(made(3))
    weights = tmp_path / "run/checkpoints/step-000003/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(JobError, match=r"step-000003 cannot be read.*delete the run's checkpoints"):
        checkpoints.load()


def test_a_pickle_is_never_read(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(made(3))
    torch.save({"w": torch.zeros(3)}, tmp_path / "run/checkpoints/step-000003/weights.safetensors")
    with pytest.raises(JobError, match="cannot be read"):
        checkpoints.load()


def test_a_second_signal_changes_nothing() -> None:
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        stopping = Stopping.installed()
        assert not stopping.asked
        for signum in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), signum)
            assert stopping.asked
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
