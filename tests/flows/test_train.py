"""Trainings as flows and commands: one command begins, goes on, refuses, returns what is done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
from prefect.utilities.schema_tools.validation import validate

from flows.commands import cli
from flows.engine.options import merged
from flows.engine.training import plan_lines, plan_run
from flows.registry import TRAININGS, load_training
from schemas.outcome import ServiceDown
from schemas.training_run import RunManifest
from tasks.engine.lease import RUNNING
from tasks.engine.snapshots import SnapshotError
from tasks.training import identity, launch
from tasks.training.launch import JobFailed, JobStopped, LaunchConfig, RunRefused, at_work_of
from tasks.training.recipe import RECIPES
from tests.backends.test_cycles import wait_for
from tests.support.run_form import posted
from tests.support.stand_in_job import STAND_IN, STEP_S, write_job
from tests.support.stand_in_training import FLOW, LIBRARIES, TrainCounting, train_counting
from tests.support.training_samples import publish_samples

REPOSITORY = Path(__file__).resolve().parents[2]
STAND_IN_TRAINING = "tests.support.stand_in_training"
COMMAND = f"from flows.engine.process import *; begin_command(); from {STAND_IN_TRAINING} import *; main()"


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "JOB", STAND_IN)
    monkeypatch.setattr(launch, "LOOK_S", 0.02)
    monkeypatch.setitem(RECIPES, "counting", f"{STAND_IN_TRAINING}:RECIPE")
    monkeypatch.setattr("flows.engine.training.library_versions", lambda: LIBRARIES)


@pytest.fixture
def config(tmp_path: Path) -> TrainCounting:
    publish_samples(tmp_path / "training", "counting-samples")
    return TrainCounting(samples=tmp_path / "training", runs=tmp_path / "runs")


def changed(config: TrainCounting, **values: Any) -> TrainCounting:
    return TrainCounting.model_validate({"samples": config.samples, "runs": config.runs, **values})


def steps_of(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def started(config: TrainCounting, **environment: str) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    options = ["--samples", str(config.samples), "--runs", str(config.runs)]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *options],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


# --- A run -------------------------------------------------------------------------------------


def test_it_is_trained_and_published_and_then_done(config: TrainCounting, caplog: pytest.LogCaptureFixture) -> None:
    folder = Path(train_counting.fn(config))
    assert steps_of(folder) == [1, 2, 3]
    manifest = RunManifest.from_json((folder / "manifest.json").read_bytes())
    assert manifest.run_id == folder.name == manifest.request.run_id
    assert (manifest.n_steps, manifest.request.samples) == (3, str(plan_run(config).request.samples))
    assert {"request.json", "metrics.jsonl", "log.txt"} < {file.path for file in manifest.files}
    assert not at_work_of(folder).joinpath(RUNNING).exists()
    before = (folder / "manifest.json").stat().st_mtime_ns
    with caplog.at_level("INFO"):
        assert Path(train_counting.fn(config)) == folder
    assert f"{folder}: done already" in caplog.messages
    assert (folder / "manifest.json").stat().st_mtime_ns == before


def test_other_settings_are_another_run_and_where_it_runs_is_not(config: TrainCounting) -> None:
    plan = plan_run(config)
    assert plan_run(changed(config, variant="everywhere")).folder != plan.folder
    assert plan_run(changed(config, launch=LaunchConfig(save_s=5))).request == plan.request
    publish_samples(Path(str(config.samples)), "counting-samples", n_train=8)
    assert plan_run(config).folder != plan.folder


def test_the_same_command_goes_on_after_a_failure(config: TrainCounting) -> None:
    folder = plan_run(config).folder
    code = "from tests.support.stand_in_job import count_steps; count_steps(folder, 2, 4); raise OSError('disk full')"
    write_job(folder, code)
    with pytest.raises(JobFailed, match="disk full"):
        train_counting.fn(config)
    (folder / "job.py").unlink()
    assert Path(train_counting.fn(config)) == folder
    assert steps_of(folder) == [1, 2, 3]
    assert "begins after step 2" in (folder / "log.txt").read_text()


@pytest.mark.parametrize(
    ("launch_config", "libraries", "told"),
    [
        ({"n_processes": 2}, None, r"n_processes 1 \(now 2\)\."),
        ({"micro_batch": 4}, None, r"micro_batch 1 \(now 4\)\."),
        ({}, ["torch 2.14.0", "numpy 2.5.1"], r"libraries torch 2\.13\.0 \(now torch 2\.14\.0\)\."),
    ],
)
def test_one_that_would_end_otherwise_is_refused_by_name(
    config: TrainCounting, launch_config: Any, libraries: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = plan_run(config).folder
    write_job(folder, "sys.exit(75)")
    other = changed(config, launch=LaunchConfig(**launch_config))
    with pytest.raises(JobStopped):
        train_counting.fn(config)
    if libraries:
        monkeypatch.setattr("flows.engine.training.library_versions", lambda: libraries)
    plan_run(other)  # nothing is trained yet
    (folder / "checkpoints" / "step-000001").mkdir(parents=True)
    with pytest.raises(RunRefused, match=f"was begun otherwise, and would end otherwise: {told}"):
        train_counting.fn(other)


def test_what_cannot_be_is_refused_before_anything_is_written(config: TrainCounting) -> None:
    for values, told in (
        ({"launch": {"n_processes": 3}}, "a batch of 4 is no multiple of 3 processes x 1 samples at once"),
        ({"snapshot": "counting-samples-1"}, "is no snapshot"),
        ({"training": {"model": "gone"}}, "no checkpoint at gone"),
        ({"launch": {"accelerate_config": "none.yaml"}}, "none.yaml cannot be read"),
    ):
        with pytest.raises((RunRefused, SnapshotError, ServiceDown), match=told):
            train_counting.fn(changed(config, **values))
    publish_samples(Path(str(config.samples)), "counting-samples", n_train=0)
    with pytest.raises(RunRefused, match="has no sample"):
        train_counting.fn(config)
    publish_samples(Path(str(config.samples)), "other-samples")
    with pytest.raises(SnapshotError, match="was made by prepare-other-samples"):
        train_counting.fn(config)
    assert not Path(str(config.runs)).exists()


def test_without_torch_it_is_told_how_to_install_it(config: TrainCounting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.engine.training.library_versions", identity.library_versions)
    monkeypatch.setattr(identity, "LIBRARIES", ("numpy", "no-such-library"))
    with pytest.raises(ServiceDown, match=r"no-such-library is not installed: pip install .*\[models\]"):
        train_counting.fn(config)


def test_code_is_what_a_job_imports() -> None:
    names = "tasks.training.recipes.kinemask.config", "tasks.training.recipes.dsr.config"
    assert len({identity.code_digest(name) for name in names}) == 2
    assert identity.code_digest(names[0]) == identity.code_digest(names[0])
    files = list(identity._imported_by(REPOSITORY / "tasks/training/recipes/kinemask/config.py"))
    assert "tasks.media.velocity_masks" in files


# --- The command -------------------------------------------------------------------------------


def test_a_dry_run_tells_what_would_run_and_writes_nothing(
    config: TrainCounting, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--samples", str(config.samples), "--runs", str(config.runs), "--dry-run"]
    FLOW.main([*options, "--launch.n-processes", "2", "--variant", "everywhere"])
    run, samples, model, processes, phase, command = capsys.readouterr().out.splitlines()
    assert run.startswith(f"run         {config.runs}/counting-")
    assert run.endswith(": would begin")
    assert samples.endswith(": 2 test, 6 train; 6 are trained on")
    assert model.split() == ["base", "model", "tiny", "sha256:1234"]
    assert processes == "processes   2 processes here, 1 samples at once in each"
    assert phase == "phase       only: 5 steps of 4 samples (2 micro-batches a process), 3.33 epochs"
    assert "--nproc-per-node 2 -m tasks.training.rank" in command
    assert not Path(str(config.runs)).exists()
    folder = Path(train_counting.fn(config))
    assert (
        next(plan_lines(plan_run(config), config)) == f"run         {folder}: done already: a run would return at once"
    )


def test_an_error_is_one_line(config: TrainCounting) -> None:
    options = ["--samples", str(config.samples), "--runs", str(config.runs)]
    with pytest.raises(SystemExit, match=r"^RunRefused: phase only: a batch of 4 is no multiple"):
        FLOW.main([*options, "--launch.n-processes", "3"])
    with pytest.raises(SystemExit, match=r"^--runs: a job saves to a disk"):
        FLOW.main([*options, "--runs", "s3://bucket/runs"])
    with pytest.raises(SystemExit, match=r"there is no option --training\.lora\.rnk; did you mean"):
        FLOW.main([*options, "--training.lora.rnk", "3"])
    write_job(plan_run(config).folder, "sys.exit(75)")
    with pytest.raises(SystemExit) as stopped:
        FLOW.main(options)
    assert stopped.value.code == 75


def test_the_command_lists_its_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["train", "--help"])
    assert "RECIPE: matrix, kinemask, dsr;" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="there is no recipe 'matrx'"):
        cli.main(["train", "matrx"])
    cli.main(["train", "kinemask", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("usage: triptych train kinemask --samples SAMPLES [options]")
    assert "--training.first.n-steps Updates of the weights (default: 1000)" in said


@pytest.mark.slow
def test_a_stop_saves_and_the_same_command_goes_on(config: TrainCounting) -> None:
    folder = plan_run(config).folder
    process = started(config, **{STEP_S: "0.4"})
    wait_for(lambda: (folder / "metrics.jsonl").exists() or process.poll() is not None, 30)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert said.endswith("stopped; the same command goes on from here\n")
    assert "saved after step" in said
    assert not at_work_of(folder).joinpath(RUNNING).exists()
    done = steps_of(folder)
    assert len(done) < 3
    train_counting.fn(config)
    assert steps_of(folder) == [1, 2, 3]


# --- Settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", TRAININGS)
def test_a_variant_is_the_recipes_own(recipe: str) -> None:
    room = import_module(f"tasks.training.recipes.{recipe}.config")
    kind = load_training(recipe).config
    assert get_args(kind.model_fields["variant"].annotation) == tuple(room.VARIANTS)
    for variant in room.VARIANTS:
        assert kind(samples="x", variant=variant).training == room.variant(variant)
        parsed = load_training(recipe).parse(["--samples", "x", "--variant", variant, "--training.seed", "3"])
        assert parsed.training == room.variant(variant, seed=3)


def test_an_option_decides_over_the_variant() -> None:
    options = ["--samples", "x", "--variant", "everywhere"]
    assert FLOW.parse(options).training.lora.blocks is None
    named = FLOW.parse([*options, "--training.lora.biased", "--training.lora.rank", "2"]).training
    assert (named.lora.biased, named.lora.rank, named.lora.blocks, named.optimisation.n_steps) == (True, 2, None, 5)
    nulled = TrainCounting.model_validate({"samples": "x", "training": {"lora": {"blocks": None, "biased": None}}})
    assert (nulled.training.lora.blocks, nulled.training.lora.biased) == (None, True)  # null is an answer of the first
    assert nulled.training.optimisation.betas == (0.9, 0.95)


def test_a_given_config_is_read_again_as_it_was() -> None:
    for variant in ("paper", "everywhere"):
        config = TrainCounting(samples=Path("x"), variant=variant)  # type: ignore[arg-type]
        for values in (config.model_dump(mode="json"), config.model_dump(exclude_unset=True), dict(config)):
            assert TrainCounting.model_validate(values) == config
    assert merged(TrainCounting, {"training": {"model": "a"}})["training"]["model"] == "a"


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("variant", ["paper", "everywhere"])
def test_a_form_that_is_submitted_unchanged_runs_what_is_deployed(variant: str, opened: bool) -> None:
    schema = train_counting.parameters.model_dump_for_openapi()
    given = {"config": {"samples": "/samples", "runs": "/runs", "variant": variant}}
    form = posted(schema, given, opened=opened)
    validate(form, schema, raise_on_error=True)
    assert TrainCounting.model_validate(form["config"]) == TrainCounting.model_validate(given["config"])


@pytest.mark.parametrize("recipe", TRAININGS)
def test_the_form_of_every_training_can_be_drawn(recipe: str) -> None:
    flow = load_training(recipe)
    schema = flow.train.parameters.model_dump_for_openapi()
    for variant in ("paper", [*flow.config.profiles][-1]):
        given = {"config": {"samples": "/samples", "runs": "/runs", "variant": variant}}
        form = posted(schema, given, opened=True)
        validate(form, schema, raise_on_error=True)
        assert flow.config.model_validate(form["config"]) == flow.config.model_validate(given["config"])
