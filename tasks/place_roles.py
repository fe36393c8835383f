"""caption + interactions + instances -> which words of the prompt are the subject, the verb, the object (MATRIX 4.2).

    "A boy picks the red ball up."   id1 boy, id2 ball, <id1, pick up, id2>
    ->  id1 "boy"   id2 "red ball"   id1-pick-up-id2 "picks" + "up"

An instance's words are its noun with the modifiers before it, wherever the caption names it; a verb's are its head,
auxiliaries and particles. Pronouns are no words of an instance: that is ours, the paper names heads and modifiers only.
The caption is read by the same rules as the embedded extraction (tasks/backends/caption_rules), whoever listed its
interactions; no model is asked. What cannot be placed for certain is rejected, by name.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from schemas.config import StageConfig
from schemas.instance import Instance
from schemas.interaction import Interaction
from schemas.matrix11k import ClipRow, InstanceRow, InteractionRow
from schemas.outcome import RowRejected
from schemas.preparation import PlacedRoles
from schemas.provenance import MadeBy
from schemas.training_samples import PlacedRole, SnapshotRow, Span
from tasks.backends.caption_rules.entities import Entity
from tasks.backends.caption_rules.nouns import COLOURS, WIDER, is_adjective, noun_form
from tasks.backends.caption_rules.reader import read_caption
from tasks.backends.caption_rules.verbs import verb_form
from tasks.backends.caption_rules.words import AUXILIARIES, NEGATIONS, Word, is_adverb, lemmas_of, sentences
from tasks.engine.clip_tables import ClipTables
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.pages.marks import find_phrase

MAX_INSTANCES = 5  # MATRIX, appendix A.3: |K| = 5
MAX_WORDS_BETWEEN = 8  # of a verb and its particle: "picks the big red ball with the stripes up"

Place = tuple[int, int]  # characters of the caption, the end excluded


class PlaceConfig(StageConfig):
    """How the prompt names instances."""

    words: Literal["noun", "id"] = Field(
        "noun",
        description="What an instance's tokens are. noun: its noun with modifiers (MATRIX 4.2); id: a literal <id1> to "
        "<id5>, written in front of each of its nouns (the authors' code)",
    )


class Told(NamedTuple):
    """What is read of a clip."""

    caption: str
    interactions: list[list[str]]  # subject id, verb, object id, source sentence
    instances: list[list[str]]  # id, class, noun


# --- Nouns -----------------------------------------------------------------------------------


def place_instances(caption: str, instances: Sequence[Sequence[str]]) -> dict[str, list[Place]]:
    """Where the caption names each instance, {instance id: places}; no places for one that is not found.

    instances: (id, class, noun) each, in the order of their first mention
    """
    mentioned = [entity for entity in read_caption(caption, "any").mentioned if entity.spans]
    fits = [
        (-fit, number, place)
        for number, (_, class_name, noun) in enumerate(instances)
        for place, entity in enumerate(mentioned)
        if (fit := how_well(entity, class_name, noun)) > 0
    ]
    places: dict[str, list[Place]] = {instance_id: [] for instance_id, *_ in instances}
    taken: set[int] = set()
    # The best fits first; between equals, instances in the caption's order take mentions in the caption's order.
    for _, number, place in sorted(fits):
        instance_id = instances[number][0]
        if not places[instance_id] and place not in taken:
            taken.add(place)
            places[instance_id] = sorted(mentioned[place].spans)
    known = {span for entity in mentioned for span in entity.spans}
    for class_name in dict.fromkeys(class_name for _, class_name, _ in instances):
        lost = [i for i, name, _ in instances if name == class_name and not places[i]]
        # What the rules take for no entity, a hand or a sleeve, is found by its word alone.
        left = [span for span in nouns_like(caption, class_name) if not any(_overlap(span, k) for k in known)]
        if len(lost) == 1:
            places[lost[0]] = left
        elif len(left) == len(lost):
            places |= {instance_id: [span] for instance_id, span in zip(lost, left, strict=True)}
    return places


def how_well(entity: Entity, class_name: str, noun: str) -> float:
    """How well an entity of the caption fits an instance; 0: it is another one.

    Its class must be the same, or one of which the other is a kind. Words in common tell two of a class apart.
    """
    wanted, found = _singular(class_name), entity.class_name
    if entity.several and noun.lower().split()[-1:] == [_singular(noun).split()[-1]]:
        return 0.0  # "two men" are told apart by no word; "two cups" may be one instance
    if not (same := _same_class(wanted, found)):
        return 0.0
    named, told = set(_bare(noun)), set(_bare(entity.noun))
    if (named & COLOURS) and (entity.modifiers & COLOURS) and not named & entity.modifiers & COLOURS:
        return 0.0
    return same + len(named & told) / (1 + len(named | told))


def _same_class(wanted: str, found: str) -> float:
    """2 for the same class, 1 if one is wider than the other, 0 else."""
    if wanted == found or wanted.split()[-1] == found or found.split()[-1] == wanted:
        return 2.0
    return 1.0 if wanted in WIDER.get(found, ()) or found in WIDER.get(wanted, ()) else 0.0


def nouns_like(caption: str, class_name: str) -> Iterator[Place]:
    """Every noun of a class, with the adjectives before it: by its form, whatever the sentence is."""
    wanted = _singular(class_name).split()
    for _, words in sentences(caption):
        for end in range(len(wanted), len(words) + 1):
            named = words[end - len(wanted) : end]
            if [*(word.lower for word in named[:-1]), _singular(named[-1].lower)] != wanted:
                continue
            start = end - len(wanted)
            while start and is_adjective(words[start - 1].lower):
                start -= 1
            yield _around(words[start:end])


def _singular(noun: str) -> str:
    """ "red cups" -> "red cup"."""
    *before, last = noun.lower().split()
    form = noun_form(last)
    return " ".join([*before, form.lemma if form else last])


def _bare(noun: str) -> list[str]:
    return [word for word in re.findall(r"[\w'-]+", noun.lower()) if word not in {"a", "an", "the", "in", "with", "of"}]


# --- Verbs -----------------------------------------------------------------------------------


class VerbPlace(NamedTuple):
    """Words of the caption that may be an interaction's verb."""

    n_particles: int  # that were found
    between: bool  # one of the two stands before it, the other behind
    near: int  # minus the characters between it and them
    early: int
    places: list[Place]


