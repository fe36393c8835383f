"""flows.engine.display: a bar on a terminal that a person watches, lines everywhere else."""

from __future__ import annotations

import io
import logging
import os
import re
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console

from flows.engine import display
from flows.engine.display import Bar, draw, is_watched, listener_for, step, terminal
from flows.engine.steps import run_step
from tasks.engine.inputs import Inputs
from tasks.engine.progress import AtWork, LogLines, Part, Tally, counted
from tasks.engine.shards import Shard
from tasks.engine.stage import run_stage
from tasks.engine.work import Work
from tests.engine.test_stage import Counter, source

ROOT = logging.getLogger()


@pytest.fixture
def shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "BAR_AFTER_S", 0.0)


@pytest.fixture
def pty_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Any]]:
    """(where to read what is shown, the terminal's own end as a file)."""
    monkeypatch.setenv("TERM", "xterm-256color")
    reading, writing = os.openpty()
    with os.fdopen(writing, "w") as file:
        yield reading, file
    os.close(reading)


def read_all(reading: int) -> str:
    """What was shown on a terminal: it comes in pieces, and a busy machine takes its time to pass them on."""
    pieces = []
    while select.select([reading], [], [], 1.0)[0]:
        pieces.append(os.read(reading, 65536))
    return b"".join(pieces).decode()


def fake_terminal(width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, _environ={"TERM": "xterm"})


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return plain(console.file.getvalue())


