"""Tests of networks can run in any order, and alone."""

from __future__ import annotations

import pytest

from tasks.backends.torch_runtime import import_torchvision


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("models"):
        import_torchvision()  # before diffusers, which imports it if it is installed
