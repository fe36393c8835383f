"""Find the faults of a simulated clip's caption: claims that did not happen.

    caption_faults("The red cube hits the blue cylinder.", simulation, tracks)
        -> ["says that id1 (red cube) and id2 (blue cylinder) collide, and they do not"]

It is independent of the embedded captioner and also reads a VLM's captions. It is conservative: an unclear claim is no
fault. It does not judge directions, strengths, places or the order of events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from schemas.mask_track import MaskTrack
from schemas.simulation import Simulation
from tasks.caption_clips.mentions import Sentence, names_in, read_sentences

MOVED_M = 0.02  # a body that got further did not stay in place
STAYED_M = 0.01  # a body that got less far did not move
STOPPED_MPS = 0.1  # a body that was never slower did not stop
BORDER_PX = 2  # a mask this near to the picture's border may be leaving

_ADVERBS = r"(?:(?:\w+ly|then|also|hard|soon|both|all|just) )*"
_NAME = r"<[\w?]+>"
_LIST = rf"{_NAME}(?:(?: ,)?(?: and)? {_NAME})*"
# Words allowed before a clause's subject.
_OPENING = (
    r"(?:(?:meanwhile|then|and|,|finally|eventually|afterwards|soon|also|next|both|the (?:stationary|other)"
    r"|in the (?:background|foreground|middle|center|centre)|after (?:that|this|the \w+)|at the \w+ time) ?)*"
)
# Where a clause with a subject of its own may begin.
_BREAK = re.compile(r" ?[;:()] ?|\b(?:while|whereas|which|who|but|meanwhile|when|as|because|since|until)\b")
_COLLIDE = re.compile(
    r"\b(?:collid(?:e|es|ed|ing)|hits?|hitting|strikes?|struck|striking|bump(?:s|ed|ing)?|crash(?:es|ed|ing)?"
    r"|smash(?:es|ed|ing)?|rams?|ramm(?:ed|ing)|touch(?:es|ed)|(?:makes?|comes? into) contact)\b"
)
_COLLISION = re.compile(r"\bcollisions?\b")
_BETWEEN = re.compile(r"^ (?:\w+ )?between (<[\w?]+>) and (<[\w?]+>)")
_TARGET = re.compile(
    rf"^ (?:(?:{_ADVERBS})(?:with|into|against|by) )?{_ADVERBS}(?P<who>{_NAME}|it\b|each other|one another)"
)
_NOTHING_FOLLOWS = re.compile(r"^(?: \w+ly)?(?: ?$| [,;:]| (?:and|while|before|after|near|in|at|on)\b)")
_PRONOUN = re.compile(r"\b(?:it|they|them|both|this|that|others?)\b")
_ANYTHING = re.compile(
    r"^ (?:\w+ly )?(?:(?:with|into|against) )?(?:<objects>|(?:anything|each other|one another|any)\b)"
)
_STILL = re.compile(
    r"\b(?:(?:remain|stay|keep|stand|sit)(?:s|ed|ing)?|is|are|was|were) (?:\w+ly |all |both )*"
    r"(?:stationary|static|motionless|immobile|unmoved|at rest|in place|in (?:its|their) places?"
    r"|still(?! (?:moving|sliding|in motion|visible|in|on)))\b"
    r"|\b(?:do|does|did) not move\b|\bnever moves?\b"
)
_MOVE = re.compile(
    r"\b(?:moves?|moved|moving|slides?|slid|sliding|glides?|gliding|travels?|rolls?|rolling|shifts?|drifts?"
    r"|(?:is|are|gets?|being) (?:\w+ly )?(?:pushed|deflected|knocked|displaced|propelled|moved))\b"
)
_PUSH = re.compile(rf"\b(?:push(?:es|ed|ing)|sends|sending|displac(?:es|ed|ing)) {_ADVERBS}(<\w+>)")
_STOP = re.compile(r"\b(?:stops?|stopped|halts?|comes? to (?:an? )?(?:\w+ )?(?:stop|halt|rest|standstill))\b")
_LEAVE = re.compile(
    r"\b(?:(?:leav(?:es?|ing)|exit(?:s|ing)?)|(?:mov(?:es?|ing)|slid(?:es?|ing)|goes) (?:\w+ )?(?:out of|outside|off)"
    r"|disappears? from) (?:of )?(?:the )?(?:frame|scene|view|picture|screen|image)\b"
)
_NOT = re.compile(
    r"\b(?:not|never|no|without|avoid(?:s|ed|ing)?|nothing|none|cannot)\b"
    r"(?: (?!and\b|but\b|,|<(?!objects))\S+){0,5} ?$"
)
_PERHAPS = re.compile(
    r"\b(?:almost|nearly|narrowly|barely|hardly|scarcely|about to|if|would|could|might|may|appears? to|seems? to"
    r"|possibly|perhaps|attempts? to|misses|fails? to)\b(?: \S+){0,4} ?$"
)
_DENIED_AFTER = re.compile(r"^ (?:do|does|did|is|are|was) not\b|^ never\b|^ (?:is|are) (?:narrowly )?avoided\b")
# With one of these, "no collision" or "stationary" is about part of the clip or some of the bodies only.
_PARTLY = re.compile(
    r"\b(?:after|afterwards?|then|eventually|finally|initially|first|before|now|once|until|end|ends|again|further"
    r"|more|additional|subsequent|later|yet|beginning|start|starts|moment|briefly|when|as|almost|nearly|next|visible"
    r"|strong|major|significant|direct|thereafter)\b"
)


def caption_faults(caption: str, simulation: Simulation, tracks: list[MaskTrack]) -> list[str]:
    """The caption's claims that did not happen, in its order, without repetition.

    tracks: the exact masks, in the scene's order.
    """
    truth = CaptionTruth(simulation, tracks)
    sentences = read_sentences(caption, simulation.scene.bodies)
    faults = [fault for sentence in sentences for fault in _sentence_faults(sentence, truth)]
    return list(dict.fromkeys(faults))


class CaptionTruth:
    """The simulated events that captions are checked against."""

    def __init__(self, simulation: Simulation, tracks: list[MaskTrack]) -> None:
        position = {t.instance_id: np.array(t.position) for t in simulation.trajectories}
        speed = {t.instance_id: np.linalg.norm(t.velocity, axis=1) for t in simulation.trajectories}
        present = {track.instance_id: track.present for track in tracks}
        pairs = [(frozenset((c.first_id, c.second_id)), c.frame) for c in simulation.collisions]
        self.bodies = {body.instance_id: body for body in simulation.scene.bodies}
        self.collided = {pair for pair, _ in pairs}
        # Pairs that collided while both were in view
        self.seen_collided = {pair for pair, frame in pairs if all(present[id_][frame] for id_ in pair)}
        # Greatest distance of each from its first place
        self.moved_m = {id_: float(np.linalg.norm(p - p[0], axis=1).max()) for id_, p in position.items()}
        self.slowest_mps = {id_: float(s.min()) for id_, s in speed.items()}
        # Bodies visible in the last frame, away from the picture's border
        self.stays_in_view = {track.instance_id for track in tracks if _ends_inside(track)}

    def name(self, instance_id: str) -> str:
        return f"{instance_id} ({self.bodies[instance_id].noun})"


def _ends_inside(track: MaskTrack) -> bool:
    box = track.box_xyxy[-1]
    if box is None:
        return False
    left, top, right, bottom = box
    return min(left, top, track.width - right, track.height - bottom) > BORDER_PX


# --- Claims ----------------------------------------------------------------------------------


def _sentence_faults(sentence: Sentence, truth: CaptionTruth) -> Iterator[str]:
    for stranger in sentence.strangers:
        yield f"names a {stranger}, and there is none"
    if re.search(r"\b(?:neither|nor)\b", sentence.text):
        return
    yield from _collision_faults(sentence.text, truth)
    for clause in _BREAK.split(sentence.text):
        yield from _motion_faults(clause.strip(), sentence.text, truth)


def _collision_faults(text: str, truth: CaptionTruth) -> Iterator[str]:
    for verb in _COLLIDE.finditer(text):
        before, after = text[: verb.start()], text[verb.end() :]
        if _PERHAPS.search(before):
            continue
        if _NOT.search(before):
            yield from _denial_faults(before, after, truth)
        elif truth.collided:
            yield from _pair_faults(_colliding(before, after), truth)
        elif verb[0].startswith("collid") or _TARGET.match(after):  # "touches the edge" is no collision
            yield "says that there is a collision, and there is none"
    for noun in _COLLISION.finditer(text):
        before, after = text[: noun.start()], text[noun.end() :]
        if _PERHAPS.search(before):
            continue
        between = _BETWEEN.match(after)
        pair = names_in(between[0]) if between else []
        if _NOT.search(before) or _DENIED_AFTER.match(after[between.end() :] if between else after):
            yield from _no_collision_faults(text, pair, truth)
        elif not truth.collided:
            yield "says that there is a collision, and there is none"
        else:
            yield from _pair_faults((pair[:1], pair[1:]), truth)


def _colliding(before: str, after: str) -> tuple[list[str], list[str]]:
    """Who collides with whom, around a verb: (one of these, with each of these); empty if unclear."""
    target = _TARGET.match(after)
    named = list(dict.fromkeys(names_in(before)))
    if target and (others := names_in(target["who"])):
        return ([] if _PRONOUN.search(before) else named), others
    # "<id1> moves towards <id2> and hits it", "<id1> and <id2> collide"
    if len(named) == 2 and (target or _NOTHING_FOLLOWS.match(after)):
        return named[:1], named[1:]
    return [], []


def _pair_faults(claim: tuple[list[str], list[str]], truth: CaptionTruth) -> Iterator[str]:
    some, each = claim
    for other in each:
        rest = [id_ for id_ in some if id_ != other]
        if other not in truth.bodies:
            continue
        if not any(other in pair for pair in truth.collided):
            yield f"says that {truth.name(other)} collides, and nothing hits it"
        elif rest and all(id_ in truth.bodies and frozenset((id_, other)) not in truth.collided for id_ in rest):
            names = " or ".join(truth.name(id_) for id_ in rest)
            yield f"says that {names} and {truth.name(other)} collide, and they do not"


def _denial_faults(before: str, after: str, truth: CaptionTruth) -> Iterator[str]:
    """'does not hit <id2>', 'without colliding with anything', 'nothing collides'."""
    if _PARTLY.search(before + after):
        return
    some, each = _colliding(before, after)
    if len(some) == len(each) == 1 and each != ["objects"]:
        yield from _no_collision_faults("", [*some, *each], truth)
    elif not _PRONOUN.search(before) and (_ANYTHING.match(after) or not after.strip(" ,")):
        yield from _no_collision_faults(before, [], truth)


def _no_collision_faults(text: str, pair: list[str], truth: CaptionTruth) -> Iterator[str]:
    """text: names the bodies, if pair is empty."""
    if _PARTLY.search(text):
        return
    of = pair or list(dict.fromkeys(names_in(text)))
    if len(of) == 2 and frozenset(of) in truth.seen_collided:
        yield f"says that {truth.name(of[0])} and {truth.name(of[1])} do not collide, and they do"
    elif len(of) == 1 and any(of[0] in pair for pair in truth.seen_collided):
        yield f"says that {truth.name(of[0])} does not collide, and it does"
    elif of in ([], ["all"], ["objects"]) and truth.seen_collided:
        yield "says that nothing collides, and something does"


def _motion_faults(clause: str, sentence: str, truth: CaptionTruth) -> Iterator[str]:
    always = re.search(r"\b(?:throughout|entire|whole)\b", clause) or not _PARTLY.search(sentence)
    moved = {id_ for id_, moved_m in truth.moved_m.items() if moved_m > MOVED_M}
    stayed = {id_ for id_, moved_m in truth.moved_m.items() if moved_m < STAYED_M}
    never_slow = {id_ for id_, slowest_mps in truth.slowest_mps.items() if slowest_mps > STOPPED_MPS}
    for claim, otherwise, fault in (
        (_STILL, moved if always else set(), "stays where it is, and it moves"),
        (_MOVE, stayed, "moves, and it does not"),
        (_PUSH, stayed, "moves, and it does not"),
        (_STOP, never_slow, "stops, and it does not"),
        (_LEAVE, truth.stays_in_view, "leaves the frame, and it does not"),
    ):
        for verb in claim.finditer(clause):
            named = names_in(verb[1]) if claim is _PUSH else _subjects(clause, verb, truth)
            if not _denied(clause, verb):
                yield from (f"says that {truth.name(id_)} {fault}" for id_ in named if id_ in otherwise)


def _denied(clause: str, verb: re.Match[str]) -> bool:
    before = clause[: verb.start()]
    return bool(_NOT.search(before) or _PERHAPS.search(before))


def _subjects(clause: str, verb: re.Match[str], truth: CaptionTruth) -> list[str]:
    """The subjects of the verb; empty if unclear."""
    before = clause[: verb.start()]
    if _PRONOUN.search(before):
        return []
    names = list(dict.fromkeys(names_in(before)))
    if re.match(rf"{_OPENING}<all>", before):
        return list(truth.bodies)
    several = re.fullmatch(rf"{_OPENING}{_LIST} ?{_ADVERBS}", before)
    # Not "<id1> rests and the camera moves".
    one = len(names) == 1 and re.fullmatch(rf"{_OPENING}{_NAME}(?:(?! (?:and|,) (?:the|a|an)\b).)*", before)
    return [id_ for id_ in names if id_ in truth.bodies] if several or one else []
