"""What all curation flows share: the flow around a dataset's function, shards through stages, publishing.

A flow file is a table of its stages and says where their rows come from; the rest is here.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple

from prefect import flow
from prefect.runtime import flow_run as current_run
from prefect.states import Cancelled
from prefect.utilities.urls import url_for

from flows.engine.artifacts import create_artifacts
from flows.engine.cancelling import called_off, cancel_shards
from flows.engine.config import WRITE, CurationConfig
from flows.engine.dispatch import Job, run_shards
from flows.engine.display import listener_for
from flows.engine.first_rows import parts_of, run_part, tell_ended, wants_first_rows
from flows.engine.growing_page import GrowingPage
from flows.engine.process import at_stop
from flows.engine.reviving import crash_silent_parents, rearm_parent
from flows.engine.steps import going_on, in_run, run_logger, run_step
from flows.engine.tags import tag_with_dataset
from flows.engine.workers import on_this_worker, require_same_makers, write_makers
from schemas.outcome import Outcome, RowFailed, ServiceDown, Subject
from schemas.storage import AnyPath, DataPath, at_once
from tasks.engine.dataset import Ledger
from tasks.engine.lease import Holder, held
from tasks.engine.publish import ask_command, publish_snapshot, shortfall, yield_too_low
from tasks.engine.shards import Row, Shard, load_shard, plan_shards
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.engine.stage import AnyStage, Ends, chain_of, recall, run_stage, state_path
from tasks.engine.work import Work, unwritable_is_a_service_down
from tasks.engine.write_shard import ShardDone, find_done, require_done, write_shard
from tasks.pages.address import report_url
from tasks.pages.page import PageContext
from tasks.pages.preview import end_preview, preview_address
from tasks.pages.usage import read_device_times, read_usage

Done = list[tuple[Shard[Any], ShardDone]]


# --- Flows -----------------------------------------------------------------------------------


def curation_flow(config_type: type[CurationConfig]) -> Callable[[Callable[[Any], AnyPath]], Any]:
    """The decorator of a dataset's flow. Its function: config -> the snapshot's folder.

    Before it computes anything, a run looks whether this machine has what all stages need for their keys, and waits
    until no other run works in its root. Its runs bear the dataset's name; who cancels one cancels its shards.
    """

    def decorate(curate: Callable[[Any], AnyPath]) -> Any:
        @wraps(curate)
        def alone(config: Any) -> AnyPath:
            log = run_logger()
            with going_on(), on_this_worker(log):
                stages = config.stages
                crash_silent_parents(config.dispatch, log)
                with held(config.root, _this_run(config), log) as lease, at_stop(lambda _: lease.release()):
                    if config.dispatch.deployment is not None:
                        write_makers(config.work, stages)
                    return curate(config)

        # Prefect reads the parameter's type from here; its name alone means nothing in this module.
        alone.__signature__ = inspect.signature(curate, eval_str=True)  # type: ignore[attr-defined]
        return flow(
            name=config_type.product.flow,
            validate_parameters=True,
            on_running=[tag_with_dataset],
            on_cancellation=[cancel_shards],
        )(alone)

    return decorate


def _this_run(config: CurationConfig) -> Holder:
    run_id = current_run.id if in_run() else None
    url = url_for("flow-run", run_id) if run_id else None
    return Holder.here(config.product.flow, config.dataset, run_id, url)


# --- Shards ----------------------------------------------------------------------------------


def shard_flow(config_type: type[CurationConfig]) -> Any:
    """The flow of one shard through some neighbouring stages: it fails alone and is rerun alone.

    Its parameters: config; shard, the planned shard's file; stages, their names. Its runs are named where they are
    started. It raises ServiceDown when no row of it can be done.
    """

    def curate_shard(config: Any, shard: DataPath, stages: list[str]) -> Any:
        with going_on(), on_this_worker(run_logger()):
            try:
                run_shard(config, shard, stages)
            except CalledOff as why:
                return Cancelled(message=str(why))
        return None

    # Prefect reads parameters and their types from the function: each flow's has its own config.
    curate_shard.__annotations__ |= {"config": config_type, "shard": DataPath, "stages": list[str], "return": Any}
    name = f"{config_type.product.flow}-shard"
    curate_shard.__name__ = curate_shard.__qualname__ = name.replace("-", "_")
    curate_shard.__module__ = config_type.__module__
    return flow(name=name, on_completion=[rearm_parent])(curate_shard)


class CalledOff(Exception):
    """The run that a shard belongs to was cancelled: the shard ends as cancelled, too."""


def run_shard(config: CurationConfig, planned: AnyPath, stages: Sequence[str]) -> None:
    """One shard through some neighbouring stages. Raises ServiceDown when no row of it can be done; CalledOff."""
    before = stages_before(config, stages[0])
    require_same_makers(config.work, [config.stage(name) for name in (*before, *stages) if name != WRITE])
    state = shard_before(config, planned, stages[0])
    ends = {name: Ends(name) for name in stages if name != WRITE}
    # Where stages are routed to other machines, none sees a row through them all.
    goes_first = [*stages] == [*config.shard_stage_names, WRITE] and run_first_rows(config, planned, ends)
    for name in stages:
        go_on()
        if name == WRITE:
            run_step(WRITE, write_tables, config, state)
            continue
        state = run_step(name, run_shard_stage, config, name, state, ends[name])
        if goes_first and name != stages[-2]:  # behind the last stage, the shard's tables tell it at once
            tell_ended(config, load_shard(planned, config.row_payload), ends)


def go_on() -> None:
    """Raises CalledOff."""
    if in_run() and (why := called_off()):
        raise CalledOff(why)


def run_first_rows(config: CurationConfig, planned: AnyPath, ends: Mapping[str, Ends]) -> bool:
    """Does the shard go first? Then its first rows go through all its stages now. ends: learn how they ended"""
    shard = load_shard(planned, config.row_payload)
    if not wants_first_rows(config, shard):
        return False
    for rows in parts_of(shard.rows):
        go_on()
        went_well = run_step("first_rows", run_part, config, shard, rows, ends, run_logger())
        tell_ended(config, shard, ends)
        if not went_well:
            break
    return True


def run_shard_stage(config: CurationConfig, name: str, shard: AnyPath, ends: Ends) -> AnyPath:
    log, rows = run_logger(), load_shard(shard, config.step(name).payload)
    return run_stage(config.work, rows, config.stage(name), log, listener_for(log), ends)


def write_tables(config: CurationConfig, shard: AnyPath) -> None:
    with unwritable_is_a_service_down(WRITE, config.root):
        write_shard(config.work, load_shard(shard, config.row_payload), config.product)


def shard_before(config: CurationConfig, planned: AnyPath, stage: str) -> AnyPath:
    """The shard's state before a stage: its plan, or what the stages before have left (on another machine)."""
    stages = [config.stage(name) for name in stages_before(config, stage)]
    return state_path(config.work, planned.parent.name, stages) if stages else planned