def place_verb(
    caption: str, verb: str, sentence: str, subject: Sequence[Place], target: Sequence[Place]
) -> list[Place]:
    """Where the caption says a verb: auxiliaries, head, particles; [] if it does not.

    verb: its base form with particles, "pick up"; sentence: the caption's sentence that states it
    subject, target: where the caption names those that it is between; of several fitting verbs, the one between them
    """
    start, end = next(find_phrase(caption, sentence), (0, len(caption))) if sentence.strip() else (0, len(caption))
    lemma, *particles = verb.lower().split()
    found = []
    for _, words in sentences(caption):
        within = [word for word in words if word.span and start <= word.span[0] and word.span[1] <= end]
        for i, word in enumerate(within):
            if is_form_of(word.lower, lemma):
                chosen = [*_auxiliaries(within, i), word, *(after := _particles(within, i, particles))]
                head = word.span or (0, 0)
                places = join(caption, [w.span for w in chosen if w.span])
                found.append(VerbPlace(len(after), *_between(head, subject, target), -head[0], places))
    return max(found).places if found else []


def is_form_of(word: str, lemma: str) -> bool:
    """ "holding" and "held" are forms of "hold"; so is its noun: "gives him a hug"."""
    form = verb_form(word)
    readings = {word, *itertools.chain(*lemmas_of(word).values()), *([form.lemma] if form else [])}
    own = verb_form(lemma)  # a listed verb that is no base form: "holding"
    return bool(readings & {lemma, *([own.lemma] if own else [])})


def _auxiliaries(words: Sequence[Word], head: int) -> list[Word]:
    """ "is being gently pushed" -> is, being."""
    found = []
    for word in reversed(words[:head]):
        if word.lower in AUXILIARIES:
            found.append(word)
        elif not (is_adverb(word.lower) or word.lower in NEGATIONS):
            break
    return found[::-1]


def _particles(words: Sequence[Word], head: int, particles: Sequence[str]) -> list[Word]:
    """Those behind the head, in their order; what stands between is no part."""
    found, at = [], head + 1
    for particle in particles:
        ahead = range(at, min(len(words), head + 2 + MAX_WORDS_BETWEEN))
        place = next((i for i in ahead if words[i].lower == particle or _singular(words[i].lower) == particle), None)
        if place is not None:
            found.append(words[place])
            at = place + 1
    return found


def _between(head: Place, subject: Sequence[Place], target: Sequence[Place]) -> tuple[bool, int]:
    """(does it stand between them, minus the characters to the nearest mention of each)."""

    def gap(place: Place) -> int:
        return max(head[0] - place[1], place[0] - head[1], 0)

    nearest = [min(places, key=gap) for places in (subject, target) if places]
    sides = {place < head for place in nearest}
    return len(sides) == 2, -sum(map(gap, nearest))


# --- Roles -----------------------------------------------------------------------------------


