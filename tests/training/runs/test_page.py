"""The pages of runs: whole, of runs that go on, of hostile texts; the server and `triptych ask` over them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.commands import ask
from schemas.training_run import METRICS
from tasks.engine.lease import Holder
from tasks.training.runs.curves import MOST_POINTS, curves_of, nice, running_mean
from tasks.training.runs.page import MAX_STEPS, progress_of, write_page, write_runs_page
from tasks.training.runs.publish import publish_run
from tasks.training.runs.reading import AT_WORK, Run
from tests.support.pages import Page
from tests.support.served import served
from tests.support.training_runs import CURATED, SAMPLES, line_of, write_run

HOSTILE = "<script>alert(1)</script> \"'&"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published run, an ablation of it, one that was stopped."""
    root = tmp_path_factory.mktemp("all runs")
    publish_run(write_run(root))
    publish_run(write_run(root, rank=4, blocks=(7,)))
    write_page(write_run(root, seed=1, done=5, prompt=HOSTILE))
    write_runs_page(root / "runs")
    return root / "runs"


def name_of(runs: Path, **config: object) -> str:
    """The one whose settings differ from the defaults in just these."""
    (name,) = [path.name for path in runs.glob("toy-*") if set(Run.open(path).choice.defaults) == set(config)]
    return name


def test_the_page_shows_what_the_run_is(runs: Path) -> None:
    folder = runs / name_of(runs)
    page = Page((folder / "index.html").read_text())
    for told in (
        "published",
        "Steps 12 first 8, second 4",
        "Time at work 3 h 6 h of 2 devices",
        "All are the recipe's",
    ):
        assert told in page.text
    assert f'pipeline.load_lora_weights("runs/{folder.name}/weights")' in page.text
    assert SAMPLES in page.text
    assert CURATED in page.text
    assert "../../training/reports/toy-samples-81b2/index.html" in page.attributes("a", "href")
    shown = [*page.attributes("video", "src"), *page.attributes("img", "src")]
    assert len(shown) == 2 * (3 + 3 + 1), "three steps, each with its map, and one first frame, of two samples"
    assert all((folder / name).is_file() for name in shown)
    assert re.search(r"step 4 · AAS 0\.24.*step 12 · AAS 0\.32", page.text)
    assert not re.search(r'(src|href)="(https?:|/)', (folder / "index.html").read_text())
    assert "refresh" not in page.attributes("meta", "http-equiv")


def test_changed_settings_stand_beside_their_defaults(runs: Path) -> None:
    text = Page((runs / name_of(runs, rank=4, blocks=(7,)) / "index.html").read_text()).text
    assert "Variant: small" in text
    assert "rank 4 128" in text
    assert "blocks [7] [7, 11]" in text


def test_the_page_of_a_run_that_goes_on_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path, done=5)
    lease = folder.parent / AT_WORK / folder.name / "running.json"
    lease.parent.mkdir(parents=True)
    lease.write_text(Holder.here("train-toy", folder.name).model_dump_json())
    page = Page(write_page(folder).read_text())
    assert "The run goes on. Step 5 of 12 is done." in page.text
    assert page.attributes("meta", "http-equiv") == ["refresh"]
    lease.unlink()
    assert "not finished : it stopped after step 5 of 12" in Page(write_page(folder).read_text()).text
    (folder / METRICS).write_text("")
    assert "No step is done yet." in Page(write_page(folder).read_text()).text
    assert [path.name for path in (folder / "curves").iterdir()] == ["AAS.svg"], "no picture of what is no metric now"


def test_other_peoples_texts_are_escaped(runs: Path) -> None:
    html = (runs / name_of(runs, seed=1) / "index.html").read_text()
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;alert(1)") == 2


def test_curves_are_pictures_of_their_own(runs: Path) -> None:
    folder = runs / name_of(runs)
    names = {path.stem for path in (folder / "curves").iterdir()}
    assert names == {"loss", "denoising", "sga", "learning_rate", "gradient_norm", "samples_per_s", "AAS"}
    picture = ET.parse(folder / "curves" / "loss.svg").getroot()
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    lines = [node for node in picture.iter() if node.tag.endswith("polyline")]
    assert [line.get("class") for line in lines] == ["raw", "smooth"]
    assert len((lines[0].get("points") or "").split()) == 12
    assert [node.text for node in picture.iter() if node.get("class") == "phase-name"] == ["first", "second"]


def test_a_long_curve_is_thinned_and_keeps_its_extremes() -> None:
    rows = [line_of(step, "only") | {"sga": 0.0} for step in range(1, 5001)]
    rows[2500]["loss"] = -3.0
    (loss,) = [curve for curve in curves_of(pl.DataFrame(rows), []) if curve.name == "loss"]
    points = re.findall(r'class="raw" points="([^"]*)"', str(loss.svg))[0].split()
    assert len(points) <= MOST_POINTS
    assert "least -3 ·" in loss.told
    assert max(float(point.split(",")[1]) for point in points) == pytest.approx(196, abs=0.1), "the floor"


def test_the_running_mean_is_that_of_its_window() -> None:
    values = np.arange(100.0) ** 2
    mean = running_mean(values)
    assert mean[50] == pytest.approx(values[48:53].mean())
    assert mean[0] == pytest.approx(values[:3].mean())
    assert nice(0, 1, 4) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert nice(-3e-5, 8e-5, 4) == [-2e-5, 0, 2e-5, 4e-5, 6e-5, 8e-5]


