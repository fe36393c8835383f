"""The stage, and the reader that holds captions against what happened."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path

import pytest

from schemas.outcome import RowRejected
from schemas.scene import Body, SceneSeed, SceneSet, Split
from schemas.simulation import Captioned, Rendered, Simulation
from tasks.backends.event_captions import EventCaptions
from tasks.backends.openai.api import EndpointConfig
from tasks.caption_clips import CaptionConfig, caption_clip, caption_faults, stage
from tasks.caption_clips.mentions import read_sentences
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Row
from tasks.engine.work import Made, Work
from tests.support.scene_clips import SceneClip, make_collision, simulated, story
from tests.support.scenes import make_body

RIGHT = (1.0, 0.0, 0.0)
RED = make_body("id1", position=(-0.9, 0.0, 0.25))
BLUE = make_body("id2", "cylinder", colour="blue", position=(0.5, 0.0, 0.25))
GREY = make_body("id3", colour="grey", position=(0.3, 1.2, 0.25))
PINK = make_body("id4", "cylinder", colour="pink", position=(-0.5, 1.4, 0.25))
BODIES = [RED, BLUE, GREY, PINK]


def collided() -> SceneClip:
    """The red cube hits the blue cylinder and stops, the blue cylinder moves on; the others rest."""
    return story(
        (RED, [(0.8, RIGHT)]),
        (BLUE, [(0.8, (0.0, 0.0, 0.0)), (9.0, (0.3, 0.0, 0.0))]),
        (GREY, []),
        (PINK, []),
        collisions=[make_collision(0.8, "id1", "id2")],
    )


def apart() -> SceneClip:
    """The red cube moves and stops, the others rest."""
    return story((RED, [(0.8, RIGHT)]), (BLUE, []), (GREY, []), (PINK, []))


def faults_of(caption: str, clip: SceneClip) -> list[str]:
    return caption_faults(caption, clip.simulation, clip.tracks)


# --- Who is named --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("The red cube hits a blue cylinder.", "<id1> hits <id2>"),
        ("A small, red cube and the gray box rest.", "a small , <id1> and <id3> rest"),
        ("The light-blue cylinder stops.", "<id2> stops"),
        ("The cylinder stops.", "<?> stops"),
        ("Two cubes and another cylinder stop.", "<?> and <?> stop"),
        ("The red and grey cubes stop.", "<id1> and <id3> stop"),
        ("The magenta cylinder stops.", "<id4> stops"),
        ("Both the red cube and the pink cylinder don't move.", "<id1> and <id4> do not move"),
        ("All objects stop. The objects stop. No object stops.", "<all> stop|<objects> stop|no <objects> stops"),
        ("Other objects stop. It hits any other object.", "<?> stop|it hits <objects>"),
        ("Three cubes: a red, a green, and a blue one.", "<?> : <?>"),
        ("The red object hits one of them.", "<id1> hits one of them"),
    ],
)
def test_bodies_are_told_by_colour_and_shape(said: str, read: str) -> None:
    assert "|".join(sentence.text for sentence in read_sentences(said, BODIES)) == read


def test_an_exact_colour_wins_over_one_like_it() -> None:
    purple = make_body("id5", "cylinder", colour="purple")
    assert [s.text for s in read_sentences("The purple cylinder stops.", [PINK, purple])] == ["<id5> stops"]


# --- Faults --------------------------------------------------------------------------------------

TRUE_OF_COLLIDED = (
    "On a tiled floor, there are four objects: a red cube, a blue cylinder, a gray cube, and a magenta cylinder.",
    "The red cube moves to the right and collides slightly with the blue cylinder, pushing it away.",
    "The red cube moves towards the blue cylinder and collides with it.",
    "The red cube moves towards the blue cylinder, and they collide.",
    "The red cube and the blue cylinder collide, while the grey cube remains stationary.",
    "There is a collision between the red cube and the blue cylinder. The blue cylinder is hit by the red cube.",
    "The red cube stops after the collision. The red cube remains stationary after the collision.",
    "The blue cylinder is still moving at the end.",
    "The grey cube and the pink cylinder remain stationary throughout. They do not collide with anything.",
    "The grey cube does not collide with the pink cylinder, and the red cube never hits the grey cube.",
    "After that, no further collisions occur. No other collision is visible.",
    "The other two objects do not move. Two cylinders collide with another object.",
    "Behind the red cube, the grey cube remains stationary.",
    "Neither the grey cube nor the red cube collides with the pink cylinder. Neither the grey cube nor it moves.",
    "The red cube passes the grey cube without hitting it. The two cubes do not collide.",
    "When the red cube hits the blue cylinder, the grey cube, next to the pink cylinder, is at rest.",
    "The red cube nearly hits the grey cube. If the red cube hit the grey cube, it would move.",
    "Initially, the blue cylinder is stationary. The blue cylinder remains still until the red cube strikes it.",
    "The red cube can be seen at the left. It leaves a trace. They touch.",
    "The grey cube is there and the camera moves. The pink cylinder, which is behind it, keeps its place.",
    "Nothing leaves the frame. The red cube does not leave the frame, and the grey cube does not move.",
)


@pytest.mark.parametrize("caption", TRUE_OF_COLLIDED)
def test_what_is_true_or_cannot_be_read_is_no_fault(caption: str) -> None:
    assert faults_of(caption, collided()) == []


@pytest.mark.parametrize(
    ("caption", "fault"),
    [
        ("A red ball rests.", "names a red ball"),
        ("The red cube hits the green cylinder.", "names a green cylinder"),
        ("The red cube collides with the grey cube.", "id3 (grey cube) collides, and nothing hits it"),
        ("It then hits the pink cylinder firmly.", "id4 (pink cylinder) collides"),
        ("The grey cube slides to the left and bumps into the blue cylinder.", "id3 (grey cube) and id2"),
        ("The blue cylinder is hit by the grey cube.", "id3 (grey cube) collides"),
        ("The grey cube and the blue cylinder collide.", "id3 (grey cube) and id2 (blue cylinder) collide"),
        ("A collision between the pink cylinder and the red cube occurs.", "id4 (pink cylinder) and id1 (red cube)"),
        ("No collisions occur.", "nothing collides"),
        ("The red cube moves without colliding with any other object.", "id1 (red cube) does not collide"),
        ("The objects do not collide with each other.", "nothing collides"),
        ("No object hits anything.", "nothing collides"),
        ("The red cube doesn't hit the blue cylinder.", "id1 (red cube) and id2 (blue cylinder) do not collide"),
        ("There is no collision between the red cube and the blue cylinder.", "do not collide"),
        ("The red cube remains stationary throughout the video.", "id1 (red cube) stays"),
        ("The grey cube and the blue cylinder are static.", "id2 (blue cylinder) stays"),
        ("All objects remain still throughout.", "id1 (red cube) stays"),
        ("The blue cylinder does not move.", "id2 (blue cylinder) stays"),
        ("The grey cube moves to the left.", "id3 (grey cube) moves"),
        ("The red cube hits the blue cylinder, while the pink cylinder slides away.", "id4 (pink cylinder) moves"),
        ("The red cube stops, pushing the grey cube away.", "id3 (grey cube) moves"),
        ("The red cube leaves the frame on the right.", "id1 (red cube) leaves the frame"),
        ("The grey cube moves out of view.", "id3 (grey cube) leaves the frame"),
        ("Meanwhile, the grey cube is pushed to the left.", "id3 (grey cube) moves"),
    ],
)
def test_what_did_not_happen_is_a_fault(caption: str, fault: str) -> None:
    assert any(fault in found for found in faults_of(caption, collided())), faults_of(caption, collided())


@pytest.mark.parametrize(
    "caption",
    [
        "The red cube collides with the blue cylinder.",
        "The red cube moves to the right and they collide slightly.",
        "After the collision, the red cube stops.",
        "The red cube hits another object.",
    ],
)
def test_any_collision_is_a_fault_where_there_is_none(caption: str) -> None:
    assert faults_of(caption, apart()) == ["says that there is a collision, and there is none"]


def test_where_nothing_collides_that_may_be_said() -> None:
    for caption in ("No collisions occur.", "The red cube stops without a collision.", "It touches the frame's edge."):
        assert faults_of(caption, apart()) == []


def test_stopping_is_held_against_the_speed() -> None:
    clip = story((RED, [(9.0, (0.6, 0.0, 0.0))]), (BLUE, []))
    assert faults_of("The red cube moves to the right and comes to a stop.", clip) == [
        "says that id1 (red cube) stops, and it does not"
    ]
    assert faults_of("The red cube moves to the right and comes to a stop.", apart()) == []


def test_the_papers_examples_are_read_without_a_fault_that_is_none() -> None:
    """Not the paper's captions (A.2), but sentences of their make, over a scene in which they are true."""
    caption = (
        "The scene is set on a tiled ground. A gray cube is stationary in the background. The red cube, initially "
        "positioned on the left side of the frame, moves horizontally to the right and eventually stops. Two "
        "cylinders, one blue and another pink, remain stationary throughout the sequence."
    )
    assert faults_of(caption, apart()) == []


