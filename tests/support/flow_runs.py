"""Whole runs of curate-matrix11k over tiny inputs, and what they left behind.

    manifest = draw_input(tmp_path / "in", SCENES)
    config = tiny_config(manifest, tmp_path / "out")
    snapshot = run_here(config)                                    the flow's own code without Prefect's engine
    start_command(command(manifest, tmp_path / "out"), env)        what a user types, as a process
    with watch(config) as made:
        run_here(config.model_copy(update={"check": CheckConfig(min_presence=0.35)}))
    made.counts                                                    {"check_tracks": 4}

The clips are small and a second long, so that a whole run takes about a second: a dog of one colour
carries a ball of another.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import polars as pl
import pytest

from flows.curate_matrix11k import CurateMatrix11k, curate_matrix11k
from flows.engine.config import CurationConfig
from flows.engine.pipeline import Preview
from schemas.clip import Clip
from schemas.matrix11k import TABLES
from tasks.check_tracks import CheckConfig
from tasks.engine.publish import YieldTooLow
from tasks.engine.shards import Row, load_shard
from tasks.engine.snapshots import Snapshot
from tasks.engine.stage import Stage, state_path
from tasks.ground_instances import GroundConfig
from tests.support.endpoint import LocalEndpoint
from tests.support.hostile import make_video

REPOSITORY = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT, FPS, N_FRAMES = 160, 112, 12, 12
RGB = {
    "red": (214, 34, 38),
    "green": (28, 146, 62),
    "blue": (30, 84, 206),
    "yellow": (250, 212, 24),
    "orange": (246, 122, 14),
    "purple": (128, 44, 152),
}


class Scene(NamedTuple):
    """One manifest row: a video of shots, each (the dog's colour, the ball's), and its caption."""

    name: str
    shots: tuple[tuple[str, str], ...]
    caption: str

    @property
    def video(self) -> str:
        return f"{self.name}.mp4"

    @property
    def line(self) -> dict[str, Any]:
        return {"video": self.video, "caption": self.caption, "id": self.name}


def carry(dog: str, ball: str, verb: str = "carries") -> Scene:
    """A scene that the embedded backends accept."""
    return Scene(f"{dog}-{ball}", ((dog, ball),), caption_of(dog, ball, verb))


def caption_of(dog: str, ball: str, verb: str = "carries") -> str:
    return f"{_a(dog)} dog {verb} {_a(ball).lower()} ball."


def _a(colour: str) -> str:
    return f"{'An' if colour[0] in 'aeiou' else 'A'} {colour}"


# Accepted, accepted twice (two shots), rejected by the caption, rejected by grounding.
SCENES = (
    carry("yellow", "red"),
    carry("blue", "orange"),
    Scene("two-shots", (("green", "red"), ("green", "red")), caption_of("green", "red")),
    Scene("quiet", (("blue", "red"),), "A quiet green valley under a pale sky."),
    Scene("no-cup", (("purple", "yellow"),), "A purple dog carries a blue cup."),
)


def draw_input(folder: Path, scenes: Sequence[Scene] = SCENES) -> Path:
    """Draw the scenes' videos where they are missing, and write the manifest; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    for scene in scenes:
        if not (folder / scene.video).exists():
            draw_video(folder / scene.video, scene.shots)
    return write_manifest(folder, [scene.line for scene in scenes])


def write_manifest(folder: Path, lines: Sequence[dict[str, Any] | bytes]) -> Path:
    """Lines as JSON, or byte for byte."""
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    manifest = folder / "manifest.jsonl"
    manifest.write_bytes(b"\n".join(raw) + b"\n")
    return manifest


def draw_video(path: Path, shots: Sequence[tuple[str, str]], seed: int = 0, **told: Any) -> Path:
    """A second a shot; another seed gives the same scene on other ground: other bytes. told: see make_video"""
    frames = [frame for number, colours in enumerate(shots) for frame in _draw_shot(colours, number, seed)]
    return make_video(path, frames, fps=FPS, options={"crf": "14", "preset": "veryfast"}, **told)


