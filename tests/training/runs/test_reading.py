"""tasks.training.runs.reading: runs at work, stopped, published; half lines, damage and foreign folders."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from schemas.storage import ObjectPath
from schemas.training_run import MANIFEST, METRICS, REQUEST, Measured, Validation
from tasks.engine.lease import Holder, held
from tasks.training.runs.publish import publish_run
from tasks.training.runs.reading import AT_WORK, Run, RunError, final_numbers, is_within, measured_by_step, runs_in
from tests.support.s3_server import S3Server, bucket, s3, s3_server  # noqa: F401 - fixtures
from tests.support.training_runs import CURATED, write_run


def test_a_run_says_where_it_stands(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path, done=9))
    assert str(run.state()) == "stopped, step 9 of 12"
    with held(run.folder.parent / AT_WORK / run.id, Holder.here("train-toy", run.id), logging.getLogger()):
        assert run.state().name == "at work"
    assert run.state().name == "stopped"
    done = write_run(tmp_path)
    publish_run(done)
    assert str(Run.open(done).state()) == "published, step 12 of 12"


def test_a_damaged_manifest_is_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    (folder / MANIFEST).write_text("{")
    assert "cannot be read" in str(Run.open(folder).state())


def test_only_whole_lines_count_and_the_last_of_a_step(tmp_path: Path) -> None:
    folder = write_run(tmp_path, done=3)
    with (folder / METRICS).open("ab") as file:
        file.write(b'{"step": 3, "phase": "first", "loss": 7.5}\n')
        file.write(b'\xff\xfe\n[1]\n{"step": true}\n{"step": "4"}\n{"loss": 1}\n\n{"step": 4, "phase": "first", "lo')
    metrics = Run.open(folder).metrics()
    assert metrics["step"].to_list() == [1, 2, 3]
    assert metrics["loss"][-1] == 7.5
    assert metrics["sga"].is_null().to_list() == [True, False, True]
    assert metrics.columns[:2] == ["step", "phase"]


def test_a_run_without_a_line_yet_has_a_frame_and_a_state(tmp_path: Path) -> None:
    folder = write_run(tmp_path, done=0)
    (folder / METRICS).unlink()
    run = Run.open(folder)
    assert run.metrics().columns == ["step", "phase"]
    assert str(run.state()) == "stopped, step 0 of 12"
    assert final_numbers(run.metrics(), run.validations()) == {}


def test_final_numbers_are_the_last_steps_and_the_last_videos(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path))
    numbers = final_numbers(run.metrics(), run.validations())
    assert numbers["validation AAS"] == pytest.approx((0.32 + 0.37) / 2)
    assert numbers["loss"] == run.metrics()["loss"][11]
    assert "seconds" not in numbers


def test_the_nearest_variant_and_what_differs_from_it(tmp_path: Path) -> None:
    choice = Run.open(write_run(tmp_path, rank=4, blocks=(7,), seed=3)).choice
    assert choice.variant == "small"
    assert choice.changed == {"seed": (3, 0)}
    assert choice.defaults == {"blocks": ([7], [7, 11]), "rank": (4, 128), "seed": (3, 0)}
    assert str(Run.open(write_run(tmp_path)).choice) == "paper"


def test_one_phase_alone_has_its_own_steps(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path, stages="second"))
    assert (run.phases, run.n_steps) == ({"second": 4}, 4)


def test_lineage_goes_on_behind_the_samples(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path, done=2))
    assert [one.snapshot_id for one in run.lineage()][1] == CURATED


def test_foreign_folders_are_no_runs(tmp_path: Path) -> None:
    folder = write_run(tmp_path, done=1)
    for name in ("empty", ".hidden", "damaged", "pipe"):
        (folder.parent / name).mkdir()
    (folder.parent / "file").write_text("")
    (folder.parent / "damaged" / REQUEST).write_text('{"recipe": 3}')
    assert [run.id for run in runs_in(folder.parent)] == [folder.name]
    assert runs_in(tmp_path / "nowhere") == []
    with pytest.raises(RunError, match="damaged"):
        Run.open(folder.parent / "damaged")


def test_a_run_is_found_by_the_beginning_of_its_name(tmp_path: Path) -> None:
    one, other = write_run(tmp_path, done=1), write_run(tmp_path, done=1, seed=1)
    assert Run.open(str(one.parent), one.name[:9]).id == one.name
    with pytest.raises(RunError, match=f"{other.name}.*which one"):
        Run.open(one.parent, "toy-")
    for name in ("nothing", "../training", ""):
        with pytest.raises(RunError):
            Run.open(one.parent, name)


@pytest.mark.parametrize(
    "name", ["validation/../x", "/validation/x", "validation", "validation//x", "validation/.x", "x"]
)
def test_a_name_outside_of_its_folder_is_none(name: str) -> None:
    assert not is_within("validation", name)
    assert is_within("validation", "validation/step-000004/clip-a.mp4")


def test_a_published_run_that_was_copied_to_a_store_is_read_there(
    tmp_path: Path,
    s3: S3Server,  # noqa: F811
    bucket: ObjectPath,  # noqa: F811
) -> None:
    folder = write_run(tmp_path)
    publish_run(folder)
    root = bucket / "runs"
    for path in folder.rglob("*"):
        if path.is_file():
            (root / folder.name / path.relative_to(folder).as_posix()).write_bytes(path.read_bytes())
    (run,) = runs_in(root)
    assert str(run.state()) == "published, step 12 of 12"
    assert len(run.validations()) == 6


def test_a_number_of_one_sample_alone_is_no_number_of_the_run() -> None:
    def shown(sample_id: str, *names: str) -> Validation:
        measured = [Measured(name=name, value=1.0) for name in names]
        return Validation(step=1, sample_id=sample_id, prompt="-", video="-", measured=measured)

    rows = measured_by_step([shown("a", "AAS", "AAS: ball"), shown("b", "AAS", "AAS: dog")])
    assert rows.select("sample_id", "name").rows() == [("a", "AAS"), ("b", "AAS")]
