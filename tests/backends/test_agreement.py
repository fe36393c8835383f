"""tasks.backends.agreement: its rules, over what networks would say of pictures. None is fetched or run."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest

from schemas.candidate import box_iou
from schemas.grounding import NotFound
from schemas.instance import Instance
from tasks.backends.agreement import AgreementDetector, AgreementVerifier
from tasks.backends.agreement.bodies import Body, told_apart, why_no_person
from tasks.backends.agreement.clothes import Outfit, headless_box, outfit_of
from tasks.backends.agreement.covering import CONTEXTS, effect_of, paint_over, square_around
from tasks.backends.agreement.detector import (
    Dressed,
    Named,
    Standing,
    headless_found,
    n_frames_needed,
    people_found,
    standing_found,
    things_found,
)
from tasks.backends.agreement.faces import FaceFinder
from tasks.backends.agreement.masks import bounding_box
from tasks.backends.agreement.nouns import TABLE, classes_of, other_kinds, stands
from tasks.backends.agreement.things import ClassMaps, Sighting, sightings
from tasks.backends.colour.palette import Picture
from tasks.backends.colour.phrases import Description, describe
from tasks.backends.packaged.people import Pose
from tasks.backends.packaged.things import CLASSES, STRIDE_PX
from tests.support.drawn_room import BLUE_BALL, BOY, GREEN_BOX, instance, room_with_push, shaded_ball
from tests.support.told import told_by

RED, BLUE, GREEN, ORANGE = (214, 34, 38), (30, 84, 206), (28, 146, 62), (236, 132, 34)
SKIN, GREY = (205, 150, 120), (128, 128, 128)


# --- Nouns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noun", "among"),
    [
        ("dog", "beagle"),
        ("puppies", "beagle"),
        ("cat", "tabby"),
        ("Ball", "soccer ball"),
        ("tennis ball", "tennis ball"),
        ("coffee mug", "coffee mug"),
        ("glasses", "sunglasses"),
        ("glass", "goblet"),
        ("boxes", "carton"),
        ("benches", "park bench"),
        ("teddy bear", "teddy"),
        ("office chair", "folding chair"),
    ],
)
def test_a_noun_means_classes(noun: str, among: str) -> None:
    places = classes_of(noun)
    assert places is not None
    assert among in {CLASSES[place] for place in places}


@pytest.mark.parametrize("noun", ["frisbee", "harness", "suitcase", "hand", "", "skateboard"])
def test_a_noun_without_a_class_is_unknown(noun: str) -> None:
    assert classes_of(noun) is None


def test_a_compound_is_looked_up_whole_first() -> None:
    hot_dog, dog, tennis = (classes_of(noun) for noun in ("hot dog", "dog", "tennis ball"))
    assert hot_dog is not None
    assert dog is not None
    assert tennis is not None
    assert (len(hot_dog), len(dog), len(tennis)) == (1, 118, 1)


def test_every_class_of_the_table_is_one_and_other_kinds_share_none() -> None:
    nouns = [noun for line in filter(None, TABLE.splitlines()) for noun in line.split(": ")[0].split(", ")]
    assert len(nouns) == len(set(nouns)) > 250
    for noun in nouns:
        assert classes_of(noun) is not None, noun
    for noun in ("dog", "bucket", "mug"):
        places = classes_of(noun)
        assert places is not None
        assert other_kinds(places)
        assert not any(set(places) & set(kind) for kind in other_kinds(places))


def test_furniture_stands() -> None:
    assert stands("double beds")
    assert not stands("ball")


# --- Bodies ------------------------------------------------------------------------------------


def body(*, x: int = 100, seen: int = 33, agreement: float = 0.9, presence: float = 1.0, turned: bool = False) -> Body:
    """A standing person 160 px high in a picture of 200 x 240: head at 20, shoulders 50, hips 100, ankles 170."""
    points = np.full((33, 2), (x, 24.0), np.float32)
    at = {11: (-20, 50), 12: (20, 50), 13: (-26, 75), 14: (26, 75), 15: (-28, 98), 16: (28, 98)}
    at |= {23: (-12, 100), 24: (12, 100), 25: (-13, 135), 26: (13, 135), 27: (-14, 170), 28: (14, 170)}
    for place, (dx, y) in at.items():
        points[place] = x + dx, y
    for place, foot in ((29, 27), (30, 28), (31, 27), (32, 28)):
        points[place] = points[foot]
    mask = np.zeros((200, 240), bool)
    mask[15:180, x - 34 : x + 34] = True
    if turned:
        points[:, 1] = 195 - points[:, 1]
    visibility = np.where(np.arange(33) < seen, 1.0, 0.0).astype(np.float32)
    return Body(mask, points, visibility, presence, 0.9, agreement, bounding_box(mask))


def picture_of(wearer: Body, shirt: tuple[int, int, int], trousers: tuple[int, int, int]) -> np.ndarray:
    rgb = np.full((200, 240, 3), GREY, np.uint8)
    x = int(wearer.points[0, 0])
    cv2.rectangle(rgb, (x - 24, 46), (x + 24, 98), shirt, -1)
    cv2.rectangle(rgb, (x - 24, 99), (x + 24, 172), trousers, -1)
    cv2.circle(rgb, (x, 28), 14, SKIN, -1)
    return rgb


def test_a_whole_body_is_a_person() -> None:
    assert why_no_person(body()) is None


@pytest.mark.parametrize(
    ("doubted", "reason"),
    [
        (body(presence=0.6), "60% sure of a body"),
        (body(seen=13), "3 points of a body are visible"),
        (body(turned=True), "no head above shoulders"),
        (body(agreement=0.5), "agree to IoU 0.50"),
    ],
    ids=["absent", "hardly-seen", "upside-down", "other-mask"],
)
def test_what_speaks_against_a_body_is_told(doubted: Body, reason: str) -> None:
    assert reason in (why_no_person(doubted) or "")


def test_head_and_shoulders_are_a_person_if_a_face_is_found() -> None:
    """Of a portrait, little of a body is seen: the pose network alone draws that onto hands and shirts, too."""
    portrait = body(seen=13)
    assert portrait.n_seen == 3
    assert why_no_person(portrait) is not None
    assert why_no_person(replace(portrait, has_face=True)) is None
    assert why_no_person(replace(body(seen=12), has_face=True)) is not None, "a shoulder is not seen"
    assert why_no_person(replace(body(seen=13, agreement=0.5), has_face=True)) is not None
    assert why_no_person(replace(portrait, has_face=True, shared=0.4)) is not None, "two people in one mask"


def test_people_side_by_side_are_told_apart_by_their_bones() -> None:
    """Both masks run over both of them."""
    left, right = body(x=80), body(x=150)
    both = left.mask | right.mask
    poses = [Pose(1.0, b.points, b.visibility, both.astype(np.float32)) for b in (left, right)]
    first, second = told_apart([both, both], poses)
    assert not (first & second).any()
    assert np.abs(bounding_box(first) - left.box_xyxy).max() <= 5
    assert np.abs(bounding_box(second) - right.box_xyxy).max() <= 5
    (alone,) = told_apart([left.mask], poses[:1])
    assert np.array_equal(alone, left.mask)


def test_cloth_is_also_what_people_call_so() -> None:
    wearer = body()
    shaded, bluish = (
        Picture(picture_of(wearer, (172, 172, 170), BLUE)),
        Picture(picture_of(wearer, (20, 140, 130), BLUE)),
    )
    assert outfit_of(shaded, wearer, description("a man in a white shirt")).fits
    assert outfit_of(bluish, wearer, description("a man in a green shirt")).fits
    assert not outfit_of(bluish, wearer, description("a man in a red shirt")).fits


def test_no_face_is_found_in_a_plain_box_or_in_a_speck() -> None:
    finder, rgb = FaceFinder(), np.full((100, 100, 3), 128, np.uint8)
    rgb[40:60, 40:60] = SKIN
    assert not finder.sees_face(rgb, np.array([30.0, 30, 70, 70]))
    assert not finder.sees_face(rgb, np.array([50.0, 50, 51, 51]))


def description(noun: str, class_name: str = "man", living: bool = True) -> Description:
    return describe(instance(noun, class_name, living=living))


@pytest.mark.parametrize(
    ("noun", "fits"),
    [
        ("a man in a red shirt and blue jeans", True),
        ("a man in a red shirt", True),
        ("a man in a blue shirt", False),
        ("a man in red trousers", False),
        ("a man in a red and green shirt", False),
        ("a man", True),
    ],
)
def test_clothes_are_measured_where_the_points_say(noun: str, fits: bool) -> None:
    wearer = body()
    outfit = outfit_of(Picture(picture_of(wearer, RED, BLUE)), wearer, description(noun))
    assert outfit.fits is fits
    assert outfit.reason


def test_a_garment_out_of_the_picture_is_no_proof() -> None:
    wearer = body()
    wearer.points[25:29, 1] += 400
    wearer.points[23:25, 1] += 400
    outfit = outfit_of(Picture(picture_of(wearer, RED, BLUE)), wearer, description("a man in blue jeans"))
    assert not outfit.fits


# --- People over the frames --------------------------------------------------------------------

HIM = Named("a man in a red shirt", "man", description("a man in a red shirt"))
HER = Named("a woman in blue", "woman", description("a woman in blue"))


def dressed(wearer: Body, **shares: float) -> Dressed:
    return Dressed(wearer, {key: Outfit(share, share >= 0.4, f"{share:.0%}") for key, share in shares.items()})


def found(seen: Sequence[Sequence[Dressed]], people: dict[str, Named] | None = None) -> object:
    return people_found("id1", seen, people or {"id1": HIM})


def test_a_person_is_proposed_in_every_frame_that_shows_them() -> None:
    proposals = found([[dressed(body(x=60 + 5 * t), id1=0.8)] if t % 2 else [] for t in range(8)])
    assert isinstance(proposals, list)
    assert [p.frame for p in proposals] == [1, 3, 5, 7]
    assert proposals[0].box_xyxy == (31.0, 15.0, 99.0, 180.0)


def test_too_few_frames_are_refused_with_the_reason_that_most_frames_give() -> None:
    seen = [[dressed(body(), id1=0.1)] for _ in range(6)] + [[dressed(body(), id1=0.9)] for _ in range(2)]
    assert found(seen) == NotFound("seen in 2 of 8 frames (needs 3): 10%")


def test_two_people_that_fit_alike_are_refused() -> None:
    seen = [[dressed(body(x=60), id1=0.8), dressed(body(x=180), id1=0.75)] for _ in range(8)]
    refused = found(seen)
    assert isinstance(refused, NotFound)
    assert "two people fit the words" in refused.reason


def test_a_body_is_the_person_whose_words_it_fits_best() -> None:
    """He wears red, she wears blue; his shirt has some blue."""
    both = [dressed(body(x=60), id1=0.8, id2=0.5), dressed(body(x=180), id1=0.1, id2=0.9)]
    people = {"id1": HIM, "id2": HER}
    his = found([both] * 8, people)
    hers = people_found("id2", [both] * 8, people)
    assert isinstance(his, list)
    assert isinstance(hers, list)
    assert {p.box_xyxy[0] for p in his} == {26.0}
    assert {p.box_xyxy[0] for p in hers} == {146.0}


def test_a_body_is_not_taken_twice() -> None:
    """One body fits both people's words: it is neither's."""
    one = [dressed(body(), id1=0.8, id2=0.75)]
    people = {"id1": HIM, "id2": HER}
    for key in people:
        refused = people_found(key, [one] * 8, people)
        assert isinstance(refused, NotFound)
        assert "fit another one better" in refused.reason


def test_someone_without_colours_is_whoever_fits_nobody_else() -> None:
    man = Named("a man", "man", description("a man"))
    both = [
        Dressed(body(x=60), {"id1": Outfit(1.0, True, "", is_told=False), "id2": Outfit(0.9, True, "")}),
        Dressed(body(x=180), {"id1": Outfit(1.0, True, "", is_told=False), "id2": Outfit(0.1, False, "")}),
    ]
    his = people_found("id1", [both] * 8, {"id1": man, "id2": HER})
    assert isinstance(his, list)
    assert {p.box_xyxy[0] for p in his} == {146.0}
    alone = people_found("id1", [both[:1]] * 8, {"id1": man, "id2": HER})
    assert isinstance(alone, NotFound)
    refused = people_found("id1", [both] * 8, {"id1": man, "id2": man})
    assert isinstance(refused, NotFound)
    assert "no colour of clothes tells who this is" in refused.reason


def test_bodies_that_are_none_are_no_people() -> None:
    refused = found([[dressed(body(agreement=0.4), id1=0.9)]] * 8)
    assert isinstance(refused, NotFound)
    assert "agree to IoU 0.40" in refused.reason


@pytest.mark.parametrize(("n_frames", "needed"), [(1, 1), (2, 2), (3, 3), (8, 3), (16, 6)])
def test_how_many_frames_must_show_it(n_frames: int, needed: int) -> None:
    assert n_frames_needed(n_frames) == needed


# --- Without a head ----------------------------------------------------------------------------


def table_scene(
    shirt: tuple[int, int, int] = ORANGE, wall: tuple[int, int, int] = GREY
) -> tuple[np.ndarray, np.ndarray]:
    """Someone cut off by the upper edge, with a red cup in the hand; and the mask of people, cup too."""
    rgb = np.full((200, 240, 3), wall, np.uint8)
    people = np.zeros((200, 240), np.uint8)
    for picture, colours in ((rgb, (shirt, SKIN, RED)), (people, (1, 1, 1))):
        cv2.rectangle(picture, (80, 0), (160, 110), colours[0], -1)
        cv2.rectangle(picture, (60, 20), (79, 120), colours[1], -1)
        cv2.rectangle(picture, (40, 105), (70, 150), colours[2], -1)
    return rgb, people > 0


def test_someone_without_a_head_is_clothes_and_arms_without_what_the_hand_holds() -> None:
    rgb, people = table_scene()
    box = headless_box(Picture(rgb), people, description("a person in an orange top", "person"))
    assert box is not None
    assert np.abs(box - (60, 0, 161, 121)).max() <= 16
    assert box[3] <= 121, "the cup is no part"


@pytest.mark.parametrize(
    ("noun", "shirt", "wall"),
    [
        ("a person in a green top", ORANGE, GREY),
        ("a person in an orange top", ORANGE, ORANGE),
        ("a person", ORANGE, GREY),
    ],
    ids=["other-clothes", "a-wall-of-that-colour", "no-colour"],
)
def test_nobody_is_made_up(noun: str, shirt: tuple[int, int, int], wall: tuple[int, int, int]) -> None:
    rgb, people = table_scene(shirt, wall)
    assert headless_box(Picture(rgb), people, description(noun, "person")) is None


def test_a_mask_below_the_upper_edge_or_all_over_is_nobody() -> None:
    rgb, people = table_scene()
    asked = description("a person in an orange top", "person")
    assert headless_box(Picture(rgb), np.roll(people, 30, axis=0) & (np.arange(200) > 30)[:, None], asked) is None
    assert headless_box(Picture(rgb), np.ones_like(people), asked) is None


def test_someone_without_a_head_is_at_one_place_in_most_frames() -> None:
    box = np.array([60.0, 0, 160, 120])
    assert len(headless_found([box] * 6 + [None, None])) == 6
    assert headless_found([box] * 5 + [None] * 3) == []
    assert headless_found([box + 90 * t for t in range(8)]) == []
    assert headless_found([None] * 8) == []


# --- Things ------------------------------------------------------------------------------------


class Places:
    """A classifier that sees classes at given places of a grid over a picture of 640 x 352."""

    def __init__(self, *seen: tuple[str, int, int]) -> None:
        self.seen = seen

    def places(self, rgb: np.ndarray, long_side_px: int) -> np.ndarray:
        grid = np.full((11, 20, 1000), 1e-4, np.float32)
        for name, row, column in self.seen:
            grid[row, column, CLASSES.index(name)] = 0.99
        return grid


def balls_at(*at: tuple[int, int], colour: tuple[int, int, int] = RED) -> np.ndarray:
    rgb = np.full((352, 640, 3), GREY, np.uint8)
    for x, y in at:
        cv2.circle(rgb, (x, y), 20, colour, -1, cv2.LINE_AA)
    return rgb


def where(name: str, rows: range, columns: range) -> list[tuple[str, int, int]]:
    return [(name, row, column) for row in rows for column in columns]


def seen_in(rgb: np.ndarray, places: Places, noun: str, class_name: str) -> list[Sighting]:
    classes = classes_of(class_name)
    assert classes is not None
    maps = ClassMaps(places, rgb)  # type: ignore[arg-type]
    return sightings(maps, Picture(rgb), description(noun, class_name, living=False), classes)


def test_a_place_is_a_stride_right_and_below_its_number() -> None:
    """Measured on real clips: without this, things are seen half a stride too far up and left."""
    maps = ClassMaps(Places(("soccer ball", 4, 9)), balls_at())  # type: ignore[arg-type]
    mass = maps.mass(np.array([CLASSES.index("soccer ball")]))
    y, x = np.unravel_index(int(mass.argmax()), mass.shape)
    assert np.abs(np.array([y, x]) - (5 * STRIDE_PX, 10 * STRIDE_PX)).max() <= 1


def test_a_patch_of_the_colour_where_the_class_is_likely_is_the_thing() -> None:
    """Two red balls, of which the classifier sees one."""
    rgb = balls_at((320, 160), (520, 160))
    first = seen_in(rgb, Places(*where("soccer ball", range(3, 6), range(8, 11))), "a red ball", "ball")[0]
    assert np.abs(first.box_xyxy - (300, 140, 341, 181)).max() <= 3
    assert first.score > 0.8


@pytest.mark.parametrize(
    ("places", "noun", "class_name"),
    [
        (where("soccer ball", range(3, 6), range(8, 11)), "a blue ball", "ball"),
        (where("soccer ball", range(3, 6), range(14, 16)), "a red ball", "ball"),
        (where("teapot", range(3, 6), range(8, 11)), "a red ball", "ball"),
        (where("soccer ball", range(0, 11), range(0, 20)), "a red ball", "ball"),
    ],
    ids=["another-colour", "elsewhere", "another-class", "everywhere"],
)
def test_what_only_one_source_supports_is_no_sighting(
    places: list[tuple[str, int, int]], noun: str, class_name: str
) -> None:
    boxes = seen_in(balls_at((320, 160)), Places(*places), noun, class_name)
    assert not [s for s in boxes if np.abs(s.box_xyxy - (300, 140, 341, 181)).max() <= 8]


def sighting(x: float = 100, width: float = 40, height: float = 40) -> list[Sighting]:
    return [Sighting(np.array([x, 50, x + width, 50 + height]), 0.9, 0.6, 0.8)]


def test_a_thing_is_proposed_where_it_is_seen() -> None:
    proposals = things_found([sighting(100 + 30 * t) if t < 4 else [] for t in range(8)])
    assert isinstance(proposals, list)
    assert [p.frame for p in proposals] == [0, 1, 2, 3]


def test_a_thing_in_too_few_frames_is_refused_with_its_number() -> None:
    assert things_found([sighting()] * 2 + [[]] * 6) == NotFound("seen in 2 of 8 frames (needs 3)")


def test_boxes_of_other_sizes_are_not_the_same_thing() -> None:
    """One of ten times the median's area is left out, and then two are too few."""
    seen = [sighting(), sighting(), sighting(width=130, height=130), [], [], [], [], []]
    refused = things_found(seen)
    assert isinstance(refused, NotFound)
    assert "in 2 of 8 frames" in refused.reason