def test_absurd_captions_are_read_in_no_time() -> None:
    clip = collided()
    began = time.monotonic()
    for word in (
        "the red cube and ",
        "not ",
        "red, and ",
        "meanwhile, then ",
        "collides with it ",
        "<id1> ",
        "all all ",
    ):
        faults_of(word * 400, clip)
    for caption in ("", "...", "\x00\ud800 <id9> hits <id1>", "ÄÖÜ. 红色立方体碰撞", "<?> <all>"):
        assert faults_of(caption, clip) == []
    assert time.monotonic() - began < 5


# --- Captions from simulations -------------------------------------------------------------------

SETS: tuple[SceneSet, ...] = ("simple_motion", "interactions")
SPLITS: tuple[Split, ...] = ("train", "test")
FEW = [(s, split, seed) for s, split, seed in itertools.product(SETS, SPLITS, range(2))]


def told(clip: SceneClip) -> str:
    return EventCaptions().caption(clip.simulation, clip.rendered)


def check_caption(clip: SceneClip) -> None:
    caption = told(clip)
    assert faults_of(caption, clip) == [], caption
    assert not re.search(r"\d|  |[^\x20-\x7e]|\ba [aeiou]|\ban [^aeiou]|,,| ,|\.\.", caption), caption
    sentences = caption.split(". ")
    assert 2 <= len(sentences) <= 10, caption
    assert all(sentence[0].isupper() for sentence in sentences), caption
    for body, track in zip(clip.simulation.scene.bodies, clip.tracks, strict=True):
        assert not track.present[0] or body.colour in caption, caption