def _draw_shot(colours: tuple[str, str], number: int, seed: int) -> Iterator[np.ndarray]:
    noise = np.random.default_rng([seed, number]).normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
    ground = (200, 195, 180) if number % 2 == 0 else (120, 125, 130)  # far apart, so that there is a cut
    back = np.clip(ground + (cv2.GaussianBlur(noise, (0, 0), 3) * 50)[..., None], 0, 255).astype(np.uint8)
    dog, ball = (RGB[colour] for colour in colours)
    for t in range(N_FRAMES):
        frame, x = back.copy(), 40 + 4 * t
        cv2.rectangle(frame, (x - 26, 50), (x + 12, 74), dog, -1)
        for leg in (x - 24, x + 4):
            cv2.rectangle(frame, (leg, 74), (leg + 7, 92), dog, -1)
        cv2.circle(frame, (x + 26, 52), 10, ball, -1, cv2.LINE_AA)
        yield frame


# Random masks come and go: what is tested is the way, not the masks.
LENIENT = CheckConfig(
    min_presence=0.01,
    max_gap=1,
    min_area=0,
    max_area=1,
    max_swell=1,
    max_leaps=1,
    max_duplicate_iou=1,
    max_swallowed=1,
    min_outline=0,
    min_likeness=0,
    min_return_iou=0,
    min_confirmed=0,
)

# The default's networks know photographs: drawn scenes are grounded by their colours.
DRAWN: Any = {"grounding": "colour", "vlm": "rules"}
# People, and dogs like people, are looked for at many sizes in each sampled frame: most of such a run's time.
FEW_FRAMES = GroundConfig(**DRAWN, n_frames=2)
DRAWN_OPTIONS = tuple(word for name, backend in DRAWN.items() for word in (f"--ground.{name}", backend))
FEW_FRAMES_OPTIONS = (*DRAWN_OPTIONS, "--ground.n-frames", str(FEW_FRAMES.n_frames))


def tiny_config(manifest: Path, root: Path) -> CurateMatrix11k:
    """The defaults, but for the number of frames that are grounded, and how: by colours."""
    return CurateMatrix11k(manifest=manifest, root=root, ground=FEW_FRAMES)


# --- Running -----------------------------------------------------------------------------------


def run_here(config: CurateMatrix11k, *, report: bool = False) -> Path:
    """The flow's own code, top to bottom, in this process and without Prefect's engine; returns the snapshot."""
    return curate_matrix11k.fn(config.model_copy(update={"report": report}))


def run_in_vain(run: Callable[..., Path], config: CurationConfig, **options: Any) -> Path:
    """A run of which too little is accepted; returns the snapshot, which LATEST does not name."""
    before = Snapshot.latest(config.snapshots)
    with pytest.raises(YieldTooLow) as caught:
        run(config, **options)
    assert Snapshot.latest(config.snapshots) == before
    assert isinstance(caught.value.folder, Path)
    return caught.value.folder


def run_anyway(config: CurateMatrix11k, *, report: bool = False) -> Path:
    """A run whose yield nobody knows before: its snapshot, whether LATEST names it or not."""
    try:
        return run_here(config, report=report)
    except YieldTooLow as error:
        return Path(error.folder)


def command(manifest: Path, root: Path, *options: str) -> list[str]:
    """What a user types."""
    return [
        *(sys.executable, "-m", "flows.curate_matrix11k"),
        *("--manifest", str(manifest), "--root", str(root), *FEW_FRAMES_OPTIONS, *options),
    ]