def stages_before(config: CurationConfig, stage: str) -> Sequence[str]:
    order = (*config.shard_stage_names, WRITE)
    return order[: order.index(stage)] if stage in order else ()


def job_of(config: CurationConfig, shard: Shard[Any], name: str, stages: Sequence[str], *, again: bool = False) -> Job:
    path = str(config.work.save_shard(shard))  # as text it crosses to any machine
    parameters = {"config": config, "shard": path}
    return Job(shard_id=shard.shard_id, name=name, parameters=parameters, stages=list(stages), again=again)


def shard_names(kind: str, shards: Sequence[Shard[Any]], unit: str) -> list[str]:
    """What people read of each shard: its place in the plan, and that of its rows, which are counted from 0.

    ["shard 1 of 2, clips 0-63", "shard 2 of 2, clip 64"]
    """
    names, start = [], 0
    for number, shard in enumerate(shards, start=1):
        end = start + len(shard.rows) - 1
        rows = f"{unit} {start}-{end}" if end > start else f"{unit.removesuffix('s')} {start}"
        names.append(f"{kind} {number} of {len(shards)}, {rows}")
        start = end + 1
    return names


def warn_of(outcomes: Sequence[Outcome], log: Any) -> None:
    """Say which lines and files of the input ended before they were rows."""
    for outcome in outcomes:
        log.warning("%s %s: %s", outcome.status, outcome.reason, outcome.detail)