@pytest.mark.parametrize(("set_", "split", "seed"), FEW)
def test_a_caption_from_the_simulation_has_no_fault(set_: SceneSet, split: Split, seed: int) -> None:
    check_caption(simulated(set_, split, seed))


@pytest.mark.slow
@pytest.mark.parametrize(("set_", "split"), itertools.product(SETS, SPLITS))
def test_forty_captions_of_each_kind_have_no_fault(set_: SceneSet, split: Split) -> None:
    for seed in range(40):
        check_caption(simulated(set_, split, seed))


@pytest.mark.parametrize(("set_", "split", "seed"), FEW)
def test_a_caption_that_was_turned_into_a_lie_has_one(set_: SceneSet, split: Split, seed: int) -> None:
    clip = simulated(set_, split, seed)
    for lie in lies(clip):
        assert faults_of(lie, clip), lie


def lies(clip: SceneClip) -> list[str]:
    """The clip's own caption, changed so that it certainly says what did not happen."""
    caption, simulation = told(clip), clip.simulation
    moved = {t.instance_id for t in simulation.trajectories if len(set(t.position)) > 1}
    hit = {frozenset((c.first_id, c.second_id)) for c in simulation.collisions}
    bodies = {b.instance_id: b for b in simulation.scene.bodies if b.noun in caption}
    rests = [b for id_, b in bodies.items() if id_ not in moved]
    moves = [b for id_, b in bodies.items() if id_ in moved and b.controlled]
    found = [caption.replace(moves[0].noun, f"brown {moves[0].shape}")]
    found += [f"{caption} The {a.noun} remains stationary throughout." for a in moves]
    found += [f"{caption} The {a.noun} slides to the left." for a in rests]
    found += [
        f"{caption} The {a.noun} then collides with the {b.noun}." for a in moves for b in rests if _apart(a, b, hit)
    ]
    found += [swapped(caption, a.noun, b.noun) for a in moves for b in rests]
    if hit:
        found += [f"{caption} No collisions occur."]
        found += [f"The {bodies[a].noun} does not collide with the {bodies[b].noun}." for a, b in map(sorted, hit)]
    else:
        found += [f"{caption} The {moves[0].noun} collides with another object."]
    return found


