"""The preview page: there after the first row, true while it grows, harmless when it fails, the report's at the end."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from flows.curate_matrix11k import CurateMatrix11k
from flows.engine import growing_page, pipeline
from flows.engine.config import WRITE, Step
from flows.engine.first_rows import PART_S, next_size, parts_of
from flows.engine.growing_page import EVERY_S, SHARE, GrowingPage
from flows.engine.pipeline import job_of, run_shard
from flows.registry import FLOWS, load_flow
from schemas.outcome import RowFailed
from schemas.record import StageResult, column
from schemas.storage import AnyPath, parse_path
from tasks.datasets.registry import DATASETS
from tasks.engine.shards import Shard
from tasks.engine.so_far import goes_first, invite, read, tell
from tasks.engine.stage import Stage
from tasks.pages.preview import PREVIEW
from tests.support.clock import Clock
from tests.support.pages import Page
from tests.support.toy import flow as toy
from tests.support.toy.dataset import Letters, Window, WindowLedger
from tests.support.toy.flow import CurateToy, curate_toy

WORDS = "the dog throws a ball to the boy who laughs at it"
HOSTILE = '<script>alert(1)</script> "><img/src=x/onerror=alert(1)> &amp; throws'


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "toy", "tests.support.toy.dataset:TOY")


def config_for(root: AnyPath, **changes: object) -> CurateToy:
    return CurateToy.model_validate({"root": root, "words": WORDS, "count": {"forbidden": "b"}} | changes)


def page_file(root: AnyPath) -> AnyPath:
    path: AnyPath = root / "reports" / PREVIEW / "index.html"
    return path


class Seen(list[Page]):
    """The pages of a run, as they were when rows were computed."""

    def __init__(self, root: AnyPath, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.texts: list[str] = []
        count = toy.count_letters

        def counted(text: str, config: toy.CountConfig) -> Letters:
            self.texts.append(text)
            if page_file(root).is_file():
                html = page_file(root).read_text()
                if not self or html != self.html:
                    self.html = html
                    self.append(Page(html))
            return count(text, config)

        monkeypatch.setattr(toy, "count_letters", counted)


def refresh_of(page: Page) -> list[str | None]:
    return [attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "refresh"]


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# --- What a person sees ------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["", "memory://a-preview-of-tests"])
def test_it_is_there_before_the_second_row_and_leads_to_the_report(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = parse_path(root) if root else tmp_path
    seen = Seen(place, monkeypatch)
    with caplog.at_level("INFO", "flows.engine.steps"):
        snapshot = curate_toy.fn(config_for(place))
    (page,) = seen
    assert len(seen.texts) == 6
    assert "A preview: the run is not finished. 1 of 6 rows has ended, and this page shows them." in page.text
    assert "the dog: 6 letters" in page.text
    assert "throws a" not in page.text
    assert refresh_of(page) == ["20"]
    assert "Rerun and ask" not in page.text  # there is no snapshot to ask
    told = [message for message in caplog.messages if message.startswith("preview: ")]
    address = page_file(place).as_uri() if isinstance(place, Path) else str(page_file(place))
    assert told == [f"preview: {address} (it grows while the run goes on)"]

    ended = Page(page_file(place).read_text())
    report = f"../{snapshot.name}/index.html"
    assert ended.attributes("a", "href") == [report]
    assert refresh_of(ended) == [f"0; url={report}"]
    assert "not finished" not in (place / "reports" / snapshot.name / "index.html").read_text()


def test_where_the_first_row_is_rejected_it_tells_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(tmp_path, monkeypatch)
    curate_toy.fn(config_for(tmp_path, words="dog cat bird cow ant", count={"forbidden": "d"}))
    (page,) = seen
    assert "1 of 3 rows has ended" in page.text
    assert "rejected · forbidden_letter" in page.text
    assert "d in 'dog cat'" in page.text
    assert "0 accepted" in page.text


def test_other_peoples_text_stays_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(tmp_path, monkeypatch)
    curate_toy.fn(config_for(tmp_path, words=HOSTILE, count={"forbidden": "&"}, shard_size=1))
    page = seen[-1]
    assert '<script>alert(1)</script> "><img/src=x/onerror=alert(1)>' in page.text
    assert [attrs for tag, attrs in page.tags if tag in ("img", "script")] == [{}]  # the page's own script


def test_it_grows_with_the_shards_that_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(growing_page, "EVERY_S", 0)
    monkeypatch.setattr(growing_page, "SHARE", float("inf"))
    seen = Seen(tmp_path, monkeypatch)
    monkeypatch.setattr(toy, "GrowingPage", lambda *args: GrowingPage(*args, clock=clock))
    curate_toy.fn(config_for(tmp_path, shard_size=2))
    assert [page.text.partition("not finished. ")[2].split(" rows")[0] for page in seen] == [
        "1 of 6",
        "2 of 6",
        "4 of 6",
    ]
    assert "its pictures and charts" not in seen[-1].text
    assert "forbidden_letter" not in seen[0].text


def test_of_many_shards_all_outcomes_are_told_and_the_newest_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing_page, "EVERY_S", 0)
    monkeypatch.setattr(growing_page, "SHARE", float("inf"))
    seen = Seen(tmp_path, monkeypatch)
    curate_toy.fn(config_for(tmp_path, shard_size=1, count={"forbidden": "d"}))
    page = seen[-1]
    assert "5 of 6 rows have ended, and this page shows them; its pictures and charts are of the newest 2." in page.text
    counts = {"5 windows": 1, "4 passed": 1, "1 rejected": 2, "forbidden_letter 1": 1}  # rejected: in the sum, too
    assert {told: page.text.count(told) for told in counts} == counts
    assert "who laughs: 9 letters" in page.text
    assert "throws a:" not in page.text


def test_rows_of_an_earlier_run_are_told_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curate_toy.fn(config_for(tmp_path, shard_size=2, limit=2))
    seen = Seen(tmp_path, monkeypatch)
    curate_toy.fn(config_for(tmp_path, shard_size=2))
    page = seen[-1]
    assert "1 of 4 rows has ended" in page.text
    assert "2 rows of an earlier run are left out" in page.text
    assert "the dog:" not in page.text


# --- What it may cost ----------------------------------------------------------------------------


def test_it_is_written_at_most_so_often_and_takes_a_small_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, written, cost_s = Clock(), [], 0.1
    config = config_for(tmp_path, words=" ".join(map(str, range(1000))))
    shard = Shard[Window].of(config.windows)
    page = GrowingPage(config, WindowLedger(config.windows), logging.getLogger(__name__), clock)

    def write(*args: object) -> None:
        written.append(clock.now_s)
        clock.now_s += cost_s

    monkeypatch.setattr(growing_page, "write_preview", write)
    monkeypatch.setattr(growing_page, "assemble_so_far", lambda *args, **kwargs: None)
    with page.follow([shard], "chain", 0):
        assert goes_first(config.work, shard)
        for n in range(300):
            tell(config.work, shard, shard.rows[:n])
            if n == 25:
                cost_s = 2.0
            page.look()
            page.look()  # nothing new
            assert (written == []) is (n == 0)
            clock.now_s += 1.0
    gaps = [after - before for before, after in itertools.pairwise(written)]
    assert [round(gap) for gap in gaps[:2]] == [EVERY_S, EVERY_S]
    assert 6 < len(gaps) < 12
    assert all(2.0 / gap <= SHARE for gap in gaps[3:])


@pytest.mark.parametrize(
    ("size", "seconds", "then"), [(1, 0.0, 30_000), (1, PART_S / 5, 5), (1, 10 * PART_S, 2), (5, PART_S, 10)]
)
def test_parts_take_half_a_minute_and_double_where_rows_are_slow(size: int, seconds: float, then: int) -> None:
    assert next_size(size, seconds) == then


def test_the_last_rows_are_left_to_the_shard() -> None:
    clock = Clock()

    def parts(n: int, seconds: float) -> list[list[int]]:
        found = []
        for part in parts_of(list(range(n)), clock):  # type: ignore[arg-type]
            found.append(part)
            clock.now_s += seconds
        return found

    assert parts(10, 60.0) == [[0], [1, 2], [3, 4, 5, 6]]  # type: ignore[comparison-overlap]
    assert parts(10, 0.0) == [[0]]  # type: ignore[comparison-overlap]
    assert parts(1, 0.0) == parts(0, 0.0) == []


# --- What it must not change -----------------------------------------------------------------


class Vowels(StageResult):
    """A second stage's result."""

    stage_name: ClassVar[str] = "count_vowels"

    n: int = column("Vowels", ge=0)


