"""What model servers were asked and what it cost, a shard and stage; the verifier against a naive scan; device time.

read_usage(work, manifest.shards, stages)
->  [StageUsage(shard_id="shard-3f9c...", stage="extract_triplets", rows=64, role="LLM", usage=Usage(calls=231, ...))]
usage_report(snapshot, spent, prices)
->  UsageReport(shards=[ShardUsage(n_clips=64, n_accepted=41, lines=[...], ...)], whole=ShardUsage(...))
read_device_times(work, manifest.shards, stages)
->  [StageDevice(shard_id="shard-3f9c...", stage="propagate_masks", taken=DeviceTime(busy_s=288.1, wall_s=300.0))]
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from functools import reduce
from typing import Any

from schemas.outcome import ServiceDown, Subject
from schemas.record import Record, column
from schemas.snapshot import ShardEntry
from schemas.storage import AnyPath, at_once, read_whole
from schemas.usage import DeviceTime, ModelRole, TokenPrices, Usage
from tasks.engine.shards import Row, load_shard
from tasks.engine.snapshots import Snapshot
from tasks.engine.stage import AnyStage, chain_of, state_path
from tasks.engine.work import Work
from tasks.pages.wording import ratio, usd

USAGE_FILE = "usage.json"  # beside a report's page
MAX_SHARDS = 60  # listed on the page; the file holds them all
VERIFYING_STAGE = "ground_instances"  # whose VLM is asked about candidates; others' are asked about clips

Verdicts = dict[str, Counter[str]]  # {clip_id: {verdict: candidates}}


class StageUsage(Record):
    """What a stage asked of one model for the clips of one shard."""

    shard_id: str = column("The shard")
    stage: str = column("The stage")
    rows: int = column("Clips of the shard that came to the stage", ge=0)
    role: ModelRole = column("LLM or VLM")
    model: str = column("The model's name")
    usage: Usage = column("All tries, those that failed or were killed included")


class StageDevice(Record):
    """How long a stage used its device for one shard, or for all of them."""

    shard_id: str | None = column("The shard; null: all")
    stage: str = column("The stage")
    taken: DeviceTime = column("All runs of the stage over the shard, those that failed included")


class Cost(Record):
    """A sum of money."""

    usd: float = column("US dollars", ge=0)
    is_whole: bool = column("False: other tokens were not counted, or have no price")

    def __truediv__(self, n: int) -> Cost:
        return Cost(usd=self.usd / n, is_whole=self.is_whole)

    def __str__(self) -> str:
        return usd(self.usd) if self.is_whole else f"at least {usd(self.usd)}"


class UsageLine(Record):
    """What was asked by one stage, or by all of them."""

    stage: str | None = column("The stage; null: all")
    role: ModelRole | None = column("LLM or VLM; null: all")
    model: str | None = column("The model's name; null: all")
    rows: int = column("Clips that came to the stage", ge=0)
    usage: Usage = column("What was asked")
    cost: Cost | None = column("Null if it cannot be told: no price, no tokens counted")


class Verification(Record):
    """What was asked of the verifier; a naive scan asks for every candidate."""

    n_candidates: int = column("Proposed boxes", ge=0)
    n_asked: int = column("Boxes that the verifier judged", ge=0)
    n_accepted: int = column("Instances with an accepted box", ge=0)
    n_calls: int = column("Requests to the VLM, with retries and without what the cache answered", ge=0)

    def per_instance(self, n: int) -> str:
        return ratio(n, self.n_accepted)


class ShardUsage(Record):
    """What was asked for one shard, or for all of them."""

    shard_id: str | None = column("The shard; null: all")
    n_clips: int = column("Its clips", ge=0)
    n_accepted: int = column("Its accepted clips", ge=0)
    lines: list[UsageLine] = column("By stage and model")
    total: UsageLine = column("Their sum")
    verification: Verification | None = column("Null: no VLM was asked about candidates")


class UsageReport(Record):
    """What was asked for a snapshot."""

    snapshot_id: str = column("The snapshot")
    shards: list[ShardUsage] = column("In the snapshot's order")
    whole: ShardUsage = column("All shards")

    def line(self) -> str:
        total = self.whole.total
        return f"model servers: {total.usage.line()}" + (f", {total.cost}" if total.cost else "")


def usage_of(report: AnyPath) -> UsageReport | None:
    """What model servers were asked for the snapshot of a report's folder; None if they were asked nothing."""
    try:
        return UsageReport.from_json(read_whole(report / USAGE_FILE))
    except FileNotFoundError:
        return None


# --- What was spent --------------------------------------------------------------------------


def read_usage(
    work: Work, shards: Sequence[ShardEntry], stages: Sequence[AnyStage], payload: type[Subject]
) -> list[StageUsage]:
    """What the clips of finished shards have cost on their way through all the stages, shard by shard.

    A result that several clips share is counted once, at the first of them.
    """

    def keys_of(shard: ShardEntry) -> dict[str, list[str]]:
        rows = load_shard(state_path(work, shard.shard_id, stages), payload).rows
        return {stage.name: _keys(stage, rows) for stage in stages}

    keys = at_once(work.root, keys_of, shards)
    tries = {stage.name: work.usage(stage.name, {k for of in keys for k in of[stage.name]}) for stage in stages}
    spent = []
    for shard, keys_by_stage in zip(shards, keys, strict=True):
        for stage, its_keys in keys_by_stage.items():
            by_model: dict[tuple[ModelRole, str], Usage] = defaultdict(Usage)
            for asked in [asked for key in its_keys for asked in tries[stage].pop(key, [])]:
                by_model[asked.role, asked.model] += asked.usage
            rows = {"shard_id": shard.shard_id, "stage": stage, "rows": len(its_keys)}
            spent += [
                StageUsage(**rows, role=role, model=model, usage=usage)
                for (role, model), usage in sorted(by_model.items())
            ]
    return spent


