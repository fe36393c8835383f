"""tasks.engine.blobs: bytes of results lie in files of their own, are read when looked at, and never lost unnoticed."""

from __future__ import annotations

import errno
import json
import random
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from schemas.blob import Blob, sha256_of
from schemas.config import StageConfig
from schemas.outcome import RowFailed, ServiceDown
from schemas.record import Record, StageResult, column, content_hash, read_table, to_table, write_table
from schemas.source import Source
from schemas.storage import AnyPath, list_files, write_atomic
from tasks.engine import blobs
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Row, Shard, load_shard
from tasks.engine.stage import Stage, recall, run_stage
from tasks.engine.work import Made, Work
from tests.support.builders import make_source
from tests.support.s3_server import bucket, s3, s3_server  # noqa: F401 - fixtures

KEY = "ab" * 16
FILM, STILL = random.Random(0).randbytes(1000), b"a still picture"


class Picture(Record):
    """A named picture."""

    name: str = column("Its name")
    data: bytes | None = column("Its bytes", default=None)


class Filmed(StageResult):
    """A film and its stills."""

    stage_name: ClassVar[str] = "film"

    film: bytes = column("The film", min_length=1)
    n_frames: int = column("Its frames")
    stills: list[Picture] = column("Pictures of it")


FILMED = Filmed(film=FILM, n_frames=3, stills=[Picture(name="a", data=STILL), Picture(name="b")])


@pytest.fixture(params=["disk", "s3"])
def work(request: pytest.FixtureRequest, tmp_path: Path) -> Work:
    root = tmp_path / "work" if request.param == "disk" else request.getfixturevalue("bucket") / "work"
    return Work(root=root, inputs=Inputs(folder=tmp_path))


def row() -> Row[Source]:
    return Row[Source](payload=make_source("a film"), made={"film": KEY})


def save(work: Work, result: Filmed = FILMED) -> None:
    work.save(Filmed, KEY, Made(result=result))


