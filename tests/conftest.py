"""Shared by all tests: an unexpected ERROR in a log fails the test that logged it."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest

# Commands leave a signal alone that is ignored where they are started, as under `nohup`; tests send them.
for _signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_signum) == signal.SIG_IGN:
        signal.signal(_signum, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def no_unexpected_errors(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Mark a test with `logs_errors` where an ERROR is what it is about."""
    yield
    if request.node.get_closest_marker("logs_errors"):
        return
    errors = [r for phase in ("setup", "call") for r in caplog.get_records(phase) if r.levelno >= logging.ERROR]
    assert not errors, [r.getMessage() for r in errors]
