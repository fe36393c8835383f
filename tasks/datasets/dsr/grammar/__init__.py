"""A grammar -> prompts about an animal that changes its place relative to a thing (SpatialAlign 3.1, A1.2).

    DsrPrompt(prompt_id="LR_3f9c2a71b0de", split="train", form="structured",
              scene="In a birch wood at dawn", animal="fox", object="stump", verb="trots",
              initial="left", final="right",
              text="In a birch wood at dawn, a fox is on the left of a stump, then the fox trots to the right of the "
                   "stump.")
    verbs_for(cat, crate, "left", "top")     ('jumps', 'leaps', 'springs')
    verbs_for(turtle, crate, "left", "top")  (): it gets no higher than 30 cm

The paper has GPT-4o write its prompts; here lexicons say who can do what where. Train and test share neither a place
nor a pair of animal and object, whatever the seeds, as both belong to one of the splits for good.

A relation counts as one on the ground or one on top by its direction alone, so a further one beside the thing (in
front of it, behind it) needs no line here. One below the thing does: the lexicon does not say what has room below it.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import AfterValidator, Field

from schemas.config import StageConfig
from schemas.dsr import DsrLabels, DsrPrompt
from schemas.record import content_hash
from schemas.relation import DSR_TYPES, RELATIONS
from schemas.scene import Split
from tasks.datasets.dsr.grammar.lexicon import ANIMALS, THINGS, Animal, Thing, Way
from tasks.datasets.dsr.grammar.places import PLACES
from tasks.datasets.dsr.wording import structured_text

T = TypeVar("T")
SPLITS: tuple[Split, ...] = typing.get_args(Split)
TEST_SHARE = 5  # one pair in five is kept for test: 120 of 620 prompts (SpatialAlign 4.1)


def _known_types(types: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [code for code in types if code not in DSR_TYPES]:
        raise ValueError(f"there is no type {', '.join(unknown)}; there are {', '.join(DSR_TYPES)}")
    if len(set(types)) < len(types):
        raise ValueError(f"a type is named twice: {', '.join(types)}")
    return types


class PromptConfig(StageConfig):
    """Which prompts are generated."""

    n_train: int = Field(500, ge=0, title="Training prompts", description="Prompts to train with (SpatialAlign 4.1)")
    n_test: int = Field(120, ge=0, title="Test prompts", description="Prompts to test with (SpatialAlign 4.1)")
    seed: int = Field(0, ge=0, description="Another seed draws other prompts of the same grammar")
    types: Annotated[tuple[str, ...], AfterValidator(_known_types)] = Field(
        tuple(DSR_TYPES),
        min_length=1,
        description="Changes of relation in the authors' letters: LT is left to top (SpatialAlign, table 1)",
    )

    @property
    def counts(self) -> dict[Split, int]:
        return {"train": self.n_train, "test": self.n_test}


def generate_prompts(config: PromptConfig) -> list[DsrPrompt]:
    """First those to train with, then those to test with; types in turn, animals in turn within a type.

    Same seed and types, same order: asking for more only adds prompts at the end of a split.
    Raises ValueError if more are asked for than the grammar holds.
    """
    require_capacity(config)
    return [prompt for split, n in config.counts.items() for prompt in _split_prompts(split, n, config)]


def require_capacity(config: PromptConfig) -> None:
    """Raises ValueError, with what to ask for instead, if a type cannot give its share of the prompts of a split."""
    n_types = len(config.types)
    for split, n in config.counts.items():
        most = -(-n // n_types)
        held = {dsr_type: capacity(split, dsr_type) for dsr_type in config.types}
        if too_few := [f"{count} of type {dsr_type}" for dsr_type, count in held.items() if count < most]:
            raise ValueError(
                f"n_{split}={n} takes {most} prompts of each of {n_types} types, but the grammar holds "
                f"{', '.join(too_few)} to {split} with: ask for at most {min(held.values()) * n_types}, or add words "
                "to tasks/datasets/dsr/grammar/lexicon.py or places to places.py beside it"
            )


def capacity(split: Split, dsr_type: str) -> int:
    """How many different prompts of a type the grammar holds in a split."""
    initial, final = _relations(dsr_type)
    return sum(
        len(verbs_for(animal, thing, initial, final)) * len(scenes(split, animal, thing))
        for animal, things in pairs(split)
        for thing in things
    )


def _split_prompts(split: Split, n: int, config: PromptConfig) -> list[DsrPrompt]:
    streams = [_stream(split, dsr_type, config.seed) for dsr_type in config.types]
    return [
        DsrPrompt(
            **labels.model_dump(),
            prompt_id=DsrPrompt.id_of(labels),
            split=split,
            form="structured",
            text=structured_text(labels),
        )
        for labels in islice(_in_turn(streams), n)
    ]


def _stream(split: Split, dsr_type: str, seed: int) -> Iterator[DsrLabels]:
    """All prompts of a type, each once: every animal before any comes again, and for each animal every thing."""
    rng = np.random.default_rng([seed, SPLITS.index(split), list(DSR_TYPES).index(dsr_type)])
    herd = [
        _in_turn([_at_thing(split, dsr_type, animal, thing, rng) for thing in _shuffled(things, rng)])
        for animal, things in _shuffled(pairs(split), rng)
    ]
    return _in_turn(herd)


def _at_thing(
    split: Split, dsr_type: str, animal: Animal, thing: Thing, rng: np.random.Generator
) -> Iterator[DsrLabels]:
    """Every verb in every scene for one animal at one thing."""
    initial, final = _relations(dsr_type)
    verbs, there = verbs_for(animal, thing, initial, final), scenes(split, animal, thing)
    for place in rng.permutation(len(verbs) * len(there)):
        verb, scene = divmod(int(place), len(there))
        yield DsrLabels(
            scene=there[scene],
            animal=animal.noun,
            object=thing.noun,
            verb=verbs[verb],
            initial=initial,
            final=final,
        )


def _in_turn(streams: Sequence[Iterator[T]]) -> Iterator[T]:
    """One of each, then the next of each, ..., until the last is through."""
    while streams:
        left = []
        for stream in streams:
            for item in islice(stream, 1):
                yield item
                left.append(stream)
        streams = left


def _shuffled(items: Iterable[T], rng: np.random.Generator) -> list[T]:
    listed = list(items)
    return [listed[place] for place in rng.permutation(len(listed))]


def _relations(dsr_type: str) -> tuple[str, str]:
    _, initial, final = DSR_TYPES[dsr_type]
    return initial, final


# --- Who can do what, where ------------------------------------------------------------------


def verbs_for(animal: Animal, thing: Thing, initial: str, final: str) -> tuple[str, ...]:
    """Verbs by which this animal changes from one relation to the other at this thing; none: it cannot."""
    match level(initial), level(final):
        case "ground", "ground":
            return animal.across
        case "ground", "top":
            return _verbs(animal.up, animal, thing)
        case "top", "ground" if _verbs(animal.up, animal, thing):  # else it never got there
            return _verbs(animal.down, animal, thing)
    return ()


def level(relation: str) -> Literal["ground", "top", "below"]:
    """Where a relation has the animal: level with the thing's foot, on its top, or below it."""
    _, down, _ = RELATIONS[relation].direction
    return "top" if down < 0 else "below" if down > 0 else "ground"


def _verbs(ways: Sequence[Way], animal: Animal, thing: Thing) -> tuple[str, ...]:
    if thing.carries is None or animal.size > thing.carries:
        return ()
    fitting = [
        way for way in ways if way.from_cm <= thing.top_cm <= way.up_to_cm and (thing.has_grip or not way.needs_grip)
    ]
    return tuple(dict.fromkeys(verb for way in fitting for verb in way.verbs))


def split_of(animal: str, thing: str) -> Split:
    """The split that a pair belongs to: a matter of the two words, so that it never moves."""
    return "test" if int(content_hash("dsr-pair", animal, thing), 16) % TEST_SHARE == 0 else "train"


def pairs(split: Split) -> Iterator[tuple[Animal, list[Thing]]]:
    """Each animal with the things of this split that it may meet somewhere."""
    for animal in ANIMALS:
        yield animal, [t for t in THINGS if animal.settings & t.settings and split_of(animal.noun, t.noun) == split]


def scenes(split: Split, animal: Animal, thing: Thing) -> list[str]:
    """Scenes of this split where both belong."""
    settings = animal.settings & thing.settings
    return [scene for place in PLACES if place.split == split and place.setting in settings for scene in place.scenes]
