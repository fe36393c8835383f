"""flows.engine.process: a command is out at once when it is told to stop, with one line, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.test_cycles import FAITHFUL, gone, wait_for
from tests.support.endpoint import LocalEndpoint
from tests.support.flow_runs import SCENES, command, draw_input, start_command
from tests.support.typed import AT_ONCE_S, CTRL_C, TRIPTYCH, Typed

STOPPED = "stopped; the same command goes on from here\n"
CURSOR = "\x1b[?25h"
# A program like ours in the midst of a long call, whose Python handlers never run.
BUSY = """
import sys, time, threading
from flows.engine.process import *
begin_command()
{before}
print("ready", flush=True)
threading.Event().wait()
"""


def start_busy(before: str = "") -> subprocess.Popen[str]:
    code = BUSY.format(before=textwrap.dedent(before))
    process = start_command([sys.executable, "-c", code], {})
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ends(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=AT_ONCE_S)
    return process.returncode, said


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_a_signal_is_one_line_and_a_status(signum: signal.Signals, status: int) -> None:
    process = start_busy()
    process.send_signal(signum)
    assert ends(process) == (status, STOPPED)


def test_a_second_signal_is_as_good_as_one() -> None:
    process = start_busy()
    for signum in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        process.send_signal(signum)
    status, said = ends(process)
    assert (status in (130, 143), said) == (True, STOPPED)


def test_handlers_that_libraries_set_do_not_keep_it() -> None:
    """As Prefect does, which tells its server first."""
    process = start_busy("import signal; signal.signal(signal.SIGTERM, lambda *_: time.sleep(600))")
    process.terminate()
    assert ends(process) == (143, STOPPED)


def test_what_is_to_be_done_at_a_stop_is_done_but_not_waited_for_long(tmp_path: Path) -> None:
    process = start_busy(
        f"""
        def act(stop):
            open({str(tmp_path / "told")!r}, "w").write(stop.name)
            time.sleep(600)
        kept = at_stop(act)
        kept.__enter__()
        """
    )
    process.send_signal(signal.SIGTERM)
    assert ends(process) == (143, STOPPED)
    assert (tmp_path / "told").read_text() == "SIGTERM"


def test_nohup_is_respected() -> None:
    process = start_command(["nohup", sys.executable, "-c", BUSY.format(before="")], {})
    assert process.stdout is not None
    while process.stdout.readline() != "ready\n":
        pass
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.terminate()
    assert process.wait(AT_ONCE_S) == 143


def test_a_log_that_nobody_reads_does_not_keep_it() -> None:
    """`2>&1 | less` whose pipe is full."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY.format(before="sys.stderr.write('x' * 10**7)")],
        stdout=writing,
        stderr=writing,
        cwd=Path(__file__).parents[2],
    )
    os.close(writing)
    while len(os.read(reading, 1)) == 0:
        pass
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(AT_ONCE_S) == 130
    os.close(reading)


