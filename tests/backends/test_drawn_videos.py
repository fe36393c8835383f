"""The embedded generator: are its boxes true, its behaviours what they say, and can the embedded stages see them?"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest

from schemas.candidate import Box
from schemas.dsr import ANIMAL, OBJECT, DsrLabels, DsrPrompt, DsrSample
from schemas.generation import Generation
from schemas.grounding import Wanted
from schemas.instance import Instance
from schemas.outcome import RowRejected
from schemas.relation import DSR_TYPES, RELATIONS
from schemas.scores import Scored
from tasks.backends import use_one_opencv_thread
from tasks.backends.colour import AttributeVerifier, ColourDetector
from tasks.backends.colour.palette import COLOUR_WORDS, Picture
from tasks.backends.colour.phrases import describe
from tasks.backends.drawn_videos import BEHAVIOURS, DrawnVideos, sample_rng
from tasks.backends.drawn_videos.animals import BUILDS
from tasks.backends.drawn_videos.animation import Animation, is_leap
from tasks.backends.drawn_videos.looks import COLOUR_PAIRS, choose_colours, head_noun, looks_of
from tasks.backends.drawn_videos.plots import choose_behaviour
from tasks.backends.drawn_videos.things import SHAPE_OF_NOUN
from tasks.backends.drawn_videos.world import World
from tasks.backends.optical_flow import FlowPropagator
from tasks.datasets.dsr.grammar.lexicon import ANIMALS, THINGS
from tasks.generate_samples import GenerateConfig, store_generation, wanted_instances
from tasks.ground_instances import GroundConfig, ground_instances
from tasks.media.video import decode_bytes, sample_indices
from tasks.metrics.dsr_score import directions_of
from tasks.propagate_masks import propagate_masks
from tasks.score_dsr import ScoreConfig, score_clips, score_sample
from tests.support.dsr_rows import make_prompt

SMALL = GenerateConfig(width=208, height=128, n_frames=17, fps=8)
TINY = GenerateConfig(width=16, height=16, n_frames=1)
COLOURS = {ANIMAL: "orange", OBJECT: "blue"}
VALID = ("as_asked", "reversed", "static", "halfway", "wrong_place")
TAU = 0.7


def prompt_of(code: str = "LT", **changes: str) -> DsrPrompt:
    _, initial, final = DSR_TYPES[code]
    return make_prompt(f"{code}_1", initial=initial, final=final, **changes)


def film_of(prompt: DsrLabels, behaviour: str, world: World | None = None, seed: int = 0) -> Animation:
    plot = BEHAVIOURS[behaviour].plot(prompt.initial, prompt.final)
    return Animation(prompt, plot, COLOURS, world or World(208, 128), np.random.default_rng(seed))


def boxes_of(film: Animation, n_frames: int) -> dict[str, list[Box | None]]:
    seen = [boxes for _, boxes in film.frames(n_frames)]
    return {name: [boxes[name] for boxes in seen] for name in (ANIMAL, OBJECT)}


def sample_that(behaviour: str, prompt: DsrPrompt) -> DsrSample:
    """The prompt's first seed that is drawn like this."""
    samples = (DsrSample.of(prompt, seed) for seed in range(1000))
    return next(sample for sample in samples if choose_behaviour(sample_rng(sample)) == behaviour)


# --- Determinism -----------------------------------------------------------------------------


def test_another_process_gives_the_same_bytes_and_boxes():
    sample = DsrSample.of(make_prompt(), 7)
    code = (
        "import hashlib, json, sys; from schemas.dsr import DsrSample; from tasks.backends.drawn_videos import *; "
        "from tasks.generate_samples import GenerateConfig; config, sample = sys.argv[1:]; "
        "made = DrawnVideos(GenerateConfig.model_validate_json(config)).generate(DsrSample.from_json(sample)); "
        "print(json.dumps([hashlib.sha256(made.video).hexdigest(), made.looks, made.boxes, made.drawn]))"
    )
    command = [sys.executable, "-c", code, SMALL.model_dump_json(), sample.to_json().decode()]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    said = subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout
    made = DrawnVideos(SMALL).generate(sample)
    here = [hashlib.sha256(made.video).hexdigest(), made.looks, made.boxes, made.drawn]
    assert json.loads(said) == json.loads(json.dumps(here))


def test_seeds_change_the_video_and_not_the_colour_words():
    made = [DrawnVideos(SMALL).generate(DsrSample.of(make_prompt(), seed)) for seed in range(4)]
    assert len({generation.video for generation in made}) == 4
    assert len({json.dumps(generation.looks) for generation in made}) == 1
    firsts = [generation.boxes[OBJECT][0] for generation in made]
    assert all(a != b for a, b in combinations(firsts, 2))


def test_prompts_differ_in_their_colours():
    looks = {json.dumps(choose_colours(np.random.default_rng(seed))) for seed in range(200)}
    assert len(looks) == 2 * len(COLOUR_PAIRS)


