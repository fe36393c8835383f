"""While one row is in the network, the next are decoded and the last is written (propagate_masks, ground_instances).

Networks here are scripted: they wait until the others have done what they are to do meanwhile, or fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from schemas.candidate import Anchor
from schemas.grounding import Answer, Grounding, Proposal, Wanted
from schemas.instance import Instance
from schemas.mask_track import Tracks, encode_mask
from schemas.outcome import RowFailed, ServiceDown
from schemas.source import Source
from tasks import ground_instances, propagate_masks
from tasks.backends.grounding_dino import DinoConfig
from tasks.backends.local_models import LocalConfig
from tasks.backends.openai.api import EndpointConfig
from tasks.backends.sam2_video import Sam2Config
from tasks.backends.torch_runtime import TorchConfig
from tasks.engine.inputs import Inputs
from tasks.engine.progress import device_at_work
from tasks.engine.shards import Row, Shard, load_shard
from tasks.engine.stage import Stage, run_stage
from tasks.engine.work import Work
from tasks.media.footage import Frames
from tests.support.builders import make_instance

DEADLINE_S = 20.0
HEIGHT, WIDTH = 6, 8
EMPTY = encode_mask(np.zeros((HEIGHT, WIDTH), bool))
ANCHOR = Anchor(instance_id="id1", frame=0, box_xyxy=(1, 1, 4, 4))


def wait_for(happened: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not happened():
        assert time.monotonic() < end, f"{what}: not within {DEADLINE_S} s"
        time.sleep(0.001)


@dataclass
class Story:
    """What rows did, in order, and what a test has them do: {(phase, name): an error, or a function}."""

    does: dict[tuple[str, str], Any] = field(default_factory=dict)
    happened: list[tuple[str, str]] = field(default_factory=list)
    n_held: int = 0  # clips whose frames are in memory
    most_held: int = 0
    lock: Any = field(default_factory=threading.RLock)  # frames may be let go inside

    def enter(self, phase: str, name: str) -> None:
        with self.lock:
            self.happened.append((phase, name))
        act = self.does.get((phase, name))
        if isinstance(act, BaseException):
            raise act
        if act is not None:
            act()

    def hold(self, frames: np.ndarray) -> np.ndarray:
        with self.lock:
            self.n_held += 1
            self.most_held = max(self.most_held, self.n_held)
        weakref.finalize(frames, self._let_go)
        return frames

    def _let_go(self) -> None:
        with self.lock:
            self.n_held -= 1

    def names(self, phase: str) -> list[str]:
        with self.lock:
            return [name for p, name in self.happened if p == phase]


@dataclass(frozen=True)
class ScriptedFootage:
    """A row's pictures: its name is written into the first pixel."""

    name: str
    story: Story
    n_frames: int = 3

    @property
    def span(self) -> list[object]:
        return [self.name]

    @property
    def wanted(self) -> Wanted:
        return Wanted("caption", [make_instance("id1"), make_instance("id2", "boy")], [("id2", "id1")])

    @property
    def size(self) -> tuple[int, int]:
        return HEIGHT, WIDTH

    def frames(self, indices: Any = None, max_side_px: int | None = None) -> np.ndarray:
        self.story.enter("decode", self.name)
        n = self.n_frames if indices is None else len(indices)
        frames = np.zeros((n, HEIGHT, WIDTH, 3), np.uint8)
        frames[0, 0, 0, 0] = ord(self.name)
        return self.story.hold(frames)


def name_of(frames: Frames) -> str:
    return chr(frames[0][0, 0, 0])


