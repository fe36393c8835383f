"""tasks.engine.stage: content-keyed results, and what becomes of rows, shards and services."""

from __future__ import annotations

import errno
import logging
import threading
import time
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest

from schemas.config import StageConfig
from schemas.outcome import RowFailed, RowRejected, ServiceDown, Suspicion
from schemas.provenance import MadeBy
from schemas.record import StageResult, column, content_hash
from schemas.source import Source
from schemas.usage import Usage, count_usage
from tasks.engine.shards import Row, Shard, load_shard
from tasks.engine.stage import Ends, Stage, chain_of, recall, run_rows, run_stage, state_path
from tasks.engine.work import Work


class Length(StageResult):
    """How long a caption is."""

    stage_name: ClassVar[str] = "measure"

    n: int = column("Characters")


class Config(StageConfig):
    factor: int = 1


def source(caption: str) -> Source:
    return Source(source_id=f"src-{caption}", line=1, video="v.mp4", video_sha256="0", n_bytes=0, caption=caption)


class Counter:
    """A stage that counts its calls and does what a test tells it to."""

    def __init__(self, *, concurrency: int = 1, **does: Any) -> None:
        self.calls: list[str] = []
        self.does = does
        self.concurrency = concurrency

    def compute(self, caption: str) -> Length:
        self.calls.append(caption)
        act = self.does.get(caption)
        if isinstance(act, BaseException):
            raise act
        if act is not None:
            act()
        return Length(n=len(caption))

    def stage(self, factor: int = 1, model: str = "m", version: int = 1) -> Stage[Source, str, Length]:
        return Stage(
            version=version,
            result=Length,
            config=Config(factor=factor),
            made_by=[MadeBy.of("measure", {"backend": "b", "model": model})],
            read=lambda row: row.payload.caption or "",
            compute=self.compute,
            concurrency=self.concurrency,
        )


def run(work: Work, counter: Counter, captions: str, **changes: Any) -> Shard[Source]:
    shard = Shard[Source].of([source(c) for c in captions])
    return load_shard(run_stage(work, shard, counter.stage(**changes)), Source)


def test_the_same_key_is_never_computed_twice(work: Work) -> None:
    counter = Counter()
    first = run(work, counter, "abc")
    second = run(work, counter, "cab")  # another shard of the same rows
    assert counter.calls == ["a", "b", "c"]
    assert {r.payload.source_id: r.made for r in first.rows} == {r.payload.source_id: r.made for r in second.rows}
    assert work.result(first.rows[0], Length) == Length(n=1)


def test_a_row_is_read_once_and_what_was_read_is_both_hashed_and_computed_from(work: Work) -> None:
    seen: list[tuple[str, object]] = []

    def read(row: Row[Source]) -> Source:
        seen.append(("read", row.payload))
        return row.payload

    def key_of(source: Source) -> list[object]:
        seen.append(("key", source))
        return [source.caption]

    def compute(source: Source) -> Length:
        seen.append(("compute", source))
        return Length(n=len(source.caption or ""))

    stage = Stage(version=1, result=Length, config=Config(), made_by=[], read=read, key_of=key_of, compute=compute)
    shard = Shard[Source].of([source("ab")])
    run_stage(work, shard, stage)
    assert [what for what, _ in seen] == ["read", "key", "compute"]
    assert all(value is seen[0][1] for _, value in seen)
    seen.clear()
    run_stage(work, shard, stage)
    assert recall(work, stage, shard.rows[0]) is not None
    assert [what for what, _ in seen] == ["read", "key"] * 2


def test_where_no_key_is_named_all_that_is_read_is_the_key(work: Work) -> None:
    class Read(NamedTuple):
        caption: str | None
        source: Source

    def stage(**how: Any) -> Stage[Source, Any, Length]:
        return Stage(
            version=1, result=Length, config=Config(), made_by=[], compute=lambda seen: Length(n=len(seen)), **how
        )

    row = Row[Source](payload=source("ab"))
    whole = stage(read=lambda row: Read(row.payload.caption, row.payload))
    named = stage(read=lambda row: row, key_of=lambda row: [row.payload.caption, row.payload])
    assert whole.key(row) == named.key(row) == content_hash(whole.fingerprint, ["ab", row.payload])
    assert whole.key(Row[Source](payload=source("ab").model_copy(update={"line": 2}))) != whole.key(row)


