"""What the tests of the engine work with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine.inputs import Inputs
from tasks.engine.work import Work
from tests.support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path))