def test_another_size_shows_the_same_larger():
    prompt = prompt_of("LR")
    small, large = (boxes_of(film_of(prompt, "as_asked", World(208 * k, 128 * k)), 7) for k in (1, 2))
    for name in (ANIMAL, OBJECT):
        assert np.allclose(2 * np.array(small[name]), np.array(large[name]), atol=2)


# --- Boxes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("animal", "thing"), [("fox", "crate"), ("duck", "bicycle"), ("turtle", "lamppost")])
def test_boxes_are_tight_around_the_pixels_of_their_colour(animal, thing):
    film = film_of(prompt_of("LR", animal=animal, object=thing), "static", World(416, 240))
    frame, boxes = next(iter(film.frames(1)))
    picture = Picture(frame)
    for name, word in COLOURS.items():
        rows, columns = np.nonzero(picture.has([COLOUR_WORDS[word]]))
        seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.abs(np.array(seen) - boxes[name]).max() <= 2, (name, seen, boxes[name])


def test_the_world_has_none_of_the_colours():
    words = [COLOUR_WORDS[word] for word in {word for pair in COLOUR_PAIRS for word in pair}]
    for scene in ("In a birch wood", "On a city street", "Inside a barn", "On a windy hilltop", ""):
        film = film_of(prompt_of("LT", scene=scene), "no_animal")
        frame, boxes = next(iter(film.frames(1)))
        x0, y0, x1, y1 = (int(v) for v in boxes[OBJECT])
        frame[y0 - 2 : y1 + 2, x0 - 2 : x1 + 2] = 128
        assert not Picture(frame).has(words).any(), scene


@pytest.mark.parametrize("size", [(16, 16, 1), (16, 64, 3), (64, 16, 4), (128, 256, 5)])
def test_boxes_lie_inside_pictures_of_any_size(size):
    width, height, n_frames = size
    config = GenerateConfig(width=width, height=height, n_frames=n_frames)
    for seed in range(6):
        sample = DsrSample.of(make_prompt(), seed)
        made = store_generation(sample, DrawnVideos(config).generate(sample), [])
        assert (made.width, made.height, made.n_frames) == size
        for x0, y0, x1, y1 in (box for track in made.true_boxes for box in track.box_xyxy if box):
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height


# --- Behaviours ------------------------------------------------------------------------------


def relation_scores(boxes: dict[str, list[Box | None]], frame: int) -> dict[str, float]:
    """{relation: SSR-Score in a frame}"""
    animal, thing = (np.array([[boxes[name][frame]]]) for name in (ANIMAL, OBJECT))
    found = np.ones((1, 1), bool)
    names = list(RELATIONS)
    direction = {name: directions_of([name]) for name in names}
    return {n: score_clips(animal, thing, found, direction[n], direction[n]).ssr_initial[0, 0] for n in names}


@pytest.mark.parametrize("code", DSR_TYPES)
@pytest.mark.parametrize("behaviour", VALID)
def test_behaviours_show_what_they_say_and_score_accordingly(behaviour, code):
    prompt = prompt_of(code)
    (unasked,) = {"left", "right", "top"} - {prompt.initial, prompt.final}
    start, end = {
        "as_asked": (prompt.initial, prompt.final),
        "reversed": (prompt.final, prompt.initial),
        "static": (prompt.initial, prompt.initial),
        "halfway": (prompt.initial, prompt.initial),
        "wrong_place": (prompt.final, unasked),
    }[behaviour]
    for seed, (animal, thing) in enumerate([("fox", "stump"), ("turtle", "floor lamp"), ("horse", "plank")]):
        labels = prompt.model_copy(update={"animal": animal, "object": thing})
        boxes = boxes_of(film_of(labels, behaviour, seed=seed), 9)
        assert relation_scores(boxes, 0)[start] > 0.8
        assert relation_scores(boxes, -1)[end] > 0.8
        moved = boxes[ANIMAL][0] != boxes[ANIMAL][-1]
        assert moved == (behaviour != "static")
        arrays = [np.array([boxes[name]]) for name in (ANIMAL, OBJECT)]
        ends = [directions_of([relation]) for relation in (prompt.initial, prompt.final)]
        score = score_clips(*arrays, np.ones((1, 9), bool), *ends).dsr.score[0]
        assert score > TAU + 0.1 if behaviour == "as_asked" else score < TAU - 0.03, (animal, thing, score)


def test_an_animal_that_vanishes_is_seen_too_rarely_to_be_judged():
    for n_frames in (8, 33, 81):
        boxes = boxes_of(film_of(prompt_of("TL"), "vanishes", World(64, 48)), n_frames)
        n_seen = sum(box is not None for box in boxes[ANIMAL])
        assert 0 < n_seen < min(20, n_frames / 4)
        assert None not in boxes[OBJECT]


