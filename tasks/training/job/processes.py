"""The processes of a job: who this one is, and what they do together.

processes = Processes(folder)
processes.gather({"loss": 0.2})            [the first's, the second's, ...], in every process
processes.first(lambda: log.add(line))     in the first process; if it fails there, all fail
processes.average_gradients(parameters)

Gradients are averaged here, once an update, and not by DistributedDataParallel: that sorts its buckets anew after the
first update of every start, and the order in which more than two processes add up then differs after a resume: with
three gloo processes, resumed weights were others. Here they are the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tasks.backends.extras import MODELS
from tasks.training.job.failures import JobError, OtherProcessFailed

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

BUCKET_BYTES = 2**28
PATIENCE = timedelta(hours=6)  # others wait while the first process makes validation videos
TRACKERS = "TRIPTYCH_TRACKERS"  # environment: "tensorboard,wandb"


class Processes:
    """By accelerate: under torchrun or `accelerate launch`, or one process alone."""

    def __init__(self, folder: Path) -> None:
        """Raises JobError for a configuration of accelerate that shards the model, or an unknown tracker."""
        with MODELS.imports():
            import torch
            from accelerate import Accelerator, InitProcessGroupKwargs
            from accelerate.tracking import LOGGER_TYPE_TO_CLASS
            from accelerate.utils import DistributedType
        trackers = [name for name in os.environ.get(TRACKERS, "").split(",") if name]
        for name in trackers:
            if name not in LOGGER_TYPE_TO_CLASS:
                raise JobError(f"{TRACKERS} names {name!r}; there are {', '.join(LOGGER_TYPE_TO_CLASS)}")
        self._accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),  # else it takes torchrun's processes on a CPU for one each
            log_with=trackers or None,
            project_dir=folder / "trackers" if trackers else None,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        if self._accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            raise JobError(
                f"accelerate is configured for {self._accelerator.distributed_type.value}, which this job does not do "
                "yet: every process holds the whole model; run it without"
            )
        self.n = self._accelerator.num_processes
        self.rank = self._accelerator.process_index
        self.device = self._accelerator.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def machine(self) -> str:
        """What bits may depend on beside the request: 'cpu, 1 threads', 'NVIDIA H200'."""
        import torch

        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{self.device.type}, {torch.get_num_threads()} threads"

    def gather(self, value: T) -> list[T]:
        """Everyone's, by rank. Every process calls it."""
        import torch

        if self.n == 1:
            return [value]
        gathered: list[Any] = [None] * self.n
        torch.distributed.all_gather_object(gathered, value)
        return gathered

    def first(self, action: Callable[[], object]) -> None:
        """Do it in the first process; the others wait. Raises its error there, OtherProcessFailed elsewhere."""
        failure: BaseException | None = None
        if self.is_first:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - raised below, when the others know
                failure = error
        failed = self.gather(failure is not None)
        if failure is not None:
            raise failure
        if any(failed):
            raise OtherProcessFailed

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Of all processes, in an order that is always the same. A parameter that no loss reached has gradient zero."""
        import torch

        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.n == 1:
            return
        for bucket in _buckets([parameter.grad for parameter in parameters if parameter.grad is not None]):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            torch.distributed.all_reduce(flat)
            flat /= self.n
            for gradient, part in zip(bucket, flat.split([gradient.numel() for gradient in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def start_trackers(self, name: str, config: Mapping[str, Any]) -> None:
        """Whatever TRIPTYCH_TRACKERS names; none otherwise."""
        if self._accelerator.log_with:
            self._accelerator.init_trackers(name, config={key: str(value) for key, value in config.items()})

    def track(self, line: Mapping[str, Any]) -> None:
        numbers = {name: value for name, value in line.items() if isinstance(value, float)}
        self._accelerator.log(numbers, step=line["step"])

    def end(self) -> None:
        """Every process calls it when the job is done, or stops as it was told."""
        self._accelerator.end_training()


def _buckets(gradients: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """In order, each of about BUCKET_BYTES: a copy of all of them at once would double their memory."""
    bucket: list[torch.Tensor] = []
    n_bytes = 0
    for gradient in gradients:
        bucket.append(gradient)
        n_bytes += gradient.nbytes
        if n_bytes >= BUCKET_BYTES:
            yield bucket
            bucket, n_bytes = [], 0
    if bucket:
        yield bucket