def test_the_result_names_the_stage() -> None:
    assert Counter().stage().name == Length.stage_name == "measure"


def test_a_result_is_found_where_the_row_came_and_only_there(work: Work) -> None:
    shard = run(work, Counter(b=RowRejected("dull", evidence=Length(n=7)), c=RowRejected("dull")), "abc")
    rows = [*shard.rows, Row[Source](payload=source("z"))]
    assert [work.find_result(row, Length) for row in rows] == [Length(n=1), Length(n=7), None, None]
    work.result_path(Length, rows[0].made["measure"]).unlink()
    with pytest.raises(FileNotFoundError, match="run the shard again"):
        work.find_result(rows[0], Length)


@pytest.mark.parametrize("change", [{"factor": 2}, {"model": "other"}, {"version": 2}])
def test_a_changed_config_model_or_version_computes_again(work: Work, change: dict[str, Any]) -> None:
    counter = Counter()
    run(work, counter, "ab")
    run(work, counter, "ab", **change)
    assert counter.calls == ["a", "b", "a", "b"]


def test_only_what_changed_is_computed(work: Work) -> None:
    counter = Counter()
    run(work, counter, "abc")
    run(work, counter, "abd")
    assert counter.calls == ["a", "b", "c", "d"]


def test_a_bad_row_ends_alone_and_a_verdict_is_kept_with_its_evidence(work: Work) -> None:
    counter = Counter(
        b=RowRejected("dull", "nothing to see", evidence=Length(n=7)), c=RowFailed("broken", "no end", retryable=False)
    )
    shard = run(work, counter, "abcd")
    outcomes = [r.outcome for r in shard.rows]
    assert [o and (o.status, o.reason, o.retryable) for o in outcomes] == [
        None,
        ("rejected", "dull", False),
        ("failed", "broken", False),
        None,
    ]
    made = work.load(Length, shard.rows[1].made["measure"])
    assert made is not None
    assert made.result == Length(n=7)
    run(work, counter, "abcd")
    assert counter.calls == list("abcd"), "judged rows, and rows that can never be judged, are not asked again"


@pytest.mark.parametrize("error", [RowFailed("busy", "429", retryable=True), KeyError("surprise")])
@pytest.mark.logs_errors
def test_a_passing_failure_is_tried_again(work: Work, error: Exception) -> None:
    shard = run(work, Counter(b=error), "abc")
    assert [r.outcome is None for r in shard.rows] == [True, False, True]
    assert shard.retryable == 1
    again = Counter()
    assert [r.outcome for r in run(work, again, "abc").rows] == [None] * 3
    assert again.calls == ["b"]


def test_ended_rows_skip_later_stages(work: Work) -> None:
    counter = Counter(b=RowRejected("dull"))
    shard = run(work, counter, "abc")
    stage = counter.stage(model="second")
    after = load_shard(run_stage(work, shard, stage), Source)
    assert counter.calls == ["a", "b", "c", "a", "c"]
    assert (after.step, after.chain) == (2, chain_of([counter.stage(), stage]))


def test_a_dead_service_fails_the_shard_at_once_and_keeps_what_is_done(work: Work) -> None:
    counter = Counter(c=ServiceDown("no server at http://127.0.0.1:9: start it"))
    with pytest.raises(ServiceDown, match="start it"):
        run(work, counter, "abcdefgh")
    assert counter.calls == ["a", "b", "c"]
    again = Counter()
    run(work, again, "abcdefgh")
    assert again.calls == list("cdefgh")


def test_a_dead_service_stops_the_other_threads_rows(work: Work) -> None:
    def slow() -> None:
        time.sleep(0.05)

    does = dict.fromkeys("bcdefgh", slow)
    counter = Counter(concurrency=2, a=ServiceDown("gone"), **does)
    with pytest.raises(ServiceDown):
        run(work, counter, "abcdefgh")
    assert len(counter.calls) <= 3


def test_a_full_disk_is_a_service_that_is_down(work: Work) -> None:
    with pytest.raises(ServiceDown, match=r"cannot write to .*Make room"):
        run(work, Counter(a=OSError(errno.ENOSPC, "No space left on device")), "abc")


