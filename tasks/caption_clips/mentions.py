"""Find the bodies that a caption's sentences name.

    "The red cube and the ball hit two cubes." -> "<id1> and <?> hit <?> ."      "ball" is no body of the scene

Uncertain names ("two cubes", "another cube", "a ball") become <?>, "all objects" <all>. "The objects", which may be all
or those just mentioned, become <objects>.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.scene import Body

UNKNOWN, EVERY, OBJECTS = "<?>", "<all>", "<objects>"

SHAPE_OF_WORD = {
    **dict.fromkeys(("cube", "box", "block"), "cube"),
    "cylinder": "cylinder",
    **dict.fromkeys(("ball", "sphere", "cone", "pyramid", "prism", "disc", "disk", "ring", "torus", "cuboid"), "other"),
    **dict.fromkeys(("object", "shape", "item", "one"), "any"),
}
SHAPE_OF_WORD |= {f"{word}es" if word == "box" else f"{word}s": shape for word, shape in SHAPE_OF_WORD.items()}

# Words that captioners use for the same colour: an example in the paper calls one cube both pink and purple.
ALIKE = (
    {"red", "crimson", "scarlet", "maroon"},
    {"orange", "amber"},
    {"yellow", "gold", "golden"},
    {"green", "lime", "olive"},
    {"teal", "turquoise", "cyan", "aqua"},
    {"teal", "green"},
    {"teal", "blue"},
    {"blue", "navy"},
    {"purple", "violet", "lavender", "magenta", "pink"},
    {"pink", "rose", "magenta", "purple"},
    {"brown", "tan", "beige"},
    {"white", "ivory", "cream"},
    {"gray", "silver"},
    {"black", "charcoal"},
)
SHADES = {"light", "dark", "bright", "pale", "deep", "vivid"}
ADJECTIVES = {
    *("small", "smaller", "large", "larger", "big", "bigger", "little", "tall", "short", "solid", "shiny", "smooth"),
    *("matte", "plain", "single", "first", "stationary", "static", "moving", "still", "colored", "coloured"),
}
INDEFINITE = {  # with one of these, the body is uncertain
    *("two", "three", "four", "five", "six", "another", "other", "others", "remaining", "both", "each", "any", "no"),
    *("several", "some", "multiple", "second", "third", "rest", "different", "various", "these", "those", "either"),
}
ARTICLES = {"the", "a", "an", "this", "that", "its"}
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[,;:()]")


@dataclass(frozen=True)
class Sentence:
    """A sentence in lower case, words separated by blanks, with each body's name as <id>."""

    text: str
    strangers: tuple[str, ...]  # "red ball": named with colour and shape, and no body of the scene


def read_sentences(caption: str, bodies: Sequence[Body]) -> list[Sentence]:
    plain = caption.lower().replace("’", "'").replace("-", " ").replace("n't", " not")
    return [_read(sentence, bodies) for sentence in re.split(r"[.!?\n]+", plain) if sentence.strip()]


def names_in(text: str) -> list[str]:
    """'<id1> hits <?>' -> ['id1', '?']."""
    return re.findall(r"<([\w?]+)>", text)


def _read(sentence: str, bodies: Sequence[Body]) -> Sentence:
    words = _WORD.findall(sentence)
    said: list[str] = []
    strangers: list[str] = []
    for word in words:
        if word not in SHAPE_OF_WORD:
            said.append(word)
            continue
        phrase = _take_phrase(said, bodies)
        name, stranger = _resolve(phrase, word, bodies)
        said.append(name)
        if stranger:
            strangers.append(stranger)
    return Sentence(" ".join(said), tuple(strangers))


def _take_phrase(said: list[str], bodies: Sequence[Body]) -> list[str]:
    """Remove from the end of `said` the words that belong to the next noun, and return them."""
    known = SHADES | ADJECTIVES | INDEFINITE | ARTICLES | {"all"} | _colours(bodies)
    start = len(said)
    while start and (
        said[start - 1] in known
        or (said[start - 1] in (",", "and") and _joins_colours(said, start - 1, bodies))
        or (said[start - 1] == "of" and start > 1 and said[start - 2] in INDEFINITE | {"all"})
    ):
        start -= 1
    phrase = said[start:]
    del said[start:]
    return phrase


def _joins_colours(said: list[str], place: int, bodies: Sequence[Body]) -> bool:
    """Is the ',' or 'and' there between two colours of one noun ('the red and blue cubes')?"""
    after = said[place + 1 : place + 3]
    before = said[place - 1] if place else ""
    before = said[place - 2] if before == "," and place > 1 else before
    colours = _colours(bodies) | SHADES
    return before in colours and bool(after) and (after[0] in colours or after[0] in ("and", "the", "a", "an"))


def _resolve(phrase: list[str], noun: str, bodies: Sequence[Body]) -> tuple[str, str | None]:
    """(the name to write, or a phrase that names no body of the scene)."""
    shape = SHAPE_OF_WORD[noun]
    if noun in ("one", "ones") and not _colours(bodies) & set(phrase):
        return " ".join([*phrase, noun]), None  # a number or a pronoun
    colours = _named_colours(phrase, bodies)
    if not colours and shape == "any" and "no" in phrase:
        return f"no {OBJECTS}", None
    if not colours and shape == "any" and "any" in phrase:
        return OBJECTS, None
    if not colours and shape == "any" and noun.endswith("s") and not INDEFINITE & set(phrase):
        return EVERY if "all" in phrase else OBJECTS, None
    if not colours:
        kind = [body for body in bodies if body.shape == shape]
        certain = len(kind) == 1 and not noun.endswith("s") and "the" in phrase and not INDEFINITE & set(phrase)
        return (f"<{kind[0].instance_id}>" if certain else UNKNOWN), None
    found = [_matching(colour, shape, bodies) for colour in colours]
    missing = [colour for colour, matches in zip(colours, found, strict=True) if not matches]
    stranger = f"{missing[0]} {noun}" if missing else None
    many = noun.endswith("s")
    if INDEFINITE & set(phrase) - {"two", "three", "four", "both"} or many != (len(colours) > 1):
        return UNKNOWN, stranger
    return " and ".join(f"<{m[0].instance_id}>" if len(m) == 1 else UNKNOWN for m in found), stranger


def _matching(colour: str, shape: str, bodies: Sequence[Body]) -> list[Body]:
    """The bodies that may be meant: those of exactly that colour, else those of a similar one."""
    kind = [body for body in bodies if shape in (body.shape, "any")]
    exact = [body for body in kind if _plain(body.colour) == colour]
    if exact:
        return exact
    bare = colour.split()[-1]
    alike = {bare}.union(*(family for family in ALIKE if bare in family))
    return [body for body in kind if _plain(body.colour).split()[-1] in alike]


def _named_colours(phrase: list[str], bodies: Sequence[Body]) -> list[str]:
    """['the', 'light', 'blue', 'and', 'grey'] -> ['light blue', 'gray']."""
    colours: list[str] = []
    shade = ""
    for word in phrase:
        if word in SHADES:
            shade = f"{word} "
        elif word in _colours(bodies):
            colours.append(_plain(shade + word))
            shade = ""
    return colours


def _colours(bodies: Sequence[Body]) -> set[str]:
    """All colour words, including the scene's."""
    return set().union(*ALIKE, {"grey"}, *(body.colour.split() for body in bodies)) - SHADES


def _plain(colour: str) -> str:
    return colour.replace("grey", "gray")
