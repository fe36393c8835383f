"""Captions from the simulation: each fact against motion written by hand, then the words."""

from __future__ import annotations

import re

import numpy as np
import pytest

from schemas.scene import Body, SceneSet, Vector
from tasks.backends.event_captions import EventCaptions
from tasks.backends.event_captions.facts import (
    Direction,
    Facts,
    Leaves,
    Manner,
    Moves,
    Rests,
    Starts,
    Stops,
    Strength,
    merge_contacts,
    read_facts,
)
from tasks.backends.event_captions.wording import kind_of, list_of_things, series, with_article, word_caption
from tests.support.scene_clips import SceneClip, make_collision, simulated, story
from tests.support.scenes import make_body

RIGHT: Vector = (1.0, 0.0, 0.0)
LEFT: Vector = (-1.0, 0.0, 0.0)
CUBE = make_body("id1", position=(-0.9, 0.0, 0.25))
CYLINDER = make_body("id2", "cylinder", colour="blue", position=(0.5, 0.0, 0.25))
FAR_CUBE = make_body("id3", colour="orange", position=(0.3, 1.2, 0.25))


def facts_of(clip: SceneClip) -> Facts:
    return read_facts(clip.simulation, clip.tracks)


def caption_of(clip: SceneClip) -> str:
    return EventCaptions().caption(clip.simulation, clip.rendered)


def run_into(*, first_after: Vector, second_after: Vector, moves_s: float = 0.5, **changes: object) -> SceneClip:
    """The cube reaches the cylinder after 0.8 s."""
    until_s = 0.8 + moves_s
    return story(
        (CUBE, [(0.8, RIGHT), (until_s, first_after)]),
        (CYLINDER, [(0.8, (0.0, 0.0, 0.0)), (until_s, second_after)]),
        collisions=[make_collision(0.8, "id1", "id2", **changes)],
    )


# --- Facts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dx", "dy", "direction"),
    [
        (9, 1, Direction.RIGHT), (9, -9, Direction.TOP_RIGHT), (1, -9, Direction.TOP), (-9, -8, Direction.TOP_LEFT),
        (-9, 0, Direction.LEFT), (-8, 9, Direction.BOTTOM_LEFT), (0, 9, Direction.BOTTOM),
        (9, 8, Direction.BOTTOM_RIGHT), (9, -1, Direction.RIGHT),
    ],
)  # fmt: skip
def test_directions_are_those_of_the_picture(dx: float, dy: float, direction: Direction) -> None:
    assert Direction.of(dx, dy) is direction


@pytest.mark.parametrize(
    ("velocity", "direction"),
    [
        ((0.6, 0.0, 0.0), Direction.RIGHT), ((-0.6, 0.0, 0.0), Direction.LEFT), ((0.0, 0.6, 0.0), Direction.TOP),
        ((0.0, -0.6, 0.0), Direction.BOTTOM), ((0.4, 0.7, 0.0), Direction.TOP_RIGHT),
    ],
)  # fmt: skip
def test_a_body_that_starts_and_stops(velocity: Vector, direction: Direction) -> None:
    facts = facts_of(story((make_body("id1"), [(1.0, velocity)])))
    assert facts.starts == [Starts(0.0, "id1", "middle", direction, towards=None)]
    assert facts.ends == [Stops(1.0, "id1", beside=None)]
    assert (facts.hits, facts.rests) == ([], [])


def test_a_body_that_still_moves_at_the_end_has_not_stopped() -> None:
    facts = facts_of(story((CUBE, [(9.0, (0.5, 0.0, 0.0))])))
    assert facts.ends == [Moves(2.0, "id1", Direction.RIGHT, slows=False)]
    slower = facts_of(story((CUBE, [(1.0, (0.8, 0.0, 0.0)), (9.0, (0.2, 0.0, 0.0))])))
    assert slower.ends == [Moves(2.0, "id1", Direction.RIGHT, slows=True)]