def plain(shown: str) -> str:
    """Without colours and movements of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


def screen(console: Console) -> list[str]:
    """The lines that a terminal shows after all that was written to it."""
    assert isinstance(console.file, io.StringIO)
    lines, row = [""], 0
    for code, letter in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z])|([^\x1b])", console.file.getvalue()):
        if code == "\x1b[1A":
            row -= 1
        elif code == "\x1b[2K" or letter == "\r":  # whatever goes back to a line's begin here has cleared it
            lines[row] = ""
        elif letter == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        else:
            lines[row] += letter
    return [line.rstrip() for line in lines]


def a_stage() -> Tally:
    """The first of two rows is done, the other at frame 120."""
    tally = Tally("measure shard-1", 2)
    tally.end(tally.begin("clip-1"), "done", [])
    tally.begin("clip-2").tell(120, 300, "frames")
    return tally


# --- Which ---------------------------------------------------------------------------------------


def test_without_a_terminal_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "terminal", lambda: Console(file=io.StringIO()))
    assert isinstance(listener_for(logging.getLogger("test")), LogLines)


def test_on_a_terminal_there_is_a_bar(pty_end: tuple[int, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=pty_end[1])
    assert is_watched(console)
    monkeypatch.setattr(display, "terminal", lambda: console)
    assert isinstance(listener_for(logging.getLogger("test")), Bar)


@pytest.mark.parametrize("variable", [("TERM", "dumb"), ("PREFECT__FLOW_RUN_ID", "0f1e")])
def test_a_dumb_terminal_and_a_workers_are_not_watched(
    variable: tuple[str, str], pty_end: tuple[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*variable)
    assert not is_watched(Console(file=pty_end[1]))


def test_colours_that_are_forced_make_no_terminal_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not is_watched(Console(file=io.StringIO()))


def test_a_closed_file_is_not_watched() -> None:
    file = io.StringIO()
    console = Console(file=file)
    file.close()
    assert not is_watched(console)


def test_the_bar_stands_on_the_console_of_prefects_log(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = PrefectConsoleHandler(stream=io.StringIO())
    monkeypatch.setattr(ROOT, "handlers", [logging.NullHandler(), handler])
    assert terminal() is handler.console
    monkeypatch.setattr(ROOT, "handlers", [])
    assert terminal().stderr


# --- The bar -------------------------------------------------------------------------------------


def test_the_bar_shows_rows_and_frames() -> None:
    console = fake_terminal()
    console.print(draw(a_stage().parts()))
    name, rows, frames = text_of(console).splitlines()
    assert re.fullmatch(r"measure shard-1  ━+.━+ *", name)
    assert re.fullmatch(r"1/2 rows \(1 done\), .* rows/s, about 0 s left *", rows)
    assert re.fullmatch(r"  clip-2  ━+.━+  120 of 300 frames *", frames)


def test_a_narrow_terminal_and_many_rows_fit() -> None:
    console = fake_terminal(width=40)
    rows = [Part(f"clip-{number}", None, "40 s") for number in range(20)]
    console.print(draw([Part("propagate_masks shard-0123456789ab", 0.5, "10/30 rows (10 done)"), *rows]))
    lines = text_of(console).splitlines()
    assert len(lines) == 2 + display.MAX_ROWS_SHOWN + 1
    assert max(map(len, lines)) <= 40
    assert lines[-1].strip() == "12 more"


def test_names_are_no_markup() -> None:
    console = fake_terminal()
    console.print(draw([Part("[red]x", 0.5, "[bold]y")]))
    assert "[red]x" in text_of(console)
    assert "[bold]y" in text_of(console)


def test_prefects_console_lacks_richs_own_colours_and_shows_the_bar() -> None:
    console = PrefectConsoleHandler(stream=io.StringIO(), styles={"log.info_level": "cyan"}).console
    console.print(draw(a_stage().parts()))
    assert "120 of 300 frames" in text_of(console)


@pytest.mark.usefixtures("shown_at_once")
@pytest.mark.logs_errors
def test_logs_are_printed_whole_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    console = fake_terminal()
    plain_handler, prefects = logging.StreamHandler(console.file), PrefectConsoleHandler(stream=io.StringIO())
    prefects.console = console
    monkeypatch.setattr(ROOT, "handlers", [plain_handler, prefects])
    log = logging.getLogger("test_display")
    with Bar(console).follow(a_stage()) as look:
        look()
        log.warning("a warning")
        print("printed", file=sys.stderr)
        log.error("an error")
        whole, rows, at_work = screen(console)[-3:]
        assert whole.startswith("measure shard-1  ━")
        assert rows.startswith("1/2 rows (1 done)")
        assert at_work.startswith("  clip-2  ━")
    log.warning("later")
    lines = [line for line in screen(console) if line]
    assert lines == ["a warning"] * 2 + ["printed"] + ["an error"] * 2 + ["later"] * 2
    assert plain_handler.stream is console.file
    assert console.file.getvalue().count("\x1b[?25h") == 1  # type: ignore[attr-defined]  # the cursor is back


def test_what_ends_at_once_shows_no_bar() -> None:
    console = fake_terminal()
    with Bar(console).follow(a_stage()) as look:
        look()
    assert text_of(console) == ""


@pytest.mark.usefixtures("shown_at_once")
def test_an_error_takes_the_bar_away() -> None:
    console = fake_terminal()

    def fail() -> None:
        with Bar(console).follow(a_stage()) as look:
            look()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not console._live_stack
    assert not isinstance(sys.stderr, display.FileProxy)


@pytest.mark.usefixtures("shown_at_once")
def test_a_stage_on_a_terminal(tmp_path: Path, pty_end: tuple[int, Any]) -> None:
    reading, file = pty_end
    console = Console(file=file, width=100)
    work = Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path))
    counter = Counter(b=lambda: list(counted(range(300))))
    run_stage(work, Shard[Any].of([source(c) for c in "abc"]), counter.stage(), listener=Bar(console))
    file.flush()
    shown = plain(read_all(reading))
    assert re.search(r"measure shard-[0-9a-f]+  ━", shown)
    assert "3/3 rows (3 done)" in shown


# --- Steps ---------------------------------------------------------------------------------------


def test_a_step_is_told_in_lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("tasks.engine.progress.PROGRESS_EVERY_S", 0.0)
    caplog.set_level("INFO")
    with step("draw_scenes", logging.getLogger("test")):
        list(counted(range(2), "scenes"))
    assert "draw_scenes: 1 of 2 scenes" in caplog.messages


def test_run_step_tells_what_its_function_counts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tasks.engine.progress.PROGRESS_EVERY_S", 0.0)
    caplog.set_level("INFO")

    def hash_files(n: int, *, unit: str) -> int:
        return len(list(counted(range(n), unit)))

    assert run_step("read_manifest", hash_files, 3, unit="lines") == 3
    assert "read_manifest: 2 of 3 lines" in caplog.messages


@pytest.mark.usefixtures("shown_at_once")
def test_a_step_on_a_terminal_shows_what_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    console = fake_terminal()
    monkeypatch.setattr(display, "listener_for", lambda log: Bar(console))
    with step("draw_scenes", logging.getLogger("test")):
        list(counted(range(2), "scenes"))
    assert "2 of 2 scenes" in text_of(console)
    with step("publish", logging.getLogger("test")):
        pass
    assert "publish" not in text_of(console)


def test_what_a_step_counts_is_its_own(caplog: pytest.LogCaptureFixture) -> None:
    outer = AtWork("outer")
    with outer.current(), step("inner", logging.getLogger("test")):
        list(counted(range(2)))
    assert outer.done == 0
