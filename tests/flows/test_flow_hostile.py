"""Hostile inputs through the whole flow: it completes, and every row ends once, for a true reason."""

from __future__ import annotations

import json
import os
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from flows.curate_matrix11k import CurateMatrix11k
from schemas.source import MAX_CAPTION_CHARS
from tasks.engine.snapshots import Snapshot
from tests.support import hostile
from tests.support.flow_runs import (
    assert_same_snapshot,
    caption_of,
    draw_video,
    ends_by_video,
    run_here,
    run_in_vain,
    table,
    tiny_config,
    write_manifest,
)

CAPTION = caption_of("yellow", "red")
GOOD = {"video": "good.mp4", "caption": CAPTION, "id": "good"}
SCRIPT = "<script>alert('pwned')</script><img src=x onerror=alert(1)>"
ODD = {
    "one_frame": hostile.one_frame,
    "slow": hostile.slow,
    "fast": hostile.fast,
    "variable_rate": hostile.variable_rate,
    "odd_size": hostile.odd_size,
}

End = tuple[str, str, str | None]  # status, stage, reason


class Line(NamedTuple):
    """A manifest line and how it must end."""

    raw: dict[str, Any] | bytes
    end: End

    @property
    def video(self) -> str | None:
        """The video that its outcome names: none if it never became a source."""
        return None if self.end[1] == "read_manifest" or isinstance(self.raw, bytes) else self.raw["video"]


def manifest_end(reason: str, status: str = "failed") -> End:
    return status, "read_manifest", reason


# Lines that never become a source.
BAD_LINES = [
    Line({"video": "../secret.mp4", "caption": CAPTION}, manifest_end("outside_folder")),
    Line({"video": "/etc/passwd", "caption": CAPTION}, manifest_end("outside_folder")),
    Line({"video": "file:///etc/passwd", "caption": CAPTION}, manifest_end("outside_folder")),
    Line({"video": "link.mp4", "caption": CAPTION}, manifest_end("outside_folder")),
    Line({"video": "https://example.org/v.mp4", "caption": CAPTION}, manifest_end("unsupported_uri")),
    Line({"video": "a\0b.mp4", "caption": CAPTION}, manifest_end("bad_path")),
    Line({"video": "gone.mp4", "caption": CAPTION}, manifest_end("missing_file")),
    Line({"video": "folder.mp4", "caption": CAPTION}, manifest_end("missing_file")),
    Line({"video": "good.mp4", "caption": "A dog carries a ball. " * 5000}, manifest_end("bad_line")),  # 110 kB
    Line({"video": "good.mp4", "caption": CAPTION, "start_s": 5, "end_s": 1}, manifest_end("bad_line")),
    Line({"video": "good.mp4", "caption": CAPTION, "start_s": -1}, manifest_end("bad_line")),
    Line({"video": "good.mp4", "caption": ["a", "list"]}, manifest_end("bad_line")),
    Line(GOOD | {"__class__": "os.system"}, manifest_end("duplicate_row", "rejected")),
    Line({"video": "good.mp4", "Caption": CAPTION}, manifest_end("bad_line")),
    Line({"video": "pipe.mp4", "caption": CAPTION}, manifest_end("not_a_file")),
    Line({"video": "loop.mp4", "caption": CAPTION}, manifest_end("bad_path")),
    Line({"video": "v" * 1_000_000 + ".mp4", "caption": CAPTION}, manifest_end("missing_file")),
    Line({"caption": CAPTION}, manifest_end("bad_line")),
    Line(b'{"video": "good.mp4", "caption": "\xff\xfe caf\xe9"}', manifest_end("bad_line")),
    Line(b'{"video": "good.mp4", "caption": "\\ud800"}', manifest_end("bad_line")),
    Line(b'{"video": "good.mp4", "start_s": NaN}', manifest_end("bad_line")),
    Line(b"[" * 20_000, manifest_end("bad_line")),
    Line(b"not JSON at all", manifest_end("bad_line")),
    Line(GOOD, manifest_end("duplicate_row", "rejected")),
    Line(GOOD | {"id": "another name"}, manifest_end("duplicate_row", "rejected")),
]