def through_stage(
    config: CurationConfig, shard_flow: Any, name: str, rows: Sequence[Subject], unit: str, log: Any
) -> list[Row]:
    """Rows through one stage before the shards': those known from an earlier run at once, the others in shards.

    unit: what the rows are called, "sources"
    """
    work, stage = config.work, config.stage(name)
    known = at_once(work.root, lambda row: recall(work, stage, Row[Any](payload=row)), rows)
    after = {row.row_id: ended for row, ended in zip(rows, known, strict=True)}
    new = [row for row in rows if after[row.row_id] is None]
    log.info("%s: %d of %d rows are new", name, len(new), len(rows))
    shards = plan_shards(new, config.shard_size)
    names = shard_names(name, shards, unit if len(new) == len(rows) else f"new {unit}")
    jobs = [job_of(config, shard, told, (name,), again=True) for shard, told in zip(shards, names, strict=True)]
    run_shards(shard_flow, jobs, config.dispatch, log, dataset=config.dataset, kind=name)
    for shard in shards:
        for row in load_shard(state_path(work, shard.shard_id, [stage]), config.step(name).payload).rows:
            after[row.payload.row_id] = row
    return [ended for row in rows if (ended := after[row.row_id]) is not None]


def curate_shards(
    config: CurationConfig,
    shard_flow: Any,
    shards: list[Shard[Any]],
    log: Any,
    page: GrowingPage,
    unit: str | None = None,
) -> Done:
    """Shards through all their stages; those that are done already are left as they are.

    page: shows the rows that have ended while the others are at work
    unit: what their rows are called, if not what the yield calls them
    """
    work, chain, unit = config.work, chain_of(config.shard_stages), unit or config.product.row_unit
    done = at_once(work.root, lambda shard: find_done(work, shard.shard_id, chain), shards)
    stages = (*config.shard_stage_names, WRITE)
    jobs = [
        job_of(config, shard, name, stages, again=d is not None)
        for shard, name, d in zip(shards, shard_names("shard", shards, unit), done, strict=True)
        if d is None or d.retryable
    ]
    n_rows = sum(len(shard.rows) for shard in shards)
    log.info("%d %s in %d shards, %d of them to do", n_rows, unit, len(shards), len(jobs))
    kind = "shards" if unit == config.product.row_unit else unit
    n_before = len(shards) - len(jobs)
    todo = {job.shard_id for job in jobs}
    at_work = [shard for shard in shards if shard.shard_id in todo]
    with page.follow(at_work, chain, n_rows - sum(len(shard.rows) for shard in at_work)):
        run_shards(
            *(shard_flow, jobs, config.dispatch, log),
            dataset=config.dataset,
            kind=kind,
            n_before=n_before,
            look=page.look,
        )
    return at_once(work.root, lambda shard: (shard, require_done(work, shard.shard_id, chain)), shards)


# --- Looking ahead -----------------------------------------------------------------------------


class Preview(NamedTuple):
    """What a stage would do in a run."""

    stage: str
    known: int  # rows whose answer an earlier run has left
    to_compute: int
    open: int  # rows of the stages before that are to be computed: how many come here is not known


def preview(
    config: CurationConfig, stages: Sequence[str], payloads: Sequence[Subject], n_open: int = 0
) -> tuple[list[Preview], list[Row[Any]]]:
    """What neighbouring stages would do with rows, and the rows of which the last one's answer is known.

    n_open: rows whose coming here depends on what earlier stages are still to compute
    Reads keys and results, computes nothing.
    """
    known = [Row[Any](payload=payload) for payload in payloads]
    lines = []
    for name in stages:
        stage, rows = config.stage(name), [row for row in known if row.outcome is None]
        known = [row for row in at_once(config.work.root, partial(_recalled, config.work, stage), rows) if row]
        lines.append(Preview(name, len(known), len(rows) - len(known), n_open))
        n_open += len(rows) - len(known)
    return lines, known


def _recalled(work: Work, stage: AnyStage, row: Row[Any]) -> Row[Any] | None:
    try:
        return recall(work, stage, row)
    except RowFailed:  # what its key is made of is gone, so that it is computed again
        return None


# --- The snapshot ----------------------------------------------------------------------------