def blob_path(work: Work, data: bytes) -> AnyPath:
    sha256 = sha256_of(data)
    return work.root / "blobs" / sha256[:2] / sha256


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The SHA-256 of each blob that is read from where it lies."""
    fetch, found = blobs.StoredBlob.fetch, []

    def fetch_and_tell(self: blobs.StoredBlob) -> bytes:
        found.append(self.sha256)
        return fetch(self)

    monkeypatch.setattr(blobs.StoredBlob, "fetch", fetch_and_tell)
    return found


# --- What is stored --------------------------------------------------------------------------


def test_bytes_lie_in_files_named_by_their_content_and_the_json_refers_to_them(work: Work) -> None:
    save(work)
    stored = json.loads(work.result_path(Filmed, KEY).read_bytes())
    assert stored["result"] == {
        "film": {"blob": sha256_of(FILM)},
        "n_frames": 3,
        "stills": [{"name": "a", "data": {"blob": sha256_of(STILL)}}, {"name": "b", "data": None}],
    }
    assert list_files(work.root / "blobs") == sorted(blob_path(work, data) for data in (FILM, STILL))
    assert blob_path(work, FILM).read_bytes() == FILM


def test_bytes_are_read_when_they_are_looked_at_and_then_once(work: Work, reads: list[str]) -> None:
    save(work)
    for _ in range(3):
        filmed = work.result(row(), Filmed)
        assert (filmed.n_frames, filmed.stills[0].name, filmed.stills[1].data) == (3, "a", None)
        assert work.find_result(row(), Filmed) is not None
    assert reads == []
    assert type(filmed.film) is bytes
    for _ in range(3):
        assert work.result(row(), Filmed).film == filmed.film == FILM
    assert reads == [sha256_of(FILM)]
    assert filmed.stills[0].data == STILL


def test_what_comes_back_is_what_was_saved(work: Work) -> None:
    save(work)
    filmed = work.result(row(), Filmed)
    assert filmed == FILMED
    assert filmed != FILMED.model_copy(update={"film": b"another"})
    assert filmed.model_copy(update={"n_frames": 4}).film == FILM
    assert filmed.model_dump() == FILMED.model_dump()
    assert (filmed.to_json(), content_hash(filmed)) == (FILMED.to_json(), content_hash(FILMED))
    assert to_table(Filmed, [filmed]).equals(to_table(Filmed, [FILMED]))
    with pytest.raises(ValidationError, match="frozen"):
        filmed.film = b"another"  # type: ignore[misc]


def test_what_was_loaded_can_be_saved_elsewhere(work: Work, tmp_path: Path) -> None:
    save(work)
    other = Work(root=tmp_path / "elsewhere", inputs=work.inputs)
    save(other, work.result(row(), Filmed))
    assert blob_path(other, FILM).read_bytes() == FILM
    assert other.result(row(), Filmed) == FILMED


def test_records_of_plain_bytes_hold_them(tmp_path: Path) -> None:
    assert json.loads(FILMED.to_json())["stills"][0]["data"] == "YSBzdGlsbCBwaWN0dXJl"
    assert Filmed.from_json(FILMED.to_json()) == FILMED
    assert not isinstance(FILMED.__dict__["film"], Blob)
    write_table(Filmed, [FILMED], tmp_path / "films.parquet")
    assert read_table(Filmed, tmp_path / "films.parquet") == [FILMED]
    with pytest.raises(ValidationError):
        Filmed(film="no bytes: é", n_frames=1, stills=[])  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="at least 1 byte"):
        Filmed(film=b"", n_frames=1, stills=[])


def test_a_column_of_bytes_is_inherited() -> None:
    class Longer(Filmed):
        """A film with a title."""

        title: str = column("Its title")

    longer = Longer(title="x", **FILMED.model_dump())
    assert longer.film == FILM
    assert Longer.model_fields["film"].is_required()


def test_results_that_hold_their_bytes_themselves_are_still_read(work: Work, reads: list[str]) -> None:
    """As all did before there were blobs."""
    write_atomic(work.result_path(Filmed, KEY), Made[Filmed](result=FILMED).model_dump_json().encode())
    assert work.result(row(), Filmed).film == FILM
    made = work.load(Filmed, KEY)
    assert made is not None
    assert made.result == FILMED
    assert reads == list_files(work.root / "blobs") == []


# --- What is lost ----------------------------------------------------------------------------


class Studio:
    """A stage that makes the same film of every row."""

    def __init__(self) -> None:
        self.calls = 0

    @property
    def stage(self) -> Stage[Source, str | None, Filmed]:
        return Stage(
            version=1,
            result=Filmed,
            config=StageConfig(),
            made_by=[],
            read=lambda row: row.payload.caption,
            compute=self.shoot,
        )

    def shoot(self, caption: str | None) -> Filmed:
        self.calls += 1
        return FILMED

    def run(self, work: Work) -> Row[Source]:
        shard = Shard[Source].of([make_source("a film")])
        return load_shard(run_stage(work, shard, self.stage), Source).rows[0]


@pytest.mark.parametrize("damage", [b"", FILM[:-1], b"x" + FILM[1:]], ids=["empty", "cut off", "another byte"])
@pytest.mark.parametrize("lost", [FILM, STILL], ids=["film", "still"])
def test_a_row_whose_blob_is_damaged_is_made_again(
    work: Work, damage: bytes, lost: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    studio = Studio()
    studio.run(work)
    studio.run(work)
    assert studio.calls == 1
    assert "again" not in caplog.text
    write_atomic(blob_path(work, lost), damage)
    made = studio.run(work)
    assert studio.calls == 2
    assert f"made again: {blob_path(work, lost)} is damaged" in caplog.text
    assert blob_path(work, lost).read_bytes() == lost
    assert work.result(made, Filmed) == FILMED
    studio.run(work)
    assert studio.calls == 2


def test_a_row_whose_blob_is_gone_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    work = Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path))
    studio = Studio()
    studio.run(work)
    Path(str(blob_path(work, FILM))).unlink()
    studio.run(work)
    assert studio.calls == 2
    assert f"made again: {blob_path(work, FILM)} is gone" in caplog.text
    assert blob_path(work, FILM).read_bytes() == FILM


def test_planning_looks_for_blobs_and_reads_none(tmp_path: Path, reads: list[str]) -> None:
    work = Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path))
    studio = Studio()
    after = studio.run(work)
    assert recall(work, studio.stage, Row[Source](payload=after.payload)) == after
    assert reads == []
    Path(str(blob_path(work, STILL))).unlink()
    assert recall(work, studio.stage, Row[Source](payload=after.payload)) is None


@pytest.mark.parametrize("damage", [None, b"another film"])
def test_a_lost_blob_of_an_earlier_stage_is_a_passing_failure(tmp_path: Path, damage: bytes | None) -> None:
    work = Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path))
    save(work)
    path = Path(str(blob_path(work, FILM)))
    path.unlink() if damage is None else path.write_bytes(damage)
    filmed = work.result(row(), Filmed)
    assert filmed.n_frames == 3
    with pytest.raises(RowFailed, match=r"result_missing: .* is (gone|damaged); run again") as failure:
        _ = filmed.film
    assert failure.value.retryable


@pytest.mark.parametrize(
    "reference",
    [{"blob": "../../../secret"}, {"blob": 7}, {"blob": "AB" * 32}, {}, {"blob": sha256_of(FILM), "more": 1}, 7],
    ids=str,
)
def test_what_is_no_reference_is_an_unreadable_row(
    tmp_path: Path, reference: Any, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path))
    result = {"film": reference, "n_frames": 3, "stills": []}
    write_atomic(work.result_path(Filmed, KEY), json.dumps({"result": result}).encode())
    assert work.load(Filmed, KEY) is None
    assert "cannot be read and is made again" in caplog.text


def test_a_reference_without_its_store_is_refused(work: Work) -> None:
    save(work)
    with pytest.raises(ValidationError, match="through its store"):
        Made[Filmed].model_validate_json(work.result_path(Filmed, KEY).read_bytes())


# --- Kills, full disks, many at once -----------------------------------------------------------


def test_the_blobs_are_there_before_the_row_that_refers_to_them(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between any two writes leaves nothing that refers to what is not there."""

    class Killed(BaseException):
        pass

    def write_and_die(path: AnyPath, data: bytes) -> None:
        if (n_left := n_left_to_write.pop()) == 0:
            raise Killed
        n_left_to_write.append(n_left - 1)
        write_atomic(path, data)

    for module in ("blobs", "work"):
        monkeypatch.setattr(f"tasks.engine.{module}.write_atomic", write_and_die)
    for n_written in range(3):
        n_left_to_write = [n_written]
        with pytest.raises(Killed):
            save(work)
        assert not work.result_path(Filmed, KEY).is_file()
        assert len(list_files(work.root / "blobs")) == n_written
    monkeypatch.undo()
    save(work)
    assert work.load(Filmed, KEY) == Made[Filmed](result=FILMED)