@pytest.mark.logs_errors
def test_when_all_rows_surprise_it_is_no_matter_of_rows(work: Work) -> None:
    with pytest.raises(ServiceDown, match=r"all 3 rows failed.*TypeError"):
        run(work, Counter(a=TypeError("x"), b=TypeError("x"), c=TypeError("x")), "abc")


def test_rows_keep_their_order_whatever_the_threads_do(work: Work) -> None:
    barrier = threading.Barrier(2, timeout=5)
    counter = Counter(concurrency=2, a=lambda: (barrier.wait(), time.sleep(0.05)), b=barrier.wait)
    shard = run(work, counter, "abcd")
    assert [r.payload.caption for r in shard.rows] == list("abcd")
    state = state_path(work, shard.shard_id, [counter.stage()])
    before = state.read_bytes()
    run(work, Counter(), "abcd")
    assert state.read_bytes() == before


def test_an_unreadable_result_is_made_again(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter()
    shard = run(work, counter, "a")
    work.result_path(Length, shard.rows[0].made["measure"]).write_bytes(b"")
    run(work, counter, "a")
    assert counter.calls == ["a", "a"]
    assert "made again" in caplog.text


def test_a_lost_result_of_an_earlier_stage_is_a_passing_failure(work: Work) -> None:
    shard = run(work, Counter(), "a")
    work.result_path(Length, shard.rows[0].made["measure"]).unlink()
    with pytest.raises(RowFailed, match="result_missing"):
        work.result(shard.rows[0], Length)


def test_recall_answers_only_what_is_known(work: Work) -> None:
    counter = Counter(b=RowRejected("dull"))
    run(work, counter, "ab")
    known = [recall(work, counter.stage(), Row[Source](payload=source(c))) for c in "abz"]
    assert [k and k.outcome and k.outcome.reason for k in known] == [None, "dull", None]
    assert [k is None for k in known] == [False, False, True]


# --- Usage ---------------------------------------------------------------------------------------


def paying(end: BaseException | None = None, calls: int = 2) -> Any:
    """What a test tells a row to do: ask a model, then end."""

    def act() -> None:
        for _ in range(calls):
            count_usage("LLM", "tiny", Usage(calls=1, prompt_tokens=10))
        if end is not None:
            raise end

    return act


def calls_for(work: Work, counter: Counter, captions: str) -> list[int]:
    """What each caption's result has cost so far, in calls."""
    stage = counter.stage()
    keys = [stage.key(Row[Source](payload=source(c))) for c in captions]
    usage = work.usage("measure", set(keys))
    return [sum(asked.usage.calls for asked in usage.get(key, [])) for key in keys]


def stored(work: Work) -> dict[str, bytes]:
    """Results and states, byte for byte."""
    folders = (work.root / "rows", work.root / "shards")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(work.root).as_posix(): path.read_bytes() for path in files}


@pytest.mark.logs_errors
def test_what_a_row_cost_is_kept_however_it_ended(work: Work) -> None:
    counter = Counter(
        a=paying(),
        b=paying(RowRejected("dull"), 3),
        c=paying(RowFailed("broken", retryable=False), 4),
        d=paying(RowFailed("busy", retryable=True), 5),
        e=paying(KeyError("surprise"), 6),
    )
    run(work, counter, "abcdef")
    assert calls_for(work, counter, "abcdef") == [2, 3, 4, 5, 6, 0]


def test_a_result_that_is_reused_costs_nothing_and_one_that_is_tried_again_adds_up(work: Work) -> None:
    run(work, Counter(a=paying(), b=paying(RowFailed("busy", retryable=True), 5)), "ab")
    again = Counter(a=paying(), b=paying())
    run(work, again, "ab")
    run(work, again, "ba")
    assert calls_for(work, again, "ab") == [2, 7]


def test_what_was_spent_before_the_service_went_down_is_kept(work: Work) -> None:
    counter = Counter(a=paying(), b=paying(ServiceDown("gone")))
    with pytest.raises(ServiceDown):
        run(work, counter, "abc")
    assert calls_for(work, counter, "abc") == [2, 2, 0]