def bed_seen(frames: Sequence[int], hidden: Sequence[int] = ()) -> list[Standing]:
    """A bed on the left in these of 8 frames, hidden on its right half in others; everything is white there."""
    seen = []
    for t in range(8):
        mass, white = np.zeros((120, 200), np.float32), np.zeros((120, 200), bool)
        white[60:, :110] = True
        if t in frames:
            mass[60:, : 50 if t in hidden else 100] = 0.8
        seen.append(Standing(mass, white))
    return seen


STILL = np.full((8, 120, 200, 3), 120, np.uint8)
MOVING = np.stack([np.random.default_rng(t).integers(0, 255, (120, 200, 3), dtype=np.uint8) for t in range(8)])


def test_furniture_is_whole_in_the_mean_of_all_frames() -> None:
    proposals = standing_found(STILL, bed_seen(range(8), hidden=(0, 1, 2)))
    assert isinstance(proposals, list)
    assert {p.box_xyxy for p in proposals} == {(0.0, 60.0, 100.0, 120.0)}
    assert min(p.score for p in proposals[3:]) > max(p.score for p in proposals[:3])


@pytest.mark.parametrize(
    ("frames", "seen", "reason"),
    [
        (MOVING, bed_seen(range(8)), "the camera moves"),
        (STILL, bed_seen(range(3)), "at no one place"),
        (STILL, [s._replace(tinted=~s.tinted) for s in bed_seen(range(8))], "at no one place"),
        (STILL, [s._replace(mass=np.ones_like(s.mass)) for s in bed_seen(range(8))], "at no one place"),
    ],
    ids=["camera-moves", "few-frames", "another-colour", "everywhere"],
)
def test_furniture_that_is_not_seen_well_is_refused(frames: np.ndarray, seen: list[Standing], reason: str) -> None:
    refused = standing_found(frames, seen)
    assert isinstance(refused, NotFound)
    assert reason in refused.reason


