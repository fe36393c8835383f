"""Facts -> a caption in the style of KineMask's (A.2): the setting, who moves where, what is hit, what happens then.

    "On a wooden floor, there are two objects: a red cube and a blue cylinder. The red cube moves towards the blue
    cylinder and collides firmly with it, pushing it to the right. The red cube then comes to a stop."

The wording is random, the content is not. Captions contain no metres, seconds or rotations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar

import numpy as np

from tasks.backends.event_captions.facts import (
    Direction,
    Ends,
    Facts,
    FrameThird,
    Goes,
    Hits,
    Leaves,
    Manner,
    Moves,
    Starts,
    Stops,
    Strength,
)

T = TypeVar("T")

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
WAYS: dict[Direction, tuple[str, ...]] = {
    Direction.RIGHT: ("to the right", "towards the right side of the frame"),
    Direction.TOP_RIGHT: ("towards the top right", "diagonally towards the top right"),
    Direction.TOP: ("away from the camera", "towards the top of the frame"),
    Direction.TOP_LEFT: ("towards the top left", "diagonally towards the top left"),
    Direction.LEFT: ("to the left", "towards the left side of the frame"),
    Direction.BOTTOM_LEFT: ("towards the bottom left", "diagonally towards the bottom left"),
    Direction.BOTTOM: ("towards the camera", "towards the bottom of the frame"),
    Direction.BOTTOM_RIGHT: ("towards the bottom right", "diagonally towards the bottom right"),
}
SIDES: dict[Direction, str] = {
    Direction.RIGHT: "on the right",
    Direction.LEFT: "on the left",
    Direction.TOP: "at the top",
    Direction.BOTTOM: "at the bottom",
}
THIRD_PHRASES: dict[FrameThird, str] = {
    "left": "on the left side of the frame",
    "middle": "in the middle of the frame",
    "right": "on the right side of the frame",
}
ADVERBS: dict[Strength, tuple[str, ...]] = {
    "slight": (" slightly", " gently"),
    "plain": ("",),
    "firm": (" firmly", " forcefully"),
}
# The end of a clause that says the body was hit.
SUFFERS: dict[Manner, tuple[str, ...]] = {
    "pushed": (", pushing it {way}",),
    "nudged": (", barely moving it",),
    "stays": (" without moving it",),
    "continues": (", and {the} keeps moving in the same direction",),
    "veers": (", and {the} keeps moving {way}",),
    "deflected": (", deflecting it {way}",),
    "bounces": (", sending it back {way}",),
    "halts": (", bringing it to a stop",),
}
# A clause of its own, after the body's name.
REACTS: dict[Manner, tuple[str, ...]] = {
    "pushed": ("is pushed {way}",),
    "nudged": ("barely moves",),
    "stays": ("stays in place",),
    "continues": ("keeps moving in the same direction", "continues to move {way}"),
    "veers": ("continues to move {way}", "keeps moving {way}"),
    "deflected": ("is deflected {way}", "changes direction and moves {way}"),
    "bounces": ("bounces back {way}", "bounces off and moves {way}"),
    "halts": ("stops{beside} after the collision", "then comes to a stop{beside}"),
}


class MainClause(NamedTuple):
    """A main clause and the bodies it is about."""

    who: list[str]  # instance ids
    text: str


def word_caption(facts: Facts, seed: Sequence[int]) -> str:
    """seed: of the random choice of words."""
    return " ".join(Teller(facts, np.random.default_rng(list(seed))).sentences())


class Teller:
    """Tells each fact of a clip once, in order of time; bodies without collisions are told side by side."""

    def __init__(self, facts: Facts, rng: np.random.Generator) -> None:
        self._facts, self._rng = facts, rng
        self._told: list[str] = []
        self._turns: dict[str, int] = {}
        self._starts = {starts.instance_id: starts for starts in facts.starts}  # not told yet
        self._ends = {end.instance_id: end for end in facts.ends}  # not told yet, in order of time
        self._hits = list(facts.hits)  # not told yet

    def sentences(self) -> list[str]:
        self._say(self._setting())
        if not self._hits or self._one_of("apart first", (True, False)):
            self._tell_apart()
        after: list[MainClause] = []
        while self._hits:
            hit = self._hits.pop(0)
            self._say_side_by_side(after + self._endings_until(hit.time_s))
            after = self._tell_hit(hit)
        self._say_side_by_side(after + self._endings_until(np.inf))
        self._tell_apart()
        self._tell_rests()
        if self._facts.nothing_collides and self._one_of("mention none", (True, False, False)):
            self._say(self._one_of("none", ("no collisions occur", "there are no collisions between the objects")))
        return self._told

    # --- The setting -----------------------------------------------------------------------

    def _setting(self) -> str:
        nouns = list(self._facts.nouns.values())
        floor = with_article(self._facts.floor)
        if not nouns:
            return f"the scene shows {floor}"
        if len(nouns) == 1:
            return f"on {floor}, there is {with_article(nouns[0])}"
        count, things = f"{NUMBERS[len(nouns)]} {kind_of(nouns)}", list_of_things(nouns)
        return self._one_of(
            "setting",
            (
                f"on {floor}, there are {count}: {things}",
                f"the scene is set on {floor} with {count}: {things}",
                f"{count} are on {floor}: {things}",
                f"the scene consists of {floor} with {count}: {things}",
                f"{series(with_article(noun) for noun in nouns)} are on {floor}",
            ),
        )

    # --- Motions ---------------------------------------------------------------------------

    def _tell_apart(self) -> None:
        """Bodies that collide with nothing, each from its start to its end."""
        colliding = {id_ for hit in self._facts.hits for id_ in hit.pair}
        apart = [self._starts.pop(id_) for id_ in list(self._starts) if id_ not in colliding]
        stories = [
            self._clause(
                starts.instance_id, [*self._starting(starts), *self._ending(starts.instance_id, starts.direction)]
            )
            for starts in apart
        ]
        if stories and len(self._told) > 1:
            stories[0] = stories[0]._replace(text=f"meanwhile, {stories[0].text}")
        self._say_side_by_side(stories)

    def _starting(self, starts: Starts) -> list[str]:
        way = f"towards {self._the(starts.towards)}" if starts.towards else self._way(starts.direction)
        place = f"starts {THIRD_PHRASES[starts.place]}"
        return self._one_of("start", ([f"moves {way}"], [f"slides {way}"], [place, f"moves {way}"]))

    def _ending(self, instance_id: str, direction: Direction) -> list[str]:
        """How the motion just told ends; nothing if there is no more to say."""
        end = self._ends.pop(instance_id, None)
        match end:
            case Stops():
                beside = f" next to {self._the(end.beside)}" if end.beside else ""
                return [self._one_of("stop", (f"eventually stops{beside}", f"comes to a stop{beside}"))]
            case Leaves():
                return [f"{self._one_of('leave', ('leaves', 'moves out of'))} the frame {SIDES[end.side]}"]
            case Moves(slows=True):
                return ["gradually slows down"]
            case Moves() if end.direction != direction:
                return [f"ends up moving {self._way(end.direction)}"]
            case _:
                return []

    # --- Collisions ------------------------------------------------------------------------

    def _tell_hit(self, hit: Hits) -> list[MainClause]:
        """Tell a collision. Returns the clauses about what the bodies do next, for a later sentence."""
        first, second = self._the(hit.first_id), self._the(hit.second_id)
        adverb = self._one_of(hit.strength, ADVERBS[hit.strength])
        meanwhile = "meanwhile, " if len(self._told) > 1 else ""
        starting = [self._starts.pop(id_) for id_ in (hit.first_id, hit.second_id) if id_ in self._starts]
        match starting:
            case [one, other] if one.towards == hit.second_id and other.towards == hit.first_id:
                self._say(f"{meanwhile}{first} and {second} move towards each other and collide{adverb}")
                return [self._reaction(hit, goes) for goes in reversed(hit.goes)]
            case [one] if one.instance_id == hit.first_id:
                target = "it" if one.towards == hit.second_id else second
                does = [*self._starting(one), f"{self._strikes(target, adverb)}{self._suffering(hit)}"]
                self._say(meanwhile + self._clause(hit.first_id, does).text)
            case _:
                starts = [self._clause(one.instance_id, self._starting(one)).text for one in starting]
                if starts:
                    self._say(meanwhile + ", while ".join(starts))
                then = "then " if not starts and len(self._told) > 1 else ""
                self._say(f"{first} {then}{self._strikes(second, adverb)}{self._suffering(hit)}")
        goes = hit.after(hit.first_id)
        return [self._reaction(hit, goes)] if goes and self._is_worth_telling(goes) else []

    def _is_worth_telling(self, goes: Goes) -> bool:
        """False for a body that just goes on, if its next collision, or among several its end, is told anyway."""
        if goes.manner not in ("continues", "veers"):
            return True
        if self._is_hit_again(goes.instance_id):
            return False
        end = self._ends.get(goes.instance_id)
        return len(self._facts.hits) == 1 or (end is not None and self._comes_next(end))

    def _is_hit_again(self, instance_id: str) -> bool:
        return any(instance_id in hit.pair for hit in self._hits)

    def _strikes(self, target: str, adverb: str) -> str:
        return self._one_of(
            "strike", (f"collides{adverb} with {target}", f"hits {target}{adverb}", f"bumps{adverb} into {target}")
        )

    def _suffering(self, hit: Hits) -> str:
        """What the hit does to the second body."""
        goes = hit.after(hit.second_id)
        if goes is None:
            return ""
        end = self._ends.get(goes.instance_id)
        if goes.manner == "pushed" and isinstance(end, Leaves) and self._comes_next(end):
            del self._ends[goes.instance_id]
            return f", pushing it out of the frame {SIDES[end.side]}"
        return self._worded(SUFFERS, goes)

    def _reaction(self, hit: Hits, goes: Goes) -> MainClause:
        """What a body does after the hit, and how that ends if nothing else happens before."""
        end = self._ends.get(goes.instance_id)
        if goes.direction is None:
            beside = ""
            if isinstance(end, Stops) and goes.manner == "halts" and not self._is_hit_again(goes.instance_id):
                del self._ends[goes.instance_id]
                beside = f" next to {self._the(end.beside)}" if end.beside in hit.pair else ""
            return self._clause(goes.instance_id, [self._worded(REACTS, goes, beside)])
        then = self._ending(goes.instance_id, goes.direction) if end and self._comes_next(end) else []
        return self._clause(goes.instance_id, [self._worded(REACTS, goes), *then])

    def _worded(self, wordings: dict[Manner, tuple[str, ...]], goes: Goes, beside: str = "") -> str:
        way = "" if goes.direction is None else self._way(goes.direction)
        return self._one_of(goes.manner, wordings[goes.manner]).format(
            the=self._the(goes.instance_id), way=way, beside=beside
        )

    # --- Ends ------------------------------------------------------------------------------

    def _comes_next(self, end: Ends) -> bool:
        """Is it the next event to tell?"""
        return all(end.time_s <= hit.time_s for hit in self._hits) and all(
            end.time_s <= other.time_s for other in self._ends.values()
        )

    def _endings_until(self, time_s: float) -> list[MainClause]:
        """The ends before that time of bodies already told of; equal ends share a clause."""
        ends = [end for id_, end in self._ends.items() if end.time_s < time_s and id_ not in self._starts]
        for end in ends:
            del self._ends[end.instance_id]
        return [self._end(list(alike)) for _, alike in groupby(ends, key=lambda end: (type(end), _side_of(end)))]

    def _end(self, ends: list[Ends]) -> MainClause:
        ids = [end.instance_id for end in ends]
        every = len(ids) > 2 and len(ids) == len(self._facts.ends) and self._facts.ends_at_rest
        who = "all of the moving objects" if every else series(self._the(id_) for id_ in ids)
        s = "s" if len(ids) == 1 else ""
        match ends[0]:
            case Stops():
                return MainClause(
                    ids, f"{who} {self._one_of('stop', (f'eventually stop{s}', f'slow{s} down and stop{s}'))}"
                )
            case Leaves(side=side):
                return MainClause(ids, f"{who} leave{s} the frame {SIDES[side]}")
            case Moves():
                return MainClause(ids, f"{who} keep{s} moving until the end of the video")

    def _tell_rests(self) -> None:
        rests = [rest.instance_id for rest in self._facts.rests]
        others = set(self._facts.nouns) - {id_ for hit in self._facts.hits for id_ in hit.pair}
        others -= {starts.instance_id for starts in self._facts.starts}
        rests = [id_ for id_ in rests if id_ in others]
        if not rests:
            return
        who = [series(self._the(id_) for id_ in rests)]
        if len(rests) > 1 and set(rests) == others < set(self._facts.nouns):
            kind = kind_of([self._facts.nouns[id_] for id_ in rests])
            told_alike = [id_ for id_ in set(self._facts.nouns) - others if kind == kind_of([self._facts.nouns[id_]])]
            other = "" if kind != "objects" and not told_alike else "other "
            who.append(f"the {other}{NUMBERS[len(rests)]} {kind}")
        remain = "remains" if len(rests) == 1 else "remain"
        when = self._one_of("throughout", ("throughout", "throughout the video", "throughout the sequence"))
        self._say(f"{self._one_of('rest', who)} {remain} stationary {when}")

    # --- Words -----------------------------------------------------------------------------

    def _say(self, sentence: str) -> None:
        self._told.append(sentence[0].upper() + sentence[1:] + ".")

    def _say_side_by_side(self, clauses: list[MainClause]) -> None:
        """Say two clauses per sentence, unless they share a body or one is about many."""
        while clauses:
            clause, *clauses = clauses
            joins = clauses and not {*clause.who} & {*clauses[0].who} and max(len(clause.who), len(clauses[0].who)) <= 2
            if joins:
                self._say(f"{clause.text}, while {clauses.pop(0).text}")
            else:
                self._say(clause.text)

    def _clause(self, instance_id: str, does: list[str]) -> MainClause:
        return MainClause([instance_id], f"{self._the(instance_id)} {series(does)}")

    def _one_of(self, what: str, choices: Sequence[T]) -> T:
        """Take turns through the choices, starting at a random one: no phrase repeats at once."""
        turn = self._turns.setdefault(what, int(self._rng.integers(len(choices))))
        self._turns[what] += 1
        return choices[turn % len(choices)]

    def _the(self, instance_id: str) -> str:
        return f"the {self._facts.nouns[instance_id]}"

    def _way(self, direction: Direction) -> str:
        return self._one_of(direction.name, WAYS[direction])


def _side_of(end: Ends) -> Direction | None:
    return end.side if isinstance(end, Leaves) else None


def with_article(noun: str) -> str:
    """'orange cube' -> 'an orange cube'."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def series(things: Iterable[str]) -> str:
    """'a', 'a and b', 'a, b, and c'."""
    *most, last = things
    if not most:
        return last
    return f"{most[0]} and {last}" if len(most) == 1 else f"{', '.join(most)}, and {last}"


def kind_of(nouns: Sequence[str]) -> str:
    """'cubes', 'cylinders', or 'objects' for both."""
    shapes = {noun.split()[-1] for noun in nouns}
    return f"{shapes.pop()}s" if len(shapes) == 1 else "objects"


def list_of_things(nouns: Sequence[str]) -> str:
    """'a red cube and a blue cylinder'; of one kind: 'a red and a blue one'."""
    if kind_of(nouns) == "objects":
        return series(with_article(noun) for noun in nouns)
    return f"{series(with_article(noun.rsplit(' ', 1)[0]) for noun in nouns)} one"