class ScriptedNetwork:
    """A propagator and a detector whose network takes one row at a time."""

    identity = {"backend": "scripted", "model": "1"}  # noqa: RUF012
    short_side_px = HEIGHT

    def __init__(self, story: Story, look_ahead: int) -> None:
        self.look_ahead, self.concurrency = look_ahead, 1 + look_ahead
        self._story, self._one = story, threading.Lock()

    def _run(self, name: str) -> None:
        with self._one, device_at_work():
            self._story.enter("network", name)

    def propagate(self, frames: Frames, anchors: list[Anchor], size: Any = None) -> dict[str, list[str]]:
        name = name_of(frames)
        self._run(name)
        self._story.enter("encode", name)
        return {anchor.instance_id: [EMPTY] * len(frames) for anchor in anchors}

    def propose(self, frames: np.ndarray, instances: list[Instance]) -> dict[str, list[Proposal]]:
        self._run(name_of(frames))
        found = [Proposal(frame=0, box_xyxy=(1, 1, 4, 4), score=0.9)]
        return {instance.instance_id: found for instance in instances}


class ScriptedVerifier:
    identity = {"backend": "scripted", "model": "1"}  # noqa: RUF012
    concurrency = 1

    def __init__(self, story: Story) -> None:
        self._story = story

    def verify(self, frame: np.ndarray, box_xyxy: Any, instance: Instance, caption: str) -> Answer:
        self._story.enter("verify", chr(frame[0, 0, 0]))
        return Answer(match=True, confidence=0.9, rationale="scripted")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path))


@pytest.fixture
def story() -> Story:
    return Story()


Build = Callable[[int], Stage[Any, Any, Any]]


@pytest.fixture
def propagate(work: Work, story: Story, monkeypatch: pytest.MonkeyPatch) -> Build:
    """The stage as it is, with a scripted network."""

    def build(look_ahead: int) -> Stage[Any, Any, Any]:
        monkeypatch.setattr(propagate_masks, "load_backend", lambda *_: ScriptedNetwork(story, look_ahead))
        anchored = Grounding(anchors=[ANCHOR], candidates=[], lost_ids=[], made_by=[])
        monkeypatch.setattr(ground_instances, "result_of", lambda *_: anchored)
        return propagate_masks.stage(work, footage, propagate_masks.PropagateConfig(), Sam2Config(), TorchConfig())

    def footage(row: Row[Any]) -> ScriptedFootage:
        return ScriptedFootage(row.payload.caption, story)

    return build


@pytest.fixture
def ground(work: Work, story: Story, monkeypatch: pytest.MonkeyPatch) -> Build:
    def build(look_ahead: int) -> Stage[Any, Any, Any]:
        backends = ScriptedNetwork(story, look_ahead), ScriptedVerifier(story)
        monkeypatch.setattr(ground_instances, "load_backends", lambda *_: backends)
        configs = EndpointConfig(), DinoConfig(), TorchConfig(), LocalConfig()
        return ground_instances.stage(
            work, lambda row: ScriptedFootage(row.payload.caption, story), ground_instances.GroundConfig(), *configs
        )

    return build


def rows_of(names: str) -> Shard[Source]:
    return Shard[Source].of(
        [Source(source_id=f"src-{n}", line=1, video="v.mp4", video_sha256="0", n_bytes=0, caption=n) for n in names]
    )


def run(work: Work, stage: Stage[Any, Any, Any], names: str) -> list[tuple[str, str] | None]:
    """(status, reason) of each row that ended; None: it goes on."""
    shard = load_shard(run_stage(work, rows_of(names), stage), Source)
    assert [row.payload.caption for row in shard.rows] == list(names)
    return [row.outcome and (row.outcome.status, row.outcome.reason) for row in shard.rows]


# --- Side by side --------------------------------------------------------------------------------


def test_the_next_row_is_decoded_while_one_is_in_the_network(work: Work, story: Story, propagate: Build) -> None:
    story.does = {
        ("decode", "b"): lambda: wait_for(lambda: "a" in story.names("network"), "row a is in the network"),
        ("network", "a"): lambda: wait_for(lambda: "b" in story.names("decode"), "row b is decoded"),
    }
    assert run(work, propagate(1), "ab") == [None, None]