# --- Painting over -----------------------------------------------------------------------------


class SeesRed:
    """A classifier that sees a ball as far as a crop is red, and otherwise a teapot, as far as it is blue."""

    def __call__(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        seen = np.zeros((len(crops), 1000), np.float32)
        for i, crop in enumerate(crops):
            for colour, name in ((RED, "soccer ball"), (BLUE, "teapot")):
                near = np.abs(crop.astype(int) - colour).max(axis=2) < 40
                seen[i, CLASSES.index(name)] = min(2 * near.mean(), 0.9)
        return seen


def test_the_class_goes_with_the_box_that_is_the_thing() -> None:
    rgb = balls_at((320, 160))
    ball = classes_of("ball")
    assert ball is not None
    right, beside = (effect_of(SeesRed(), rgb, np.array(box)) for box in ([300, 140, 341, 181], [338, 140, 379, 181]))  # type: ignore[arg-type]
    assert right.mass(ball) > 0.5
    assert right.left(ball) < 0.02
    assert beside.left(ball) > 0.5 * beside.mass(ball)
    assert right.shown.shape == (len(CONTEXTS), 1000)


def test_painting_over_changes_the_box_alone() -> None:
    rgb = balls_at((320, 160))
    painted = paint_over(rgb, np.array([300.0, 140, 341, 181]))
    changed = (painted != rgb).any(axis=2)
    y, x = np.nonzero(changed)
    assert 290 <= x.min() < x.max() <= 350
    assert 130 <= y.min() < y.max() <= 190
    assert np.abs(painted[160, 320].astype(int) - GREY).max() <= 3
    assert np.array_equal(paint_over(rgb, np.array([0.0, 0, 640, 352])).shape, rgb.shape)


@pytest.mark.parametrize("box", [(0, 0, 30, 30), (600, 300, 640, 352), (0, 100, 640, 200), (320, 160, 321, 161)])
def test_a_square_around_a_box_lies_in_the_picture_and_holds_it(box: tuple[int, ...]) -> None:
    for context in CONTEXTS:
        x0, y0, x1, y1 = square_around(np.array(box, np.float64), context, (352, 640))
        assert 0 <= x0 <= box[0] < box[2] <= x1 <= 640 or x1 - x0 == 640
        assert 0 <= y0 < y1 <= 352


# --- Detector and verifier, without a network ----------------------------------------------------

FRISBEE = instance("a white frisbee", "frisbee", number=3, living=False)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network may be looked for."""
    monkeypatch.setattr("tasks.backends.packaged.files.PackagedFile.path", lambda _: pytest.fail("a network is asked"))


def asked_for(*instances: Instance) -> object:
    return AgreementDetector().propose(np.zeros((2, 64, 64, 3), np.uint8), list(instances))


@pytest.mark.usefixtures("offline")
def test_what_no_network_knows_is_refused_by_name() -> None:
    assert asked_for(FRISBEE) == {"id3": NotFound("no detector here knows 'frisbee'; see --profile local")}
    answer = AgreementVerifier().verify(np.zeros((64, 64, 3), np.uint8), (8, 8, 40, 40), FRISBEE, "")
    assert not answer.match
    assert "no classifier here knows 'frisbee'" in answer.rationale


@pytest.mark.usefixtures("offline")
def test_a_thing_without_its_colour_or_of_a_few_pixels_is_refused_before_a_network_is_asked() -> None:
    green = np.full((64, 64, 3), GREEN, np.uint8)
    ball = instance("a red ball", "ball", living=False)
    assert "0% of the box is red" in AgreementVerifier().verify(green, (8, 8, 40, 40), ball, "").rationale
    assert "4 px thin" in AgreementVerifier().verify(green, (8, 8, 12, 40), ball, "").rationale


# --- With the networks -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_drawn_room_shows_no_person_and_gives_the_same_answer_in_any_thread() -> None:
    """Drawn figures are no photographs: what the networks do not recognise is refused, with the reason."""
    frames = np.stack([room_with_push(x)[0] for x in (60, 120, 180)])
    frames.setflags(write=False)
    detector = AgreementDetector()
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: detector.propose(frames, [BOY, GREEN_BOX, FRISBEE]), range(2))
    assert first == second
    assert list(first) == ["id1", "id2", "id3"]
    assert isinstance(first["id1"], NotFound)
    assert "seen in 0 of 3 frames (needs 3)" in first["id1"].reason


@pytest.mark.slow
def test_a_drawn_ball_is_found_and_verified_and_what_it_is_not_is_refused() -> None:
    """A ball shaded like a real one that rolls through four frames; of another colour or kind it is none."""
    seen = [shaded_ball((640, 360), (200 + 60 * t, 200), 70) for t in range(4)]
    frames = np.stack([rgb for rgb, _ in seen])
    asked = [
        instance("an orange ball", "ball", number=1),
        instance("a blue ball", "ball", number=2),
        instance("an orange teapot", "teapot", number=3),
    ]
    found = AgreementDetector().propose(frames, asked)
    assert isinstance(found["id2"], NotFound)
    assert isinstance(found["id3"], NotFound)
    assert isinstance(found["id1"], list)
    best = max(found["id1"], key=lambda p: p.score)
    assert box_iou(best.box_xyxy, tuple(float(v) for v in seen[best.frame][1])) > 0.8  # type: ignore[arg-type]
    verifier = AgreementVerifier()
    assert verifier.verify(frames[best.frame], best.box_xyxy, asked[0], "").match
    for wrong in asked[1:]:
        assert not verifier.verify(frames[best.frame], best.box_xyxy, wrong, "").match


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(48, 201), (20, 30)])
def test_boxes_lie_in_frames_of_any_shape(shape: tuple[int, int]) -> None:
    height, width = shape
    frames = np.stack([cv2.resize(room_with_push(60)[0], (width, height))] * 2)
    for found in AgreementDetector().propose(frames, [BOY, BLUE_BALL]).values():
        for proposal in [] if isinstance(found, NotFound) else found:
            x0, y0, x1, y1 = proposal.box_xyxy
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            assert 0 <= proposal.score <= 1


@pytest.mark.slow
def test_the_detector_tells_how_many_frames_are_searched() -> None:
    frames = np.stack([room_with_push(x)[0] for x in (60, 120)])
    assert told_by(AgreementDetector().propose, frames, [BLUE_BALL])[-1] == "2 of 2 frames searched"