def test_rows_with_one_key_that_run_side_by_side_are_all_counted(work: Work) -> None:
    both_in = threading.Barrier(2, timeout=5)

    def pay_together() -> None:
        both_in.wait()
        paying()()
        both_in.wait()

    counter = Counter(concurrency=2, a=pay_together)
    run(work, counter, "aa")
    assert counter.calls == ["a", "a"]
    assert calls_for(work, counter, "a") == [4]


def test_another_config_has_its_own_costs(work: Work) -> None:
    counter = Counter(a=paying())
    run(work, counter, "a")
    run(work, counter, "a", factor=2)
    assert calls_for(work, counter, "a") == [2]


def test_results_and_states_hold_no_usage(work: Work, tmp_path: Path) -> None:
    free = work.model_copy(update={"root": tmp_path / "free"})
    run(work, Counter(a=paying(), b=paying(RowRejected("dull")), c=paying(RowFailed("busy", retryable=True))), "abc")
    run(free, Counter(b=RowRejected("dull"), c=RowFailed("busy", retryable=True)), "abc")
    assert stored(work) == stored(free)
    assert not (free.root / "usage").exists()


def test_an_unreadable_count_is_left_out_and_told(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter(a=paying(), b=paying())
    run(work, counter, "ab")
    next((work.root / "usage").rglob(f"{counter.stage().key(Row[Source](payload=source('a')))}.*")).write_bytes(b"")
    assert calls_for(work, counter, "ab") == [0, 2]
    assert "is not counted" in caplog.text


def test_the_log_tells_what_was_spent_now(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    counter = Counter(a=paying(), b=paying(RowFailed("busy", retryable=True)))
    run(work, counter, "ab")
    assert "; 4 calls, 0 replies from the cache, 40 prompt and 0 completion tokens" in caplog.text
    caplog.clear()
    run(work, Counter(), "ab")
    assert "1 done, 1 reused" in caplog.text
    assert "calls" not in caplog.text


# --- First rows that fail alike ------------------------------------------------------------------


def unread(alike: str = "LLM not_json", max_rows: int = 3) -> RowFailed:
    """A row whose model server sent nothing that could be read."""
    return RowFailed("invalid_reply", "no JSON", retryable=True, suspicion=Suspicion(alike, max_rows, "Mend the LLM."))


def all_of(captions: str, error: BaseException) -> dict[str, Any]:
    return dict.fromkeys(captions, error)


def test_first_rows_that_fail_alike_stop_the_shard_and_are_tried_again(work: Work) -> None:
    counter = Counter(**all_of("abcdefgh", unread()))
    with pytest.raises(ServiceDown, match=r"measure: 3 rows failed alike before any was answered\. Mend the LLM\."):
        run(work, counter, "abcdefgh")
    assert counter.calls == list("abc")
    again = Counter()
    assert [row.outcome for row in run(work, again, "abcdefgh").rows] == [None] * 8
    assert again.calls == list("abcdefgh")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_answered_row_tells_that_the_server_can_be_read(work: Work, place: int) -> None:
    captions = "abcdefgh"
    counter = Counter(**all_of(captions.replace(captions[place], ""), unread()))
    shard = run(work, counter, captions)
    assert [row.outcome is None for row in shard.rows].count(True) == 1
    assert counter.calls == list(captions)


def test_rows_that_fail_by_themselves_count_neither_way(work: Work) -> None:
    bad = RowFailed("unreadable_video", "no index", retryable=False)
    assert len(run(work, Counter(**all_of("mnopqrst", bad)), "mnopqrst").rows) == 8
    mixed = Counter(**all_of("abcdefgh", unread()), **all_of("ijkl", bad))
    with pytest.raises(ServiceDown, match="3 rows failed alike"):
        run(work, mixed, "ijaklbcdefgh")
    assert mixed.calls == list("ijaklbc")


def test_other_kinds_of_failures_are_counted_apart(work: Work) -> None:
    cut = unread("LLM cut_off")
    counter = Counter(**all_of("aceg", unread()), **all_of("bdfh", cut))
    with pytest.raises(ServiceDown, match="3 rows failed alike"):
        run(work, counter, "abcdefgh")
    assert counter.calls == list("abcde")
    assert run(work, Counter(**all_of("xy", unread()), **all_of("zw", cut)), "xyzw").retryable == 4


def test_a_small_shard_has_nothing_to_save(work: Work) -> None:
    assert run(work, Counter(**all_of("ab", unread())), "ab").retryable == 2


def test_a_row_rejected_unasked_says_nothing_and_one_that_was_asked_about_does(work: Work) -> None:
    dull = RowRejected("dull")
    with pytest.raises(ServiceDown):
        run(work, Counter(a=dull, **all_of("bcdef", unread())), "abcdef")
    counter = Counter(g=paying(dull), **all_of("bcdef", unread()))
    assert len(run(work, counter, "gbcdef").rows) == 6


def test_rows_that_were_answered_before_keep_bad_rows_from_sinking_their_shard(work: Work) -> None:
    first = run(work, Counter(**all_of("efgh", unread())), "abcdefgh")
    again = run(work, Counter(**all_of("efgh", unread())), "abcdefgh")
    assert first.retryable == again.retryable == 4


def test_a_rerun_that_mends_nothing_stops_as_early(work: Work) -> None:
    for _ in range(2):
        counter = Counter(a=RowRejected("dull"), **all_of("bcdefgh", unread()))
        with pytest.raises(ServiceDown):
            run(work, counter, "abcdefgh")
        assert counter.calls[-3:] == list("bcd")


def test_with_many_threads_only_the_rows_at_work_are_paid_for(work: Work) -> None:
    captions = [chr(ord("A") + n) for n in range(40)]

    def fail() -> None:
        time.sleep(0.01)
        raise unread(max_rows=5)

    counter = Counter(concurrency=8, **dict.fromkeys(captions, fail))
    with pytest.raises(ServiceDown, match="rows failed alike"):
        run(work, counter, "".join(captions))
    assert 5 <= len(counter.calls) <= 5 + 2 * 8


# --- Some rows before the others ---------------------------------------------------------------


def in_parts(work: Work, counter: Counter, *parts: str) -> Shard[Source]:
    """A shard whose rows go through the stage part by part; the last part, with the shard."""
    ends, log = Ends("measure"), logging.getLogger(__name__)
    shard = Shard[Source].of([source(c) for c in "".join(parts)])
    for part in parts[:-1]:
        some = shard.model_copy(update={"rows": [row for row in shard.rows if row.payload.caption in part]})
        run_rows(work, some, counter.stage(), log, None, ends, "first rows")
    return load_shard(run_stage(work, shard, counter.stage(), log, ends=ends), Source)


def test_rows_that_went_first_are_taken_as_they_ended(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    unreadable = {"b": RowFailed("unreadable_reply", "no JSON", retryable=True), "c": RowRejected("too_short")}
    counter = Counter(**unreadable)
    with caplog.at_level("INFO", __name__):
        parted = in_parts(work, counter, "a", "bc", "de")
    assert counter.calls == [*"abcde"]  # what failed is not asked twice
    shard_id = parted.shard_id
    assert [message.partition(" in ")[0] for message in caplog.messages] == [
        f"measure first rows of {shard_id}: 1/1 rows (1 done)",
        f"measure first rows of {shard_id}: 2/2 rows (1 failed, 1 rejected)",
        f"measure other rows of {shard_id}: 2/2 rows (2 done)",
    ]
    again = Counter(**unreadable)
    assert run(work, again, "abcde") == parted  # the state is that of a shard that went at once
    assert again.calls == ["b"]


@pytest.mark.logs_errors
def test_a_part_in_which_every_row_surprises_is_no_dead_service_but_the_whole_is(work: Work) -> None:
    surprise = {c: ZeroDivisionError(c) for c in "ab"}
    assert [row.outcome.status for row in in_parts(work, Counter(**surprise), "ab", "c").rows if row.outcome] == [
        "failed",
        "failed",
    ]
    with pytest.raises(ServiceDown, match="measure: all 2 rows failed"):
        in_parts(work, Counter(**surprise), "a", "b")


def test_first_rows_that_fail_alike_are_counted_over_all_parts(work: Work) -> None:
    dead = Suspicion(alike="500", max_rows=3, told="Is the server up?")
    fails = {c: RowFailed("server_error", "500", retryable=True, suspicion=dead) for c in "abcde"}
    counter = Counter(**fails)
    with pytest.raises(ServiceDown, match="3 rows failed alike before any was answered"):
        in_parts(work, counter, "a", "bcde")
    assert counter.calls == [*"abc"]
