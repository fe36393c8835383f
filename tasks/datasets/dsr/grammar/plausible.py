"""Who can change from which relation to which, at what, where, and by which verbs.

    verbs_for(cat, crate, "left", "top")     ('jumps', 'leaps', 'springs')
    verbs_for(turtle, crate, "left", "top")  (): it gets no higher than 30 cm

A relation counts as one on the ground or one on top by its direction alone, so a further one beside the thing (in
front of it, behind it) needs no line here. One below the thing does: the lexicon does not say what has room below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from schemas.record import content_hash
from schemas.relation import RELATIONS
from schemas.scene import Split
from tasks.datasets.dsr.grammar.lexicon import ANIMALS, THINGS, Animal, Thing, Way
from tasks.datasets.dsr.grammar.places import PLACES

TEST_SHARE = 5  # one pair in five is kept for test: 120 of 620 prompts (SpatialAlign 4.1)


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
