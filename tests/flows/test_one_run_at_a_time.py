"""One run at a time in a root: every flow asks for it, what only looks does not, and real processes take turns."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from prefect.exceptions import ParameterTypeError

from flows.commands import cli
from flows.engine.config import DispatchConfig
from flows.registry import FLOWS, load_flow
from schemas.storage import AnyPath, parse_path
from tasks.datasets.registry import DATASETS
from tasks.engine.lease import RUNNING, Holder, held
from tests.support.flow_runs import REPOSITORY
from tests.support.s3_server import S3Server, bucket, s3, s3_server  # noqa: F401 - fixtures
from tests.support.toy.flow import CurateToy, curate_toy

WORDS = "the dog throws a ball to the boy who laughs at it"
# Counts slowly, says when, and starts when it is told to: importing takes some processes longer than others.
RUN = """
import sys, time
from pathlib import Path
from tests.support.toy import flow
count = flow.count_letters
def count_slowly(text, config):
    began_s = time.monotonic()
    time.sleep(0.2)
    letters = count(text, config)
    print(f"COUNTED|{text}|{began_s}|{time.monotonic()}", flush=True)
    return letters
flow.count_letters = count_slowly
print("READY", flush=True)
while not Path(sys.argv[2]).exists():
    time.sleep(0.01)
flow.curate_toy.fn(flow.CurateToy.model_validate_json(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "toy", "tests.support.toy.dataset:TOY")
    monkeypatch.setitem(FLOWS, "toy", "tests.support.toy.flow")


def config_for(root: AnyPath, words: str = WORDS) -> CurateToy:
    return CurateToy(root=root, words=words, report=False)


class Asked(Exception):
    """A flow asked for its root."""


@pytest.mark.parametrize("name", [*FLOWS, "toy"])
def test_every_flow_holds_its_root_before_it_does_anything(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def ask(root: AnyPath, holder: Holder, log: Any) -> Iterator[None]:
        raise Asked(root, holder.flow, holder.dataset)
        yield

    monkeypatch.setattr("flows.engine.pipeline.held", ask)
    curation = load_flow(name)
    only_what_is_asked_first = SimpleNamespace(
        root=tmp_path,
        dataset="of-a-test",
        product=curation.config.product,
        stages=[],
        dispatch=DispatchConfig(),
    )
    with pytest.raises(Asked) as asked:
        curation.curate.fn(only_what_is_asked_first)
    flow_name = f"{curation.config.product.verb}-{name}"
    assert asked.value.args == (tmp_path, flow_name, "of-a-test")
    assert curation.curate.name == flow_name


@pytest.mark.logs_errors
@pytest.mark.parametrize("name", [*FLOWS, "toy"])
def test_prefect_knows_a_flows_own_config(name: str) -> None:
    flow = load_flow(name).curate
    assert flow.parameters.properties["config"]["$ref"].endswith(load_flow(name).config.__name__)
    with pytest.raises(ParameterTypeError, match="no-option"):
        flow.validate_parameters({"config": {"no-option": 1}})


def test_it_is_held_until_the_snapshot_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Holder] = []

    def show_yield(*_: object) -> None:
        seen.append(Holder.model_validate_json((tmp_path / RUNNING).read_bytes()))

    monkeypatch.setattr("flows.engine.pipeline.show_yield", show_yield)
    curate_toy.fn(config_for(tmp_path))
    assert [(holder.flow, holder.dataset, holder.flow_run_id) for holder in seen] == [("curate-toy", "toy", None)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["snapshots", "work"]


def test_what_only_looks_neither_waits_nor_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curate_toy.fn(config_for(tmp_path))
    with held(tmp_path, Holder.here("curate-toy", "another")):
        before = (tmp_path / RUNNING).read_bytes()
        cli.main(["curate", "toy", "--root", str(tmp_path), "--words", WORDS, "--dry-run"])
        assert "nothing is to be computed" in capsys.readouterr().out
        cli.main(["ask", "--root", str(tmp_path)])
        assert "6 inputs = 6 accepted" in capsys.readouterr().out
        assert (tmp_path / RUNNING).read_bytes() == before


# --- Processes ---------------------------------------------------------------------------------


class Counted(NamedTuple):
    process: int
    text: str
    began_s: float
    ended_s: float


def taking_turns(root: AnyPath, words: list[str], env: dict[str, str], folder: Path, *, at_once: bool) -> list[Counted]:
    """Runs side by side in one root, as processes: what they computed, in the order of time.

    at_once: all start in the same moment; otherwise the first is at work when the others come
    Fails unless all of them succeed and all but one have waited.
    """
    runs: list[subprocess.Popen[bytes]] = []
    go, logs = ([folder / f"{name}-{number}" for number in range(len(words))] for name in ("go", "log"))
    try:
        for start, log, text in zip(go, logs, words, strict=True):
            with log.open("wb") as output:
                arguments = [sys.executable, "-c", RUN, config_for(root, text).model_dump_json(), str(start)]
                runs.append(
                    subprocess.Popen(arguments, cwd=REPOSITORY, env=os.environ | env, stdout=output, stderr=output)
                )
        until(lambda: all("READY" in log.read_text() for log in logs))
        go[0].touch()
        until(lambda: at_once or "COUNTED" in logs[0].read_text())
        for start in go[1:]:
            start.touch()
        until(lambda: all(run.poll() is not None for run in runs))
    finally:
        for run in runs:
            run.kill()
            run.wait()
    said = [log.read_text() for log in logs]
    assert [run.returncode for run in runs] == [0] * len(runs), said
    assert [f"{root} is held by curate-toy, dataset toy" in text for text in said].count(True) == len(runs) - 1, said
    lines = [(n, line.split("|")) for n, text in enumerate(said) for line in text.splitlines() if "COUNTED|" in line]
    return sorted([Counted(n, s[1], float(s[2]), float(s[3])) for n, s in lines], key=lambda c: c.began_s)


def until(condition: Callable[[], bool], timeout_s: float = 180) -> None:
    give_up_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["disk", "s3"])
def test_of_processes_side_by_side_one_computes_and_the_others_recompute_nothing(
    where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if where == "disk":
        root, env = tmp_path / "data", {}
        words = [WORDS, f"{WORDS} and runs", WORDS]
    else:  # a store has no lock that makes sure of one, if all start in the same moment
        server: S3Server = request.getfixturevalue("s3")
        server.make_bucket("videos")
        root, env, words = parse_path("s3://videos/data"), server.env, [WORDS, f"{WORDS} and runs"]
    counted = taking_turns(root, words, env, tmp_path, at_once=where == "disk")
    texts = [c.text for c in counted]
    assert sorted(texts) == sorted({*texts})
    assert len(texts) == 7
    assert all(a.process == b.process or a.ended_s < b.began_s for a, b in pairwise(counted)), counted
    changes = [b.process for a, b in pairwise(counted) if a.process != b.process]
    assert len(changes) <= 1, "who has the root computes to its end"