class ReportFailed(RuntimeError):
    """The snapshot is published and LATEST names it; its page could not be written."""


def finish(config: CurationConfig, ledger: Ledger, shards: Done, log: Any) -> AnyPath:
    """The end of every flow: publish, write the page, tell the yield. Returns the snapshot's folder.

    Raises LedgerError; YieldTooLow or ReportFailed, when all of this is done that can be.
    """
    snapshot = run_step("publish_snapshot", publish, config, ledger, shards)
    report, failure = None, None
    if config.report:
        try:
            report = run_step("write_report", report_on, config, snapshot)
        except Exception as error:  # noqa: BLE001 - whatever it is, the dataset is published, and that is to be told
            failure = error
    close_preview(config, snapshot, report, log)
    show_yield(config, snapshot, report, log)
    if why := shortfall(snapshot.manifest, config.min_yield):
        raise yield_too_low(snapshot, why) from failure
    if n := snapshot.manifest.n_failed:
        log.warning("failed rows: %d; `%s` tells why and what to do", n, ask_command(snapshot, "failed"))
    if failure is not None:
        raise ReportFailed(
            f"{snapshot.folder} is published and LATEST names it, but its page could not be written: "
            f"{type(failure).__name__}: {failure}. The same command writes only the page; --no-report writes none"
        ) from failure
    return snapshot.folder


def publish(config: CurationConfig, ledger: Ledger, shards: Done) -> Snapshot:
    """Publish what the shards left. Raises LedgerError."""
    earlier = Snapshot.latest_readable(config.snapshots)
    with unwritable_is_a_service_down("publish_snapshot", config.root):
        folder = publish_snapshot(
            config.work,
            config.snapshots,
            config.dataset,
            config.product,
            ledger,
            shards,
            min_yield=config.min_yield,
            **config.in_manifest,
        )
    snapshot = Snapshot(folder)
    if shortfall(snapshot.manifest, config.min_yield) is None:
        warn_of_replacing(earlier, snapshot, run_logger())
    return snapshot


def warn_of_replacing(earlier: Snapshot | None, snapshot: Snapshot, log: Any) -> None:
    """Say so where LATEST named a larger dataset (this is a trial, or its manifest was cut off) or another flow's."""
    if earlier is None or not earlier.exists:
        return
    with contextlib.suppress(SnapshotError):  # a damaged one has no number
        was, now = earlier.manifest, snapshot.manifest
        if was.n_accepted > now.n_accepted or was.flow != now.flow:
            log.warning(
                "LATEST named %s with %d accepted rows, and now names %s with %d",
                *(earlier.id, was.n_accepted, snapshot.id, now.n_accepted),
            )


def report_on(config: CurationConfig, snapshot: Snapshot) -> AnyPath:
    """Write a snapshot's page."""
    context = PageContext(
        work=config.work,
        spent=read_usage(config.work, snapshot.manifest.shards, config.shard_stages, config.row_payload),
        prices=config.prices,
        device=read_device_times(config.work, snapshot.manifest.shards, config.shard_stages),
        truth=config.compare_truth(snapshot),
    )
    with unwritable_is_a_service_down("write_report", config.root):
        return config.product.write_report(snapshot, config.root / "reports" / snapshot.id, context)


def close_preview(config: CurationConfig, snapshot: Snapshot, report: AnyPath | None, log: Any) -> None:
    """The preview, which grew while the rows were done, leads to the report."""
    try:
        end_preview(config.root, snapshot.id, has_report=report is not None)
    except (OSError, ServiceDown) as error:
        log.warning("%s still shows a run that goes on: %s", preview_address(config.root), error)


def show_yield(config: CurationConfig, snapshot: Snapshot, report: AnyPath | None, log: Any) -> None:
    """The yield funnel, where to look and what made it, in the log; the first two as artifacts in the Prefect UI."""
    if in_run():
        create_artifacts(snapshot, has_report=report is not None)
    log.info("%s: %s", snapshot.id, snapshot.manifest.tally)
    log.info("snapshot %s", snapshot.folder)
    if report:
        log.info("report %s", report_url(snapshot.id) or report)
    if made_with := config.made_with:
        log.info("%s", made_with)
