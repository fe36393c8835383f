"""The README stays true: what it names is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from schemas import dsr, kinemask, matrix11k

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_path_of_the_layout_is_there() -> None:
    layout = README.split("## Layout")[1].split("```")[1]
    paths = [line.split()[0] for line in layout.strip().splitlines()]
    assert len(paths) > 20
    for path in paths:
        # A module that outgrew one file is a package under the same import path.
        assert (ROOT / path).exists() or (ROOT / path.removesuffix(".py")).is_dir(), path


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([\w.]+)", README))))
def test_every_command_is_there(module: str) -> None:
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize(
    "table", sorted({*matrix11k.TABLES, *kinemask.SHARD_TABLES, *dsr.SHARD_TABLES, *dsr.WHOLE_TABLES})
)
def test_every_table_is_named(table: str) -> None:
    assert f"{table}/" in README or f'"{table}"' in README


def test_every_make_target_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_deployment_and_pool_is_there() -> None:
    project = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    names = {f"{d['entrypoint'].split(':')[1].replace('_', '-')}/{d['name']}" for d in project["deployments"]}
    named = set(re.findall(r"curate-[a-z0-9-]+/\w+", README))
    assert {"curate-matrix11k/default", "curate-kinemask/blender", "curate-dsr/paper"} <= named <= names
    pools = {d["work_pool"]["name"] for d in project["deployments"]}
    assert set(re.findall(r"triptych-\w+", README)) == pools
