"""What all trainings share: their config, the flow around a job, its progress, the command.

    class TrainDsr(TrainConfig):          a recipe's settings are the section `training`; `variant` fills it
    train_dsr = training_flow(TrainDsr)   samples and config -> a run's request -> its job -> the published run
    FLOW = TrainingFlow(TrainDsr, train_dsr)

The optimisation is a job of its own (tasks/training/job/), which torchrun starts. The flow waits for it: it can be
killed at any moment, and the same command, or Retry, goes on.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from prefect import flow
from prefect.runtime import flow_run as current_run
from prefect.states import Cancelled
from prefect.utilities.urls import url_for
from pydantic import BaseModel, Field, GetJsonSchemaHandler, field_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from flows.engine.command import FlowCommand, look_before
from flows.engine.config import DispatchConfig
from flows.engine.display import listener_for
from flows.engine.options import FlowConfig, given_in, may_be_null, section_kind
from flows.engine.process import LAST_WORDS_S, at_stop
from flows.engine.reviving import crash_silent_parents
from flows.engine.run_form import FORM_HELP, closed_section, decided_field, in_order, section_field, unstated_field
from flows.engine.steps import going_on, in_run, run_logger, run_step
from flows.engine.training_page import TrainingPage
from flows.engine.workers import on_this_worker, this_worker
from schemas.config import StageConfig, title_of
from schemas.storage import DataPath, ObjectPath, write_atomic
from schemas.training_run import CHECKPOINTS, MANIFEST, REQUEST, RunRequest
from tasks.engine.lease import Holder, held
from tasks.engine.snapshots import Snapshot
from tasks.engine.work import unwritable_is_a_service_down
from tasks.training import launch
from tasks.training.identity import file_digest, library_versions
from tasks.training.launch import Job, JobStopped, LaunchConfig, RunRefused, at_work_of
from tasks.training.progress import TrainingProgress
from tasks.training.recipe import Phase, code_version, load_recipe
from tasks.training.runs.publish import publish_run

Variants = Mapping[str, Mapping[str, Any]]


def choices_of(variants: Variants) -> dict[str, dict[str, Mapping[str, Any]]]:
    """A recipe's variants as what they fill in a TrainConfig."""
    return {name: {"training": values} for name, values in variants.items()}


