"""A prompt's text -> its form and labels, or a reason. The inverse of structured_text and from_to_text.

    "In a wood, a fox is on the left of a chair, then the fox sprints to the right of the chair."
        -> "structured", DsrLabels(scene="In a wood", animal="fox", object="chair", verb="sprints", "left", "right")
    "a fox sprints from the left of a chair to the right of the chair"
        -> "from_to", the same without a scene

Animals, things and verbs are free, also of several words; relations are the phrases of schemas/relation.py. Case,
spaces and the full stop do not matter; nouns and verbs become lower case.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from schemas.dsr import DsrLabels, Form
from schemas.relation import RELATIONS, SpatialRelation

MAX_PROMPT_CHARACTERS = 2000  # text encoders of video models read less

_SCENE = r"(?:(?P<scene>.*\S)\s?, )?"
_STRUCTURED = re.compile(
    rf"{_SCENE}an? (?P<animal>[^,]+?) is (?P<where>[^,]+?)\s?[,;.]? then the (?P<change>[^,]+)", re.IGNORECASE
)
_FROM_TO = re.compile(rf"{_SCENE}an? (?P<moves>[^,]+?) (?P<path>from [^,]+)", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?]+ (?!then )", re.IGNORECASE)

# Words that may follow a finite verb: 'hops down', 'runs straight across'.
_PARTICLES = {
    *("about", "across", "ahead", "along", "around", "aside", "away", "back", "by", "down", "forth", "forward"),
    *("off", "on", "out", "over", "past", "straight", "up"),
}
_CONJUNCTIONS = {"and", "or", "but", "then", "who", "which", "that"}
_ADVERB = re.compile(r".*(?<!f)ly", re.IGNORECASE)  # no butterfly
_FINITE = re.compile(r".+[^siou]s", re.IGNORECASE)  # no octopus, ibis, rhinoceros


class PromptRefused(ValueError):
    """A text that cannot be read as a prompt.

    reason: a fixed word, for counting: empty, too_long, several_sentences, no_relation, one_relation,
            unknown_relation, same_relation, other_animal, other_object, no_verb, unclear_verb, other_form
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def parse_prompt(text: str) -> tuple[Form, DsrLabels]:
    """Read a prompt of the structured or the from_to form. Raises PromptRefused."""
    said = plain(text)
    if not said:
        raise PromptRefused("empty", "there are no words")
    if len(said) > MAX_PROMPT_CHARACTERS:
        raise PromptRefused("too_long", f"{len(said)} characters, more than {MAX_PROMPT_CHARACTERS}")
    if _SENTENCE_END.search(said):
        raise PromptRefused("several_sentences", "a prompt is one sentence: 'a ... is on the left of a ..., then ...'")
    if match := _STRUCTURED.fullmatch(said):
        return "structured", _read_structured(**match.groupdict())
    if match := _FROM_TO.fullmatch(said):
        return "from_to", _read_from_to(**match.groupdict())
    if not (relations := _relations_said(said)):
        raise PromptRefused("no_relation", f"none of {_listed(lambda relation: relation.at)} is said")
    if len(relations) == 1:
        raise PromptRefused("one_relation", f"only {relations[0]!r} is said")
    raise PromptRefused(
        "other_form",
        "neither '[scene], a [animal] is on the left of a [object], then the [animal] [verb] to the right of the "
        "[object].' nor '[scene], a [animal] [verb] from the left of a [object] to the right of the [object].'",
    )


def plain(text: str) -> str:
    """The text with single blanks between words and without its full stop."""
    return " ".join(text.split()).rstrip(" .!")


def relation_of(phrase: str) -> str:
    """'on the left of', 'to the left of', 'from the left of' or 'left' -> 'left'. Raises ValueError for others."""
    said = plain(phrase).lower()
    for relation in RELATIONS.values():
        if said in (relation.name, relation.at, relation.to, relation.from_):
            return relation.name
    raise ValueError(f"{phrase!r} is no relation; there are {_listed(lambda relation: relation.at)}")


def _relations_said(said: str) -> list[str]:
    phrases = [re.escape(phrase) for r in RELATIONS.values() for phrase in (r.at, r.to, r.from_)]
    return re.findall("|".join(phrases), said, re.IGNORECASE)


