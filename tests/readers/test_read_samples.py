"""tasks.readers.read_samples: every asked sample is planned, every file is a sample's or an outcome."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from schemas.dsr import DsrSample
from schemas.outcome import Outcome, ServiceDown
from schemas.storage import AnyPath, parse_path
from tasks.readers import read_samples as module
from tasks.readers.lines import ManifestError
from tasks.readers.read_samples import Seeds, plan_samples, read_samples
from tests.support.dsr_rows import make_prompt
from tests.support.s3_server import S3Server, bucket, s3, s3_server  # noqa: F401 - fixtures

PROMPTS = [make_prompt("1099_RL", split="train"), make_prompt("testLRFBT_LR.0", split="test")]
SEEDS: Seeds = {"train": [0, 1], "test": [7]}


def write(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def found(samples: list[DsrSample]) -> list[tuple[str, int, str | None]]:
    return [(sample.prompt_id, sample.seed, sample.video) for sample in samples]


def only(outcomes: list[Outcome]) -> Outcome:
    [outcome] = outcomes
    assert (outcome.kind, outcome.stage) == ("source", "read_samples")
    outcome.to_json()  # whatever the file is called, its outcome can be stored
    return outcome


# --- Samples ---------------------------------------------------------------------------------


def test_every_prompt_is_sampled_with_the_seeds_of_its_split() -> None:
    samples = plan_samples(PROMPTS, SEEDS)
    assert found(samples) == [("1099_RL", 0, None), ("1099_RL", 1, None), ("testLRFBT_LR.0", 7, None)]
    assert len({sample.clip_id for sample in samples}) == 3
    assert plan_samples(PROMPTS, {"train": [], "test": []}) == []


def test_videos_are_found_by_the_authors_names(tmp_path: Path) -> None:
    there = ["1099_RL_F81_seed01.mp4", "testLRFBT_LR.0_F49_seed7.MP4"]
    listing = read_samples(write(tmp_path / "videos", *there), PROMPTS, SEEDS, None)
    assert found(listing.samples) == [
        ("1099_RL", 0, None),
        ("1099_RL", 1, "1099_RL_F81_seed01.mp4"),
        ("testLRFBT_LR.0", 7, "testLRFBT_LR.0_F49_seed7.MP4"),
    ]
    assert listing.samples[1].video_sha256 == hashlib.sha256(there[0].encode()).hexdigest()
    assert listing.samples[0] == plan_samples(PROMPTS, SEEDS)[0], "what is not there is planned all the same"
    assert listing.outcomes == []


def test_the_product_of_our_own_names_is_read_back(tmp_path: Path) -> None:
    names = [s.official_name.format(n_frames=81) for s in plan_samples(PROMPTS, SEEDS)]
    listing = read_samples(write(tmp_path / "videos", *names), PROMPTS, SEEDS, None)
    assert [sample.video for sample in listing.samples] == names


def test_a_prompts_id_may_look_like_the_rest_of_the_name(tmp_path: Path) -> None:
    prompts = [make_prompt("a_F81_seed00"), make_prompt("a")]
    folder = write(tmp_path / "videos", "a_F81_seed00_F81_seed01.mp4")
    listing = read_samples(folder, prompts, {"train": [0, 1]}, None)
    assert found(listing.samples)[1] == ("a_F81_seed00", 1, "a_F81_seed00_F81_seed01.mp4")
    assert [sample.video for sample in listing.samples].count(None) == 3


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv", ".mov"])
def test_any_container_that_is_read_will_do(tmp_path: Path, suffix: str) -> None:
    listing = read_samples(write(tmp_path / "videos", f"1099_RL_F1_seed00{suffix}"), PROMPTS, SEEDS, None)
    assert listing.samples[0].video is not None


def test_ids_follow_content_not_names(tmp_path: Path) -> None:
    folder = write(tmp_path / "videos", "1099_RL_F81_seed00.mp4")
    before = read_samples(folder, PROMPTS, SEEDS, None).samples[0]
    (folder / "1099_RL_F81_seed00.mp4").rename(folder / "1099_RL_F80_seed0.mov")
    assert read_samples(folder, PROMPTS, SEEDS, None).samples[0].clip_id == before.clip_id
    (folder / "1099_RL_F80_seed0.mov").write_bytes(b"other")
    assert read_samples(folder, PROMPTS, SEEDS, None).samples[0].clip_id != before.clip_id


# --- Files that are no sample's --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason", "says"),
    [
        ("1100_RL_F81_seed00.mp4", "unknown_prompt", "no prompt '1100_RL'"),
        ("1099_rl_F81_seed00.mp4", "unknown_prompt", "no prompt '1099_rl'"),
        ("1099_RL_F81_seed07.mp4", "unasked_seed", "seed 7 of 1099_RL"),
        (f"1099_RL_F81_seed{'9' * 200}.mp4", "unasked_seed", "seed 999"),
        ("1099_RL_seed00.mp4", "not_named_as_video", "like {prompt_id}_F{frames}_seed{NN}.mp4"),
        ("1099_RL_F81_seed-1.mp4", "not_named_as_video", "like"),
        ("1099_RL_F81_seed٣.mp4", "not_named_as_video", "like"),
        ("1099_RL_F81_seed00.txt", "not_named_as_video", "like"),
        ("1099_RL_F81_seed00", "not_named_as_video", "like"),
        ("1099_RL_F81_seed00.mp4\n", "not_named_as_video", "like"),
        (".DS_Store", "not_named_as_video", "like"),
        ("more/1099_RL_F81_seed00.mp4", "in_subfolder", "move it up"),
    ],
)
def test_a_file_that_is_none_of_the_asked_samples(tmp_path: Path, name: str, reason: str, says: str) -> None:
    listing = read_samples(write(tmp_path / "videos", name, "1099_RL_F81_seed01.mp4"), PROMPTS, SEEDS, None)
    assert [sample.video is None for sample in listing.samples] == [True, False, True]
    outcome = only(listing.outcomes)
    assert (outcome.status, outcome.reason, outcome.retryable) == ("rejected", reason, False)
    assert says in (outcome.detail or "")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    folder = write(tmp_path / "videos")
    (folder / os.fsdecode(b"1099_RL_F81_seed00_\xff.mp4")).write_bytes(b"x")
    assert only(read_samples(folder, PROMPTS, SEEDS, None).outcomes).reason == "not_named_as_video"


def test_two_files_of_a_sample_are_both_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "videos", "1099_RL_F81_seed00.mp4", "1099_RL_F49_seed00.mp4", "1099_RL_F81_seed01.mp4")
    listing = read_samples(folder, PROMPTS, SEEDS, None)
    assert [sample.video for sample in listing.samples] == [None, "1099_RL_F81_seed01.mp4", None]
    assert [(o.reason, o.status) for o in listing.outcomes] == [("several_videos", "rejected")] * 2
    assert len({outcome.row_id for outcome in listing.outcomes}) == 2
    assert "'1099_RL_F49_seed00.mp4', '1099_RL_F81_seed00.mp4' are all of 1099_RL, seed 0" in (
        listing.outcomes[0].detail or ""
    )


def test_a_link_out_of_the_folder_is_followed_and_refused(tmp_path: Path) -> None:
    write(tmp_path, "secret.mp4")
    folder = write(tmp_path / "videos", "1099_RL_F81_seed01.mp4")
    (folder / "1099_RL_F81_seed00.mp4").symlink_to(tmp_path / "secret.mp4")
    (folder / "testLRFBT_LR.0_F81_seed07.mp4").symlink_to("1099_RL_F81_seed01.mp4")
    listing = read_samples(folder, PROMPTS, SEEDS, None)
    assert [sample.video is None for sample in listing.samples] == [True, False, False]
    outcome = only(listing.outcomes)
    assert (outcome.status, outcome.reason) == ("failed", "outside_folder")


def test_a_link_to_nothing_is_no_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "videos")
    (folder / "1099_RL_F81_seed00.mp4").symlink_to("gone.mp4")
    listing = read_samples(folder, PROMPTS, SEEDS, None)
    assert [sample.video for sample in listing.samples] == [None] * 3
    assert listing.outcomes == []


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "videos", "1099_RL_F81_seed01.mp4")
    os.mkfifo(folder / "1099_RL_F81_seed00.mp4")
    (folder / "testLRFBT_LR.0_F81_seed07.mp4").symlink_to("testLRFBT_LR.0_F81_seed07.mp4")
    os.mkfifo(folder / "notes")
    (folder / "again").symlink_to(".")
    listing = read_samples(folder, PROMPTS, SEEDS, None)
    assert [sample.video is None for sample in listing.samples] == [True, False, True]
    told = {(outcome.status, outcome.reason, outcome.retryable): outcome.detail or "" for outcome in listing.outcomes}
    assert told.keys() == {
        ("failed", "unreadable_file", False),
        ("failed", "bad_path", False),
        ("rejected", "not_named_as_video", False),
    }
    assert "it is a named pipe" in told["failed", "unreadable_file", False]
    assert "links lead in a circle" in told["failed", "bad_path", False]


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: AnyPath, known: AnyPath | None) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(module, "content_of", refuse)
    listing = read_samples(write(tmp_path / "videos", "1099_RL_F81_seed00.mp4"), PROMPTS, SEEDS, None)
    assert listing.samples[0].video is None
    outcome = only(listing.outcomes)
    assert (outcome.status, outcome.reason, outcome.retryable) == ("failed", "unreadable_file", True)
    assert outcome.detail == "'1099_RL_F81_seed00.mp4': Permission denied"


def test_outcomes_do_not_depend_on_the_folders_place(tmp_path: Path) -> None:
    listings = [read_samples(write(tmp_path / n, "x.mp4", "y.mp4"), PROMPTS, SEEDS, None) for n in ("here", "there")]
    assert listings[0] == listings[1]
    assert len({outcome.row_id for outcome in listings[0].outcomes}) == 2


@pytest.mark.parametrize("name", ["gone", "file.mp4"])
def test_what_is_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.mp4").write_bytes(b"x")
    with pytest.raises(ManifestError, match="is not a folder; give the one that holds the videos"):
        read_samples(tmp_path / name, PROMPTS, SEEDS, None)


# --- Stores ----------------------------------------------------------------------------------

NAMES = ["1099_RL_F81_seed00.mp4", "1099_RL_F81_seed09.mp4", "more/1099_RL_F81_seed01.mp4"]


def test_a_bucket_is_read_as_a_disk_and_each_object_once(
    s3: S3Server,  # noqa: F811
    bucket: AnyPath,  # noqa: F811
    tmp_path: Path,
) -> None:
    here = write(tmp_path / "videos", *NAMES)
    s3.upload(here, "videos", "given")
    for n_fetched in (1, 0):
        s3.asked.clear()
        listing = read_samples(parse_path("s3://videos/given"), PROMPTS, SEEDS, tmp_path / "known")
        assert listing == read_samples(here, PROMPTS, SEEDS, None)
        assert s3.count("GET", r"\.mp4") == n_fetched


def test_an_object_that_vanishes_and_a_store_that_fails(
    s3: S3Server,  # noqa: F811
    bucket: AnyPath,  # noqa: F811
    tmp_path: Path,
) -> None:
    s3.upload(write(tmp_path / "videos", NAMES[0]), "videos", "given")
    s3.refuse("GET", r"\.mp4", 403)
    with pytest.raises(ServiceDown, match="AWS_ACCESS_KEY_ID"):
        read_samples(parse_path("s3://videos/given"), PROMPTS, SEEDS, None)
    s3.relent()
    s3.on("GET", r"\.mp4", lambda: s3.client.delete_object(Bucket="videos", Key=f"given/{NAMES[0]}"))
    listing = read_samples(parse_path("s3://videos/given"), PROMPTS, SEEDS, None)
    assert only(listing.outcomes).reason == "unreadable_file"