class Order(list[str]):
    """What two stages are asked, in order. A text may fail."""

    failing = ""

    def stages(self) -> Sequence[Step]:
        return (
            Step(Window, Vowels, lambda c: self._stage(c, Vowels, "vowels", Vowels(n=0))),
            Step(Window, Letters, lambda c: self._stage(c, Letters, "letters", Letters(letters=0))),
        )

    def _stage(self, config: Any, kind: type[StageResult], name: str, result: Any) -> Stage[Any, Any, Any]:
        def compute(text: str) -> Any:
            self.append(f"{name} {text}")
            if text == self.failing:
                raise RowFailed("unreadable_reply", "no JSON", retryable=True)
            return result

        return replace(toy.stage(config.count), result=kind, compute=compute)


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> Order:
    order = Order()
    monkeypatch.setattr(CurateToy, "steps", order.stages())
    return order


def test_the_first_row_is_through_all_stages_before_the_second_begins(tmp_path: Path, order: Order) -> None:
    curate_toy.fn(config_for(tmp_path, words="a b c d e f"))
    assert order == ["vowels a b", "letters a b", "vowels c d", "vowels e f", "letters c d", "letters e f"]


def test_a_first_row_that_fails_is_asked_once_and_no_more_go_ahead(tmp_path: Path, order: Order) -> None:
    order.failing = "a b"
    snapshot = curate_toy.fn(config_for(tmp_path, words="a b c d e f"))
    assert order == ["vowels a b", "vowels c d", "vowels e f", "letters c d", "letters e f"]
    assert pipeline.Snapshot(snapshot).manifest.tally == "3 inputs = 2 accepted + 0 rejected + 1 failed"