def test_a_blob_that_does_not_fit_on_the_disk_is_a_service_that_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: AnyPath, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tasks.engine.blobs.write_atomic", full)
    work = Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path))
    with pytest.raises(ServiceDown, match="film: cannot write to"):
        Studio().run(work)
    assert list_files(work.root / "rows") == []


def test_workers_that_write_the_same_blob_at_once_leave_it_whole(work: Work) -> None:
    keys = [f"{number:02}" * 16 for number in range(8)]
    barrier = threading.Barrier(len(keys))

    def write(key: str) -> None:
        barrier.wait(timeout=10)
        work.save(Filmed, key, Made(result=FILMED))

    threads = [threading.Thread(target=write, args=[key]) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [work.load(Filmed, key) for key in keys] == [Made[Filmed](result=FILMED)] * len(keys)
    assert len(list_files(work.root / "blobs")) == 2, "no half-written file is left"


def test_what_was_read_is_kept_as_far_as_it_fits(work: Work, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "KEPT_BYTES", 2500)
    films = [random.Random(seed).randbytes(1000) for seed in range(3)]
    keys = [f"{number:02}" * 16 for number in range(3)]
    for key, film in zip(keys, films, strict=True):
        work.save(Filmed, key, Made(result=FILMED.model_copy(update={"film": film})))

    def look(number: int) -> bytes:
        return work.result(Row[Source](payload=make_source("a film"), made={"film": keys[number]}), Filmed).film

    assert [look(number) for number in (0, 1, 0, 2, 0, 1)] == [films[number] for number in (0, 1, 0, 2, 0, 1)]
    assert reads == [sha256_of(films[number]) for number in (0, 1, 2, 1)]


def test_a_blob_larger_than_all_that_is_kept_is_read_each_time(
    work: Work, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "KEPT_BYTES", 999)
    save(work)
    assert [work.result(row(), Filmed).film for _ in range(2)] == [FILM] * 2
    assert len(reads) == 2