def place_roles(told: Told, config: PlaceConfig, made_by: Sequence[MadeBy] = ()) -> PlacedRoles:
    """Raises RowRejected: no_caption, no_interaction, too_many_instances, words_not_found, words_shared."""
    caption = told.caption
    if not caption.strip():
        raise RowRejected("no_caption", "the clip has no caption to place roles in")
    if not told.interactions:
        raise RowRejected("no_interaction", "the clip has no interaction")
    taking_part = {one for subject_id, _, object_id, _ in told.interactions for one in (subject_id, object_id)}
    instances = sorted((i for i in told.instances if i[0] in taking_part), key=lambda i: int(i[0].removeprefix("id")))
    if len(instances) > MAX_INSTANCES:
        raise RowRejected("too_many_instances", f"{len(instances)} instances, the ID map has {MAX_INSTANCES} colours")
    places = place_instances(caption, instances)
    for instance_id, class_name, noun in instances:
        if not places[instance_id]:
            raise RowRejected("words_not_found", f"{instance_id} ({class_name}: {noun!r}) in {caption!r}")
    for (one, _, _), (other, _, _) in itertools.combinations(instances, 2):
        if shared := [p for p in places[one] if any(_overlap(p, q) for q in places[other])]:
            words = caption[slice(*shared[0])]
            raise RowRejected("words_shared", f"{words!r} is both {one} and {other} in {caption!r}")
    for subject_id, verb, object_id, sentence in told.interactions:
        name = "-".join([subject_id, *verb.split(), object_id])
        if name in places:
            continue
        places[name] = place_verb(caption, verb, sentence, places[subject_id], places[object_id])
        if not places[name]:
            raise RowRejected("words_not_found", f"{verb!r} of {subject_id} and {object_id} in {caption!r}")
    subjects = {subject_id for subject_id, *_ in told.interactions}
    kinds: dict[str, tuple[Literal["subject", "object", "verb"], list[str]]] = {
        i[0]: ("subject" if i[0] in subjects else "object", [i[0]]) for i in instances
    }
    for subject_id, verb, object_id, _ in told.interactions:
        kinds.setdefault("-".join([subject_id, *verb.split(), object_id]), ("verb", [subject_id, object_id]))
    numbers = {i[0]: number for number, i in enumerate(instances, start=1)}
    prompt, placed = write_ids(caption, places, numbers) if config.words == "id" else (caption, places)
    roles = [
        PlacedRole(
            role_id=role_id,
            kind=kind,
            instance_ids=instance_ids,
            words=" ".join(
                prompt[slice(*place)] for place in (placed[role_id] if kind == "verb" else placed[role_id][:1])
            ),
            spans=[Span(start=start, end=end) for start, end in placed[role_id]],
        )
        for role_id, (kind, instance_ids) in kinds.items()
    ]
    return PlacedRoles(prompt=prompt, roles=roles, made_by=list(made_by))


def write_ids(
    caption: str, places: dict[str, list[Place]], numbers: dict[str, int]
) -> tuple[str, dict[str, list[Place]]]:
    """The caption with "<id1> " in front of each of the instances' nouns, and where everything stands in it then.

    numbers: {instance id: 1..5}, contiguous whatever ids were dropped; an instance's places are those of its <idN>
    """
    writings = sorted((start, f"<id{numbers[i]}>") for i in numbers for start, _ in places[i])

    def moved(at: int) -> int:
        """A character that stood at `at`, behind what is written up to there."""
        return at + sum(len(text) + 1 for start, text in writings if start <= at)

    prompt, last = "", 0
    for start, text in writings:
        prompt, last = f"{prompt}{caption[last:start]}{text} ", start
    prompt += caption[last:]
    placed = {}
    for role_id, spans in places.items():
        if role_id in numbers:
            length = len(f"<id{numbers[role_id]}>")
            placed[role_id] = [(moved(start) - length - 1, moved(start) - 1) for start, _ in spans]
        else:
            placed[role_id] = [(moved(start), moved(end - 1) + 1) for start, end in spans]
    return prompt, placed


def join(text: str, places: Sequence[Place]) -> list[Place]:
    """Neighbours with only white space between them as one.

    join("picks up a cup", [(0, 5), (6, 8)]) -> [(0, 8)]
    """
    joined: list[Place] = []
    for start, end in sorted(places):
        if joined and not text[joined[-1][1] : start].strip():
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _around(words: Sequence[Word]) -> Place:
    first, last = words[0].span, words[-1].span
    assert first is not None and last is not None, "words of a caption have places"
    return first[0], last[1]


def _overlap(one: Place, other: Place) -> bool:
    return one[0] < other[1] and other[0] < one[1]


# --- The stage -------------------------------------------------------------------------------


def stage(tables: ClipTables, config: PlaceConfig) -> Stage[SnapshotRow, Told, PlacedRoles]:
    identity = {"backend": "rules", "model": "place-roles-1", "lemminflect": importlib.metadata.version("lemminflect")}
    made_by = [MadeBy.of(PlacedRoles.stage_name, identity)]

    def read(row: Row[SnapshotRow]) -> Told:
        clip_id = row.payload.clip_id
        (clip,) = tables.rows(ClipRow, clip_id)
        return told_of(clip.caption, tables.rows(InteractionRow, clip_id), tables.rows(InstanceRow, clip_id))

    return Stage(
        version=1,
        result=PlacedRoles,
        config=config,
        made_by=made_by,
        read=read,
        compute=lambda told: place_roles(told, config, made_by),
    )


def told_of(caption: str | None, interactions: Sequence[Interaction], instances: Sequence[Instance]) -> Told:
    """What counts of a clip's rows."""
    return Told(
        caption or "",
        [[it.subject_id, it.verb, it.object_id, it.source_sentence] for it in interactions],
        [[i.instance_id, i.class_name, i.noun] for i in instances],
    )
