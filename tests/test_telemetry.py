"""Nobody is told of what runs here: not by Prefect's server, its client and its pages, nor by the model libraries."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.flow_runs import REPOSITORY

ASK = """
from prefect.settings import get_current_settings
from prefect._internal.analytics import is_telemetry_enabled
server = get_current_settings().server
print(server.analytics_enabled, server.ui.v2_enabled, is_telemetry_enabled())
"""
SPEAKS = ("DO_NOT_TRACK", "CI", "PREFECT_")  # variables that would answer for the project


def new_environment(home: Path) -> dict[str, str]:
    """Of somebody who has just cloned the project."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(SPEAKS)}
    return inherited | {"HOME": str(home), "PREFECT_HOME": str(home / "prefect"), "PYTHONPATH": str(REPOSITORY)}


@pytest.mark.parametrize(
    ("code", "folder", "told"),
    [
        (f"import flows\n{ASK}", "elsewhere", "False True False"),  # `triptych ...`: no pages
        (ASK, "project", "False False True"),  # `prefect ...`: its client asks the server, whose answer is no
        (ASK, "elsewhere", "True True True"),  # else the test sees nothing
    ],
    ids=["triptych", "prefect", "neither"],
)
def test_settings_say_no(code: str, folder: str, told: str, tmp_path: Path) -> None:
    cwd = REPOSITORY if folder == "project" else tmp_path
    asked = [sys.executable, "-P", "-c", code]
    done = subprocess.run(asked, cwd=cwd, env=new_environment(tmp_path), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == told


def test_the_users_word_is_the_last(tmp_path: Path) -> None:
    env = new_environment(tmp_path) | {"PREFECT_SERVER_ANALYTICS_ENABLED": "true", "DO_NOT_TRACK": "0"}
    asked = [sys.executable, "-c", f"import flows\n{ASK}"]
    done = subprocess.run(asked, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0::2] == ["True", "True"]


@pytest.mark.slow
def test_a_first_command_on_a_terminal_counts_nothing(tmp_path: Path) -> None:
    """On a terminal Prefect's client says that it collects data, then sends its user's first steps."""
    said = on_a_terminal([sys.executable, "-m", "flows.commands.cli", "curate", "kinemask", "--help"], tmp_path / "a")
    assert "triptych curate kinemask" in said
    assert "collects" not in said
    assert "collects" in on_a_terminal(
        [sys.executable, "-c", "import prefect"], tmp_path / "b"
    )  # else the test sees nothing


def on_a_terminal(command: list[str], home: Path) -> str:
    home.mkdir()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, cwd=home, env=new_environment(home), stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while block := os.read(ours, 65536):
            said += block
    except OSError:  # the terminal's end
        pass
    os.close(ours)
    assert process.wait() == 0, said.decode()
    return said.decode()


@pytest.mark.parametrize("path", sorted((REPOSITORY / "docker").glob("*.Dockerfile")), ids=lambda path: path.name)
def test_images_say_no(path: Path) -> None:
    (variables,) = [part for part in path.read_text().split("\n\n") if part.startswith("ENV ")]
    assert "DO_NOT_TRACK=1" in variables
    assert "PREFECT_SERVER_ANALYTICS_ENABLED=false" in variables