def test_the_last_row_is_encoded_and_written_while_the_next_is_in_the_network(
    work: Work, story: Story, propagate: Build
) -> None:
    stage = propagate(1)
    first = work.result_path(Tracks, stage.key(rows_of("a").rows[0]))
    # Row a goes on only when b is in the network, and b leaves it only when a is on the disk.
    story.does = {
        ("decode", "b"): lambda: wait_for(lambda: "a" in story.names("network"), "row a is in the network"),
        ("encode", "a"): lambda: wait_for(lambda: "b" in story.names("network"), "row b is in the network"),
        ("network", "b"): lambda: wait_for(first.exists, "row a is written"),
    }
    assert run(work, stage, "ab") == [None, None]


def test_while_one_row_waits_for_the_verifier_the_next_is_in_the_network(
    work: Work, story: Story, ground: Build
) -> None:
    """Even where only one request may be sent at a time."""
    story.does = {
        ("decode", "b"): lambda: wait_for(lambda: "a" in story.names("verify"), "row a waits for its answer"),
        ("verify", "a"): lambda: wait_for(lambda: "b" in story.names("network"), "row b is in the network"),
    }
    assert run(work, ground(1), "ab") == [None, None]


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_no_more_rows_are_decoded_than_look_ahead_allows(
    work: Work, story: Story, propagate: Build, look_ahead: int
) -> None:
    def stay() -> None:
        wait_for(lambda: story.n_held == 1 + look_ahead, "rows are decoded ahead")
        time.sleep(0.05)  # time enough for one too many

    story.does = {("network", "a"): stay}
    run(work, propagate(look_ahead), "abcdefgh")
    assert story.most_held == 1 + look_ahead, "clips in memory"


@pytest.mark.parametrize("look_ahead", [0, 2])
def test_one_row_at_a_time_is_in_the_network(work: Work, story: Story, propagate: Build, look_ahead: int) -> None:
    inside: list[int] = []

    def look() -> None:
        inside.append(1)
        assert len(inside) == 1
        time.sleep(0.002)
        inside.pop()

    story.does = {("network", name): look for name in "abcdefgh"}
    assert run(work, propagate(look_ahead), "abcdefgh") == [None] * 8
    assert sorted(story.names("network")) == list("abcdefgh")


def test_the_same_bytes_whatever_the_look_ahead(tmp_path: Path, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.does = {("decode", "a"): lambda: time.sleep(0.03), ("encode", "b"): lambda: time.sleep(0.03)}
    made = []
    for look_ahead in (0, 2):
        work = Work(root=tmp_path / str(look_ahead), inputs=Inputs(folder=tmp_path))
        build = propagate.__wrapped__(work, story, monkeypatch)  # type: ignore[attr-defined]
        run(work, build(look_ahead), "abcde")
        files = sorted(path for name in ("rows", "shards") for path in (work.root / name).rglob("*.json"))
        made.append({path.relative_to(work.root): path.read_bytes() for path in files})
    assert made[0] == made[1]
    assert len(made[0]) == 6


# --- Faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["decode", "network", "encode"])
@pytest.mark.parametrize("look_ahead", [0, 2])
@pytest.mark.parametrize(
    ("error", "reason"), [(RowFailed("broken", "", retryable=False), "broken"), (KeyError("surprise"), "error")]
)
@pytest.mark.logs_errors
def test_an_error_in_any_phase_ends_its_row_alone(
    work: Work, story: Story, propagate: Build, phase: str, look_ahead: int, error: Exception, reason: str
) -> None:
    story.does = {(phase, "b"): error}
    assert run(work, propagate(look_ahead), "abcd") == [None, ("failed", reason), None, None]


@pytest.mark.parametrize("phase", ["decode", "network", "encode"])
def test_a_service_that_is_down_ends_the_stage_in_any_phase(
    work: Work, story: Story, propagate: Build, phase: str
) -> None:
    story.does = {(phase, "b"): ServiceDown("the GPU is gone")}
    names = "abcdefghijkl"
    with pytest.raises(ServiceDown, match="the GPU is gone"):
        run(work, propagate(2), names)
    assert len(story.names("decode")) <= 5, "b's end, and the two rows at work beside it"
    done = [row for row in rows_of(names).rows if work.load(Tracks, propagate(2).key(row)) is not None]
    story.does, story.happened = {}, []
    assert run(work, propagate(2), names) == [None] * 12
    assert sorted(story.names("network")) == sorted(set(names) - {str(row.payload.caption) for row in done}), (
        "what was done by then stays done"
    )


def test_a_verifier_that_is_down_ends_the_stage(work: Work, story: Story, ground: Build) -> None:
    story.does = {("verify", "a"): ServiceDown("no server")}
    with pytest.raises(ServiceDown, match="no server"):
        run(work, ground(2), "abcdefghijkl")
    assert len(story.names("decode")) <= 7


KILLED = """
import os, sys, threading
from pathlib import Path
from tests.engine.test_stage import Counter, run
from tasks.engine.inputs import Inputs
from tasks.engine.work import Work

folder = Path(sys.argv[1])
work = Work(root=folder / "work", inputs=Inputs(folder=folder))
written = threading.Semaphore(0)
save = Work.save
Work.save = lambda *args: (save(*args), written.release())[0]

def die():
    for _ in range(2):
        written.acquire(timeout=20)
    os._exit(9)

run(work, Counter(concurrency=3, c=die, d=threading.Event().wait, e=threading.Event().wait), "abcde")
"""


def test_a_process_that_is_killed_among_rows_at_work_loses_none_that_is_done(work: Work, tmp_path: Path) -> None:
    from tests.engine.test_stage import Counter
    from tests.engine.test_stage import run as run_counter

    repository = Path(__file__).parents[1]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(repository)},
        timeout=60,
        check=False,
    )
    assert ended.returncode == 9
    again = Counter()
    run_counter(work, again, "abcde")
    assert again.calls == list("cde")