class TrainConfig(FlowConfig):
    """What every training can be told."""

    recipe_name: ClassVar[str]
    chosen_by: ClassVar[str] = "variant"

    samples: DataPath = Field(
        description="Root of `triptych prepare ...-samples`: its samples are trained on; a path or s3://bucket/prefix"
    )
    snapshot: str = Field("latest", description="Id of the samples' snapshot")
    runs: DataPath = Field(Path("runs"), description="Folder for runs, on a disk: each has a folder RECIPE-HASH in it")
    launch: LaunchConfig = Field(LaunchConfig(), description="How the job is started")

    # Each recipe's class has its own type of settings here.
    training: StageConfig = Field(StageConfig(), description="The recipe's settings")

    @classmethod
    def asked_in(cls, section: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Null is no answer for a setting that cannot be null: it is the run form's `By variant`."""
        return _answers(cls.sections()[section], given)

    @classmethod
    def told_by_choice(cls, section: str, name: str) -> str:
        """ "default: 128; official: 16": variants that change nothing are not listed."""
        by_variant = cls.by_profile(section, name)
        if not by_variant:
            return ""
        first, *others = by_variant.items()
        changed = [f"; {variant}: {value}" for variant, value in others if value != first[1]]
        return f"default: {first[1]}{''.join(changed)}"

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema that Prefect's run form is drawn from: flows/engine/run_form.py."""
        schema = handler(core_schema)
        form = handler.resolve_ref_schema(schema)
        properties = form["properties"]
        training = handler.resolve_ref_schema(properties["training"])
        opened = cls._opened(handler, cls.sections()["training"], training, "")
        properties["training"] = closed_section(properties["training"], opened)
        how = handler.resolve_ref_schema(properties["launch"])
        default = cls.default_of("launch").model_dump(mode="json")
        properties["launch"] = section_field(properties["launch"], how, default, {})
        first = [name for name in cls.first_options if name in properties]
        form["properties"] = in_order(properties, dict.fromkeys([*first, *properties]))
        form["description"] = f"{form['description']} {FORM_HELP}"
        return schema

    @classmethod
    def _opened(
        cls, handler: GetJsonSchemaHandler, kind: type[BaseModel], schema: JsonSchemaValue, before: str
    ) -> JsonSchemaValue:
        """A section whose fields state no default: what is not chosen is not posted, and the variant decides."""
        fields = {}
        for name, field in schema["properties"].items():
            info, path = kind.model_fields[name], f"{before}{name}"
            if inner := section_kind(info):
                referred = cls._opened(handler, inner, handler.resolve_ref_schema(field), f"{path}.")
                about = {"title": field.get("title", title_of(name)), "description": field.get("description", "")}
                fields[name] = {**referred, **about}
                continue
            told = cls.told_by_choice("training", path) or f"default: {cls.default_of(f'training.{path}')}"
            told = told[0].upper() + told[1:]
            fields[name] = (
                unstated_field(field, told) if may_be_null(info) else decided_field(field, told, "By variant")
            )
        opened = {**schema, "properties": in_order(fields, fields)}
        opened.pop("required", None)
        return opened

    @field_validator("samples", "runs", mode="before")
    @classmethod
    def _is_named(cls, root: Any) -> Any:
        if root == "":
            raise ValueError("it is empty; name a folder (deployed: export it before `triptych deploy`)")
        return root

    @field_validator("runs")
    @classmethod
    def _is_on_a_disk(cls, runs: Any) -> Any:
        if isinstance(runs, ObjectPath):
            raise ValueError("a job saves to a disk: give a folder that all workers share")
        return runs

    def require_inputs(self) -> None:
        """Look before a server is started for it. Raises SnapshotError."""
        Snapshot.open(self.samples, self.snapshot)

    def require_same_everywhere(self) -> None:
        """A worker runs each flow run in a folder of its own, and deletes it at the end. Raises RunRefused."""
        for name in ("samples", "runs"):
            path = getattr(self, name)
            if isinstance(path, Path) and not path.is_absolute():
                raise RunRefused(f"--{name} is {path}, which is another place on each worker; name an absolute path")


def _answers(kind: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values without the nulls of settings that cannot be null."""
    found = {}
    for name, value in given.items():
        field = kind.model_fields.get(name)
        inner = section_kind(field) if field else None
        if inner and isinstance(value, dict | BaseModel):
            found[name] = _answers(inner, given_in(value))
        elif value is not None or (field and may_be_null(field)):
            found[name] = value
    return found


# --- What would run ----------------------------------------------------------------------------


class Plan(NamedTuple):
    """A run before its job is started."""

    folder: Path
    request: RunRequest
    phases: Sequence[Phase]
    n_samples: int
    splits: Counter[str]  # split -> samples of the snapshot

    @property
    def n_steps(self) -> int:
        return sum(phase.optimisation.n_steps for phase in self.phases)

    @property
    def is_done(self) -> bool:
        return (self.folder / MANIFEST).is_file()

    @property
    def has_begun(self) -> bool:
        """Is there a checkpoint?"""
        return any((self.folder / CHECKPOINTS).glob("step-*"))

    def earlier(self) -> RunRequest | None:
        """What the run in its folder was made from; None if there is none."""
        path = self.folder / REQUEST
        return RunRequest.from_json(path.read_bytes()) if path.is_file() else None


def plan_run(config: TrainConfig) -> Plan:
    """What a run of this config is. Raises SnapshotError, ServiceDown, RunRefused."""
    recipe = load_recipe(config.recipe_name)
    samples = Snapshot.open(config.samples, config.snapshot)
    samples.require_flow(f"prepare-{recipe.samples}")
    libraries = library_versions()
    if config.launch.accelerate_config is not None:
        libraries.append(file_digest(config.launch.accelerate_config))
    request = RunRequest(
        recipe=config.recipe_name,
        config=config.training.model_dump_json(),
        snapshot_id=samples.id,
        samples=str(samples.folder.absolute() if isinstance(samples.folder, Path) else samples.folder),
        base_model=recipe.base_model(config.training),
        n_processes=config.launch.n_processes,
        micro_batch=config.launch.micro_batch,
        code=code_version(config.recipe_name),
        libraries=libraries,
    )
    trainer = recipe.trainer(config.training, samples)
    assert isinstance(config.runs, Path)
    plan = Plan(
        folder=config.runs.absolute() / request.run_id,
        request=request,
        phases=list(trainer.phases),
        n_samples=trainer.n_samples,
        splits=Counter(samples.scan("samples").select("split").collect()["split"].to_list()),
    )
    require_runnable(plan)
    return plan


def require_runnable(plan: Plan) -> None:
    """Raises RunRefused if such a run cannot be, or cannot go on from what lies in its folder."""
    request = plan.request
    if not plan.n_samples:
        raise RunRefused(f"{request.snapshot_id} has no sample that this config trains on")
    at_once = request.n_processes * request.micro_batch
    for phase in plan.phases:
        if (batch := phase.optimisation.batch_size) % at_once:
            raise RunRefused(
                f"phase {phase.name}: a batch of {batch} is no multiple of {request.n_processes} processes x "
                f"{request.micro_batch} samples at once: change one of the three"
            )
    earlier = plan.earlier()
    if earlier is None or plan.is_done or not plan.has_begun:
        return
    if differing := request.differing(earlier):
        told = "; ".join(f"{name} {_told(was, now)}" for name, (now, was) in differing.items())
        raise RunRefused(
            f"{plan.folder} was begun otherwise, and would end otherwise: {told}. Go on with what it was begun with; "
            "to train anew, give another --runs or delete that folder"
        )


def _told(was: Any, now: Any) -> str:
    """ "2 (now 4)"; of lists what differs"""
    if isinstance(was, list) and isinstance(now, list):
        was, now = (", ".join(x for x in one if x not in other) or "-" for one, other in ((was, now), (now, was)))
    was, now = (f"{str(value)[:12]}..." if len(str(value)) == 64 else value for value in (was, now))  # a SHA-256
    return f"{was} (now {now})"


def plan_lines(plan: Plan, config: TrainConfig) -> Iterator[str]:
    """What would run, for people."""
    request, progress = plan.request, TrainingProgress(plan.folder, plan.n_steps)
    if plan.is_done:
        state = "done already: a run would return at once"
    elif plan.has_begun:
        state = f"would go on after step {progress.done}, or its last checkpoint"
    else:
        state = "would begin"
    told = ", ".join(f"{n} {split}" for split, n in sorted(plan.splits.items()))
    processes = f"{request.n_processes} process{'es' if request.n_processes > 1 else ''}"
    yield f"{'run':<11} {plan.folder}: {state}"
    yield f"{'samples':<11} {request.snapshot_id}: {told}; {plan.n_samples} are trained on"
    yield f"{'base model':<11} {request.base_model}"
    yield f"{'processes':<11} {processes} here, {request.micro_batch} samples at once in each"
    for phase in plan.phases:
        how = phase.optimisation
        parts = how.batch_size // (request.n_processes * request.micro_batch)
        yield (
            f"{'phase':<11} {phase.name}: {how.n_steps} steps of {how.batch_size} samples ({parts} micro-batches a "
            f"process), {how.n_steps * how.batch_size / plan.n_samples:.3g} epochs"
        )
    yield f"{'command':<11} {' '.join(launch.command_of(config.launch, plan.folder))}"


# --- The run -----------------------------------------------------------------------------------


def training_flow(config_type: type[TrainConfig]) -> Any:
    """A recipe's flow: config -> the published run's folder.

    It returns at once if the run is done, and goes on with one that was stopped. One start at a time works at a run.
    Raises SnapshotError, ServiceDown, RunRefused, JobFailed; JobStopped outside of Prefect, where its state is
    Cancelled.
    """
    name = f"train-{config_type.recipe_name}"

    def train(config: Any) -> Any:
        log = run_logger()
        with going_on(), on_this_worker(log):
            if this_worker() is not None:
                config.require_same_everywhere()
                crash_silent_parents(DispatchConfig(), log)
            try:
                return str(train_run(config, name, log))
            except JobStopped as stopped:
                if not in_run():
                    raise
                return Cancelled(message=str(stopped))

    # Prefect reads parameters and their types from the function: each flow's has its own config.
    train.__annotations__ |= {"config": config_type, "return": Any}
    train.__name__ = train.__qualname__ = name.replace("-", "_")
    train.__module__ = config_type.__module__
    return flow(name=name, validate_parameters=True)(train)


def train_run(config: TrainConfig, flow_name: str, log: Any) -> Path:
    """Train what a config describes, or go on with it, and publish the run; its folder."""
    plan = run_step("plan_run", plan_run, config)
    run_id = current_run.id if in_run() else None
    holder = Holder.here(flow_name, plan.folder.name, run_id, url_for("flow-run", run_id) if run_id else None)
    with unwritable_is_a_service_down("train", plan.folder), held(at_work_of(plan.folder), holder, log) as lease:
        if plan.is_done:  # maybe by the start that this one waited for
            log.info("%s: done already", plan.folder)
            return plan.folder
        require_runnable(plan)
        write_atomic(plan.folder / REQUEST, plan.request.to_json())
        job_ended = run_step("train", follow_job, plan, config.launch, log, lease.release)
        job_ended()
        run_step("publish_run", publish_run, plan.folder)
    log.info("run %s", plan.folder)
    return plan.folder


def follow_job(plan: Plan, config: LaunchConfig, log: Any, release: Callable[[], None]) -> Callable[[], None]:
    """Run the job to its end, telling how far it is. Returns what raises JobStopped or JobFailed unless it is done.

    release: called if a signal ends this process, when the job has saved
    """
    progress = TrainingProgress(plan.folder, plan.n_steps)
    page = TrainingPage(plan.request.recipe, progress)
    signalled = threading.Event()
    log.info("%s: step %d of %d is done", plan.folder.name, progress.done, plan.n_steps)
    with Job.started(plan.folder, config, log) as job:

        def end(_: Any) -> None:
            signalled.set()
            log.info("the job is told to save, and has %g s for it; a second signal does not wait", config.save_s)
            job.stop()
            job.wait()
            release()

        with at_stop(end, config.save_s + launch.KILL_S), listener_for(log).follow(progress) as look:
            for _ in job.follow():
                progress.read()
                look()
                page.show()
            progress.read()
            page.show(is_last=True)
    if signalled.is_set():
        threading.Event().wait(LAST_WORDS_S)  # the thread that takes signals ends this process now
    return job.require_done


# --- The command -------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingFlow(FlowCommand):
    """What a training's flow file gives to the commands."""

    train: Any  # the Prefect flow: config -> the run's folder

    @property
    def flow_name(self) -> str:
        return f"train-{self.config.recipe_name}"

    def look(self, config: TrainConfig) -> Iterator[str]:
        return plan_lines(plan_run(config), config)

    def run(self, config: TrainConfig) -> Path:
        """Run the flow. Raises ServiceDown before anything is done if the API does not answer; JobStopped."""
        api = look_before(config.runs, "--runs")
        if api is None:
            return Path(self.train.fn(config))
        with api.followed():
            state = self.train(config, return_state=True)
        if state.is_cancelled():
            raise JobStopped(state.message or "it was cancelled")
        return Path(state.result())