def read_device_times(work: Work, shards: Sequence[ShardEntry], stages: Sequence[AnyStage]) -> list[StageDevice]:
    """How long stages used their devices, stage by stage: all shards first, then each; only what was measured."""
    found = []
    for n, stage in enumerate(stages, start=1):
        chain = chain_of(stages[:n])
        times = work.device_times(stage.name, {shard.shard_id: chain for shard in shards})
        if times:
            whole = reduce(DeviceTime.__add__, times.values())
            found.append(StageDevice(shard_id=None, stage=stage.name, taken=whole))
            found += [StageDevice(shard_id=s, stage=stage.name, taken=taken) for s, taken in sorted(times.items())]
    return found


def _keys(stage: AnyStage, rows: Sequence[Row[Any]]) -> list[str]:
    """The keys of what the stage made of rows, or tried to make."""
    keys = [row.made.get(stage.name) or _failed_key(stage, row) for row in rows]
    return [key for key in keys if key is not None]


def _failed_key(stage: AnyStage, row: Row[Any]) -> str | None:
    """The key under which the stage tried in vain, or None if the row did not come to the stage."""
    if row.outcome is None or row.outcome.stage != stage.name:
        return None
    try:
        return stage.key(row)
    except ServiceDown:
        raise
    except Exception:  # noqa: BLE001 - the row failed of this, as its outcome tells, before anything was asked
        return None


# --- What is told of it ----------------------------------------------------------------------


def usage_report(snapshot: Snapshot, spent: Sequence[StageUsage], prices: TokenPrices) -> UsageReport | None:
    """None if no model server was asked."""
    if not spent:
        return None
    manifest = snapshot.manifest
    accepted = set(snapshot.accepted_ids())
    verdicts = count_verdicts(snapshot) if "candidates" in snapshot.tables else None

    def of(shard_id: str | None, clip_ids: Sequence[str], spent: Sequence[StageUsage]) -> ShardUsage:
        lines = usage_lines(spent, prices)
        return ShardUsage(
            shard_id=shard_id,
            n_clips=len(clip_ids),
            n_accepted=len(accepted.intersection(clip_ids)),
            lines=lines,
            total=UsageLine(
                stage=None,
                role=None,
                model=None,
                rows=len(clip_ids),
                usage=sum((line.usage for line in lines), Usage()),
                cost=cost_of(spent, prices),
            ),
            verification=None if verdicts is None else verification(clip_ids, verdicts, spent),
        )

    by_shard = defaultdict(list)
    for line in spent:
        by_shard[line.shard_id].append(line)
    return UsageReport(
        snapshot_id=manifest.snapshot_id,
        shards=[of(s.shard_id, s.clip_ids, by_shard[s.shard_id]) for s in manifest.shards],
        whole=of(None, [clip_id for s in manifest.shards for clip_id in s.clip_ids], spent),
    )


def usage_lines(spent: Sequence[StageUsage], prices: TokenPrices) -> list[UsageLine]:
    """A line a stage and model, summed over shards, in the order in which they first come."""
    groups: dict[tuple[str, ModelRole, str], list[StageUsage]] = defaultdict(list)
    for line in spent:
        groups[line.stage, line.role, line.model].append(line)
    return [
        UsageLine(
            stage=stage,
            role=role,
            model=model,
            rows=sum(line.rows for line in group),
            usage=sum((line.usage for line in group), Usage()),
            cost=cost_of(group, prices),
        )
        for (stage, role, model), group in groups.items()
    ]


def cost_of(spent: Sequence[StageUsage], prices: TokenPrices) -> Cost | None:
    priced = [(price, line.usage) for line in spent if (price := prices.of(line.role)) is not None]
    costs = [cost for price, usage in priced if (cost := price.cost_usd(usage)) is not None]
    if not costs:
        return None
    is_whole = len(costs) == len(spent) and all(line.usage.tokens_are_whole for line in spent)
    return Cost(usd=sum(costs), is_whole=is_whole)


def count_verdicts(snapshot: Snapshot) -> Verdicts:
    counted: Verdicts = defaultdict(Counter)
    for clip_id, verdict, n in snapshot.scan("candidates").group_by("clip_id", "verdict").len().collect().iter_rows():
        counted[clip_id][verdict] = n
    return counted


def verification(clip_ids: Collection[str], verdicts: Verdicts, spent: Sequence[StageUsage]) -> Verification | None:
    asked = [line.usage for line in spent if (line.stage, line.role) == (VERIFYING_STAGE, "VLM")]
    if not asked:
        return None
    n = sum((verdicts[clip_id] for clip_id in clip_ids if clip_id in verdicts), Counter[str]())
    return Verification(
        n_candidates=n.total(),
        n_asked=n["accepted"] + n["refused"],
        n_accepted=n["accepted"],
        n_calls=sum(usage.calls for usage in asked),
    )