def test_no_animal_is_no_animal():
    boxes = boxes_of(film_of(prompt_of("LR"), "no_animal"), 3)
    assert boxes[ANIMAL] == [None] * 3
    assert None not in boxes[OBJECT]


@pytest.mark.parametrize(("behaviour", "role"), [("second_animal", ANIMAL), ("second_object", OBJECT)])
def test_a_second_one_stands_apart_and_in_no_box(behaviour, role):
    for seed in range(4):
        film = film_of(prompt_of("LR"), behaviour, World(416, 240), seed)
        for frame, boxes in film.frames(5):
            x0, y0, x1, y1 = (int(v) for v in boxes[role])
            has = Picture(frame).has([COLOUR_WORDS[COLOURS[role]]])
            has[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2] = False
            assert has.sum() > 400


def test_most_prompts_have_winners_and_losers():
    assert sum(behaviour.weight for behaviour in BEHAVIOURS.values()) == pytest.approx(1)
    rng = np.random.default_rng(0)
    drawn = [{choose_behaviour(rng) for _ in range(5)} for _ in range(500)]
    both = [seen for seen in drawn if "as_asked" in seen and seen & (set(VALID) - {"as_asked"})]
    assert len(both) > 0.85 * len(drawn)


# --- Any prompt ------------------------------------------------------------------------------


def test_every_noun_of_the_grammar_has_a_shape_of_its_own():
    assert {animal.noun for animal in ANIMALS if head_noun(animal.noun) not in BUILDS} == set()
    assert {thing.noun for thing in THINGS if head_noun(thing.noun) not in SHAPE_OF_NOUN} == set()


ODD_NOUNS = ["axolotl", "red panda", "orange", "chest of drawers", "pair of boots", "Ünïcørn", "x" * 300, "<b>&"]


@pytest.mark.parametrize("noun", ODD_NOUNS)
def test_odd_prompts_are_drawn_all_the_same(noun):
    sample = DsrSample.of(make_prompt(animal=noun, object=noun, scene="", verb="?"), 0)
    made = store_generation(sample, DrawnVideos(TINY).generate(sample), [])
    assert [i.instance_id for i in made.instances] == [ANIMAL, OBJECT]


def test_detectors_read_one_colour_in_every_noun():
    nouns = [animal.noun for animal in ANIMALS] + [thing.noun for thing in THINGS] + ODD_NOUNS
    for noun in nouns:
        prompt = make_prompt(animal=noun, object=noun)
        for instance in wanted_instances(DsrSample.of(prompt, 0), looks_of(prompt, COLOURS)):
            assert _body(instance) == [COLOURS[instance.instance_id]], instance


def _body(instance: Instance) -> list[str]:
    return [tint.colour for tint in describe(instance).body]


def test_verbs_that_go_over_things():
    assert all(map(is_leap, ["jumps", "flies down", "Hops", "flutters"]))
    assert not any(map(is_leap, ["walks", "", "plods", "scampers"]))


# --- Through the embedded stages -------------------------------------------------------------


def scored(sample: DsrSample, generation: Generation) -> Scored:
    """As curate-dsr does it, with its embedded backends."""
    use_one_opencv_thread()
    made = store_generation(sample, generation, [])
    frames = decode_bytes(made.video)
    indices = sample_indices(len(frames), 8)
    wanted = Wanted(sample.text, made.instances, [(ANIMAL, OBJECT)])
    proposals = ColourDetector().propose(frames[indices], made.instances)
    grounding = ground_instances(
        frames[indices], indices, wanted, proposals, AttributeVerifier(), GroundConfig(n_frames=8), []
    )
    tracks = propagate_masks(frames, grounding.anchors, FlowPropagator())
    return score_sample(made, grounding, tracks, sample, ScoreConfig(min_found=len(frames) // 4), len(indices))


@pytest.mark.parametrize(
    ("behaviour", "prompt"),
    [
        ("as_asked", prompt_of("LT", animal="cat", object="bench", verb="jumps")),
        ("reversed", prompt_of("RL", animal="fox", object="fire hydrant")),
        ("halfway", prompt_of("TR", animal="parrot", object="armchair", scene="Inside a barn")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.prompt_id,
)
def test_the_tracked_score_is_the_true_one(behaviour, prompt):
    sample = sample_that(behaviour, prompt)
    found = scored(sample, DrawnVideos(SMALL).generate(sample))
    assert found.box_iou > 0.85
    assert found.dsr_score == pytest.approx(found.true_score, abs=0.05)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("second_animal", "several_animals"),
        ("second_object", "several_objects"),
        ("vanishes", "too_few_frames"),
        ("no_animal", "no_interaction_left"),
    ],
)
def test_what_is_not_valid_is_found_to_be_so(behaviour, reason):
    sample = sample_that(behaviour, prompt_of("LT", animal="dog", object="crate"))
    with pytest.raises(RowRejected) as rejected:
        scored(sample, DrawnVideos(SMALL).generate(sample))
    assert rejected.value.reason == reason
