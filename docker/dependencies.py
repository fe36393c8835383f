"""Print what pyproject.toml requires, as requirements: `python dependencies.py [EXTRA]...`

The Dockerfiles install these before copying the source: a change of the source reinstalls no dependency.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def dependencies(project: dict[str, Any], extras: Iterable[str]) -> list[str]:
    """The requirements of a pyproject.toml's `project` table, with those of some extras.

    Raises KeyError for an unknown extra.
    """
    optional = project["optional-dependencies"]
    return project["dependencies"] + [requirement for extra in extras for requirement in optional[extra]]


if __name__ == "__main__":
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    sys.stdout.writelines(f"{requirement}\n" for requirement in dependencies(project, sys.argv[1:]))