def test_rows_that_surprise_are_not_held_in_memory(work: Work, story: Story, propagate: Build) -> None:
    def fail() -> None:
        raise KeyError("surprise")

    story.does = {("network", name): fail for name in "abcdefgh"}
    told: list[tuple[Any, ...]] = []
    log = SimpleNamespace(info=lambda *_: None, error=lambda *what, exc_info: told.append(what[1:3]))
    with pytest.raises(ServiceDown, match="all 8 rows failed"):
        run_stage(work, rows_of("abcdefgh"), propagate(0), log)
    assert len(told) == 8
    assert story.most_held <= 2, "the row at work, and the one that is told of"


# --- Who looks ahead -----------------------------------------------------------------------------


def test_embedded_backends_take_as_many_rows_as_they_have_processors(work: Work) -> None:
    n_cpus = os.cpu_count()
    ahead = TorchConfig(look_ahead=7)
    config = propagate_masks.PropagateConfig(masks="flow")
    assert propagate_masks.stage(work, ScriptedFootage, config, Sam2Config(), ahead).concurrency == n_cpus
    for vlm, rows in (("rules", n_cpus), ("none", 1)):
        ground = ground_instances.GroundConfig(grounding="colour", vlm=vlm)
        stage = ground_instances.stage(
            work, ScriptedFootage, ground, EndpointConfig(), DinoConfig(), ahead, LocalConfig()
        )
        assert stage.concurrency == rows


def test_networks_take_as_many_rows_as_the_config_looks_ahead(work: Work, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"weights")
    masks = propagate_masks.PropagateConfig(masks="sam2")
    ground = ground_instances.GroundConfig(grounding="groundingdino", vlm="none")
    for look_ahead in (0, 4):
        torch = TorchConfig(look_ahead=look_ahead)
        sam2, dino = Sam2Config(checkpoint=str(weights)), DinoConfig(checkpoint=str(weights))
        tracking = propagate_masks.stage(work, ScriptedFootage, masks, sam2, torch)
        grounding = ground_instances.stage(work, ScriptedFootage, ground, EndpointConfig(), dino, torch, LocalConfig())
        assert (tracking.concurrency, grounding.concurrency) == (1 + look_ahead, 1 + look_ahead)