def test_constant_and_single_values_are_drawn() -> None:
    for rows in ([{"step": 1, "phase": "", "loss": 0.0}], [{"step": s, "phase": "", "loss": 5.0} for s in (1, 2)]):
        (curve,) = curves_of(pl.DataFrame(rows), [])
        assert "nan" not in str(curve.svg)


def test_many_steps_show_the_first_and_the_last(tmp_path: Path) -> None:
    made = Run.open(write_run(tmp_path)).validations()
    many = [one.model_copy(update={"step": step}) for one in made if one.step == 4 for step in range(4, 400, 4)]
    for sample in progress_of(many):
        assert len(sample.shots) == MAX_STEPS
        assert (sample.shots[0].made.step, sample.shots[-1].made.step) == (4, 396)


def test_all_runs_stand_side_by_side(runs: Path) -> None:
    page = Page((runs / "index.html").read_text())
    assert "toy · 3 runs" in page.text
    assert "small" in page.text
    assert "5 / 12" in page.text
    assert "seed 1" in page.text
    assert len([1 for tag, attributes in page.tags if tag == "svg"]) == 3
    assert sorted(page.attributes("a", "href")) == sorted(f"{path.name}/index.html" for path in runs.glob("toy-*"))


def test_the_server_shows_runs_and_nothing_beside_them(runs: Path) -> None:
    name = name_of(runs)
    (runs.parent / "secret.json").write_text("nobody's business")
    (runs / AT_WORK).mkdir(exist_ok=True)
    (runs / AT_WORK / "running.json").write_text("nobody's business")
    (runs / name / "up").symlink_to(runs.parent)
    with served([runs.parent / "data"], runs=[runs]) as client:
        assert 'href="runs/"' in client.get("/").text
        for listing in ("/runs/", "/runs/index.html"):
            assert f"{name}/index.html" in client.get(listing).text
        assert client.get(f"/runs/{name}/").text == (runs / name / "index.html").read_text()
        part = client.get(f"/runs/{name}/validation/step-000004/clip-a.mp4", headers={"range": "bytes=0-9"})
        assert (part.status_code, part.headers["content-type"], len(part.content)) == (206, "video/mp4", 10)
        assert client.get(f"/runs/{name}").status_code == 308
        for hidden in ("up/secret.json", "%2e%2e/%2e%2e/secret.json"):
            assert client.get(f"/runs/{name}/{hidden}").status_code == 404
        assert client.get(f"/runs/{AT_WORK}/running.json").status_code == 404
        assert client.get(f"/reports/{name}/").status_code == 404
    (runs / name / "up").unlink()
    with served([runs.parent / "data"]) as client:
        assert client.get("/runs/").status_code == 404
        assert client.get(f"/runs/{name}/").status_code == 404


# --- triptych ask --------------------------------------------------------------------------------


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    ask.main([*words])
    return capsys.readouterr().out


def test_asked_for_all_runs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = asked(capsys, "--runs", str(runs)).splitlines()
    assert len(lines) == 3
    assert any("published, step 12 of 12; small; loss " in line and "validation AAS 0.345" in line for line in lines)


def test_asked_for_a_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = asked(capsys, "--runs", str(runs), "run", name_of(runs, rank=4, blocks=(7,)), "--verify")
    for told in (
        "published, step 12 of 12, 3 h",
        "variant    small\n",
        "setting    rank 4 (default 128)",
        f"samples    {SAMPLES} in ",
        f"made from  {CURATED}, by curate-toy",
        "base model somebody/base@0123",
        "validated  AAS: 0.265 at step 4, 0.305 at step 8, 0.345 at step 12",
        "verified   every file is as it was published",
        f"--snapshot {SAMPLES} clip CLIP_ID",
    ):
        assert told in out


def test_asked_for_a_stopped_run_it_says_how_to_go_on(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = asked(capsys, "run", name_of(runs, seed=1), "--runs", str(runs))
    assert "stopped, step 5 of 12" in out
    assert "triptych train toy --samples " in out
    assert "--variant paper --training.seed 1 --launch.n-processes 2 --launch.micro-batch 1" in out


def test_two_runs_side_by_side(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = name_of(runs), name_of(runs, rank=4, blocks=(7,))
    lines = [" ".join(line.split()) for line in asked(capsys, "--runs", str(runs), "run", one, other).splitlines()]
    assert lines[0] == f"{one} {other}"
    assert "rank 128 4" in lines
    assert "blocks [7, 11] [7]" in lines
    assert "validation AAS 0.345 0.345" in lines
    assert not any(line.startswith("seed") for line in lines)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--runs", "{runs}", "run", "nothing"], "RunError"),
        (["--runs", "{runs}/nowhere"], "holds no training run"),
        (["--runs", "{runs}", "run", "a", "b", "c"], "RunError"),
        (["run", "toy"], "2"),
        (["--runs", "{runs}", "failed"], "2"),
    ],
)
def test_what_cannot_be_asked(runs: Path, words: list[str], told: str) -> None:
    with pytest.raises(SystemExit) as ended:
        ask.main([word.format(runs=runs) for word in words])
    assert told in str(ended.value)