def _listed(phrase_of: Callable[[SpatialRelation], str]) -> str:
    return ", ".join(repr(phrase_of(relation)) for relation in RELATIONS.values())


def _read_structured(scene: str | None, animal: str, where: str, change: str) -> DsrLabels:
    """where: 'on the left of a chair'; change: 'fox sprints to the right of the chair'."""
    initial, thing = _relation_first(where, lambda relation: relation.at)
    if not (match := re.fullmatch(rf"{re.escape(animal)} (?P<move>.+)", change, re.IGNORECASE)):
        raise PromptRefused("other_animal", f"{animal!r} is not said again before the verb in {change!r}")
    if not (match := re.fullmatch(rf"(?P<move>.+) the {re.escape(thing)}", match["move"], re.IGNORECASE)):
        raise PromptRefused("other_object", f"{change!r} does not end with 'the {thing}'")
    verb, final = _relation_last(match["move"])
    if not verb:
        raise PromptRefused("no_verb", f"how does the {animal} move?")
    return _labels(scene, animal, thing, verb, initial, final)


def _read_from_to(scene: str | None, moves: str, path: str) -> DsrLabels:
    """moves: 'fox sprints'; path: 'from the left of a chair to the right of the chair'."""
    initial, rest = _relation_first(path, lambda relation: relation.from_)
    if not (match := re.fullmatch(r"(?P<before>.+) the (?P<thing>.+)", rest, re.IGNORECASE)):
        raise PromptRefused("one_relation", f"{rest!r} is not followed by where the animal goes")
    thing, final = _relation_last(match["before"])
    if thing.lower() != match["thing"].lower():
        raise PromptRefused("other_object", f"first {thing!r}, then {match['thing']!r}")
    animal, verb = _split_verb(moves.split())
    return _labels(scene, animal, thing, verb, initial, final)


def _relation_first(said: str, phrase_of: Callable[[SpatialRelation], str]) -> tuple[str, str]:
    """('left', 'chair') of 'on the left of a chair'."""
    for relation in RELATIONS.values():
        phrase = re.escape(phrase_of(relation))
        if match := re.fullmatch(rf"{phrase} an? (?P<thing>.+)", said, re.IGNORECASE):
            return relation.name, match["thing"]
    raise _unknown_relation(said, phrase_of)


def _relation_last(said: str) -> tuple[str, str]:
    """('sprints', 'right') of 'sprints to the right of'."""
    for relation in RELATIONS.values():
        if f" {said}".lower().endswith(f" {relation.to}"):
            return said[: -len(relation.to)].rstrip(), relation.name
    raise _unknown_relation(said, lambda relation: relation.to)


def _unknown_relation(said: str, phrase_of: Callable[[SpatialRelation], str]) -> PromptRefused:
    return PromptRefused("unknown_relation", f"{said!r} says none of {_listed(phrase_of)}")


def _split_verb(words: list[str]) -> tuple[str, str]:
    """('guinea pig', 'slowly hops down') of 'guinea pig slowly hops down'.

    Two words are clear. Among more, the verb is the last word in -s that only particles and adverbs in -ly follow,
    with the adverbs before it. An animal with another such word, or with a conjunction, is refused.
    """
    if len(words) == 2:
        return words[0], words[1]
    finite = len(words) - 1
    while finite > 0 and (words[finite].lower() in _PARTICLES or _ADVERB.fullmatch(words[finite])):
        finite -= 1
    start = finite
    while start > 1 and _ADVERB.fullmatch(words[start - 1]):
        start -= 1
    animal, verb = words[:start], words[start:]
    doubtful = [word for word in animal[1:] if word.lower() in _CONJUNCTIONS or _FINITE.fullmatch(word)]
    if not animal or doubtful or not _FINITE.fullmatch(words[finite]):
        raise PromptRefused("unclear_verb", f"which words of {' '.join(words)!r} are the animal, and which the verb?")
    return " ".join(animal), " ".join(verb)


def _labels(scene: str | None, animal: str, thing: str, verb: str, initial: str, final: str) -> DsrLabels:
    if initial == final:
        raise PromptRefused("same_relation", f"{initial} at first and at the end: nothing changes")
    return DsrLabels(
        scene=scene or "", animal=animal.lower(), object=thing.lower(), verb=verb.lower(), initial=initial, final=final
    )
