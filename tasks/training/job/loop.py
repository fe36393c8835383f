"""The loop that trains: phases one after the other, updates, checkpoints, validation, weights.

    train(Path("runs/matrix-3f9c2a71b0de"), Stopping.installed())

An update is n_accumulated micro-batches in each process. What it does follows from the request and its step: samples
(reading.py), randomness (randomness.py), learning rate (Optimisation.learning_rate_at). So a checkpoint holds no more
than the trained parameters and AdamW's state, and a job that goes on from it makes the updates of an unbroken one.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.storage import parse_path
from schemas.training_run import CHECKPOINTS, METRICS, REQUEST, WEIGHTS, RunRequest
from tasks.engine.snapshots import Snapshot
from tasks.training.identity import library_versions
from tasks.training.job.checkpoints import Checkpoint, Checkpoints, publish_folder, require_same
from tasks.training.job.failures import JobError
from tasks.training.job.metrics import MetricsLog, averaged
from tasks.training.job.processes import Processes
from tasks.training.job.randomness import begin_build, begin_micro_batch
from tasks.training.job.reading import SampleOrder, read_ahead
from tasks.training.job.stopping import Stopping
from tasks.training.job.validation import Validations
from tasks.training.optimisation import Optimisation
from tasks.training.recipe import Phase, Trainer, code_version, load_recipe

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


class Stopped(Exception):
    """The job was told to stop, and can go on."""

    def __init__(self, step: int, told_by_main: bool) -> None:
        super().__init__(f"told to stop: goes on from step {step}")
        self.told_by_main = told_by_main


def train(folder: Path, stopping: Stopping) -> None:
    """Train a run to its end. Raises Stopped, JobError, OtherProcessFailed, ServiceDown."""
    started_s = time.monotonic()
    processes = Processes(folder)
    request = _read_request(folder)
    recipe = load_recipe(request.recipe)
    config: Any = recipe.config.model_validate_json(request.config)
    processes.first(lambda: require_same(request, _this(request, processes.n, recipe.base_model(config)), "this job"))
    Checkpoints(folder / CHECKPOINTS, request).require_same()
    trainer = recipe.trainer(config, _open_samples(request))
    _Job(folder, request, config.seed, trainer, processes, stopping, started_s).run()
    processes.end()


def _read_request(folder: Path) -> RunRequest:
    try:
        return RunRequest.from_json((folder / REQUEST).read_bytes())
    except (OSError, ValueError) as error:
        raise JobError(f"{folder} is no run: {error}; give the folder that `triptych train` made") from error


def _this(request: RunRequest, n_processes: int, base_model: str) -> RunRequest:
    """The request that this job would have been asked with."""
    libraries = library_versions()
    here = {
        "n_processes": n_processes,
        "code": code_version(request.recipe),
        "libraries": libraries + request.libraries[len(libraries) :],  # the launcher may name more
        "base_model": base_model,
    }
    return request.model_copy(update=here)


def _open_samples(request: RunRequest) -> Snapshot:
    snapshot = Snapshot(parse_path(request.samples))
    if not snapshot.exists or snapshot.id != request.snapshot_id:
        raise JobError(
            f"{snapshot.folder} is not the samples' snapshot {request.snapshot_id}: was it moved or deleted?"
        )
    return snapshot


@dataclass
class _Job:
    """One training in one process."""

    folder: Path
    request: RunRequest
    seed: int
    trainer: Trainer
    processes: Processes
    stopping: Stopping
    started_s: float  # of time.monotonic()

    def run(self) -> None:
        """From the newest checkpoint, or from the beginning."""
        self.checkpoints = Checkpoints(self.folder / CHECKPOINTS, self.request)
        self.metrics = MetricsLog(self.folder / METRICS)
        self.validations = Validations(self.folder)
        self.resumed = self.checkpoints.load()
        self.step = self.resumed.step if self.resumed else 0
        self.saved_at = self.step
        self.started_s -= self.resumed.seconds if self.resumed else 0.0
        phases = list(self.trainer.phases)
        self.n_steps = sum(phase.optimisation.n_steps for phase in phases)
        if self.step == self.n_steps and (self.folder / WEIGHTS).exists():
            return  # an earlier start had done all
        self.processes.first(self._cut_back)
        self._build()
        self.processes.start_trackers(self.request.recipe, self.request.model_dump())
        first = 0
        for index, phase in enumerate(phases):
            last = first + phase.optimisation.n_steps
            if self.step < last or index == len(phases) - 1:
                self._train_phase(index, phase, first)
            first = last
        self.processes.first(self._save_weights)

    def _cut_back(self) -> None:
        self.checkpoints.clean()
        self.metrics.cut_back(self.step)
        self.validations.cut_back(self.step)
        shutil.rmtree(self.folder / f".{WEIGHTS}", ignore_errors=True)
        shutil.rmtree(self.folder / WEIGHTS, ignore_errors=True)  # of a run whose checkpoint was deleted

    def _build(self) -> None:
        import torch

        begin_build(self.seed)
        self.module = self.trainer.build(self.processes.device)
        self.trained = {name: one for name, one in self.module.named_parameters() if one.requires_grad}
        if wrong := [name for name, one in self.trained.items() if one.dtype != torch.float32]:
            raise JobError(f"trained parameters are kept in float32; {wrong[0]} is {self.trained[wrong[0]].dtype}")
        if self.resumed is None:
            return
        checkpoint = self.resumed
        if self.trained.keys() != checkpoint.weights.keys():
            names = sorted(self.trained.keys() ^ checkpoint.weights.keys())
            raise JobError(f"the checkpoint of step {checkpoint.step} has other parameters: {', '.join(names[:3])}")
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(checkpoint.weights[name])
        if checkpoint.machine != self.processes.machine:
            logger.warning(
                "begun on %s, goes on on %s: the last bits of what follows may differ from an uninterrupted run's",
                checkpoint.machine,
                self.processes.machine,
            )

    def _train_phase(self, index: int, phase: Phase, first: int) -> None:
        """first: updates before the phase."""
        optimisation = phase.optimisation
        self.module.train()
        self.trainer.begin_phase(phase, self.module)
        optimiser = self._new_optimiser(optimisation)
        if self.resumed and self.step > first:  # else the checkpoint is of the end of the phase before
            self._restore(optimiser, self.resumed)
        self.resumed = None  # gigabytes
        order = SampleOrder(
            self.seed,
            index,
            self.trainer.n_samples,
            self.request.micro_batch,
            self.processes.n,
            self._n_accumulated(optimisation),
        )
        after = order.after(self.step - first, optimisation.n_steps, self.processes.rank)
        batches = read_ahead(after, self.trainer.collate)
        try:
            self._between_updates(phase, optimiser)
            while self.step < first + optimisation.n_steps:
                self._update(index, phase, self.step - first, optimiser, batches, order.n_accumulated)
                self._between_updates(phase, optimiser)
        finally:
            batches.close()  # type: ignore[attr-defined]

    def _new_optimiser(self, optimisation: Optimisation) -> torch.optim.AdamW:
        import torch

        return torch.optim.AdamW(
            list(self.trained.values()),
            lr=optimisation.learning_rate,
            betas=optimisation.betas,
            eps=optimisation.eps,
            weight_decay=optimisation.weight_decay,
        )

    def _restore(self, optimiser: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
        for key, value in checkpoint.optimiser.items():
            name, _, part = key.rpartition(".")
            parameter = self.trained[name]
            # AdamW keeps its count of steps on the CPU
            optimiser.state[parameter][part] = value if part == "step" else value.to(parameter.device)

    def _n_accumulated(self, optimisation: Optimisation) -> int:
        at_once = self.processes.n * self.request.micro_batch
        n_accumulated, left_over = divmod(optimisation.batch_size, at_once)
        if left_over or not n_accumulated:
            raise JobError(
                f"a batch of {optimisation.batch_size} does not divide among {self.processes.n} processes with "
                f"{self.request.micro_batch} samples at once; give a batch_size that is a multiple of {at_once}"
            )
        return n_accumulated

    def _update(
        self,
        index: int,
        phase: Phase,
        step: int,
        optimiser: torch.optim.Optimizer,
        batches: Iterator[Any],
        n_accumulated: int,
    ) -> None:
        """One update of the weights. Raises JobError for a loss or a gradient that is not finite."""
        import torch

        began_s = time.monotonic()
        optimisation, device = phase.optimisation, self.processes.device
        mixed = torch.autocast(device.type, torch.bfloat16) if optimisation.precision == "bfloat16" else nullcontext()
        metrics, samples, broken = [], [], []
        for number in range(n_accumulated):
            micro_batch, batch = next(batches)
            randomness = begin_micro_batch(self.seed, index, step, number, self.processes.rank)
            with mixed:
                loss = self.trainer.loss(self.module, self.trainer.to_device(batch, device), randomness, phase)
            (loss.total / n_accumulated).backward()
            value = loss.total.item()
            metrics.append({"loss": value, **loss.metrics})
            samples += micro_batch.indices
            broken += [] if math.isfinite(value) else [micro_batch.indices]
        parameters = list(self.trained.values())
        self.processes.average_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, optimisation.max_grad_norm or math.inf).item()
        everyones = self.processes.gather((metrics, samples, broken))
        self._require_finite(norm, everyones)
        learning_rate = optimisation.learning_rate_at(step)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate
        optimiser.step()
        optimiser.zero_grad()
        self.step += 1
        now_s = time.monotonic()
        line = {
            "step": self.step,
            "phase": phase.name,
            **averaged([one for metrics, _, _ in everyones for one in metrics]),
            "learning_rate": learning_rate,
            "gradient_norm": norm,
            "seconds": now_s - self.started_s,
            "samples_per_s": optimisation.batch_size / (now_s - began_s),
        }
        self.processes.first(lambda: self.metrics.add(line))
        self.processes.track(line)

    def _require_finite(self, norm: float, everyones: list[tuple[Any, list[int], list[list[int]]]]) -> None:
        broken = [indices for _, _, broken in everyones for one in broken for indices in one]
        if not broken and math.isfinite(norm):
            return
        what, which = "loss", broken
        if not broken:
            what, which = f"gradient (norm {norm})", [index for _, samples, _ in everyones for index in samples]
        told = f"the {what} of step {self.step + 1} is not finite; samples {which}"

        def fail() -> None:
            raise JobError(
                f"{told}. The checkpoint before it stays: look at these samples, or begin a run with a lower "
                "learning_rate, a longer warm-up or precision float32"
            )

        self.processes.first(fail)

    def _between_updates(self, phase: Phase, optimiser: torch.optim.Optimizer) -> None:
        """Save and validate if it is time; leave if the job was told to."""
        optimisation, at_the_end = phase.optimisation, self.step == self.n_steps
        validates = at_the_end or (optimisation.validate_every and self.step % optimisation.validate_every == 0)
        stops = any(self.processes.gather(self.stopping.asked)) and not at_the_end
        if validates or stops or at_the_end or self.step % optimisation.checkpoint_every == 0:
            self._save(optimiser)  # before a validation, which takes long: nothing is lost if that is killed
        if validates and not stops:
            self.processes.first(self._validate)
            stops = any(self.processes.gather(self.stopping.asked)) and not at_the_end
        if stops:
            self.processes.end()
            raise Stopped(self.step, self.processes.is_first)

    def _save(self, optimiser: torch.optim.Optimizer) -> None:
        if self.step == self.saved_at:
            return

        def save() -> None:
            weights = {name: parameter.detach().cpu().contiguous() for name, parameter in self.trained.items()}
            names = {parameter: name for name, parameter in self.trained.items()}
            state = {
                f"{names[parameter]}.{part}": value.cpu().contiguous()
                for parameter, parts in optimiser.state.items()
                for part, value in parts.items()
            }
            seconds = time.monotonic() - self.started_s
            self.metrics.sync()  # a checkpoint without its lines would leave a gap
            self.checkpoints.save(Checkpoint(self.step, seconds, self.processes.machine, weights, state))

        self.processes.first(save)
        self.saved_at = self.step

    def _validate(self) -> None:
        if not self.validations.has(self.step):
            self.validations.add(self.trainer, self.module, self.step)

    def _save_weights(self) -> None:
        from safetensors import SafetensorError

        draft, final = self.folder / f".{WEIGHTS}", self.folder / WEIGHTS
        try:
            draft.mkdir()
            self.trainer.save(self.module, draft)
            publish_folder(draft, final)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise JobError(f"{final} cannot be written: {error}; make room, and run again") from error
