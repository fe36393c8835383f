"""tasks.training.launch: a job's end is told for what it is, and no job outlives its launcher for long."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.training import launch
from tasks.training.launch import LOG, Job, JobFailed, JobStopped, LaunchConfig, command_of
from tests.backends.test_cycles import gone, wait_for
from tests.support.stand_in_job import STAND_IN, write_job

REPOSITORY = Path(__file__).resolve().parents[2]
WORKS_ON = """
import os
(folder / "pid").write_text(str(os.getpid()))
print("at work", flush=True)
while not ({until}):
    time.sleep(0.01)
print("saved", flush=True)
sys.exit({status})
"""


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "JOB", STAND_IN)
    monkeypatch.setattr(launch, "LOOK_S", 0.02)


def run(folder: Path, config: LaunchConfig | None = None) -> None:
    with Job.started(folder, config or LaunchConfig()) as job:
        for _ in job.follow():
            pass
    job.require_done()


def pid_of(folder: Path) -> int:
    wait_for(lambda: (folder / "pid").exists() and bool((folder / "pid").read_text()), 20)
    return int((folder / "pid").read_text())


def test_its_lines_go_to_the_log_and_can_do_nothing_to_a_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_job(tmp_path / "run", r'print("\x1b[2Jcleared\n10 %\r20 %\nunfinished", end="")')
    with caplog.at_level(logging.INFO):
        run(folder)
    assert caplog.messages == ["\\x1b[2Jcleared", "20 %"]
    assert (folder / LOG).read_bytes() == b"\x1b[2Jcleared\n10 %\r20 %\nunfinished"


def test_a_failed_job_is_told_with_its_last_lines(tmp_path: Path) -> None:
    folder = write_job(tmp_path / "matrix-1", 'print("step 1"); raise MemoryError("\x1b[31mno room")')
    with pytest.raises(JobFailed, match=r"(?s)^matrix-1: the job ended with exit status 1.* step 1\n.*\\x1b") as failed:
        run(folder)
    assert "MemoryError" in str(failed.value)


def test_a_second_start_tells_only_its_own_lines(tmp_path: Path) -> None:
    folder = write_job(tmp_path / "run", 'print("first"); sys.exit(1)')
    with pytest.raises(JobFailed, match="first"):
        run(folder)
    write_job(folder, 'print("second"); sys.exit(1)')
    with pytest.raises(JobFailed) as failed:
        run(folder)
    assert "first" not in str(failed.value)
    assert (folder / LOG).read_text() == "first\nsecond\n"


def test_one_that_is_killed_is_no_exit_status(tmp_path: Path) -> None:
    folder = write_job(tmp_path / "run", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(JobFailed, match="signal SIGKILL; out of memory"):
        run(folder)


def test_preempted_by_others_it_goes_on_later(tmp_path: Path) -> None:
    folder = write_job(tmp_path / "run", "sys.exit(75)")
    with pytest.raises(JobStopped, match="has saved"):
        run(folder)


def test_whoever_leaves_has_the_job_save_and_waits(tmp_path: Path) -> None:
    folder = write_job(tmp_path / "run", WORKS_ON.format(until="stopped()", status=75))
    with Job.started(folder, LaunchConfig()) as job:
        wait_for(lambda: "at work" in (folder / LOG).read_text(), 20)
    assert gone(pid_of(folder))
    assert (folder / LOG).read_text() == "at work\nsaved\n"
    with pytest.raises(JobStopped, match="has saved"):
        job.require_done()


def test_one_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "KILL_S", 0.0)
    folder = write_job(tmp_path / "run", WORKS_ON.format(until="False", status=0))
    with Job.started(folder, LaunchConfig(save_s=0.3)) as job:
        pid = pid_of(folder)
        job.stop()
    assert gone(pid)
    with pytest.raises(JobStopped, match="did not save"):
        job.require_done()


LAUNCHER = f"""
import sys
from pathlib import Path
from tasks.training import launch
launch.JOB, launch.KILL_S = "{STAND_IN}", float(sys.argv[2])
with launch.Job.started(Path(sys.argv[1]), launch.LaunchConfig(save_s=0.2)) as job:
    job.wait()