def start_command(arguments: list[str], env: dict[str, str]) -> subprocess.Popen[str]:
    """Run a command of this repository in a process group of its own; its log comes through stdout."""
    return subprocess.Popen(
        arguments,
        cwd=REPOSITORY,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


# --- A model server that reads these captions --------------------------------------------------


def point_at(server: LocalEndpoint, monkeypatch: pytest.MonkeyPatch, key: str = "") -> None:
    """Have the LLM and the VLM asked at this server."""
    for role in ("LLM", "VLM"):
        monkeypatch.setenv(f"TRIPTYCH_{role}_BASE_URL", server.base_url)
        monkeypatch.setenv(f"TRIPTYCH_{role}_MODEL", f"tiny-{role.lower()}")
        monkeypatch.setenv(f"TRIPTYCH_{role}_API_KEY", key)


def answer_of(request: dict[str, Any]) -> dict[str, Any]:
    """What a good model says of a caption like those of `carry`: to be given to LocalEndpoint as `answers`."""
    said = json.loads(_text_of(request))
    match request["response_format"]["json_schema"]["name"]:
        case "CountReply":
            return {"count": 1 if " ball" in said["caption"] or " cup" in said["caption"] else None}
        case "ListReply":
            return _listing(said["caption"])
        case "RatingReply":
            return {"contactness": 5, "dynamism": 4, "explanation": "It is carried.", "confidence": 0.9}
        case "DescribeReply":
            nouns = _nouns(said["caption"])
            return {
                "descriptions": [
                    {
                        "id": entity["id"],
                        "noun": nouns[entity["id"]],
                        "appearance": f"It is {nouns[entity['id']]}.",
                        "spatial": "On the ground.",
                    }
                    for entity in said["entities"]
                ]
            }
        case "VerifyReply":
            return {"match": True, "confidence": 0.8, "rationale": "It looks like it."}
    raise ValueError(f"no answer to {request['response_format']}")


def _text_of(request: dict[str, Any]) -> str:
    content = request["messages"][1]["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


def _nouns(caption: str) -> dict[str, str]:
    """'A yellow dog carries a red ball.' -> {"id1": "a yellow dog", "id2": "a red ball"}"""
    words = caption.split(".")[0].lower().split()
    return {"id1": " ".join(words[:3]), "id2": " ".join(words[4:7])}


def _listing(caption: str) -> dict[str, Any]:
    nouns = _nouns(caption)
    relation = {"subject_id": "id1", "verb": "carry", "object_id": "id2", "type": "functional_action"}
    return {
        "entities": [
            {"id": "id1", "class_name": nouns["id1"].split()[-1], "living": True},
            {"id": "id2", "class_name": nouns["id2"].split()[-1], "living": False},
        ],
        "interactions": [relation | {"source_sentence": caption.split(".")[0] + "."}],
    }


# --- What was published ------------------------------------------------------------------------


def files_of(folder: Path) -> dict[str, str]:
    """{path: SHA-256} of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def assert_same_snapshot(got: Path, expected: Path) -> None:
    """Same id, same files, same bytes."""
    assert got.name == expected.name
    assert files_of(got) == files_of(expected)


def assert_same_rows(got: Path, expected: Path) -> None:
    """The same rows in every table, whichever shards they lie in."""
    for name in TABLES:
        assert sorted(table(got, name).rows(), key=repr) == sorted(table(expected, name).rows(), key=repr), name


def table(snapshot: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(sorted((snapshot / name).glob("*.parquet")))


def rows_by_split(snapshot: Path, folder: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """{table: {split: rows}} as `datasets` loads them by the card; fails unless each row is in its own split, once.

    Rows hold what says whose they are. folder: for the cache of `datasets`
    """
    import datasets

    outcomes = table(snapshot, "outcomes")
    split_of = dict(outcomes.select("row_id", pl.col("split").fill_null("other")).iter_rows())
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in Snapshot(snapshot).tables:
        if table(snapshot, name).is_empty():  # `datasets` refuses it: "corresponds to no data"
            found[name] = {}
            continue
        loaded = datasets.load_dataset(str(snapshot), name, cache_dir=str(folder / "datasets"))
        whose = {"row_id", "clip_id", "winner_id", "prompt_id", "split"}
        found[name] = {s: p.select_columns(sorted(whose & {*p.column_names})).to_list() for s, p in loaded.items()}
        assert sum(map(len, found[name].values())) == len(table(snapshot, name))
        for split, rows in found[name].items():
            for row in rows:
                id_ = row.get("row_id") or row.get("clip_id") or row.get("winner_id")
                assert (split_of[id_] if id_ else row["split"]) == split, (name, row)
    return found


def ends(snapshot: Path) -> dict[str, tuple[str, str, str | None]]:
    """{row_id: (status, stage, reason)} of every input; fails unless they add up to the inputs."""
    rows = table(snapshot, "outcomes").to_dicts()
    manifest = Snapshot(snapshot).manifest
    assert len(rows) == manifest.n_inputs == manifest.n_accepted + manifest.n_rejected + manifest.n_failed
    found = {row["row_id"]: (row["status"], row["stage"], row["reason"]) for row in rows}
    assert len(found) == len(rows), "a row ended twice"
    return found


def ends_by_video(snapshot: Path) -> dict[str, list[tuple[str, str, str | None]]]:
    """{video: [(status, stage, reason) of each of its rows, in the order of time]}."""
    ends(snapshot)
    rows = table(snapshot, "outcomes").filter(pl.col("video").is_not_null()).sort("video", "start_s", nulls_last=True)
    found: dict[str, list[tuple[str, str, str | None]]] = {}
    for row in rows.to_dicts():
        found.setdefault(row["video"], []).append((row["status"], row["stage"], row["reason"]))
    return found


# --- What was computed -------------------------------------------------------------------------


@dataclass
class Computed:
    """The results that were made, or made again, during a watch: {stage: their keys}."""

    keys: dict[str, set[str]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        return {stage: len(keys) for stage, keys in sorted(self.keys.items()) if keys}


@contextmanager
def watch(config: CurationConfig) -> Iterator[Computed]:
    """Watch what a run computes, by the files of its work folder: a file that is written again has a new inode."""
    computed = Computed()
    before = _results(config)
    yield computed
    for path, stamp in _results(config).items():
        if before.get(path) != stamp:
            computed.keys.setdefault(path.parts[-3], set()).add(path.stem)


def _results(config: CurationConfig) -> dict[Path, tuple[int, int]]:
    return _stamps((config.work.root / "rows").glob("*/*/*.json"))


def _stamps(paths: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    return {path: ((stat := path.stat()).st_ino, stat.st_mtime_ns) for path in paths}


def told_ahead(look_ahead: Callable[[Any], list[Preview]], config: CurationConfig) -> dict[str, tuple[int, int, int]]:
    """{stage: (known, to compute, open)} as a flow foretells it; fails if that computes a row or changes a file."""

    def refuse(stage: Stage[Any, Any], row: Row[Any]) -> None:
        raise AssertionError(f"{stage.name} computes {row.payload.row_id}")

    before = _stamps(config.root.rglob("*"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("tasks.engine.stage._judge", refuse)
        lines = look_ahead(config)
    assert _stamps(config.root.rglob("*")) == before
    told = {line.stage: (line.known, line.to_compute, line.open) for line in lines}
    assert len(told) == len(lines), "a stage is told of twice"
    return told


def clip_rows(config: CurateMatrix11k, snapshot: Path) -> list[Row[Clip]]:
    """Every clip of a snapshot as it left the last stage, with the keys of what was made of it."""
    shards = [entry.shard_id for entry in Snapshot(snapshot).manifest.shards]
    paths = [state_path(config.work, shard, config.shard_stages) for shard in shards]
    return [row for path in paths for row in load_shard(path, Clip).rows]


def computed_for(config: CurateMatrix11k, snapshot: Path, computed: Computed) -> dict[str, Counter[str]]:
    """{stage: {video: results computed for it}} of the clip stages."""
    found: dict[str, Counter[str]] = {}
    for row in clip_rows(config, snapshot):
        for stage, key in row.made.items():
            if key in computed.keys.get(stage, ()):
                found.setdefault(stage, Counter())[row.payload.video] += 1
    return found