@pytest.mark.parametrize(
    ("velocity", "side"),
    [
        ((3.0, 0.0, 0.0), Direction.RIGHT), ((-3.0, 0.3, 0.0), Direction.LEFT), ((0.0, 9.0, 0.0), Direction.TOP),
        ((0.2, -2.0, 0.0), Direction.BOTTOM),
    ],
)  # fmt: skip
def test_what_goes_out_of_the_picture_leaves_it_at_that_side(velocity: Vector, side: Direction) -> None:
    clip = story((make_body("id1"), [(1.5, velocity)]))
    (end,) = facts_of(clip).ends
    assert isinstance(end, Leaves)
    assert end.side is side
    gone = clip.tracks[0].present.index(False)
    assert end.time_s == pytest.approx(gone / 24)


def test_what_is_hidden_has_not_left_and_its_end_is_not_told() -> None:
    wall = make_body("id2", colour="green", size=(1.6, 0.2, 1.2), position=(0.6, -0.8, 0.6))
    clip = story((make_body("id1", position=(-1.2, 0.2, 0.25)), [(1.6, RIGHT)]), (wall, []))
    assert clip.tracks[0].present[0]
    assert not clip.tracks[0].present[-1]
    assert facts_of(clip).ends == []
    assert "leaves" not in caption_of(clip)
    assert "stop" not in caption_of(clip)


def test_what_never_moves_rests_and_what_barely_moves_does_not() -> None:
    clip = story((CUBE, [(0.5, RIGHT)]), (CYLINDER, []), (FAR_CUBE, [(0.02, RIGHT)]))
    assert facts_of(clip).rests == [Rests("id2")]
    assert "other" not in caption_of(clip)  # the orange cube is no other object that rests


def test_a_body_is_aimed_at_what_it_hits_first() -> None:
    hit = make_collision(0.8, "id1", "id2")
    assert facts_of(story((CUBE, [(0.8, RIGHT)]), (CYLINDER, []), collisions=[hit])).starts[0].towards == "id2"
    aside = story((CUBE, [(0.8, (0.3, 0.9, 0.0))]), (CYLINDER, []), collisions=[hit])
    assert facts_of(aside).starts[0].towards is None


@pytest.mark.parametrize(
    ("speed", "strength"), [(0.05, "slight"), (0.39, "slight"), (0.4, "plain"), (0.79, "plain"), (0.8, "firm")]
)
def test_the_closing_speed_says_how_hard_a_hit_is(speed: float, strength: Strength) -> None:
    clip = run_into(first_after=RIGHT, second_after=RIGHT, closing_speed_mps=speed)
    assert facts_of(clip).hits[0].strength == strength


@pytest.mark.parametrize(
    ("after", "manner", "direction"),
    [
        ((0.8, 0.0, 0.0), "pushed", Direction.RIGHT),
        ((0.0, 0.8, 0.0), "pushed", Direction.TOP),
        ((0.04, 0.0, 0.0), "nudged", None),
        ((0.0, 0.0, 0.0), "stays", None),
    ],
)
def test_what_becomes_of_a_body_that_rested(after: Vector, manner: Manner, direction: Direction | None) -> None:
    goes = facts_of(run_into(first_after=(0.0, 0.0, 0.0), second_after=after)).hits[0].after("id2")
    assert goes is not None
    assert (goes.manner, goes.direction) == (manner, direction)


@pytest.mark.parametrize(
    ("after", "manner", "direction"),
    [
        ((0.5, 0.0, 0.0), "continues", Direction.RIGHT),
        ((0.5, 0.3, 0.0), "veers", Direction.RIGHT),
        ((0.1, 0.6, 0.0), "deflected", Direction.TOP),
        ((-0.4, 0.0, 0.0), "bounces", Direction.LEFT),
        ((0.05, 0.0, 0.0), "halts", None),
    ],
)
def test_what_becomes_of_a_body_that_moved(after: Vector, manner: Manner, direction: Direction | None) -> None:
    goes = facts_of(run_into(first_after=after, second_after=RIGHT)).hits[0].after("id1")
    assert goes is not None
    assert (goes.manner, goes.direction) == (manner, direction)


def test_a_hit_out_of_view_is_no_fact_and_a_collision_all_the_same() -> None:
    fast = (4.0, 0.0, 0.0)
    clip = story(
        (make_body("id1"), [(1.5, fast)]),
        (make_body("id2", "cylinder", colour="blue", position=(-0.9, 0.0, 0.25)), [(1.5, fast)]),
        collisions=[make_collision(1.4, "id2", "id1")],
    )
    facts = facts_of(clip)
    assert facts.hits == []
    assert not facts.nothing_collides