def _apart(a: Body, b: Body, hit: set[frozenset[str]]) -> bool:
    return frozenset((a.instance_id, b.instance_id)) not in hit


def swapped(caption: str, one: str, other: str) -> str:
    return caption.replace(one, "\0").replace(other, one).replace("\0", other)


# --- The stage -----------------------------------------------------------------------------------


class Says:
    """A captioner that always says the same."""

    concurrency = 1

    def __init__(self, caption: str, *, watches_video: bool = False) -> None:
        self.words, self.watches_video = caption, watches_video
        self.identity = {"backend": "says", "model": caption}

    def caption(self, simulation: Simulation, rendered: Rendered) -> str:
        return self.words


LIE = "The red cube remains stationary throughout."


def test_a_caption_with_faults_is_kept_with_them_unless_they_are_to_reject_it() -> None:
    clip = collided()
    kept = caption_clip(*clip, Says(LIE), CaptionConfig(), [])
    assert (kept.caption, len(kept.faults)) == (LIE, 1)
    with pytest.raises(RowRejected, match="caption_fault: says that id1") as rejected:
        caption_clip(*clip, Says(LIE), CaptionConfig(on_fault="reject"), [])
    assert rejected.value.evidence == kept
    assert caption_clip(*clip, Says("A cube."), CaptionConfig(on_fault="reject"), []).faults == []


def make_row(work: Work, clip: SceneClip, **changes: str) -> Row[SceneSeed]:
    for name, result in (
        ("simulate_scenes", clip.simulation),
        ("render_clips", clip.rendered.model_copy(update=changes)),
    ):
        work.save(type(result), name, Made(result=result))
    seed = SceneSeed(clip_id="clip-1", set="interactions", split="train", seed=0)
    return Row[SceneSeed](payload=seed, made={"simulate_scenes": "simulate_scenes", "render_clips": "render_clips"})


def test_the_stage_captions_a_row(tmp_path: Path) -> None:
    work = Work(root=tmp_path, inputs=Inputs(folder=tmp_path))
    made = stage(work, CaptionConfig(), EndpointConfig())
    captioned: Captioned = made.compute(made.read(make_row(work, collided())))
    assert captioned.caption == told(collided())
    assert (captioned.faults, captioned.made_by[0].backend) == ([], "events")


def test_a_caption_from_events_does_not_depend_on_the_videos_bytes_and_a_vlms_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_VLM_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("TRIPTYCH_VLM_MODEL", "tiny-vlm")
    work = Work(root=tmp_path, inputs=Inputs(folder=tmp_path))
    for captioner, depends in (("events", False), ("openai", True)):
        made = stage(work, CaptionConfig(captioner=captioner), EndpointConfig())
        before = made.key(make_row(work, collided()))
        assert (made.key(make_row(work, collided(), video_sha256="11" * 32)) != before) is depends
        assert made.key(make_row(work, apart())) != before
