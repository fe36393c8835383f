"""The job in one process, without torchrun: what it refuses, what it writes, how it ends."""

from __future__ import annotations

import json
import math
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.training.job.stopping import Stopping

pytestmark = pytest.mark.models

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from tasks.training.job.failures import JobError  # noqa: E402
from tasks.training.job.loop import Stopped, train  # noqa: E402
from tests.support import toy_recipe  # noqa: E402
from tests.support.toy_recipe import (  # noqa: E402
    FIRST,
    N_SAMPLES,
    SECOND,
    WIDTH,
    ToyTrainer,
    ToyTraining,
    publish_samples,
    write_request,
)

SHORT = ToyTraining(
    first=FIRST.model_copy(update={"n_steps": 2, "checkpoint_every": 1}),
    second=SECOND.model_copy(update={"n_steps": 3}),
)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    publish_samples(tmp_path / "samples")
    return tmp_path / "samples"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    folder = tmp_path_factory.mktemp("done")
    publish_samples(folder / "samples")
    write_request(folder / "run", folder / "samples")
    train(folder / "run", Stopping())
    return folder / "run"


class StopsAfter(Stopping):
    """Told to stop when it is looked at the n-th time: at the start, after each update, and after a validation."""

    def __init__(self, n_looks: int) -> None:
        self._left = n_looks

    @property
    def asked(self) -> bool:  # type: ignore[override]
        self._left -= 1
        return self._left < 0


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """No file can grow beyond so much."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def steps(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_a_line_tells_of_every_update(done: Path) -> None:
    told = lines(done)
    assert [line["step"] for line in told] == list(range(1, 11))
    assert [line["phase"] for line in told] == ["first"] * 4 + ["second"] * 6
    assert [line["phase_two"] for line in told] == [0.0] * 4 + [1.0] * 6
    assert all(line["never"] is None for line in told)  # NaN is not JSON
    assert all(line["loss"] > 0 and line["gradient_norm"] > 0 and line["samples_per_s"] > 0 for line in told)
    assert told[-1]["seconds"] > told[0]["seconds"] > 0
    # a constant rate; then a warm-up of two updates and a cosine over the other four
    cosine = [0.5 * (1 + math.cos(math.pi * part / 4)) for part in range(4)]
    assert [line["learning_rate"] for line in told] == pytest.approx([1e-4 * f for f in (1, 1, 1, 1, 0, 0.5, *cosine)])


def test_only_what_is_trained_is_saved_and_it_was_trained(done: Path) -> None:
    weights = load_file(done / "checkpoints/step-000010/weights.safetensors")
    assert {name: tuple(one.shape) for name, one in weights.items()} == {"3.weight": (WIDTH, WIDTH), "3.bias": (WIDTH,)}
    optimiser = load_file(done / "checkpoints/step-000010/optimiser.safetensors")
    assert {name: optimiser[name].item() for name in optimiser if name.endswith("step")} == {
        "3.weight.step": 6.0,  # the second phase has an optimiser of its own
        "3.bias.step": 6.0,
    }
    assert torch.equal(load_file(done / "weights/toy.safetensors")["weight"], weights["3.weight"])
    assert steps(done) == ["step-000010"]


def test_validations_are_made_at_their_steps_and_listed(done: Path) -> None:
    listed = json.loads((done / "validation/index.json").read_text())
    assert [one["step"] for one in listed] == [5, 10]
    assert all((done / one["video"]).is_file() for one in listed)
    assert not (done / ".validation").exists()


def test_a_run_that_is_done_is_left_as_it_is(done: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*")}
    train(done, Stopping())
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*")} == before


@pytest.mark.parametrize("n_looks", [0, 1, 4, 8])
def test_a_run_that_was_told_to_stop_goes_on_to_the_same_bits(
    done: Path, samples: Path, tmp_path: Path, n_looks: int
) -> None:
    run = tmp_path / "run"
    write_request(run, samples)
    with pytest.raises(Stopped):
        train(run, StopsAfter(n_looks))
    while True:
        try:
            train(run, StopsAfter(3))
        except Stopped:
            continue
        break
    for name in ("weights", "optimiser"):
        file = f"checkpoints/step-000010/{name}.safetensors"
        assert (run / file).read_bytes() == (done / file).read_bytes()
    assert (run / "validation/index.json").read_bytes() == (done / "validation/index.json").read_bytes()
    assert [line["loss"] for line in lines(run)] == [line["loss"] for line in lines(done)]


def test_a_full_disk_leaves_the_checkpoint_before(samples: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_request(run, samples, SHORT)
    with pytest.raises(Stopped):
        train(run, StopsAfter(1))
    with full_disk(2**13), pytest.raises(JobError, match=r"step 2 cannot be written.*that of step 1 stays.*Make room"):
        train(run, Stopping())
    assert steps(run) == ["step-000001"]
    train(run, Stopping())
    assert steps(run) == ["step-000005"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"config": SHORT.model_copy(update={"seed": 1})}, r"config\.seed is 1, step-000001 has 0"),
        (
            {"config": SHORT.model_copy(update={"second": SECOND.model_copy(update={"n_steps": 4})})},
            r"config\.second\.n_steps is 4",
        ),
        ({"snapshot_id": "toy-2"}, "snapshot_id is 'toy-2', step-000001 has 'toy-1'"),
        ({"micro_batch": 4}, "micro_batch is 4, step-000001 has 2"),
        ({"n_processes": 2}, "n_processes is 2, this job has 1"),
        ({"code": "0" * 64}, "code is '0000"),
        ({"libraries": ["torch 1.0.0"]}, r"libraries is \['torch 1.0.0'\]"),
        ({"base_model": "another"}, "base_model is 'another', this job has 'drawn'"),
    ],
)
def test_another_training_is_refused_and_the_difference_named(
    samples: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    run = tmp_path / "run"
    write_request(run, samples, SHORT)
    with pytest.raises(Stopped):
        train(run, StopsAfter(1))
    before = (run / "metrics.jsonl").read_bytes()
    write_request(run, samples, changes.pop("config", SHORT), **changes)
    with pytest.raises(JobError, match=named):
        train(run, Stopping())
    assert (run / "metrics.jsonl").read_bytes() == before
    assert steps(run) == ["step-000001"]


def test_a_snapshot_may_be_moved(samples: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_request(run, samples, SHORT)
    with pytest.raises(Stopped):
        train(run, StopsAfter(1))
    samples.rename(tmp_path / "elsewhere")
    with pytest.raises(JobError, match="is not the samples' snapshot toy-1: was it moved"):
        train(run, Stopping())
    write_request(run, tmp_path / "elsewhere", SHORT)
    train(run, Stopping())


def test_a_loss_that_is_not_finite_stops_it_and_names_step_and_samples(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(N_SAMPLES, WIDTH))
    numbers[3] = np.nan
    publish_samples(tmp_path / "samples", numbers)
    run = tmp_path / "run"
    write_request(run, tmp_path / "samples")
    with pytest.raises(JobError, match=r"the loss of step (\d) is not finite; samples \[.*\b3\b.*\]") as stopped:
        train(run, Stopping())
    assert f"step {len(lines(run)) + 1} " in str(stopped.value)
    named = json.loads(str(stopped.value).partition("samples ")[2].partition(".")[0])
    assert len(named) == 2  # of the micro-batch, not of the whole update


def test_a_gradient_that_is_not_finite_stops_it(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ToyTrainer.loss

    def loss(self: ToyTrainer, module: Any, *others: Any) -> Any:
        given = honest(self, module, *others)
        root = torch.sqrt(module[3].bias.sum() * 0)  # 0 with an infinite derivative
        return given._replace(total=given.total + root)

    monkeypatch.setattr(ToyTrainer, "loss", loss)
    write_request(tmp_path / "run", samples)
    with pytest.raises(JobError, match=r"the gradient \(norm nan\) of step 1 is not finite; samples \[(\d+, ){7}\d+\]"):
        train(tmp_path / "run", Stopping())


def test_samples_that_cannot_be_read_are_named(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyTrainer, "collate", lambda *_: (_ for _ in ()).throw(ValueError("cut off")))
    write_request(tmp_path / "run", samples)
    with pytest.raises(JobError, match=r"samples \[\d+, \d+\] cannot be read: ValueError: cut off"):
        train(tmp_path / "run", Stopping())


def test_a_validation_that_was_killed_is_made_again_and_earlier_ones_stay(
    done: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ToyTrainer.validate

    def killed(self: ToyTrainer, module: Any, folder: Path, step: int) -> Any:
        made = honest(self, module, folder, step)
        if step == 10:
            raise KeyboardInterrupt
        return made

    run = tmp_path / "run"
    write_request(run, samples)
    monkeypatch.setattr(ToyTrainer, "validate", killed)
    with pytest.raises(KeyboardInterrupt):
        train(run, Stopping())
    monkeypatch.undo()
    assert steps(run) == ["step-000010"]  # saved before
    assert [one["step"] for one in json.loads((run / "validation/index.json").read_text())] == [5]
    shutil.copytree(run / ".validation/validation/step-000010", run / "validation/step-000010")  # moved, not listed
    (run / "validation/step-000010/half.mp4").touch()
    train(run, Stopping())
    made, expected = (
        {str(path.relative_to(one)): path.read_bytes() for path in (one / "validation").rglob("*") if path.is_file()}
        for one in (run, done)
    )
    assert made == expected


def test_without_its_checkpoint_a_run_begins_anew(done: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(done, run)
    shutil.rmtree(run / "checkpoints")
    for path in (run / "metrics.jsonl", run / "weights/toy.safetensors"):
        path.write_bytes(b'{"step": 1}\n')
    (run / "validation/step-000005/sum.txt").write_text("of another config")
    train(run, Stopping())
    for name in ("weights/toy.safetensors", "validation/step-000005/sum.txt", "validation/index.json"):
        assert (run / name).read_bytes() == (done / name).read_bytes()
    assert [line["loss"] for line in lines(run)] == [line["loss"] for line in lines(done)]


def test_trained_parameters_are_kept_in_float32(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ToyTrainer.build
    monkeypatch.setattr(ToyTrainer, "build", lambda self, device: honest(self, device).bfloat16())
    write_request(tmp_path / "run", samples)
    with pytest.raises(JobError, match=r"kept in float32; 3\.weight is torch\.bfloat16"):
        train(tmp_path / "run", Stopping())


def test_a_batch_that_does_not_divide_is_refused(samples: Path, tmp_path: Path) -> None:
    write_request(tmp_path / "run", samples, micro_batch=3)
    with pytest.raises(JobError, match="a batch of 8 does not divide among 1 processes with 3 samples at once"):
        train(tmp_path / "run", Stopping())


def test_accumulated_gradients_are_those_of_the_whole_batch(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without randomness, four micro-batches of two make the update of one of eight."""
    monkeypatch.setattr(ToyTrainer, "collate", lambda self, indices, epoch: torch.ones(len(indices), WIDTH))
    monkeypatch.setattr(
        ToyTrainer,
        "loss",
        lambda self, module, batch, randomness, phase: toy_recipe.Loss(module[3](batch).square().mean(), {}),
    )
    norms = []
    for micro_batch in (2, 8):
        run = tmp_path / f"run-{micro_batch}"
        write_request(run, samples, micro_batch=micro_batch)
        train(run, Stopping())
        norms.append([line["gradient_norm"] for line in lines(run)])
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def test_a_tracker_that_accelerate_does_not_know_is_refused(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_TRACKERS", "tensorbord")
    write_request(tmp_path / "run", samples)
    with pytest.raises(JobError, match=r"names 'tensorbord'; there are .*tensorboard"):
        train(tmp_path / "run", Stopping())
