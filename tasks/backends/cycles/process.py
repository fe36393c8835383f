"""One Blender process per job: a crash fails only one clip.

    pixels = draw(python, job, floor, timeout_s=1800)

The process gets its own folder for all input and output, which is removed afterwards. It is killed after the timeout,
when this thread is interrupted, and by the kernel if this process dies.
"""

from __future__ import annotations

import bisect
import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import BaseModel, ValidationError

from schemas.outcome import RowFailed, ServiceDown
from tasks.engine.progress import LOOK_EVERY_S, advance
from tasks.media.cast_rays import Window

WORKER = Path(__file__).with_name("worker.py")
REQUIREMENTS = Path(__file__).with_name("requirements.txt")

REMEDY = "`make blender` makes an environment that has it; TRIPTYCH_BLENDER_PYTHON or cycles.python may name another"

_NO_BLENDER = 3  # the worker's exit status
_NO_PROGRAM = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENOEXEC, errno.ELOOP)
_TOLD = 2000  # characters kept of a failed process's log
_FULL_DISK = 64 * 2**20  # bytes: with less free, a failure counts as a full disk
# Nothing else is passed on: OCIO and others would change the pictures, and API keys stay out of Blender.
_PASSED_ON = ("HOME", "LD_LIBRARY_PATH", "PATH")


class Report(BaseModel):
    """What the worker reports when all files are written."""

    bpy: str


def pinned_blender() -> str:
    """The version of bpy that this package is made for; rows record it."""
    pins = dict(line.split("==") for line in REQUIREMENTS.read_text().splitlines() if "==" in line)
    return pins["bpy"]


def draw(python: Path, job: dict[str, Any], floor: np.ndarray, timeout_s: float) -> np.ndarray:
    """(N, 4) uint8: red, green, blue, label of the job's parts, one after another.

    job:   as worker.py takes it
    floor: (N, N, 3) uint8 RGB
    Raises RowFailed if the process dies, hangs or writes nonsense, ServiceDown if that Python has no such Blender,
    OSError if the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="triptych-cycles-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps(job))
        (folder / "floor.png").write_bytes(cv2.imencode(".png", floor[..., ::-1])[1].tobytes())
        status = _run(python, folder, job, timeout_s)
        if status != 0:
            raise _failure(python, folder, status)
        return _read(folder, job)


def _run(python: Path, folder: Path, job: dict[str, Any], timeout_s: float) -> int:
    """The worker's exit status, negative for a signal."""
    environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    with (folder / "log").open("wb") as log:
        try:
            process = subprocess.Popen(
                [python, "-I", WORKER, folder, str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment | {"TMPDIR": str(folder), "BLENDER_USER_RESOURCES": str(folder)},
                # Else Ctrl-C would reach Blender, which then ends early and saves half a picture as a whole one.
                start_new_session=True,
            )
        except OSError as error:
            if error.errno not in _NO_PROGRAM:
                raise
            raise ServiceDown(f"no Blender: {python}: {error.strerror}. {REMEDY}") from error
    try:
        return _wait(process, timeout_s, folder / "pixels.part", job)
    except subprocess.TimeoutExpired as error:
        raise RowFailed("renderer_timeout", f"Blender took longer than {timeout_s:g} s", retryable=True) from error
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], timeout_s: float, drawn: Path, job: dict[str, Any]) -> int:
    """The exit status. Reports the progress meanwhile. Raises TimeoutExpired."""
    ends = list(itertools.accumulate(4 * Window(*part["box"]).area for part in job["parts"]))  # bytes
    end_s = time.monotonic() + timeout_s
    while True:
        try:
            return process.wait(min(LOOK_EVERY_S, end_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= end_s:
                raise
        n_bytes = drawn.stat().st_size if drawn.exists() else 0
        advance(bisect.bisect_right(ends, n_bytes), len(ends), "parts of frames")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _failure(python: Path, folder: Path, status: int) -> Exception:
    told = (folder / "log").read_text(errors="replace").strip()[-_TOLD:]
    if status == _NO_BLENDER:
        return ServiceDown(f"no Blender: {told}. {REMEDY}")
    if shutil.disk_usage(folder).free < _FULL_DISK:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return RowFailed("renderer_died", f"{python}: {how}: {told}", retryable=True)


def _read(folder: Path, job: dict[str, Any]) -> np.ndarray:
    """The pixels that the worker wrote. Raises RowFailed unless they fit the job."""
    n_pixels = sum(Window(*part["box"]).area for part in job["parts"])
    try:
        report = Report.model_validate_json((folder / "report.json").read_bytes())
        pixels = np.fromfile(folder / "pixels", np.uint8)
    except (FileNotFoundError, ValidationError) as error:
        raise _nonsense(f"{type(error).__name__}: {error}") from error
    if report.bpy != job["bpy"]:
        raise _nonsense(f"bpy {job['bpy']} was asked and bpy {report.bpy} answers")
    if pixels.size != 4 * n_pixels:
        raise _nonsense(f"{pixels.size} bytes for {n_pixels} pixels")
    pixels = pixels.reshape(n_pixels, 4)
    if pixels[:, 3].max(initial=0) > len(job["scene"]["bodies"]):
        raise _nonsense(f"label {pixels[:, 3].max()} in a scene of {len(job['scene']['bodies'])} bodies")
    return pixels


def _nonsense(detail: str) -> RowFailed:
    return RowFailed("renderer_wrote_nonsense", detail, retryable=True)