def odd_captions(folder: Path) -> list[Line]:
    """Sources with captions that are no plain English sentence, each on a video of its own."""
    captions: list[tuple[str | None, End]] = [
        (None, ("rejected", "extract_triplets", "no_caption")),
        ("", ("rejected", "extract_triplets", "no_caption")),
        (" \t\n\u2028", ("rejected", "extract_triplets", "no_caption")),
        ("?" * MAX_CAPTION_CHARS, ("rejected", "extract_triplets", "no_interaction")),
        (SCRIPT, ("rejected", "extract_triplets", "no_interaction")),
        ("\x1b[31m\x07\u202e\U0001f415 \u0000", ("rejected", "extract_triplets", "no_interaction")),
    ]
    lines = []
    for number, (caption, end) in enumerate(captions):
        video = draw_video(folder / f"caption-{number}.mp4", [("yellow", "red")], seed=number + 10).name
        lines.append(Line({"video": video, "caption": caption}, end))
    return lines


def absurd_spans() -> list[Line]:
    empty: End = ("rejected", "split_scenes", "empty_span")
    return [
        Line(GOOD | {"start_s": 1e300, "id": None}, empty),
        Line(GOOD | {"start_s": 1e9, "end_s": 1e18, "id": None}, empty),
        Line(GOOD | {"end_s": 1e-300, "id": None}, ("rejected", "split_scenes", "too_short")),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the manifest and its videos are put."""
    folder = tmp_path_factory.mktemp("hostile") / "in"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def lines(folder: Path) -> list[Line]:
    """The manifest's lines, without those of `odd_lines`; the videos lie beside it."""
    draw_video(folder / "good.mp4", [("yellow", "red")])
    draw_video(folder.parent / "secret.mp4", [("yellow", "red")])
    (folder / "link.mp4").symlink_to(folder.parent / "secret.mp4")
    (folder / "folder.mp4").mkdir()
    (folder / "loop.mp4").symlink_to("loop.mp4")
    os.mkfifo(folder / "pipe.mp4")
    lines = [Line(GOOD, ("accepted", "check_tracks", None)), *BAD_LINES, *odd_captions(folder), *absurd_spans()]
    for name, make in hostile.BROKEN.items():
        make(folder / f"{name}.mp4")
    for name in ("concat_list", "hls_playlist"):
        getattr(hostile, name)(folder / f"{name}.mp4", folder / "good.mp4")
    for name, make in ODD.items():
        make(folder / f"{name}.mkv" if name in ("variable_rate", "odd_size") else folder / f"{name}.mp4")
    for path in sorted(folder.iterdir()):
        if path.stem in hostile.BROKEN or path.stem in ("concat_list", "hls_playlist"):
            reason = "truncated_video" if path.stem == "truncated" else "unreadable_video"
            lines.append(Line({"video": path.name, "caption": CAPTION}, ("failed", "split_scenes", reason)))
    # What a name does, it does in the report and in the log too.
    name = "\"><script>alert(2)<\u2215script>$(touch pwned);'.mp4"
    draw_video(folder / "x.mp4", [("blue", "orange")]).rename(folder / name)
    html = f"{caption_of('blue', 'orange')} {SCRIPT}"
    lines.append(Line({"video": name, "caption": html, "id": SCRIPT}, ("accepted", "check_tracks", None)))
    write_manifest(folder, [line.raw for line in lines] + odd_lines(folder))
    return lines


def odd_lines(folder: Path) -> list[dict[str, Any] | bytes]:
    """Videos of odd rates, sizes and lengths; how they end is looked at one by one."""
    names = sorted(path.name for path in folder.iterdir() if path.stem in ODD)
    assert len(names) == len(ODD)
    return [{"video": name, "caption": CAPTION} for name in names]


@pytest.fixture(scope="module")
def config(lines: list[Line], folder: Path) -> CurateMatrix11k:
    return tiny_config(folder / "manifest.jsonl", folder.parent / "out")


@pytest.fixture(scope="module")
def snapshot(config: CurateMatrix11k) -> Path:
    return run_here(config, report=True)


def test_every_row_is_accounted_for_with_a_true_reason(lines: list[Line], snapshot: Path) -> None:
    outcomes = table(snapshot, "outcomes")
    due = Counter((line.video, *line.end) for line in lines)
    odd = pl.col("video").is_in([f"{name}.{suffix}" for name in ODD for suffix in ("mp4", "mkv")]).fill_null(False)
    found = Counter(outcomes.filter(~odd).select("video", "status", "stage", "reason").iter_rows())
    assert found == due
    assert outcomes.filter(pl.col("status") != "accepted").select("reason", "detail").null_count().row(0) == (0, 0)
    assert Snapshot(snapshot).manifest.n_given == len(lines) + len(ODD)


def test_odd_videos_end_by_what_they_show(snapshot: Path) -> None:
    ends = ends_by_video(snapshot)
    assert ends["one_frame.mp4"] == [("rejected", "split_scenes", "too_short")]
    assert ends["fast.mp4"] == [("rejected", "split_scenes", "too_short")]  # 60 frames in 60 ms
    for name in ("slow.mp4", "variable_rate.mkv", "odd_size.mkv"):
        assert {status for status, _, _ in ends[name]} == {"rejected"}, ends[name]
        assert {stage for _, stage, _ in ends[name]} <= {"split_scenes", "ground_instances"}


def test_a_line_that_is_no_source_is_told_by_its_number(lines: list[Line], snapshot: Path) -> None:
    early = table(snapshot, "outcomes").filter(stage="read_manifest")
    told = set(early["detail"].str.extract(r"line (\d+)").drop_nulls().cast(pl.Int64))
    assert told == set(range(2, 2 + len(BAD_LINES)))


def test_the_good_row_among_them_is_what_it_is_alone(config: CurateMatrix11k, snapshot: Path, tmp_path: Path) -> None:
    folder = config.manifest.parent
    alone = write_manifest(tmp_path, [GOOD])
    (tmp_path / "good.mp4").write_bytes((folder / "good.mp4").read_bytes())
    other = run_here(tiny_config(alone, tmp_path / "out"))
    for name in ("clips", "interactions", "instances", "mask_tracks"):
        mine = table(other, name)
        among = table(snapshot, name).filter(pl.col("clip_id").is_in(mine["clip_id"].implode()))
        assert not mine.is_empty()
        assert among.equals(mine)


def test_nothing_outside_the_manifests_folder_was_read(config: CurateMatrix11k, snapshot: Path) -> None:
    sources = table(snapshot, "sources")
    assert not sources["video"].str.contains("secret|passwd|link").any()
    assert not [path for path in (Path.cwd(), config.manifest.parent, config.root) if (path / "pwned").exists()]


class Elements(HTMLParser):
    """Collects the elements of a page and the text that a browser would show."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.names: Counter[str] = Counter()
        self.handlers: list[tuple[str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names[tag] += 1
        self.handlers += [(tag, name) for name, _ in attrs if name.startswith("on")]
        self.handlers += [(tag, name) for name, value in attrs if (value or "").strip().startswith("javascript:")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_report_shows_html_and_runs_none(config: CurateMatrix11k, snapshot: Path) -> None:
    pages = sorted((config.root / "reports" / snapshot.name).rglob("*.html"))
    assert pages
    shown = ""
    for page in pages:
        raw = page.read_text("utf-8")
        assert SCRIPT not in raw
        assert "<script>alert" not in raw
        elements = Elements()
        elements.feed(raw)
        assert not elements.handlers
        shown += "".join(elements.text)
    assert "alert('pwned')" in shown, "the caption is in the report, as text"


def test_a_hostile_manifest_run_again_is_the_same(config: CurateMatrix11k, snapshot: Path, tmp_path: Path) -> None:
    assert_same_snapshot(run_here(config.model_copy(update={"root": tmp_path})), snapshot)


@pytest.mark.parametrize(
    "raw", [b"", b"\n\n", b"\xff\xfe\x00\x00", json.dumps({"video": "gone.mp4"}).encode()], ids=str
)
def test_a_manifest_without_one_usable_line_still_publishes_what_became_of_it(tmp_path: Path, raw: bytes) -> None:
    manifest = write_manifest(tmp_path, [raw])
    snapshot = run_in_vain(run_here, tiny_config(manifest, tmp_path / "out"), report=True)
    assert (tmp_path / "out" / "reports" / snapshot.name / "index.html").is_file()
    told = Snapshot(snapshot).manifest
    assert (told.n_inputs, told.n_failed) == ((1, 1) if raw.strip() else (0, 0))
    assert table(snapshot, "clips").is_empty()
