"""Animals and things of the grammar, with what decides who can do what where.

    cat: gets onto flat tops of 150 cm in a jump, onto 200 cm where its claws find hold
    fence post: 110 cm, its top carries nothing but a bird that perches

Sizes, heights and places are everyday estimates, rounded so that what is doubtful is left out. Nouns are base nouns
in the singular that a detector knows and a picture shows apart: no 'mouse' beside a desk, no 'trunk' in a wood.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

# Kinds of places: whoever and whatever belongs there may meet there.
SETTINGS = (
    *("wood", "jungle", "meadow", "water", "beach", "garden", "park", "farm"),
    *("street", "courtyard", "barn", "workshop", "home", "hall"),
)


class Size(IntEnum):
    """How much room an animal needs to stand on; the largest that a top carries."""

    PERCHING = 0  # a bird that holds on to a rail
    SMALL = 1  # a rabbit
    MEDIUM = 2  # a dog
    LARGE = 3  # a goat


@dataclass(frozen=True)
class Way:
    """How an animal gets onto a thing, or down from it."""

    verbs: tuple[str, ...]  # third person singular, with a particle where English wants one
    up_to_cm: int  # the highest top
    from_cm: int = 0  # the lowest: nothing glides down from a plank
    needs_grip: bool = False  # only where claws or fingers find hold


class Ways(NamedTuple):
    """How an animal gets onto things, and down from them."""

    up: tuple[Way, ...] = ()
    down: tuple[Way, ...] = ()


@dataclass(frozen=True)
class Animal:
    """What moves."""

    noun: str
    size: Size
    settings: frozenset[str]
    across: tuple[str, ...]  # how it passes by, third person singular
    up: tuple[Way, ...]
    down: tuple[Way, ...]


@dataclass(frozen=True)
class Thing:
    """What stays."""

    noun: str
    top_cm: int
    carries: Size | None  # the largest animal that its top carries; None: its top carries none
    settings: frozenset[str]
    has_grip: bool = False


def _animal(noun: str, size: Size, settings: str, across: str, *ways: Ways) -> Animal:
    return Animal(
        noun,
        size,
        frozenset(settings.split()),
        tuple(across.split()),
        up=tuple(way for kind in ways for way in kind.up),
        down=tuple(way for kind in ways for way in kind.down),
    )


def _thing(noun: str, top_cm: int, carries: Size | None, settings: str, *, has_grip: bool = False) -> Thing:
    return Thing(noun, top_cm, carries, frozenset(settings.split()), has_grip)


def _down(verbs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{verb} down" for verb in verbs)


def _leaps(verbs: str, up_to_cm: int, from_cm: int = 20) -> Ways:
    """Of one that jumps onto what is not too low for a jump."""
    leap = tuple(verbs.split())
    return Ways((Way(leap, up_to_cm, from_cm),), (Way(_down(leap), up_to_cm, from_cm),))


def _climbs(verbs: str, up_to_cm: int, from_cm: int = 60) -> Ways:
    """Of one that holds on to the side of what is not too low to be climbed."""
    climb = tuple(verbs.split())
    return Ways(
        (Way(climb, up_to_cm, from_cm, needs_grip=True),), (Way(_down(climb), up_to_cm, from_cm, needs_grip=True),)
    )


def _flaps(hop_cm: int, flap_cm: int) -> Ways:
    """Of a heavy bird: onto what is low it hops, higher up it needs its wings."""
    return Ways(
        (Way(("hops",), hop_cm), Way(("flutters", "flaps up"), flap_cm, from_cm=hop_cm)),
        (Way(("hops down",), hop_cm + 20), Way(("flutters down", "flaps down"), flap_cm, from_cm=hop_cm)),
    )


_STEPS = Ways((Way(("steps",), 20),), (Way(("steps down",), 20),))
_CRAWLS = Ways((Way(("crawls", "climbs"), 15),), (Way(("crawls down", "climbs down"), 15),))
_FLIES = Ways(
    (Way(("flies", "flutters"), 500, from_cm=20), Way(("hops",), 40)),
    (
        Way(("flies down", "glides down"), 500, from_cm=90),
        Way(("flutters down",), 500, from_cm=20),
        Way(("hops down",), 60),
    ),
)


def _bird(noun: str, settings: str, across: str) -> Animal:
    """A bird that perches: it flies onto anything and hops onto what is low."""
    return _animal(noun, Size.PERCHING, settings, across, _FLIES)


ANIMALS: tuple[Animal, ...] = (
    _animal("cat", Size.SMALL, "garden park farm street courtyard barn workshop home hall",
        "walks trots prowls saunters sneaks strolls",
        _STEPS, _leaps("jumps leaps springs", 120), _climbs("climbs", 150)),
    _animal("dog", Size.MEDIUM, "wood meadow water beach garden park farm street courtyard barn workshop home hall",
        "walks trots runs bounds races pads", _STEPS, _leaps("jumps leaps bounds", 80)),
    _animal("rabbit", Size.SMALL, "wood meadow garden park farm home",
        "hops scampers bounds scurries dashes", _leaps("hops jumps leaps", 50, from_cm=10)),
    _animal("fox", Size.MEDIUM, "wood meadow garden park farm",
        "trots walks runs slinks sprints dashes", _STEPS, _leaps("jumps leaps springs", 100)),
    _animal("squirrel", Size.SMALL, "wood garden park street", "scampers scurries darts dashes hops",
        _leaps("hops jumps leaps", 80, from_cm=10), _climbs("climbs scrambles", 200)),
    _animal("monkey", Size.MEDIUM, "jungle courtyard", "walks scampers runs bounds lopes",
        _STEPS, _leaps("jumps leaps", 120), _climbs("climbs clambers", 250)),
    _animal("raccoon", Size.MEDIUM, "wood garden park street barn", "walks waddles ambles scurries trots",
        _STEPS, _climbs("climbs clambers scrambles", 200, from_cm=25)),
    _animal("goat", Size.LARGE, "meadow farm courtyard barn",
        "walks trots prances runs strolls", _STEPS, _leaps("jumps leaps", 120)),
    _animal("sheep", Size.LARGE, "meadow farm barn", "walks trots plods ambles", _STEPS, _leaps("jumps leaps", 80)),
    _animal("pig", Size.LARGE, "farm barn", "walks trots ambles waddles trundles"),
    _animal("deer", Size.LARGE, "wood meadow park", "walks trots bounds strides steps"),
    _animal("horse", Size.LARGE, "meadow farm beach", "walks trots canters gallops"),
    _animal("duck", Size.SMALL, "water park farm garden", "waddles walks shuffles scuttles", _flaps(20, 80)),
    _animal("goose", Size.MEDIUM, "water park farm meadow", "waddles walks struts marches", _flaps(20, 80)),
    _animal("chicken", Size.SMALL, "farm garden barn courtyard", "walks struts runs scurries", _flaps(50, 120)),
    _bird("pigeon", "street park courtyard hall", "walks struts flutters flies"),
    _bird("crow", "wood meadow farm street park", "walks hops flies glides"),
    _bird("parrot", "jungle courtyard home", "walks flutters flies waddles"),
    _bird("owl", "wood farm barn", "flies glides swoops"),
    _bird("seagull", "beach", "walks flies glides struts"),
    _bird("bird", "wood garden park water", "hops flutters flies"),
    _animal("turtle", Size.SMALL, "water beach garden jungle", "crawls plods shuffles creeps trudges",
        _CRAWLS, _climbs("climbs crawls", 30, from_cm=15)),
    _animal("hedgehog", Size.SMALL, "wood meadow garden park", "scurries shuffles trundles waddles trots",
        _CRAWLS, _climbs("climbs clambers", 30, from_cm=15)),
    _animal("frog", Size.SMALL, "wood water jungle garden", "hops leaps jumps",
        _leaps("hops jumps leaps", 45, from_cm=10)),
    _animal("lizard", Size.SMALL, "jungle courtyard beach", "scurries darts crawls scuttles",
        _climbs("scurries darts crawls", 120, from_cm=0)),
)  # fmt: skip

THINGS: tuple[Thing, ...] = (
    # Out in the open
    _thing("boulder", 110, Size.LARGE, "wood jungle meadow water beach park", has_grip=True),
    _thing("stone", 30, Size.MEDIUM, "wood jungle meadow water beach garden park", has_grip=True),
    _thing("log", 30, Size.LARGE, "wood jungle meadow water beach park", has_grip=True),
    _thing("stump", 45, Size.LARGE, "wood jungle meadow garden park", has_grip=True),
    _thing("plank", 5, Size.MEDIUM, "wood water beach garden farm barn workshop"),
    _thing("fence post", 110, Size.PERCHING, "meadow farm"),
    _thing("tent", 130, Size.PERCHING, "wood meadow beach"),
    _thing("backpack", 45, None, "wood meadow beach park"),
    _thing("surfboard", 8, Size.MEDIUM, "beach"),
    _thing("sandcastle", 40, None, "beach"),
    _thing("canoe", 45, Size.PERCHING, "water beach"),
    # Gardens and farms
    _thing("hay bale", 80, Size.LARGE, "farm meadow barn", has_grip=True),
    _thing("barrel", 90, Size.MEDIUM, "farm courtyard barn workshop", has_grip=True),
    _thing("crate", 45, Size.MEDIUM, "farm garden barn workshop courtyard beach", has_grip=True),
    _thing("pallet", 14, Size.LARGE, "farm barn workshop"),
    _thing("wheelbarrow", 60, Size.PERCHING, "garden farm barn"),
    _thing("bucket", 30, Size.PERCHING, "garden farm barn workshop beach courtyard"),
    _thing("basket", 35, Size.PERCHING, "garden farm barn courtyard home"),
    _thing("flowerpot", 35, Size.PERCHING, "garden courtyard street"),
    _thing("watering can", 35, Size.PERCHING, "garden"),
    _thing("birdbath", 80, Size.PERCHING, "garden park"),
    _thing("pumpkin", 35, Size.SMALL, "garden farm", has_grip=True),
    _thing("picnic table", 75, Size.LARGE, "park meadow garden", has_grip=True),
    # Towns
    _thing("bench", 45, Size.MEDIUM, "park street garden courtyard hall", has_grip=True),
    _thing("fire hydrant", 70, Size.SMALL, "street"),
    _thing("mailbox", 120, Size.SMALL, "street"),
    _thing("trash can", 95, Size.MEDIUM, "street park", has_grip=True),
    _thing("lamppost", 350, Size.PERCHING, "street park"),
    _thing("traffic cone", 70, None, "street"),
    _thing("statue", 220, Size.PERCHING, "park courtyard hall"),
    _thing("bicycle", 100, Size.PERCHING, "street park courtyard"),
    _thing("skateboard", 12, Size.SMALL, "street park"),
    _thing("suitcase", 60, Size.SMALL, "hall home street"),
    # Under a roof
    _thing("chair", 45, Size.MEDIUM, "home hall garden courtyard", has_grip=True),
    _thing("armchair", 45, Size.MEDIUM, "home hall", has_grip=True),
    _thing("sofa", 45, Size.MEDIUM, "home hall", has_grip=True),
    _thing("stool", 50, Size.SMALL, "home barn workshop courtyard"),
    _thing("table", 75, Size.MEDIUM, "home hall courtyard"),
    _thing("desk", 75, Size.MEDIUM, "home hall"),
    _thing("dresser", 90, Size.MEDIUM, "home"),
    _thing("piano", 110, Size.MEDIUM, "home hall"),
    _thing("bookshelf", 180, Size.PERCHING, "home"),
    _thing("floor lamp", 160, Size.PERCHING, "home"),
    _thing("ottoman", 40, Size.MEDIUM, "home", has_grip=True),
    _thing("cushion", 12, Size.MEDIUM, "home"),
    _thing("vase", 50, None, "home hall"),
    _thing("cardboard box", 40, Size.SMALL, "home workshop"),
    _thing("toolbox", 30, Size.SMALL, "workshop"),
    _thing("workbench", 90, Size.MEDIUM, "workshop", has_grip=True),
    _thing("anvil", 60, Size.SMALL, "workshop barn"),
    _thing("ladder", 180, Size.PERCHING, "barn workshop garden"),
)