def test_contacts_of_a_pair_are_one_collision_until_it_is_hit_again() -> None:
    contacts = [
        make_collision(0.5, "id1", "id2", closing_speed_mps=0.3),
        make_collision(0.7, "id1", "id2", closing_speed_mps=0.9),  # soon after
        make_collision(0.8, "id1", "id3", closing_speed_mps=0.2),  # another pair
        make_collision(1.3, "id2", "id1", closing_speed_mps=0.1),  # slight: they slide on together
        make_collision(1.9, "id1", "id2", closing_speed_mps=0.5),
    ]
    merged = [(c.time_s, c.first_id, c.second_id, c.closing_speed_mps) for c in merge_contacts(contacts)]
    assert merged == [(0.5, "id1", "id2", 0.9), (0.8, "id1", "id3", 0.2), (1.9, "id1", "id2", 0.5)]


def test_a_body_comes_to_rest_next_to_what_is_near() -> None:
    near = make_body("id2", "cylinder", colour="blue", position=(0.55, 0.0, 0.25))
    (end,) = facts_of(story((CUBE, [(0.9, RIGHT)]), (near, []))).ends
    assert isinstance(end, Stops)
    assert end.beside == "id2"
    (end,) = facts_of(story((CUBE, [(0.5, RIGHT)]), (near, []))).ends
    assert isinstance(end, Stops)
    assert end.beside is None


@pytest.mark.parametrize(("set_", "seed"), [("simple_motion", 0), ("simple_motion", 1), ("interactions", 0)])
def test_directions_agree_with_the_masks_of_simulated_clips(set_: SceneSet, seed: int) -> None:
    clip = simulated(set_, "train", seed)
    facts, tracks = facts_of(clip), {track.instance_id: track for track in clip.tracks}
    first_hits = {id_: hit.time_s for hit in reversed(facts.hits) for id_ in hit.pair}
    assert facts.starts
    for starts in facts.starts:
        boxes = tracks[starts.instance_id].box_xyxy[: int(24 * first_hits.get(starts.instance_id, 9.0)) + 1]
        (x0, y0), *_, (x1, y1) = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in boxes if b is not None]
        seen_deg = np.degrees(np.arctan2(y0 - y1, x1 - x0))
        assert abs((seen_deg - starts.direction.value + 180) % 360 - 180) < 35  # 22.5, and whole pixels


# --- Words ---------------------------------------------------------------------------------------