def test_stages_that_are_sent_elsewhere_have_no_first_rows(tmp_path: Path, order: Order) -> None:
    config = config_for(tmp_path, words="a b c d e f")
    planned = config.work.save_shard(Shard[Window].of(config.windows))
    invite(config.work)
    run_shard(config, planned, ["count_vowels"])
    run_shard(config, planned, ["count_letters", WRITE])
    assert order == [f"{stage} {text}" for stage in ("vowels", "letters") for text in ("a b", "c d", "e f")]


def test_only_one_shard_of_a_run_goes_first(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    one, other = (Shard[Window].of(rows) for rows in (config.windows[:3], config.windows[3:]))
    assert not goes_first(config.work, one)  # no run asked for it
    invite(config.work)
    assert goes_first(config.work, one)
    assert not goes_first(config.work, other)
    assert goes_first(config.work, one)  # it is run again
    tell(config.work, one, one.rows[:1])
    assert read(config.work, Window) == one.model_copy(update={"rows": one.rows[:1]})
    invite(config.work)  # by the next run
    assert goes_first(config.work, other)


def test_without_a_report_there_is_none_and_nothing_goes_first(tmp_path: Path, order: Order) -> None:
    curate_toy.fn(config_for(tmp_path, words="a b c d", report=False))
    assert order == ["vowels a b", "vowels c d", "letters a b", "letters c d"]
    assert not (tmp_path / "reports").exists()
    assert not (tmp_path / "work" / "so_far").exists()


def test_a_page_that_an_earlier_run_left_says_that_it_ended_without_a_report(tmp_path: Path) -> None:
    page_file(tmp_path).parent.mkdir(parents=True)
    page_file(tmp_path).write_text("not finished")
    snapshot = curate_toy.fn(config_for(tmp_path, report=False))
    assert Page(page_file(tmp_path).read_text()).text == (
        f"{snapshot.name} The run has ended and published {snapshot.name}, without a report."
    )


def test_a_page_that_cannot_be_written_is_told_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> None:
        raise PermissionError(13, "Permission denied", "index.html")

    expected = curate_toy.fn(config_for(tmp_path / "whole", shard_size=2))
    monkeypatch.setattr(growing_page, "write_preview", fail)
    caplog.clear()  # where an earlier test set the log's level, the whole run has told its address
    with caplog.at_level("WARNING", "flows.engine.steps"):
        snapshot = curate_toy.fn(config_for(tmp_path / "other", shard_size=2))
    assert [m for m in caplog.messages if "preview" in m] == [
        "no preview is written any more: PermissionError: [Errno 13] Permission denied: 'index.html'"
    ]
    assert contents(snapshot) == contents(expected)


# --- The last lines ------------------------------------------------------------------------------


def test_a_run_says_which_profile_made_it_and_what_that_means(tmp_path: Path) -> None:
    def told(**changes: object) -> str:
        return CurateMatrix11k.model_validate({"manifest": tmp_path / "m.jsonl"} | changes).made_with

    meanings = CurateMatrix11k.profile_meanings
    for name in FLOWS:
        config = load_flow(name).config
        assert config.profiles.keys() == config.profile_meanings.keys()
    assert told() == f"made with profile embedded: {meanings['embedded']}"
    assert told(profile="paper") == f"made with profile paper: {meanings['paper']}"
    assert "depends on the models named and was not measured here" in told(profile="paper")
    changed = told(extract={"llm": "openai"}, propagate={"masks": "flow"})
    assert changed == (
        f"made with profile embedded, changed (extract.llm openai); unchanged, it means: {meanings['embedded']}"
    )
    assert config_for(tmp_path).made_with == ""


def test_it_is_the_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(CurateToy, "made_with", property(lambda config: "made with care"))
    with caplog.at_level("INFO", "flows.engine.steps"):
        curate_toy.fn(config_for(tmp_path))
    assert caplog.messages[-1] == "made with care"


def test_a_job_is_the_same_with_and_without_a_page(tmp_path: Path) -> None:
    """Deployed shards are started with the parameters that they always had."""
    config = config_for(tmp_path)
    shard = Shard[Window].of(config.windows)
    assert set(job_of(config, shard, "shard 1 of 1", ["count_letters"]).parameters) == {"config", "shard"}
