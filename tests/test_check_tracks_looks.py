"""tasks.check_tracks on pictures: each fault shows as one number on footage whose masks are known, and what only looks
like a fault passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from schemas.grounding import Answer, Wanted
from schemas.instance import Instance
from schemas.mask_track import MaskTrack
from schemas.outcome import RowFailed, RowRejected
from schemas.track_check import TrackCheck
from tasks.backends.colour import AttributeVerifier
from tasks.backends.optical_flow import FlowPropagator
from tasks.check_tracks import CheckConfig, check_tracks
from tasks.check_tracks.looks import Album, ask_again, look_at, walk_back
from tests.support import composites as made
from tests.support.builders import make_instance
from tests.support.composites import BLUE, GREEN, ORANGE, RED, Composite, Filmed, Paste

N, SIZE = 24, (180, 240)
CONFIG = CheckConfig()
RNG = np.random.default_rng(7)
HEDGE, ROOM = made.foliage(RNG, 200, 420), made.room(RNG, 200, 420)
PAN = (5, 0)


def still_camera(picture: np.ndarray) -> np.ndarray:
    return made.pan(picture, N, (0, 0), SIZE)


def panning(picture: np.ndarray) -> np.ndarray:
    return made.pan(picture, N, PAN, SIZE)


def looked_at(frames: np.ndarray, track: MaskTrack) -> dict[str, TrackCheck]:
    return by_measure(look_at([track], Album(Filmed(frames), [track], CONFIG.n_looks), CONFIG))


def by_measure(checks: list[TrackCheck]) -> dict[str, TrackCheck]:
    return {check.measure: check for check in checks}


def patch_of(footage: np.ndarray, places: list) -> MaskTrack:
    """A wrong track: a blob of the footage itself, with an outline that follows nothing."""
    cut = made.CutOut(np.zeros((50, 50, 3), np.uint8), made.blob(np.random.default_rng(1), 50))
    return made.compose(footage, [Paste("patch", cut, places)]).track("patch")


# --- Outline ---------------------------------------------------------------------------------


@pytest.mark.parametrize("picture", [HEDGE, ROOM], ids=["hedge", "wall"])
@pytest.mark.parametrize("camera", [(0, 0), PAN], ids=["still", "panning"])
def test_a_patch_of_the_background_is_no_thing(picture: np.ndarray, camera: tuple[int, int]) -> None:
    footage = made.pan(picture, N, camera, SIZE)
    outline = looked_at(footage, patch_of(footage, made.still((120, 40), N, camera)))["outline"]
    assert not outline.passed
    assert outline.value < 0.5


def things() -> dict[str, Composite]:
    """What only looks like a patch of the background, or like a fault."""
    ball, cup, post = made.ball(14, RED), made.cup(BLUE), made.drawn((180, 20), ("box", (0, 0, 20, 180), ORANGE))
    landscape, one, other = made.picture(RNG), made.person(RED), made.person(GREEN)
    rolling = made.moved((20, 120), (6, 0), N)
    return {
        "a ball that rolls past a hedge": made.compose(still_camera(HEDGE), [Paste("it", ball, rolling)]),
        "a cup that stands still under a moving camera": made.compose(
            panning(ROOM), [Paste("it", cup, made.still((150, 90), N, PAN))]
        ),
        "a picture on the wall under a moving camera": made.compose(
            panning(ROOM), [Paste("it", landscape, made.still((130, 20), N, PAN))]
        ),
        "a ball behind a post for a while": made.compose(
            still_camera(ROOM), [Paste("it", ball, rolling), Paste("", post, made.still((90, 0), N))]
        ),
        "a cup half hidden throughout": made.compose(
            still_camera(ROOM), [Paste("it", cup, made.still((100, 60), N)), Paste("", post, made.still((116, 0), N))]
        ),
        "a person whom another one crosses": made.compose(
            still_camera(ROOM),
            [
                Paste("it", one, made.moved((20, 40), (7, 0), N)),
                Paste("", other, made.moved((185, 40), (-7, 0), N)),
            ],
        ),
        "a ball that a person holds": made.compose(
            still_camera(HEDGE),
            [
                Paste("", one, made.moved((20, 40), (5, 0), N)),
                Paste("it", made.ball(10, BLUE), made.with_(made.moved((20, 40), (5, 0), N), (12, 42))),
            ],
        ),
        "a ball in a room where it grows dark": made.compose(
            still_camera(ROOM), [Paste("it", ball, rolling)], light=np.linspace(1, 0.6, N)
        ),
    }


@pytest.mark.parametrize("name", things())
def test_a_thing_passes_every_look(name: str) -> None:
    it = things()[name]
    track = it.track("it", anchor_frame=2)
    album = Album(Filmed(it.frames), [track], CONFIG.n_looks)
    checks = look_at([track], album, CONFIG) + walk_back([track], album, FlowPropagator(), CONFIG)
    assert [check.measure for check in checks] == ["outline", "likeness", "return"]
    assert [check for check in checks if not check.passed] == []


def test_a_thing_like_its_background_is_told_by_its_motion() -> None:
    hedgehog = made.CutOut(HEDGE[20:70, 20:70], made.blob(np.random.default_rng(1), 50))
    it = made.compose(still_camera(HEDGE), [Paste("it", hedgehog, made.moved((20, 90), (6, 0), N))])
    outline = looked_at(it.frames, it.track("it"))["outline"]
    assert outline.value < CONFIG.min_outline
    assert outline.passed
    assert "moves by itself on" in (outline.detail or "")


def test_a_mask_at_the_pictures_edge_is_judged_by_the_outline_inside() -> None:
    it = made.compose(still_camera(ROOM), [Paste("it", made.person(RED), made.still((-20, 100), N))])
    assert looked_at(it.frames, it.track("it"))["outline"].value > 0.8


def test_a_mask_too_small_to_be_seen_has_no_looks() -> None:
    footage = still_camera(ROOM)
    track = made.compose(footage, [Paste("it", made.ball(1, RED), made.still((20, 20), N))]).track("it")
    assert looked_at(footage, track) == {}


# --- Colours ---------------------------------------------------------------------------------


def two_cups(first: made.Colour, second: made.Colour) -> Composite:
    """Two cups that change places, one in front of the other."""
    pastes = [
        Paste("a", made.cup(first), made.moved((40, 90), (6, 0), N)),
        Paste("b", made.cup(second), made.moved((178, 100), (-6, 0), N)),
    ]
    return made.compose(still_camera(ROOM), pastes)


def switched(it: Composite) -> MaskTrack:
    """The track of a that goes on with b behind the crossing: no leap betrays it."""
    return made.track_of(np.concatenate([it.masks["a"][: N // 2], it.masks["b"][N // 2 :]]), anchor_frame=2)


def test_a_track_that_goes_over_to_another_thing_changes_its_colours() -> None:
    it = two_cups(BLUE, RED)
    assert looked_at(it.frames, it.track("a", anchor_frame=2))["likeness"].value > 0.9
    likeness = looked_at(it.frames, switched(it))["likeness"]
    assert not likeness.passed
    assert likeness.value < 0.4


def test_a_track_that_drifts_into_the_background_changes_its_colours() -> None:
    it = made.compose(still_camera(ROOM), [Paste("it", made.ball(14, RED), made.moved((20, 120), (6, 0), N))])
    lost = np.concatenate([it.masks["it"][:8], np.repeat(it.masks["it"][8:9], N - 8, axis=0)])
    assert not looked_at(it.frames, made.track_of(lost))["likeness"].passed


# --- The second walk -------------------------------------------------------------------------


def walked(it: Composite, *tracks: MaskTrack) -> list[TrackCheck]:
    return walk_back(tracks, Album(Filmed(it.frames), tracks, CONFIG.n_looks), FlowPropagator(), CONFIG)


def test_a_track_that_goes_over_to_a_look_alike_does_not_walk_back() -> None:
    """Colours tell nothing here: both cups are blue."""
    pastes = [
        Paste("a", made.cup(BLUE), made.moved((20, 60), (3, 0), N)),
        Paste("b", made.cup(BLUE), made.moved((150, 60), (1, 2), N)),
    ]
    it = made.compose(still_camera(ROOM), pastes)
    good, bad = it.track("a", anchor_frame=2), switched(it)
    assert looked_at(it.frames, bad)["likeness"].passed
    (check,) = walked(it, good)
    assert check.passed
    assert check.value > 0.8
    (check,) = walked(it, bad)
    assert not check.passed
    assert check.value == 0


def test_all_tracks_walk_back_in_one_pass() -> None:
    it = two_cups(BLUE, RED)
    propagator = Counting()
    tracks = [it.track("a", "id1", 2), it.track("b", "id2", 20)]
    checks = walk_back(tracks, Album(Filmed(it.frames), tracks, CONFIG.n_looks), propagator, CONFIG)
    assert [(check.instance_id, check.measure) for check in checks] == [("id1", "return"), ("id2", "return")]
    assert propagator.n_frames == [10]  # eight, and the anchors' two


class Counting(FlowPropagator):
    def __init__(self) -> None:
        super().__init__()
        self.n_frames: list[int] = []

    def propagate(self, frames: np.ndarray, anchors: list, **others: Any) -> dict[str, list[str]]:
        self.n_frames.append(len(frames))
        return super().propagate(frames, anchors, **others)


def test_a_track_seen_once_has_nowhere_to_walk_back_from() -> None:
    it = made.compose(still_camera(ROOM), [Paste("it", made.ball(14, RED), [(50, 60), *[None] * (N - 1)])])
    assert walked(it, it.track("it")) == []


# --- Questions -------------------------------------------------------------------------------


class Questioned:
    """Says yes to boxes whose left side is in `yes`; writes down what it is asked."""

    identity = {"backend": "scripted", "model": "1"}  # noqa: RUF012
    concurrency = 2

    def __init__(self, *yes: float, confidence: float = 0.9) -> None:
        self.yes, self.confidence = yes, confidence
        self.asked: list[tuple[str, float]] = []

    def verify(self, frame: np.ndarray, box_xyxy: tuple, instance: Instance, caption: str) -> Answer:
        self.asked.append((instance.instance_id, box_xyxy[0]))
        return Answer(match=box_xyxy[0] in self.yes, confidence=self.confidence, rationale="scripted")


ROLLING = made.compose(still_camera(ROOM), [Paste("it", made.ball(14, RED), made.moved((20, 120), (6, 0), N))])
BALL = make_instance("id1", "ball", noun="a red ball")


def asked_again(verifier: Any, track: MaskTrack, **settings: Any) -> list[TrackCheck]:
    filmed = Filmed(ROLLING.frames, Wanted("A boy kicks a ball.", [BALL], []))
    config = CheckConfig(n_looks=6, **settings)
    return ask_again([track], Album(filmed, [track], 6), filmed.wanted, verifier, 0.5, config)


def test_few_questions_are_asked_and_none_about_the_anchors_frame() -> None:
    verifier = Questioned()
    asked_again(verifier, ROLLING.track("it", anchor_frame=2))
    assert frames_of(verifier) == [10, 18]
    verifier = Questioned()
    asked_again(verifier, ROLLING.track("it", anchor_frame=2), n_questions=50, min_confirmed=0.01)
    assert frames_of(verifier) == [6, 10, 14, 18, 22]


def frames_of(verifier: Questioned) -> list[int]:
    """Which frames it was asked about: the ball rolls 6 px a frame, from 20 px on."""
    return [int(left - 20) // 6 for _, left in verifier.asked]


def test_nobody_asks_what_is_known() -> None:
    track = ROLLING.track("it", anchor_frame=2)
    verifier = Questioned(20.0 + 6 * 10)
    (check,) = asked_again(verifier, track)
    assert (frames_of(verifier), check.value, check.passed) == ([10], 1.0, True)
    verifier = Questioned()
    (check,) = asked_again(verifier, track, n_questions=5, min_confirmed=0.7)
    assert (frames_of(verifier), check.value, check.passed) == ([6, 10], 0.0, False)
    assert asked_again(verifier, track, min_confirmed=0) == asked_again(verifier, track, n_questions=0) == []
    assert len(verifier.asked) == 2


def test_one_yes_of_two_answers_is_enough() -> None:
    track = ROLLING.track("it", anchor_frame=2)
    (check,) = asked_again(Questioned(20.0 + 6 * 18), track)
    assert (check.measure, check.value, check.threshold, check.passed) == ("confirmed", 0.5, 0.5, True)
    assert check.detail == "share of yes among 2 answers; no on frame 10: scripted"
    (check,) = asked_again(Questioned(), track)
    assert (check.value, check.passed) == (0.0, False)


def test_an_uncertain_yes_confirms_nothing() -> None:
    (check,) = asked_again(Questioned(80.0, 128.0, confidence=0.4), ROLLING.track("it", anchor_frame=2))
    assert not check.passed


def test_an_uncertain_no_is_not_counted() -> None:
    assert asked_again(Questioned(confidence=0.4), ROLLING.track("it", anchor_frame=2)) == []


def test_a_providers_failure_is_no_answer() -> None:
    class Down(Questioned):
        def verify(self, *args: Any) -> Answer:
            raise RowFailed("busy", "try again", retryable=True)

    with pytest.raises(RowFailed, match="busy"):
        asked_again(Down(), ROLLING.track("it"))


def test_the_embedded_verifier_confirms_a_ball_and_not_the_wall_where_it_was() -> None:
    good = ROLLING.track("it")
    (check,) = asked_again(AttributeVerifier(), good)
    assert check.value == 1
    lost = np.repeat(ROLLING.masks["it"][:1], N, axis=0)
    (check,) = asked_again(AttributeVerifier(), made.track_of(lost))
    assert check.value == 0


# --- Masks that take another's pixels -------------------------------------------------------


def holding(held: str = "ball") -> tuple[dict[str, MaskTrack], list[Instance]]:
    """A person and what is held before the chest: its own masks, and those of a person with a swallowed ball."""
    way = made.moved((20, 40), (5, 0), N)
    pastes = [
        Paste("person", made.person(RED), way),
        Paste("held", made.ball(14, BLUE), made.with_(way, (8, 42))),
    ]
    it = made.compose(still_camera(ROOM), pastes)
    swallowing = made.track_of(it.masks["person"] | it.masks["held"], "id1")
    tracks = {"person": it.track("person", "id1"), "swallowing": swallowing, "held": it.track("held", "id2")}
    return tracks, [make_instance("id1", "man"), make_instance("id2", held)]


def failed(person: str, held: str = "ball") -> set[tuple[str, str]]:
    tracks, instances = holding(held)
    try:
        checked = check_tracks([tracks[person], tracks["held"]], instances, [("id1", "id2")], CheckConfig())
    except RowRejected as error:
        checked = error.evidence
    return {(c.instance_id, c.measure) for c in checked.checks if not c.passed}


def test_a_persons_mask_does_not_swallow_what_the_person_holds() -> None:
    assert failed("person") == set()
    assert failed("swallowing") == {("id1", "swallowed")}


def test_what_a_person_wears_may_lie_in_the_persons_mask() -> None:
    assert failed("swallowing", "shirt") == set()
    assert failed("swallowing", "hand") == set()


# --- The looks' order ------------------------------------------------------------------------


def test_a_refused_track_and_what_hung_on_it_are_not_looked_at_again() -> None:
    it = two_cups(BLUE, RED)
    tracks = [it.track("a", "id1"), it.track("b", "id2")]
    instances = [make_instance("id1", "man"), make_instance("id2", "cup")]
    seen: list[list[str]] = []

    def refusing(left: list[MaskTrack]) -> list[TrackCheck]:
        seen.append([track.instance_id for track in left])
        return [TrackCheck(instance_id="id2", measure="outline", value=0, threshold=1, passed=False)]

    with pytest.raises(RowRejected, match="no_track_left"):
        check_tracks(tracks, instances, [("id1", "id2")], CheckConfig(), [refusing, refusing])
    assert seen == [["id1", "id2"]]
