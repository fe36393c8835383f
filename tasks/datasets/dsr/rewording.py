"""Does a free rewording of a prompt still say what its labels say?

    keeps_labels("Starting to the left of a chair in a wood, a fox sprints across to its right side.", labels)  -> None
    keeps_labels("In a wood, a fox sprints away from a chair.", labels)
        -> "it says no relation, not left -> right"

Read word by word, and when in doubt the answer is no: a rewording can be asked for again, a wrong label cannot be
seen any more. What is asked of a text:

- it names the animal, the object and the verb (in any form of it, 'sprinting'), and at least half of the scene's words;
- outside the scene it claims the initial relation, then the final one, and no other, each of the object;
- it denies nothing ('not', 'never', 'without'), and there is one animal and one object ('foxes', 'another chair').
"""

from __future__ import annotations

import re
from functools import lru_cache

from schemas.dsr import DsrLabels
from schemas.relation import RELATIONS

MAX_CHARACTERS = 1000

# Other words for a relation than its name and phrases. '{it}' is the object by its noun or a pronoun.
_OTHER_WORDS: dict[str, tuple[str, ...]] = {
    "left": (r"leftwards?",),
    "right": (r"rightwards?",),
    "top": (r"(?:on|onto|upon|atop|off|above|down from) {it}",),
}
# Places at the object that a text may not name unless RELATIONS has them.
_OTHER_PLACES = (
    r"(?:in front of|behind|beneath|under|underneath|below|over|inside|into|through|between|at the foot of) {it}"
)
_SIDE = r"(?:hand )?(?:side|edge|end|part)"
_DENIAL = re.compile(
    r"\b(?:not|no|never|without|neither|nor|none|instead|except|unless|fails?|failing|almost|nearly)\b|n't\b"
)
_VERB_TAGS = ("VBZ", "VBD", "VBN", "VBG")  # of the Penn Treebank: leaps, leapt, leapt, leaping
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_SMALL_WORDS = {"with", "where", "from", "into", "onto", "that", "which", "this", "their", "there"}


def keeps_labels(text: str, labels: DsrLabels) -> str | None:
    """None, or why a text does not say what the labels say. text: one prompt in English."""
    said = _spaced(text)
    if not said:
        return "it is blank"
    if len(said) > MAX_CHARACTERS:
        return f"it has {len(said)} characters, more than {MAX_CHARACTERS}"
    if denial := _DENIAL.search(said):
        return f"it denies something: {denial[0]!r}"
    return _missing(said, labels) or _too_many(said, labels) or _wrong_relations(_without_scene(said, labels), labels)


def _spaced(text: str) -> str:
    """Lower case, single blanks, no hyphens, plain apostrophes."""
    return " ".join(text.lower().replace("’", "'").replace("-", " ").split())


def _missing(said: str, labels: DsrLabels) -> str | None:
    """What of animal, object, verb and scene is not named."""
    for noun in (labels.animal, labels.object):
        if not _says(said, re.escape(_spaced(noun))):
            return f"{noun!r} is not named"
    if not any(_says(said, re.escape(form)) for form in verb_forms(labels.verb)):
        return f"{labels.verb!r} is not said"
    scene = [word for word in _WORD.findall(_spaced(labels.scene)) if len(word) > 3 and word not in _SMALL_WORDS]
    kept = [word for word in scene if _says(said, re.escape(word))]
    if 2 * len(kept) < len(scene):
        return f"of the scene {labels.scene!r} it says only {kept}"
    return None


def _too_many(said: str, labels: DsrLabels) -> str | None:
    for noun in (_spaced(labels.animal), _spaced(labels.object)):
        more = rf"(?:another|other|second|two|three|several|many|both) (?:\w+ )?{re.escape(noun)}"
        if found := _says(said, rf"{more}|{re.escape(noun)}e?s"):
            return f"{found!r}: there is one {noun}"
    return None


def _wrong_relations(said: str, labels: DsrLabels) -> str | None:
    """Why the relations that are claimed are not the initial one, then the final one."""
    it = _object_or_it(labels.object)
    for place in re.finditer(rf"\b(?:{_OTHER_PLACES.format(it=it)})", said):
        if not any(name in place[0].split() for name in RELATIONS):
            return f"it names another place: {place[0]!r}"
    claims: list[str | None] = []
    for claim in re.finditer("|".join(rf"(?P<{name}>\b(?:{_words_for(name, it)})\b)" for name in RELATIONS), said):
        if of := re.match(rf" (?:{_SIDE} )?of (?!{it})[^,.;]*", said[claim.end() :]):
            return f"{claim[0] + of[0]!r} is not about the {labels.object}"
        if claims[-1:] != [claim.lastgroup]:
            claims.append(claim.lastgroup)
    if claims != [labels.initial, labels.final]:
        return f"it says {' -> '.join(map(str, claims)) or 'no relation'}, not {labels.initial} -> {labels.final}"
    return None


def _object_or_it(noun: str) -> str:
    """A pattern of 'the fire hydrant', 'the hydrant' or 'it'."""
    names = {_spaced(noun), _spaced(noun).split()[-1], "it"}
    return rf"(?:(?:the|a|an|this|that|its) )?(?:{'|'.join(map(re.escape, sorted(names)))})\b"


def _words_for(name: str, it: str) -> str:
    """A pattern of all that claims a relation: 'left', 'on the left', ..."""
    relation = RELATIONS[name]
    phrases = (phrase.removesuffix(" of") for phrase in (relation.at, relation.to, relation.from_, name))
    return "|".join([*map(re.escape, phrases), *(words.format(it=it) for words in _OTHER_WORDS.get(name, ()))])


def _without_scene(said: str, labels: DsrLabels) -> str:
    """The text without the scene's own words in a row: 'on the top of a hill' claims nothing."""
    scene = _spaced(labels.scene)
    return said.replace(scene, " ") if scene else said


@lru_cache(maxsize=1024)
def verb_forms(verb: str) -> frozenset[str]:
    """'leaps down' -> leaps, leap, leaping, leapt: all forms of the head word."""
    import lemminflect  # here, since its tables take half a second

    head = next((word for word in verb.split() if word.endswith("s") and not word.endswith("ss")), verb.split()[0])
    bases = [lemma for lemma in lemminflect.getLemma(head, "VERB") if lemma]
    forms = [lemminflect.getInflection(base, tag) for base in bases for tag in _VERB_TAGS]
    return frozenset({head, *bases, *(form for group in forms for form in group)})


def _says(said: str, pattern: str) -> str | None:
    match = re.search(rf"\b(?:{pattern})\b", said)
    return match[0] if match else None
