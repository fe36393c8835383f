"""tasks.datasets.dsr.grammar: balanced, disjoint, plausible, the same every time."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import pairwise, product

import pytest
from pydantic import ValidationError

from schemas.dsr import DsrPrompt
from schemas.record import content_hash
from schemas.relation import DSR_TYPES, RELATIONS, SpatialRelation
from tasks.datasets.dsr.grammar import SPLITS, PromptConfig, capacity, generate_prompts, verbs_for
from tasks.datasets.dsr.grammar.lexicon import ANIMALS, SETTINGS, THINGS, Animal, Size, Thing
from tasks.datasets.dsr.grammar.places import PLACES
from tasks.datasets.dsr.rewording import verb_forms
from tasks.datasets.dsr.wording import article

ANIMAL = {animal.noun: animal for animal in ANIMALS}
THING = {thing.noun: thing for thing in THINGS}


@pytest.fixture(scope="module")
def prompts() -> list[DsrPrompt]:
    return generate_prompts(PromptConfig())


def of(prompts: list[DsrPrompt], split: str) -> list[DsrPrompt]:
    return [prompt for prompt in prompts if prompt.split == split]


def verbs(animal: str, thing: str, dsr_type: str) -> tuple[str, ...]:
    _, initial, final = DSR_TYPES[dsr_type]
    return verbs_for(ANIMAL[animal], THING[thing], initial, final)


# --- The set -------------------------------------------------------------------------------------


def test_the_papers_counts_train_first(prompts: list[DsrPrompt]) -> None:
    assert [prompt.split for prompt in prompts] == ["train"] * 500 + ["test"] * 120


@pytest.mark.parametrize("split", SPLITS)
def test_types_are_balanced(prompts: list[DsrPrompt], split: str) -> None:
    counts = Counter(prompt.dsr_type for prompt in of(prompts, split))
    assert set(counts) == set(DSR_TYPES)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_nothing_is_said_twice(prompts: list[DsrPrompt]) -> None:
    for seen in ([p.text for p in prompts], [p.prompt_id for p in prompts]):
        assert len(set(seen)) == len(seen)


def test_train_and_test_share_no_scene_no_place_and_no_pair() -> None:
    # Of different seeds: what is trained with one dataset may be tested with another.
    train = generate_prompts(PromptConfig(n_train=3000, n_test=0, seed=0))
    test = generate_prompts(PromptConfig(n_train=0, n_test=1500, seed=1))
    assert not {p.scene for p in train} & {p.scene for p in test}
    assert not {(p.animal, p.object) for p in train} & {(p.animal, p.object) for p in test}
    openings = {split: {place.opening for place in PLACES if place.split == split} for split in SPLITS}
    assert not openings["train"] & openings["test"]


def test_every_animal_is_in_both_splits_and_about_as_often(prompts: list[DsrPrompt]) -> None:
    for split in SPLITS:
        assert {p.animal for p in of(prompts, split)} == set(ANIMAL)
    # Each animal once before any comes again; those that get onto nothing are in two types of six.
    per_type = Counter((p.dsr_type, p.animal) for p in of(prompts, "train"))
    assert max(per_type.values()) <= 5


@pytest.mark.parametrize("changes", [{"n_train": 900}, {"n_test": 300}, {"n_train": 900, "n_test": 300}])
def test_asking_for_more_changes_none_of_the_first(prompts: list[DsrPrompt], changes: dict[str, int]) -> None:
    more = generate_prompts(PromptConfig(**changes))
    assert of(more, "train")[:500] == of(prompts, "train")
    assert of(more, "test")[:120] == of(prompts, "test")


def test_another_process_generates_the_same(prompts: list[DsrPrompt]) -> None:
    code = (
        "from tasks.datasets.dsr.grammar import *; from schemas.record import content_hash;"
        "print(content_hash(generate_prompts(PromptConfig())))"
    )
    environment = {"PYTHONHASHSEED": "7"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == content_hash(prompts)


def test_another_seed_draws_others(prompts: list[DsrPrompt]) -> None:
    others = generate_prompts(PromptConfig(seed=1))
    assert len({p.text for p in prompts} & {p.text for p in others}) < len(prompts) / 10


def test_a_subset_of_types(prompts: list[DsrPrompt]) -> None:
    some = generate_prompts(PromptConfig(n_train=5, n_test=0, types=("RL", "LT")))
    assert [p.dsr_type for p in some] == ["RL", "LT", "RL", "LT", "RL"]
    # A type's prompts do not depend on which others are asked for.
    assert some[1] in prompts


@pytest.mark.parametrize("types", [(), ("LL",), ("LR", "LR"), ("left",)])
def test_types_that_are_none(types: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        PromptConfig(types=types)


# --- Capacity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dsr_type", DSR_TYPES)
def test_the_grammar_holds_thousands(dsr_type: str) -> None:
    assert capacity("train", dsr_type) > 20_000
    assert capacity("test", dsr_type) > 2_000


def test_all_that_it_holds_can_be_had_and_no_more() -> None:
    n = capacity("test", "TL")
    every = generate_prompts(PromptConfig(n_train=0, n_test=n, types=("TL",)))
    assert len({p.text for p in every}) == n
    with pytest.raises(ValueError, match=rf"n_test={n + 1} .* holds {n} of type TL .* ask for at most {n}"):
        generate_prompts(PromptConfig(n_train=0, n_test=n + 1, types=("TL",)))


# --- Plausibility --------------------------------------------------------------------------------


def test_every_prompt_is_one_that_its_animal_can_do_there(prompts: list[DsrPrompt]) -> None:
    for p in prompts:
        animal, thing = ANIMAL[p.animal], THING[p.object]
        [setting] = {place.setting for place in PLACES if p.scene in place.scenes}
        assert setting in animal.settings & thing.settings
        assert p.verb in verbs_for(animal, thing, p.initial, p.final)


@pytest.mark.parametrize(
    ("animal", "thing"),
    [
        *(("turtle", thing) for thing in ("bench", "boulder", "chair", "lamppost")),
        *(("dog", "lamppost"), ("cat", "lamppost"), ("cat", "vase"), ("horse", "boulder"), ("deer", "log")),
        *(("sheep", "boulder"), ("hedgehog", "bench"), ("frog", "table"), ("lizard", "fire hydrant")),
    ],
)
def test_nobody_gets_where_it_cannot(animal: str, thing: str) -> None:
    assert verbs(animal, thing, "LT") == verbs(animal, thing, "TR") == ()
    assert verbs(animal, thing, "LR")


@pytest.mark.parametrize(
    ("animal", "thing", "dsr_type", "verb"),
    [
        ("cat", "chair", "LT", "jumps"), ("cat", "chair", "TL", "jumps down"), ("turtle", "log", "RT", "climbs"),
        ("pigeon", "lamppost", "RT", "flies"), ("pigeon", "lamppost", "TR", "glides down"),
        ("lizard", "boulder", "LT", "darts"), ("goat", "hay bale", "LT", "leaps"), ("fox", "log", "LR", "sprints"),
    ],
)  # fmt: skip
def test_who_can_does(animal: str, thing: str, dsr_type: str, verb: str) -> None:
    assert verb in verbs(animal, thing, dsr_type)


def test_nothing_but_a_bird_is_on_a_narrow_top() -> None:
    narrow = [thing for thing in THINGS if thing.carries == Size.PERCHING]
    birds = [animal for animal in ANIMALS if animal.size == Size.PERCHING]
    assert len(narrow) > 5
    for animal, thing in product(ANIMALS, narrow):
        assert animal in birds or not verbs_for(animal, thing, "left", "top")


def test_who_comes_down_got_up_and_who_gets_up_comes_down() -> None:
    for animal, thing in product(ANIMALS, THINGS):
        up, down = (verbs_for(animal, thing, *DSR_TYPES[t][1:]) for t in ("LT", "TL"))
        assert bool(up) == bool(down), (animal.noun, thing.noun)


@pytest.mark.parametrize("verb", ["flies", "flutters", "swoops", "glides", "flies down", "flaps up"])
def test_only_birds_fly(verb: str) -> None:
    birds = {"duck", "goose", "chicken", "pigeon", "crow", "parrot", "owl", "seagull", "bird"}
    for animal in ANIMALS:
        said = {*animal.across, *(v for way in (*animal.up, *animal.down) for v in way.verbs)}
        assert verb not in said or animal.noun in birds


def test_a_further_relation_needs_no_rewriting(monkeypatch: pytest.MonkeyPatch) -> None:
    front = SpatialRelation("front", "F", (0, 0, -1), "in front of", "to the front of", "from the front of")
    below = SpatialRelation("below", "B", (0, 1, 0), "below", "to below", "from below")
    for relation in (front, below):
        monkeypatch.setitem(RELATIONS, relation.name, relation)
    monkeypatch.setitem(DSR_TYPES, "FT", ("G", "front", "top"))
    monkeypatch.setitem(DSR_TYPES, "LB", ("H", "left", "below"))
    prompts = generate_prompts(PromptConfig(n_train=30, n_test=6, types=("FT",)))
    assert all(f" is in front of {article(p.object)} {p.object}, then the " in p.text for p in prompts)
    with pytest.raises(ValueError, match="holds 0 of type LB"):  # no thing says what has room below it
        generate_prompts(PromptConfig(types=("LB",)))


# --- The words -----------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [ANIMALS, THINGS])
def test_nouns_are_singular_lower_case_and_there_once(entries: tuple[Animal | Thing, ...]) -> None:
    nouns = [entry.noun for entry in entries]
    assert len(set(nouns)) == len(nouns) >= 14
    assert all(noun == noun.lower() and not noun.endswith("s") for noun in nouns)
    assert all(entry.settings and entry.settings <= set(SETTINGS) for entry in entries)


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_has_places_of_both_splits_and_somebody_there(setting: str) -> None:
    assert {place.split for place in PLACES if place.setting == setting} == set(SPLITS)
    assert sum(setting in animal.settings for animal in ANIMALS) >= 2
    assert sum(setting in thing.settings for thing in THINGS) >= 4


def test_no_scene_shows_a_second_animal_or_thing() -> None:
    nouns = {entry.noun for entry in (*ANIMALS, *THINGS)}
    shown = nouns | {f"{noun}{ending}" for noun in nouns for ending in ("s", "es")}
    for place in PLACES:
        for scene in place.scenes:
            words = scene.lower().replace(",", "").split()
            phrases = {*words, *(" ".join(two) for two in pairwise(words))}
            assert not phrases & shown, scene


def test_verbs_are_third_person() -> None:
    for animal in ANIMALS:
        for verb in (*animal.across, *(v for way in (*animal.up, *animal.down) for v in way.verbs)):
            head, *particle = verb.split()
            assert head.endswith("s"), verb
            assert particle in ([], ["down"], ["up"]), verb
            assert head in verb_forms(verb)


@pytest.mark.parametrize(
    ("noun", "says"), [("fox", "a"), ("owl", "an"), ("armchair", "an"), ("unicorn", "a"), ("umbrella", "an")]
)
def test_article(noun: str, says: str) -> None:
    assert article(noun) == says


def test_a_prompt_reads_as_the_papers_do(prompts: list[DsrPrompt]) -> None:
    first = prompts[0]
    assert first.form == "structured"
    assert first.prompt_id == DsrPrompt.id_of(first)
    assert first.text == (
        f"{first.scene}, {article(first.animal)} {first.animal} is on the left of {article(first.object)} "
        f"{first.object}, then the {first.animal} {first.verb} to the top of the {first.object}."
    )