def test_words() -> None:
    assert with_article("orange cube") == "an orange cube"
    assert with_article("red cube") == "a red cube"
    assert [series(things) for things in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b, and c"]
    assert kind_of(["red cube", "blue cube"]) == "cubes"
    assert kind_of(["red cube", "blue cylinder"]) == "objects"
    assert list_of_things(["red cube", "blue cylinder"]) == "a red cube and a blue cylinder"
    assert list_of_things(["red cube", "orange cube", "dark blue cube"]) == "a red, an orange, and a dark blue one"


def test_a_push() -> None:
    facts = facts_of(run_into(first_after=(0.0, 0.0, 0.0), second_after=(0.8, 0.0, 0.0), closing_speed_mps=1.0))
    captions = {word_caption(facts, [seed]) for seed in range(2000)}
    assert (
        "On a tiled floor, there are two objects: a red cube and a blue cylinder. The red cube moves towards the blue "
        "cylinder and collides firmly with it, pushing it to the right. The red cube then comes to a stop, while the "
        "blue cylinder slows down and stops."
    ) in captions


@pytest.mark.parametrize(
    ("words", "never"),
    [
        (r"(red cube|blue cylinder) and the (blue cylinder|red cube) move towards each other and collide", r"pushing"),
        (r"The red cube (bounces back|bounces off and moves) (to the left|towards the left side)", r"keeps"),
    ],
)
def test_two_that_run_into_each_other(words: str, never: str) -> None:
    clip = story(
        (CUBE, [(0.5, RIGHT), (1.0, (-0.5, 0.0, 0.0))]),
        (CYLINDER, [(0.5, LEFT), (1.0, (0.5, 0.0, 0.0))]),
        collisions=[make_collision(0.5, "id1", "id2", second_velocity_before=LEFT)],
    )
    assert re.search(words, caption_of(clip))
    assert not re.search(never, caption_of(clip))


def test_collisions_and_ends_are_told_in_order_of_time() -> None:
    away: Body = make_body("id4", "cylinder", colour="green", position=(1.2, -0.4, 0.25))
    clip = story(
        (CUBE, [(0.6, RIGHT)]),
        (CYLINDER, [(0.6, (0.0, 0.0, 0.0)), (0.8, (0.6, 0.0, 0.0))]),
        (FAR_CUBE, [(1.3, (0.0, -0.6, 0.0))]),
        (away, [(1.3, (0.0, 0.0, 0.0)), (1.6, (0.9, 0.0, 0.0))]),
        collisions=[
            make_collision(0.6, "id1", "id2"),
            make_collision(1.3, "id3", "id4", first_velocity_before=(0.0, -0.6, 0.0)),
        ],
    )
    facts = facts_of(clip)
    for seed in range(20):
        caption = word_caption(facts, [seed])
        pushes = [match.start() for match in re.finditer("pushing it", caption)]
        stops = caption.index("blue cylinder", pushes[0])
        assert pushes[0] < stops < pushes[1]  # the cylinder has stopped when the green one is hit


def test_a_body_that_stops_and_is_hit_again_is_told_to_stop_twice() -> None:
    late = make_body("id3", colour="green", position=(-1.2, 0.0, 0.25))
    clip = story(
        (make_body("id1", position=(-0.5, 0.0, 0.25)), [(0.4, RIGHT), (1.2, (0.0, 0.0, 0.0)), (1.6, (0.0, 0.9, 0.0))]),
        (CYLINDER, [(0.4, (0.0, 0.0, 0.0)), (0.6, RIGHT)]),
        (late, [(1.2, (0.5, 0.0, 0.0))]),
        collisions=[
            make_collision(0.4, "id1", "id2"),
            make_collision(1.2, "id3", "id1", first_velocity_before=(0.5, 0.0, 0.0)),
        ],
    )
    facts = facts_of(clip)
    assert [goes.manner for hit in facts.hits for goes in hit.goes] == ["pushed", "halts", "pushed", "halts"]
    caption = caption_of(clip)
    hit_again = caption.index("green cube", caption.index("green cube") + 1)
    assert "red cube" in re.sub(r"green cube", "", caption[hit_again:]).split(".", 1)[1]  # its second stop
    assert "next to" not in caption[:hit_again]


def test_the_seed_chooses_the_words_and_only_them() -> None:
    facts = facts_of(run_into(first_after=(0.0, 0.0, 0.0), second_after=RIGHT))
    captions = [word_caption(facts, [seed]) for seed in range(40)]
    assert captions == [word_caption(facts, [seed]) for seed in range(40)]
    assert len(set(captions)) > 20
    for caption in captions:
        assert caption.count("red cube") >= 2
        assert re.search(r"pushing it (to the right|towards the right side of the frame|out of the frame)", caption)


def test_a_scene_of_one_body_and_one_without_motion() -> None:
    assert word_caption(facts_of(story((CUBE, []))), [0]).startswith("On a tiled floor, there is a red cube. The red")
    hidden = make_body("id2", colour="blue", size=(0.1, 0.1, 0.1), position=(-0.9, 0.4, 0.05))
    assert "blue" not in caption_of(story((CUBE, [(0.1, LEFT)]), (hidden, [])))


def test_a_hit_at_once_is_not_told_as_something_that_follows() -> None:
    close = CUBE.model_copy(update={"position": (0.0, 0.0, 0.25)})
    clip = story(
        (close, [(0.01, RIGHT), (0.6, (0.2, 0.0, 0.0))]),
        (CYLINDER, [(0.01, (0.0, 0.0, 0.0)), (0.6, (0.6, 0.0, 0.0))]),
        collisions=[make_collision(0.01, "id1", "id2")],
    )
    assert facts_of(clip).hits
    assert " then " not in caption_of(clip).split(". ")[1]