"""


def killed_launcher(folder: Path, kill_s: float) -> int:
    """The job whose launcher was killed in the midst of it."""
    command = [sys.executable, "-c", LAUNCHER, str(folder), str(kill_s)]
    launcher = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})
    pid = pid_of(folder)
    wait_for(lambda: "at work" in (folder / LOG).read_text(), 20)
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    return pid


def test_a_killed_launchers_job_saves_and_the_next_start_waits_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    until = "stopped() and (folder / 'go').exists()"
    folder = write_job(tmp_path / "run", WORKS_ON.format(until=until, status=75))
    pid = killed_launcher(folder, 20)
    assert not gone(pid)
    (folder / "job.py").write_text("print((folder / 'log.txt').read_text().count('saved'))")
    with launch.at_work_of(folder).joinpath("lock").open() as lock, pytest.raises(BlockingIOError):
        launch.fcntl.flock(lock, launch.fcntl.LOCK_SH | launch.fcntl.LOCK_NB)
    (folder / "go").touch()
    with caplog.at_level(logging.INFO):
        run(folder)
    assert gone(pid)
    assert caplog.messages[-1] == "1"  # the first one had saved


def test_a_killed_launchers_job_that_does_not_stop_is_no_orphan(tmp_path: Path) -> None:
    folder = write_job(tmp_path / "run", WORKS_ON.format(until="False", status=0))
    pid = killed_launcher(folder, 0)
    wait_for(lambda: gone(pid), 20)


def test_what_the_job_has_started_ends_with_it(tmp_path: Path) -> None:
    started = "import subprocess; child = subprocess.Popen(['sleep', '600'], start_new_session=True)"
    folder = write_job(tmp_path / "run", f"{started}; (folder / 'pid').write_text(str(child.pid))")
    run(folder)
    assert gone(pid_of(folder))


def test_several_processes_are_torchruns_and_accelerates_with_a_config(tmp_path: Path) -> None:
    ours = ["-m", "tasks.training.rank", STAND_IN, "run"]
    assert command_of(LaunchConfig(), Path("run"))[1:] == ["-m", STAND_IN, "run"]
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
    assert command_of(LaunchConfig(n_processes=4), Path("run"))[1:] == [*several, *ours]
    config = LaunchConfig(n_processes=2, accelerate_config=Path("fsdp.yaml"))
    accelerate = ["-m", "accelerate.commands.launch", "--config_file", "fsdp.yaml", "--num_processes", "2"]
    assert command_of(config, Path("run"))[1:] == [*accelerate, *ours]


# --- Through torchrun and accelerate -----------------------------------------------------------


RANKS = """
import os
rank = int(os.environ["RANK"])
print(f"rank {rank} of {os.environ['WORLD_SIZE']}", flush=True)
(folder / f"pid-{rank}").write_text(str(os.getpid()))
"""


def launcher_of(kind: str, folder: Path, save_s: float = 20) -> LaunchConfig:
    if kind == "torchrun":
        return LaunchConfig(n_processes=2, save_s=save_s)
    config = folder.parent / "accelerate.yaml"
    config.write_text("compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\n")
    return LaunchConfig(n_processes=2, accelerate_config=config, save_s=save_s)


@pytest.mark.models
@pytest.mark.parametrize("kind", ["torchrun", "accelerate"])
def test_ranks_that_stop_are_no_failure(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wait = "\nwhile not stopped(): time.sleep(0.01)\nsys.exit(75)"
    folder = write_job(tmp_path / "run", RANKS + wait)
    with caplog.at_level(logging.INFO), Job.started(folder, launcher_of(kind, folder)) as job:
        wait_for(lambda: (folder / "pid-0").exists() and (folder / "pid-1").exists(), 20)
        job.stop()
    with pytest.raises(JobStopped, match="has saved"):
        job.require_done()
    assert not [line for line in caplog.messages if "Traceback" in line or "exitcode" in line]


@pytest.mark.models
def test_a_rank_that_fails_is_told_with_its_own_lines(tmp_path: Path) -> None:
    fails = (
        "\nif rank == 1: raise ValueError('rank 1 has no sample')\nwhile not stopped(): time.sleep(0.01)\nsys.exit(75)"
    )
    folder = write_job(tmp_path / "run", RANKS + fails)
    with pytest.raises(JobFailed, match="exit status 1") as failed:
        run(folder, launcher_of("torchrun", folder))
    assert str(failed.value).splitlines()[-1] == "  ValueError: rank 1 has no sample"


@pytest.mark.models
def test_no_rank_outlives_its_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ranks are in sessions of their own."""
    monkeypatch.setattr(launch, "KILL_S", 0.0)
    folder = write_job(tmp_path / "run", RANKS + "\nwhile True: time.sleep(0.01)")
    with Job.started(folder, launcher_of("torchrun", folder, save_s=1)) as job:
        wait_for(lambda: (folder / "pid-0").exists() and (folder / "pid-1").exists(), 20)
        pids = [int((folder / f"pid-{rank}").read_text()) for rank in (0, 1)]
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 10
    assert all(gone(pid) for pid in pids)
    with pytest.raises(JobStopped, match="did not save"):
        job.require_done()