def test_a_reader_that_has_enough_ends_it_without_a_word() -> None:
    """A server that hangs up is another matter: it is an error of the command's, not its end."""
    program = (
        "import signal; from flows.engine.process import begin_command, quietly_cut_off; begin_command()\n"
        "assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN\n"
        "with quietly_cut_off():\n    for _ in range(100_000): print('a line')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 128 + signal.SIGPIPE


def test_a_closed_standard_output_is_no_error() -> None:
    program = "from flows.engine.process import quietly_cut_off\nwith quietly_cut_off(): print('a line')"
    command = ["/bin/sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, program]
    done = subprocess.run(command, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stderr) == (0, b"")


# --- The commands ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_input(tmp_path_factory.mktemp("input"), SCENES[:2])


@pytest.fixture
def held(manifest: Path, tmp_path: Path) -> Iterator[list[str]]:
    """A command that comes as far as extract_triplets, and waits there for a model server that never answers."""
    with LocalEndpoint(always="hang") as server:
        env = {f"TRIPTYCH_LLM_{name}": value for name, value in (("BASE_URL", server.base_url), ("MODEL", "m"))}
        options = ["--extract.llm", "openai", "--endpoint.deadline-s", "600"]
        with pytest.MonkeyPatch.context() as monkeypatch:
            for name, value in env.items():
                monkeypatch.setenv(name, value)
            yield command(manifest, tmp_path / "out", *options)


@pytest.mark.parametrize("arguments", [["demo"], ["curate", "dsr"], ["ask"], ["export", "--folder", "x"]], ids=str)
def test_ctrl_c_while_it_starts_is_no_traceback(arguments: list[str], tmp_path: Path) -> None:
    out = ["--folder" if arguments[0] == "demo" else "--root", str(tmp_path / "none")]
    with Typed([*TRIPTYCH, *arguments, *out]) as typed:
        time.sleep(0.25)
        typed.press(CTRL_C)
        status = typed.end()
        assert "Traceback" not in typed.shown
        assert status == 130 or (status == 1 and "SnapshotError" in typed.shown), typed.shown  # ask ends soon
        assert typed.left_over() == []


@pytest.mark.slow
@pytest.mark.parametrize("module", ["flows.curate_matrix11k", "flows.curate_kinemask", "flows.curate_dsr"])
def test_python_m_is_the_same_command(module: str, tmp_path: Path) -> None:
    with Typed([sys.executable, "-m", module, "--root", str(tmp_path)]) as typed:
        time.sleep(0.25)
        typed.press(CTRL_C)
        assert typed.end() == 130
        assert typed.shown.endswith(STOPPED)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [CTRL_C, CTRL_C * 3], ids=["once", "again and again"])
def test_ctrl_c_in_the_midst_of_a_stage(held: list[str], keys: str, tmp_path: Path) -> None:
    with Typed(held, {"HOME": "/nonexistent", "PREFECT_HOME": "/nonexistent"}) as typed:
        typed.wait_for("extract_triplets first rows of shard-")  # the bar
        assert typed.living() == [typed.process.pid]  # no server
        typed.press(keys)
        assert typed.end() == 130
        assert typed.shown.endswith(f"{CURSOR}\n{STOPPED}")
        assert "Traceback" not in typed.shown
        assert typed.left_over() == []
    assert not list(tmp_path.rglob("*.db"))


@pytest.mark.slow
def test_a_terminal_that_is_closed_ends_it(tmp_path: Path) -> None:
    with Typed([*TRIPTYCH, "demo", "--folder", str(tmp_path)]) as typed:
        typed.wait_for("make_input")
        typed.close_terminal()
        assert typed.end() == 129
        assert typed.left_over() == []


@pytest.mark.slow
def test_sigterm_while_the_demo_draws_its_input(tmp_path: Path) -> None:
    with Typed([*TRIPTYCH, "demo", "--folder", str(tmp_path)]) as typed:
        typed.wait_for("make_input")
        typed.send(signal.SIGTERM)
        assert typed.end() == 143
        assert typed.shown.endswith(STOPPED)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
def test_no_blender_outlives_it(how: signal.Signals, tmp_path: Path) -> None:
    blender = tmp_path / "python"
    blender.write_text(
        f"#!{sys.executable}\nimport os, sys, time\nfrom pathlib import Path\nfolder = Path(sys.argv[3])\n"
        + textwrap.dedent(FAITHFUL)
    )
    blender.chmod(0o755)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    arguments = ["curate", "kinemask", "--n-train", "1", "--n-test", "0", "--render.renderer", "cycles"]
    arguments += ["--cycles.python", str(blender), "--root", str(tmp_path / "out")]
    with Typed([*TRIPTYCH, *arguments], {"TMPDIR": str(scratch)}) as typed:
        started = scratch / "started"
        wait_for(lambda: started.exists() and bool(started.read_text()), seconds=120)
        pid = int(started.read_text())
        typed.send(how)
        assert typed.end() == (-9 if how == signal.SIGKILL else 128 + how)
        wait_for(lambda: gone(pid), seconds=AT_ONCE_S)


@pytest.mark.slow
def test_killed_it_leaves_nothing_and_the_same_command_goes_on(held: list[str], tmp_path: Path) -> None:
    with Typed(held) as typed:
        typed.wait_for("extract_triplets first rows of shard-")
        typed.send(signal.SIGKILL)
        assert typed.end() == -signal.SIGKILL
        assert typed.left_over() == []
    again = start_command([argument if argument != "openai" else "rules" for argument in held], {})
    log, _ = again.communicate(timeout=180)
    assert again.returncode == 0, log
    assert "split_scenes: 0 of 2 rows are new" in log


# --- Starting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", ["--help", "curate --help", "demo --help", "ask --help"])
def test_what_needs_no_prefect_does_not_wait_for_its_import(arguments: str) -> None:
    code = """
        import sys
        from flows.commands.cli import main
        try:
            main(sys.argv[1:])
        except SystemExit as end:
            assert not end.code
        assert not {"prefect", "openai", "scenedetect"} & {*sys.modules}
    """
    start = start_command([sys.executable, "-c", textwrap.dedent(code), *arguments.split()], {})
    said, _ = start.communicate(timeout=60)
    assert start.returncode == 0, said
    assert "usage: triptych" in said
