"""tasks.engine.lease: one run at a time in a root, whoever dies, sleeps or scribbles. Waits take no real time."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.outcome import ServiceDown
from schemas.storage import AnyPath, parse_path, write_atomic
from tasks.engine import lease
from tasks.engine.lease import FREE, POLL_S, RENEW_S, RUNNING, SETTLE_S, SILENCE_S, Holder, Lease, held
from tests.support.roots import root_of
from tests.support.s3_server import S3Server, bucket, s3, s3_server  # noqa: F401 - fixtures

LOG = logging.getLogger("run")


class FakeTime:
    """A clock that only sleeping moves; what others do meanwhile is done in the sleep."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.meanwhile: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.meanwhile()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(lease, "time", fake)
    return fake


@pytest.fixture(params=["disk", "s3", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> AnyPath:
    return root_of(request, tmp_path)


def holder(**changes: Any) -> Holder:
    return Holder.here("curate-toy", "toy").model_copy(update=changes)


def elsewhere(**changes: Any) -> Holder:
    """A run on another machine."""
    return holder(**{"machine": "another", "host": "host-b", "user": "anna", "pid": 4321} | changes)


def lie(root: AnyPath, there: Holder | bytes) -> None:
    write_atomic(root / RUNNING, there if isinstance(there, bytes) else there.model_dump_json().encode())


def who_holds(root: AnyPath) -> Holder | None:
    try:
        found = (root / RUNNING).read_bytes()
    except FileNotFoundError:
        return None
    return None if found == FREE else Holder.model_validate_json(found)


def waiting_for(root: AnyPath, clock: FakeTime, own: Holder | None = None) -> float:
    """Take the root, and give it back: how many seconds that took."""
    began_s = clock.now_s
    with held(root, own or holder(), LOG):
        return clock.now_s - began_s


# --- Held and given back -----------------------------------------------------------------------


def test_the_file_names_who_works_and_goes_at_the_end(root: AnyPath, clock: FakeTime) -> None:
    own = holder(flow_run_id="run-1", url="http://prefect/runs/flow-run/run-1")
    with held(root, own, LOG):
        assert who_holds(root) == own
        assert (own.pid, own.flow, own.dataset) == (os.getpid(), "curate-toy", "toy")
    assert who_holds(root) is None
    if isinstance(root, Path):
        assert not (root / RUNNING).exists()
    assert waiting_for(root, clock) <= SETTLE_S


def test_a_run_that_fails_gives_it_back(root: AnyPath, clock: FakeTime) -> None:
    def fail() -> None:
        with held(root, holder(), LOG):
            assert who_holds(root) is not None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert who_holds(root) is None


def test_it_is_renewed_as_long_as_the_run_lives(root: AnyPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.01)
    with held(root, holder(), LOG):
        give_up_s = time.monotonic() + 20
        while (now := who_holds(root)) is None or now.renewals < 3:
            assert time.monotonic() < give_up_s
    assert who_holds(root) is None
    assert "lease" not in [thread.name for thread in threading.enumerate()]


def test_the_silence_allowed_is_several_renewals() -> None:
    assert SILENCE_S >= 4 * (RENEW_S + POLL_S)


# --- Waiting -----------------------------------------------------------------------------------


def test_a_run_waits_for_the_one_that_holds_it_and_says_for_whom(
    root: AnyPath, clock: FakeTime, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(lease, "REMIND_S", 60)
    other = elsewhere(url="http://prefect/runs/flow-run/1")
    first = Lease(root, other, LOG)
    first.take()
    ends_s = clock.now_s + 150

    def live() -> None:
        first.renew() if clock.now_s < ends_s else first.release()

    clock.meanwhile = live
    assert 150 <= waiting_for(root, clock) <= 150 + POLL_S + SETTLE_S
    *told, last = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    assert set(told) == {
        f"{root} is held by curate-toy, dataset toy (process 4321 of anna on host-b, since "
        f"{other.since:%Y-%m-%d %H:%M} UTC, http://prefect/runs/flow-run/1). This run waits until that one ends; "
        "Ctrl-C or the UI's Cancel ends the waiting"
    }
    assert last == f"{root}: this run goes on: it is free"


def test_it_says_so_when_another_one_holds_it(root: AnyPath, clock: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    there: list[Holder | bytes] = [*(elsewhere(host=f"host-{n}") for n in range(3)), FREE]
    lie(root, there.pop(0))
    clock.meanwhile = lambda: lie(root, there.pop(0)) if there else None
    waiting_for(root, clock)
    assert [f"host-{n}" in line for n, line in enumerate(caplog.messages)] == [True] * 3


@pytest.mark.parametrize("minutes_ahead", [-600, 600])
def test_silence_is_measured_with_the_clock_of_who_waits(
    root: AnyPath, clock: FakeTime, caplog: pytest.LogCaptureFixture, minutes_ahead: int
) -> None:
    caplog.set_level(logging.INFO)
    other = elsewhere()
    lie(
        root,
        other.model_copy(update={"since": other.since.fromtimestamp(60.0 * minutes_ahead + 1e9, other.since.tzinfo)}),
    )
    assert SILENCE_S <= waiting_for(root, clock) <= SILENCE_S + 2 * POLL_S + SETTLE_S
    assert "has not been heard of for 90 s" in caplog.messages[-1]


@pytest.mark.parametrize("there", [b"", b"\xff\xfe{", b'{"token": "x"}', b"[1]", b"x" * 100_000, b'{"token": 1e999}'])
def test_a_file_that_is_no_lease_is_nobodys_after_a_while(
    root: AnyPath, clock: FakeTime, caplog: pytest.LogCaptureFixture, there: bytes
) -> None:
    lie(root, there)
    assert SILENCE_S <= waiting_for(root, clock) <= SILENCE_S + 2 * POLL_S + SETTLE_S
    assert caplog.messages == [f"{root / RUNNING} cannot be read; unless it changes, this run goes on in 90 s"]


def test_a_file_in_the_midst_of_its_writing_is_not_called_damaged(
    tmp_path: Path, clock: FakeTime, caplog: pytest.LogCaptureFixture
) -> None:
    then: list[Holder | bytes] = [elsewhere(), FREE]
    lie(tmp_path, b"")
    clock.meanwhile = lambda: lie(tmp_path, then.pop(0)) if then else None
    waiting_for(tmp_path, clock)
    assert len(caplog.messages) == 1
    assert "host-b" in caplog.text


def test_what_a_stranger_wrote_does_not_reach_the_terminal(
    tmp_path: Path, clock: FakeTime, caplog: pytest.LogCaptureFixture
) -> None:
    lie(tmp_path, elsewhere(host="\x1b[2Jhost", dataset="a\nb\u202e"))
    waiting_for(tmp_path, clock)
    assert all(line.isprintable() for line in caplog.messages)


# --- Those that died ---------------------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this machine."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def lease_of(process: subprocess.Popen[bytes]) -> Holder:
    return holder(pid=process.pid, started=lease._started(process.pid))


def test_a_living_process_is_waited_for(root: AnyPath, clock: FakeTime, sleeper: subprocess.Popen[bytes]) -> None:
    lie(root, lease_of(sleeper))
    assert waiting_for(root, clock) >= SILENCE_S


@pytest.mark.parametrize("is_reaped", [True, False])
def test_a_killed_process_is_not_waited_for(
    root: AnyPath,
    clock: FakeTime,
    sleeper: subprocess.Popen[bytes],
    caplog: pytest.LogCaptureFixture,
    is_reaped: bool,
) -> None:
    caplog.set_level(logging.INFO)
    lie(root, lease_of(sleeper))
    sleeper.send_signal(signal.SIGKILL)
    if is_reaped:
        sleeper.wait()
    else:  # nobody has asked for its exit status yet
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert waiting_for(root, clock) <= SETTLE_S
    told = [record.getMessage() for record in caplog.records if record.name == LOG.name]  # botocore tells, too
    assert told == [f"{root}: this run goes on: process {sleeper.pid}, which held it, has died"]


def test_a_process_that_has_the_dead_ones_id_is_not_waited_for(
    root: AnyPath, clock: FakeTime, sleeper: subprocess.Popen[bytes]
) -> None:
    there = lease_of(sleeper)
    assert there.started is not None
    lie(root, there.model_copy(update={"started": there.started - 1}))
    assert waiting_for(root, clock) <= SETTLE_S


def test_somebody_elses_process_lives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: FakeTime) -> None:
    """Its files below /proc may be hidden, and it takes no signal."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    there = holder(started=5)
    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(lease, "_started", lambda _: None)
    lie(tmp_path, there)
    assert waiting_for(tmp_path, clock) >= SILENCE_S


def test_the_id_of_another_machines_or_containers_process_says_nothing(root: AnyPath, clock: FakeTime) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    lie(root, elsewhere(pid=dead.pid))
    assert waiting_for(root, clock) >= SILENCE_S


def test_a_flow_run_that_is_tried_again_does_not_wait_for_itself(root: AnyPath, clock: FakeTime) -> None:
    lie(root, elsewhere(flow_run_id="run-1"))
    assert waiting_for(root, clock, holder(flow_run_id="run-1")) <= SETTLE_S
    lie(root, elsewhere(flow_run_id="run-1"))
    assert waiting_for(root, clock, holder(flow_run_id="run-2")) >= SILENCE_S
    lie(root, elsewhere(flow_run_id=None))
    assert waiting_for(root, clock, holder(flow_run_id=None)) >= SILENCE_S


# --- Several at once ---------------------------------------------------------------------------


def test_of_runs_that_start_at_once_one_works_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of one process, too: a lease is a run's."""
    monkeypatch.setattr(lease, "POLL_S", 0.005)
    lock, together, n_runs = threading.Lock(), threading.Barrier(8), [0]

    def run() -> None:
        together.wait()
        with held(tmp_path / "data", holder(), LOG):
            assert lock.acquire(blocking=False)
            time.sleep(0.01)
            n_runs[0] += 1
            lock.release()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert n_runs == [8]


def test_of_two_that_find_it_free_or_left_the_later_one_has_it(root: AnyPath, clock: FakeTime) -> None:
    """Neither sees the other before it writes; on a disk, of a free root, only one can."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    lie(root, holder(pid=dead.pid))
    first, later = Lease(root, holder(), LOG), Lease(root, elsewhere(), LOG)
    history: list[Holder | None] = []

    def meanwhile() -> None:
        if not history:
            lie(root, later.holder)
        elif len(history) == 3:
            later.release()
        history.append(who_holds(root))

    clock.meanwhile = meanwhile
    first.take()
    assert history[:3] == [later.holder] * 3
    assert who_holds(root) == first.holder


def test_a_run_that_slept_through_its_expiry_says_so_once_and_takes_nothing_away(
    root: AnyPath, clock: FakeTime, caplog: pytest.LogCaptureFixture
) -> None:
    slept, other = Lease(root, elsewhere(), LOG), holder()
    slept.take()
    with held(root, other, LOG):  # after SILENCE_S
        caplog.clear()
        for _ in range(3):
            slept.renew()
        assert [f"now held by {other}" in line for line in caplog.messages] == [True]
        slept.release()
        assert who_holds(root) == other
    slept.renew()  # the other has ended first, and this one works on
    assert (now := who_holds(root)) is not None
    assert now.token == slept.holder.token
    slept.release()
    assert who_holds(root) is None


def test_a_file_that_was_deleted_or_damaged_is_written_again(root: AnyPath, clock: FakeTime) -> None:
    own = Lease(root, holder(), LOG)
    own.take()
    for there in (b"", FREE, b"no lease"):
        lie(root, there)
        own.renew()
        assert (now := who_holds(root)) is not None
        assert now.token == own.holder.token


# --- A root in trouble -------------------------------------------------------------------------


def test_a_root_that_cannot_be_written_to_says_so_at_once(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    told = pytest.raises(ServiceDown, match="A file has the name of a folder")
    with told, held(tmp_path / "data", holder(), LOG):
        pytest.fail("the root is a file")


def test_a_named_pipe_is_no_lease_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / RUNNING)
    with pytest.raises(ServiceDown, match="it is a named pipe; only regular files are read; remove it"):
        Lease(tmp_path, holder(), LOG).take()


def test_a_link_that_leads_nowhere_holds_nothing(tmp_path: Path, clock: FakeTime) -> None:
    (tmp_path / RUNNING).symlink_to(tmp_path / "gone")
    assert waiting_for(tmp_path, clock) < SILENCE_S


def test_a_large_file_is_not_read_whole(tmp_path: Path, clock: FakeTime) -> None:
    with (tmp_path / RUNNING).open("wb") as file:
        file.truncate(2**40)
    assert waiting_for(tmp_path, clock) >= SILENCE_S


def test_a_bucket_that_is_not_there_is_told_of(s3: S3Server) -> None:  # noqa: F811
    with pytest.raises(ServiceDown, match="there is no such bucket"), held(parse_path("s3://gone/data"), holder(), LOG):
        pytest.fail("it holds nothing")


def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullFile:
        def __enter__(self) -> FullFile:
            return self

        def __exit__(self, *_: object) -> None: ...

        def write(self, data: bytes) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path_open = Path.open

    def open_full(path: Path, mode: str = "r", **options: Any) -> Any:
        opened = path_open(path, mode, **options)
        return FullFile() if path.name == RUNNING else opened

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(ServiceDown, match="Make room there"), held(tmp_path, holder(), LOG):
        pytest.fail("the disk is full")
    assert not list(tmp_path.iterdir())


def test_a_store_that_fails_at_the_end_costs_the_run_nothing(
    s3: S3Server,  # noqa: F811
    bucket: AnyPath,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    with held(bucket / "data", holder(), LOG):
        s3.refuse("PUT", RUNNING, 403)
    assert "the next run in s3://" in caplog.text
    assert "waits 90 s" in caplog.text


def test_a_renewal_that_fails_is_tried_again(
    s3: S3Server,  # noqa: F811
    bucket: AnyPath,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.01)
    with held(bucket / "data", holder(), LOG):
        refusal = s3.refuse("GET", RUNNING, 403, times=1)
        give_up_s = time.monotonic() + 20
        while refusal.times:  # it is the renewal's: this test reads the object, too
            assert time.monotonic() < give_up_s
        while json.loads(s3.objects("videos", "data")[RUNNING])["renewals"] < 3:
            assert time.monotonic() < give_up_s


def test_a_key_need_not_have_the_right_to_delete(s3: S3Server, bucket: AnyPath, clock: FakeTime) -> None:  # noqa: F811
    waiting_for(bucket / "data", clock)
    waiting_for(bucket / "data", clock)
    assert {asked.method for asked in s3.asked if RUNNING in asked.path} == {"GET", "PUT"}
